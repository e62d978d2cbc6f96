"""`folder-agent support-bundle` after real runs with everything that could name a patient: none of it is in the ZIP."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import problem
from folder_agent.support.logs import told_logs
from folder_agent.support.telling import HIDDEN, told_line, told_problem
from tests.site import FIELDS, PDF, TOKEN, Site, dicom, sidecar

# What must not leave the hospital, in every place that a site may put it.
NAME, PATIENT, ACCESSION, STUDY, UID = "欧阳测试乙", "P70012345", "ACC-88-771", "ST.5512", "1.2.840.113619.2.55.3"
PHONE, GATEWAY_SAYS = "13800138000", "patient 欧阳测试乙 unknown"
PERSONAL = (NAME, "欧阳", PATIENT, ACCESSION, STUDY, UID, PHONE, TOKEN, "s3cret", "admin:", "ouyang")


def bundle(config: Path, folder: Path) -> dict[str, str]:
    """The parts of a new bundle."""
    out = folder / "support.zip"
    result = CliRunner().invoke(app, ["support-bundle", "--out", str(out), "--config", str(config), "--lang", "en"])
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def exam(folder: Path, **changes: Any) -> None:
    fields = {"patientName": NAME, "patientId": PATIENT, "accessNumber": ACCESSION, "studyId": STUDY, "phoneNum": PHONE}
    sidecar(folder / f"{NAME}.json", **{**fields, "studyUid": UID, **changes})


@pytest.fixture
def busy(site: Site) -> Site:
    """A site with a delivered, a refused, a failed and a waiting exam, named for their patient."""
    site.drop_lines = "quiet_s = 0.3\n[drops.mapping]\nconstants.applyDoctor = '欧阳医生'\n"
    site.top = "[stow]\nurl = 'https://admin:s3cret@127.0.0.1:1/dicom-web'\n[log]\nlevel = 'DEBUG'\n"
    site.top += "[images]\ntransport = 'none'\n[notify]\nwecom = 'https://127.0.0.1:1/send?key=s3cret'\n"
    site.top += "mail_to = ['ouyang@example.org']\nmail_from = 'ouyang@example.org'\nmail_host = '127.0.0.1'\n"
    site.top += "mail_port = 9\nmail_user = 'ouyang@example.org'\nmail_password = 's3cret'\n"
    looks_like_a_line = " SENDING - DONE (x)" if sys.platform == "win32" else ": SENDING -> DONE (x)"
    for number, name in enumerate((f"{NAME}-{ACCESSION}", f"{PATIENT}_{NAME}{looks_like_a_line}")):
        exam(site.drop / name, studyId=f"{STUDY}{number}", accessNumber=f"{ACCESSION}{number}")
        (site.drop / name / f"{PHONE}.pdf").write_bytes(PDF)
    exam(site.drop / PATIENT, patientSex=NAME)
    mixed = site.drop / f"混 {UID}"
    exam(mixed)
    dicom(mixed / f"{NAME}.dcm", study=UID, patient=f"{PATIENT}9", accession=ACCESSION)
    exam(site.drop / f"等 {NAME}", pdfCnt=3, accessNumber=f"{ACCESSION}7", studyId=f"{STUDY}7")
    (site.drop / f"{NAME}.docx").write_bytes(b"?")
    site.gateway.misbehave(do="code", match="/ris/study/add", code=100001, message=GATEWAY_SAYS, times=1)
    site.once()
    assert {"REFUSED", "FAILED", "DONE", "GATHERING"} & set(site.states().values()), site.states()
    return site


def test_nothing_personal_and_no_secret_is_in_it(busy: Site, tmp_path: Path) -> None:
    with (busy.root / "logs" / "folder-agent.log").open("a", encoding="utf-8") as log:
        log.write(f"2026-11-28 10:00:00.000 ERROR   something new about {NAME} {PATIENT}\n  in a traceback of {NAME}\n")
    parts = bundle(busy.root / "folder-agent.toml", tmp_path)
    assert set(parts) >= {"README.txt", "about.json", "settings.json", "doctor.json", "ledger.json"}
    for name, text in parts.items():
        for personal in (*PERSONAL, *(value for value in FIELDS.values() if len(value) > 2)):
            assert personal not in text + name, (name, personal)


def test_what_helps_is_in_it(busy: Site, tmp_path: Path) -> None:
    parts = bundle(busy.root / "folder-agent.toml", tmp_path)
    ledger, about = json.loads(parts["ledger.json"]), json.loads(parts["about.json"])
    assert sum(ledger["bundles"].values()) == len(busy.bundles())
    assert {row["id"] for row in ledger["latest"]} == {one.id for one in busy.bundles()}
    assert any(reason["code"].startswith("FA-") for row in ledger["latest"] for reason in row["reasons"])
    assert about["packages"]["pydicom"]
    assert all(disk["free_bytes"] > 0 for disk in about["disks"])
    assert {check["outcome"] for check in json.loads(parts["doctor.json"])} <= {"ok", "warning", "fault"}
    settings = json.loads(parts["settings.json"])
    assert set(settings["gateway"]["token"]) == {"*"}
    assert settings["stow"]["url"] == f"https://{HIDDEN}@127.0.0.1:1/dicom-web"
    assert settings["drops"][0]["mapping"]["constants"] == ["applyDoctor"]
    log = parts["logs/folder-agent.log"]
    for one in busy.bundles():
        assert f"{one.drop}#{one.id}: " in log
        assert str(one.state) in log
    assert "FA-" in log


def test_settings_that_cannot_be_used_are_told_without_their_values(tmp_path: Path) -> None:
    config = tmp_path / "folder-agent.toml"
    config.write_text(f"[gateway]\ntoken = '{TOKEN}'\ntokn = '{TOKEN}'\n", encoding="utf-8")
    parts = bundle(config, tmp_path)
    assert "gateway.tokn" in parts["settings.json"]
    assert TOKEN not in "".join(parts.values())


def test_a_damaged_ledger_is_told_and_the_rest_is_there(site: Site, tmp_path: Path) -> None:
    config = site.config()
    (site.root / "ledger.db").write_bytes(b"no database" * 100)
    parts = bundle(config, tmp_path)
    assert "FA-LEDGER" in parts["ledger.json"]
    assert json.loads(parts["doctor.json"])


def test_a_file_that_is_there_is_not_overwritten(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.zip").write_bytes(b"mine")
    result = CliRunner().invoke(app, ["support-bundle", "--out", str(tmp_path / "mine.zip"), "-c", str(site.config())])
    assert result.exit_code == 2
    assert (tmp_path / "mine.zip").read_bytes() == b"mine"
    result = CliRunner().invoke(
        app, ["support-bundle", "--out", str(tmp_path / "no" / "x.zip"), "-c", str(site.config())]
    )
    assert result.exit_code == 1


def test_logs_are_bounded_and_the_newest_come_first(tmp_path: Path) -> None:
    line = "2026-11-28 10:00:00.000 INFO    folder-agent is at work\n"
    (tmp_path / "folder-agent.2026.log").write_text(line * 1000, encoding="utf-8")
    (tmp_path / "folder-agent.log").write_text(line * 1000, encoding="utf-8")
    os.utime(tmp_path / "folder-agent.2026.log", (1, 1))
    [newest] = told_logs(tmp_path, 10_000)
    assert newest[0] == "folder-agent.log"
    assert set(newest[1].splitlines()) == {line.strip()}
    assert len(newest[1]) <= 10_000
    assert [name for name, _ in told_logs(tmp_path)] == ["folder-agent.log", "folder-agent.2026.log"]


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_reason_is_told_by_its_code_alone_if_its_values_are_personal(code: str) -> None:
    names = ("detail", "field", "first", "found", "message", "name", "value", "zh", "en", "expected")
    told = told_problem(problem(code, f"{NAME}/x.dcm", {"value": NAME}, **dict.fromkeys(names, f"x/{NAME}")))
    assert told["code"] == code
    assert NAME not in str(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("folder-agent 0.3.0 begins; 2 drop folders", None),
        ("internal error KeyError at loop.py:12 step < run.py:3 work", None),
        (f"ct#12 {NAME}: SENDING -> WAITING (put_off): FA-GW-UNREACHABLE no answer ({NAME})",
         "ct#12: SENDING -> WAITING (put_off): FA-GW-UNREACHABLE"),
        (f"ct#12 {NAME}: SENDING -> DONE (shelve): GATHERING -> COMPLETE (complete)",
         "ct#12: GATHERING -> COMPLETE (complete)"),
        ("ct#12: GATHERING (open)", None),
        (f"{NAME}", f"({len(NAME)} characters left out)"),
    ],
)  # fmt: skip
def test_a_line_of_the_log(line: str, told: str | None) -> None:
    head = "2026-11-28 10:00:00.000 INFO    "
    assert told_line(head + line) == head + (told if told is not None else line)
