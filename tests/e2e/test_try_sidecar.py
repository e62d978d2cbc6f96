"""`folder-agent try-sidecar` as people and scripts meet it, and what `show` tells of a sidecar's encoding."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from folder_agent import settings
from folder_agent.cli.app import app
from folder_agent.core.exam import FIELD_CLASSES
from folder_agent.core.mapping import SiteMapping
from tests.e2e.test_cli import Site, process

PATIENT = "张三丰"
MAPPING = """
[drops.mapping]
"Patient.ID" = "patientId"
"Patient.Name" = "patientName"
Type = "studyCategory"
values.studyCategory = {"门诊" = "normal"}
constants.modality = "CT"
defaults.status = "final"
"""
DOCUMENT: dict[str, Any] = {
    "Patient": {"ID": 110101199003071234, "Name": PATIENT},
    "patientSex": "男",
    "studyId": "S1",
    "accessNumber": "A1",
    "Type": "门诊",
    "imageCnt": 2,
    "weight": "heavy",
    "Row": 5,
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FOLDER_AGENT_LANG", "en")
    made = Site(tmp_path)
    with made.config.open("a", encoding="utf-8") as file:
        file.write(MAPPING)
    return made


def written(folder: Path, encoding: str = "utf-8", **changes: object) -> Path:
    file = folder / "elsewhere.json"
    file.write_bytes(json.dumps(DOCUMENT | changes, ensure_ascii=False).encode(encoding))
    return file


def attempt(site: Site, file: Path, *more: str) -> Result:
    return site.run("try-sidecar", str(file), *more)


def test_what_would_be_sent_is_shown_field_by_field_with_where_it_comes_from(site: Site, tmp_path: Path) -> None:
    result = attempt(site, written(tmp_path, "gbk"), "--drop", "ct")
    assert result.exit_code == 0
    first, *lines = result.stdout.splitlines()
    assert first.endswith("elsewhere.json (ct): encoding gb18030")
    fields = [line.split() for line in lines if line.startswith(("  A ", "  B ", "  C "))]
    assert fields == [
        ["A", "patientId", "110101199003071234", "Patient.ID"],
        ["A", "patientName", PATIENT, "Patient.Name"],
        ["A", "patientSex", "M", "patientSex"],
        ["A", "studyId", "S1", "studyId"],
        ["A", "accessNumber", "A1", "accessNumber"],
        ["A", "modality", "CT", "constant"],
        ["B", "studyCategory", "normal", "Type:", "门诊"],
        ["B", "status", "final", "default"],
        ["B", "imageCnt", "2", "imageCnt"],
    ]
    assert [name for _, name, *_ in fields] == [name for name in FIELD_CLASSES if name in {row[1] for row in fields}]
    told = [line for line in lines if line.startswith("warning")]
    assert [line.split()[1] for line in told] == ["FA-FIELD-UNKNOWN:", "FA-FIELD-DROPPED:", "FA-FIELD-ABSENT:"]
    assert sum(line.startswith("        -> ") for line in lines) == 3
    assert lines[-1] == "it would be sent"


def test_what_would_be_refused_is_told_with_every_problem_and_what_to_do(site: Site, tmp_path: Path) -> None:
    file = written(tmp_path, patientSex="猫", Patient={"Name": PATIENT})
    result = attempt(site, file, "--lang", "zh")
    assert result.exit_code == 4
    problems = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("故障")]
    assert problems == ["FA-FIELD-MISSING:", "FA-FIELD-INVALID:"]
    assert "缺少必填字段 patientId (Patient.ID)" in result.stdout
    assert "「猫」" in result.stdout
    assert result.stdout.rstrip().endswith("不会发送:将移入 failed/")


def test_json_has_all_of_it_in_both_languages(site: Site, tmp_path: Path) -> None:
    file = written(tmp_path, "utf-16", files=["a.dcm"], patientSex="?")
    result = attempt(site, file, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 4
    assert (told["file"], told["drop"], told["encoding"]) == (str(file), "ct", "utf-16-le")
    assert (told["would_be_sent"], told["files"]) == (False, ["a.dcm"])
    by_name = {one.pop("field"): one for one in told["fields"]}
    assert by_name["patientName"] == {
        "class": "A",
        "value": PATIENT,
        "from": "key",
        "key": "Patient.Name",
        "written": None,
    }
    assert by_name["studyCategory"]["written"] == "门诊"
    assert (by_name["modality"]["from"], by_name["status"]["from"]) == ("constant", "default")
    assert by_name["imageCnt"]["value"] == 2
    [wrong] = told["problems"]
    assert wrong["code"] == "FA-FIELD-INVALID"
    assert all(wrong[key] for key in ("text", "text_zh", "todo", "todo_zh"))
    assert len([one for one in told["warnings"] if one["code"] == "FA-FIELD-ABSENT"]) > 20


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xff\xff", b"{}", b"null", os.urandom(200)])
def test_whatever_the_file_holds_ends_in_words(site: Site, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    for more in ([], ["--json"]):
        result = attempt(site, file, *more)
        assert result.exit_code == 4
        assert "FA-" in result.stdout
        assert result.exception is None or isinstance(result.exception, SystemExit)


def test_nothing_is_kept_logged_or_moved_and_no_ledger_is_needed(site: Site, tmp_path: Path) -> None:
    file = written(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert attempt(site, file).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert PATIENT in attempt(site, file).stdout
    assert attempt(site, file).stderr == ""


def test_usage(site: Site, tmp_path: Path) -> None:
    file = written(tmp_path)
    assert attempt(site, file, "--drop", "mr").exit_code == 2
    assert attempt(site, tmp_path / "none.json").exit_code == 2
    assert attempt(site, tmp_path, "--images", str(tmp_path)).exit_code == 2
    with site.config.open("a", encoding="utf-8") as settings_file:
        settings_file.write(f"\n[[drops]]\nname = 'mr'\npath = '{tmp_path / 'mr'}'\n")
    asked = attempt(site, file)
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "ct, mr" in asked.stderr
    assert attempt(site, file, "--drop", "ct").exit_code == 0
    assert attempt(site, file, "--drop", "mr").exit_code == 4  # without the mapping


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_a_file_that_is_no_file_is_told(site: Site, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    result = attempt(site, pipe)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "FA-FILE-IO" in result.stderr


def test_the_permit_is_shown_under_the_name_on_the_wire(site: Site, tmp_path: Path) -> None:
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace("[[drops]]", "permit_field = 'hkAndMacauPermitNum'\n[[drops]]"), encoding="utf-8"
    )
    assert "hkAndMacauPermitNum" in attempt(site, written(tmp_path, hkAndMarcoPermitNum="H1")).stdout


def test_any_console_takes_any_name(site: Site, tmp_path: Path) -> None:
    file = written(tmp_path, Patient={"ID": "1", "Name": "𠮷\u202e\x1b[31m"})
    done = process("try-sidecar", str(file), "--config", str(site.config), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "𠮷" in done.stdout.decode("utf-8")
    assert b"\x1b" not in done.stdout


# --- the settings -----------------------------------------------------------------------------------------------------

WRONG = """
[drops.mapping]
"Patient.ID" = "patientID"
Name = "name"
Sex = "patientSex"
values.studyCategory = {"门诊" = "sometimes"}
constants.patientSex = "M"
constants.accessNumber = "1"
dates.studyDate = "%Y-%m-%d"
defaults.modalty = "CT"
"""


def test_a_wrong_mapping_lists_every_fault_with_file_and_key(site: Site, tmp_path: Path) -> None:
    text = site.config.read_text(encoding="utf-8").replace(MAPPING, f"scan_s = 'often'\n{WRONG}")
    site.config.write_text(text, encoding="utf-8")
    with pytest.raises(settings.SettingsError) as raised:
        settings.load(site.config, {})
    told = [line.removeprefix(f"{site.config}: ").split(": ")[0] for line in raised.value.problems]
    assert told == [
        "drops[0].scan_s",
        'drops[0].mapping."Patient.ID"',
        "drops[0].mapping.Name",
        'drops[0].mapping.values.studyCategory."门诊"',
        "drops[0].mapping.constants.accessNumber",
        "drops[0].mapping.dates.studyDate",
        "drops[0].mapping.defaults.modalty",
        "drops[0].mapping.constants.patientSex",
    ]
    assert "did you mean patientId?" in raised.value.problems[1]
    result = attempt(site, written(tmp_path))
    assert (result.exit_code, result.stderr.splitlines()) == (2, raised.value.problems)


@pytest.mark.parametrize(
    "wrong", ["mapping = 5", "mapping = 'x'", "[[drops.mapping]]", 'mapping = {"a.b" = {c = "d"}}']
)
def test_a_mapping_that_is_no_table_of_names_is_told(site: Site, wrong: str) -> None:
    text = site.config.read_text(encoding="utf-8").replace(MAPPING, wrong)
    site.config.write_text(text, encoding="utf-8")
    with pytest.raises(settings.SettingsError) as raised:
        settings.load(site.config, {})
    [line] = raised.value.problems
    assert line.startswith(f"{site.config}: drops[0].mapping")


def test_each_drop_folder_has_its_own_mapping(site: Site, tmp_path: Path) -> None:
    with site.config.open("a", encoding="utf-8") as file:
        file.write(f"\n[[drops]]\nname = 'mr'\npath = '{tmp_path / 'mr'}'\n[drops.mapping]\nPID = 'patientId'\n")
        file.write(f"\n[[drops]]\nname = 'us'\npath = '{tmp_path / 'us'}'\n")
    ct, mr, us = (drop.mapping for drop in settings.load(site.config, {}).drops)
    assert isinstance(ct, SiteMapping)
    assert isinstance(mr, SiteMapping)
    assert (ct.paths_of("patientId"), mr.paths_of("patientId"), us) == (["Patient.ID"], ["PID"], None)
    assert settings.load(site.config, {}) == settings.load(site.config, {})
    assert replace(mr, paths=()) != mr


def test_help_says_that_the_patients_values_are_shown() -> None:
    told = " ".join(CliRunner().invoke(app, ["try-sidecar", "--help"]).stdout.split())
    assert "The patient's values appear on your screen" in told
