"""The command line as people and scripts meet it: real processes, a real ledger, real folders."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from folder_agent import __version__, settings
from folder_agent.cli.app import app
from folder_agent.cli.init import template
from folder_agent.cli.printing import columns, language_of
from folder_agent.core.errors import Problem, problem
from folder_agent.core.gate import Gate, written
from folder_agent.core.lifecycle import BundleEvent, BundleState, FileState, bundle_step
from folder_agent.core.naming import visible
from folder_agent.core.records import BundleRecord, FileKind, Sighting, Stamp
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from folder_agent.simulator import Simulator
from tests.marks import ASKS_WINDOWS

NOW = time.time()
PATIENT = "张三丰"


class Site:
    """A settings file, a drop folder and a real ledger."""

    def __init__(self, folder: Path) -> None:
        self.drop = folder / "drop"
        self.failed = self.drop / "failed" / "2026-03-01"
        self.config = folder / "folder-agent.toml"
        self.url = f"sqlite:///{(folder / 'ledger.db').as_posix()}"
        self.drop.mkdir()
        self.config.write_text(
            f"[gateway]\nurl = 'https://127.0.0.1:1'\napp_id = '1251'\ntoken = 'secret-token'\n"
            f"[[drops]]\nname = 'ct'\npath = '{self.drop}'\n",
            encoding="utf-8",
        )
        self.ledger: PeeweeLedger | None = None

    def open(self) -> PeeweeLedger:
        self.ledger = self.ledger or open_ledger(self.url)
        return self.ledger

    def bundle(self, name: str, *events: BundleEvent, **changes: Any) -> BundleRecord:
        """A bundle that met those events; `changes` go with the last of them."""
        ledger = self.open()
        record = ledger.open_bundle("ct", f"{name}/", name, NOW - 3600)
        for position, event in enumerate(events):
            step = bundle_step(record, event, NOW - 1800, **(changes if position == len(events) - 1 else {}))
            ledger.apply([step])
            record = step.after
        if not events and changes:
            record = replace(record, **changes)
            ledger.amend([record])
        return record

    def shelved(self, name: str, *reasons: Problem, content: str = "{}") -> BundleRecord:
        """A refused bundle in failed/."""
        target = self.failed / name
        target.mkdir(parents=True)
        (target / f"{name}.json").write_text(content, encoding="utf-8")
        (target / "WHY.txt").write_text("why", encoding="utf-8")
        record = self.bundle(name, BundleEvent.REFUSE, BundleEvent.AIM, reasons=reasons, target=str(target))
        step = bundle_step(record, BundleEvent.SHELVE, NOW - 900, is_open=False)
        self.open().apply([step])
        return step.after

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(self.config)])

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return found


WAITING = (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.PUT_OFF)
HELD = (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.HOLD)
COMMITTED = (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.COMMIT)
MISSING = problem("FA-WAIT-FILES", zh="14张影像中的 2张", en="2 of 14 images, 1 PDF")
DENIED = problem("FA-GW-AUTH", status=401, private={"message": PATIENT}).masked()
UNREACHABLE = problem("FA-GW-UNREACHABLE", detail="connection refused")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("FOLDER_AGENT_LANG", "en")
    made = Site(tmp_path)
    yield made
    if made.ledger is not None:
        made.ledger.close()


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOLDER_AGENT")} | environment
    command = [sys.executable, "-m", "folder_agent", *arguments]
    return subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)


# --- the whole ------------------------------------------------------------------------------------------------------

COMMANDS = ("demo", "init", "doctor", "run", "status", "show", "try-sidecar", "retry", "simulate-gateway")


def test_version_and_help() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout.decode().strip()) == (0, f"folder-agent {__version__}")
    told = process("--help").stdout.decode()
    assert all(command in told for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_its_exit_codes(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert re.search(r"\n {2}Exit codes: 0 (?:[^\n]+\n)+\Z", result.stdout)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["status", "--nonsense"], ["show"], ["retry"], ["retry", "A", "--all"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["status"], ["show", "A1"], ["retry", "--all"], ["run", "--once"]])
def test_bad_settings_list_every_problem(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[gateway]\nurl = 'ftp://x'\ncolour = 1\n", encoding="utf-8")
    result = CliRunner().invoke(app, [*arguments, "--config", str(file)])
    lines = result.stderr.splitlines()
    assert result.exit_code == 2
    assert len(lines) == 4  # address, unknown key, app_id, drops
    assert all(line.startswith(str(file)) for line in lines)


def test_a_broken_ledger_is_told_in_both_languages(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    for arguments in (["status"], ["show", "A1"], ["retry", "A1"]):
        result = site.run(*arguments)
        assert result.exit_code == 1
        assert "账本已损坏" in result.stderr
        assert "the ledger is damaged" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("encoding", ["gbk", "cp1252", "ascii"])
def test_any_console_takes_any_name(site: Site, encoding: str) -> None:
    site.bundle("检查一号 Ж\u202e", reasons=(MISSING,))
    for arguments in (["status"], ["status", "--json"], ["show", "1"], ["status", "--lang", "zh"]):
        done = process(*arguments, "--config", str(site.config), PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert "检查一号" in done.stdout.decode("utf-8")


def test_a_reader_that_goes_away_is_no_failure(site: Site) -> None:
    for number in range(300):
        site.bundle(f"CT{number}", reasons=(MISSING,))
    command = [sys.executable, "-m", "folder_agent", "status", "--json", "--config", str(site.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        complaints = running.stderr.read()
        running.wait(60)
    assert (running.returncode, complaints) == (0, b"")


def test_runs_without_any_console(site: Site) -> None:
    code = "import sys; sys.stdout = sys.stderr = None; from folder_agent.cli import main; main()"
    command = [sys.executable, "-c", code, "status", "--config", str(site.config)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("chosen", "environment", "language"),
    [
        pytest.param(None, {}, "en", marks=ASKS_WINDOWS),
        ("zh", {"LANG": "en_US.UTF-8"}, "zh"),
        (None, {"FOLDER_AGENT_LANG": "zh", "LC_ALL": "C"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_language(chosen: str | None, environment: dict[str, str], language: str) -> None:
    assert language_of(chosen, environment) == language


def test_text_cannot_move_the_cursor_and_columns_align() -> None:
    assert visible("a\x1b[2Jb\u202ec\nd 中　文") == "a�[2Jb�c�d 中　文"
    assert columns([["中文", "x"], ["a", "y"]]) == ["  中文  x", "  a     y"]


# --- init -----------------------------------------------------------------------------------------------------------


def init(file: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["init", "--config", str(file), *more])


def test_template_mentions_every_setting() -> None:
    text = template()
    for section, field in settings.Settings.model_fields.items():
        table = f"[[{section}]]" if section == "drops" else f"[{section}]"
        assert table in text
        part = text.split(f"\n{table}\n", 1)[1].split("\n[", 1)[0]
        model = settings.DropSettings if section == "drops" else field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for key in model.model_fields:
            assert re.search(rf"^(# )?({key} = |\[drops\.{key}\]$)", part, re.MULTILINE), f"{section}.{key}"


def test_template_shows_the_real_defaults() -> None:
    """Every commented default, uncommented, loads; and where a setting has a default, it is the one shown."""
    shown = re.sub(r"^# (?=\w+ = )", "", template(), flags=re.MULTILINE)
    table = tomllib.loads(
        re.sub(r"^(token|fingerprint|ca_file|cert_file|key_file) = .*$", "", shown, flags=re.MULTILINE)
    )
    loaded = settings.Settings.model_validate(table)
    for section, field in settings.Settings.model_fields.items():
        value = loaded.drops[0] if section == "drops" else getattr(loaded, section)
        for key, inner in type(value).model_fields.items():
            if not inner.is_required() and inner.default not in (None, ()):  # of an empty list, an example is shown
                assert getattr(value, key) == inner.default, f"{section}.{key}"
        assert field is not None


def test_the_templates_mapping_loads_when_its_lines_are_uncommented() -> None:
    text = template().replace("# path = ", "path = ").replace("# url = ", "url = ", 1).replace("# app_id", "app_id")
    head, mapping = text.split("# [drops.mapping]\n", 1)
    lines, rest = mapping.split("\n\n", 1)
    whole = f"{head}[drops.mapping]\n{re.sub('^# ', '', lines, flags=re.MULTILINE)}\n\n{rest}"
    found = settings.Settings.model_validate(tomllib.loads(whole)).drops[0].mapping
    assert found is not None
    assert found.paths_of("accessNumber") == found.paths_of("studyId") == ["检查号"]
    assert all((found.values, found.dates, found.defaults, found.constants))


def test_init_writes_what_loads(tmp_path: Path) -> None:
    file, drop = tmp_path / "new" / "folder" / "fa.toml", tmp_path / "导出 it's"
    assert init(file, "--drop", str(drop), "--url", "https://10.0.0.5", "--app-id", 'a"1').exit_code == 0
    loaded = settings.load(file, {})
    assert (loaded.gateway.url, loaded.gateway.app_id, loaded.drops[0].path) == ("https://10.0.0.5", 'a"1', drop)
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_init_unfilled_names_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "fa.toml"
    assert init(file).exit_code == 0
    with pytest.raises(settings.SettingsError) as raised:
        settings.load(file, {})
    keys = [line.split(": ")[1] for line in raised.value.problems]
    assert keys[:3] == ["gateway.url", "gateway.app_id", "drops[0].path"]


def test_init_never_loses_a_file(tmp_path: Path) -> None:
    file = tmp_path / "fa.toml"
    file.write_text("mine", encoding="utf-8")
    assert init(file).exit_code == 2
    assert file.read_text(encoding="utf-8") == "mine"
    for _ in range(2):
        assert init(file, "--force").exit_code == 0
    assert (tmp_path / "fa.toml.bak").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "fa.toml.bak2").read_text(encoding="utf-8") == file.read_text(encoding="utf-8")


def test_init_refuses_a_useless_address(tmp_path: Path) -> None:
    assert init(tmp_path / "fa.toml", "--url", "http://10.0.0.5").exit_code == 2
    assert not (tmp_path / "fa.toml").exists()


def test_init_that_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert init(tmp_path / "file" / "fa.toml").exit_code == 1


# --- status ---------------------------------------------------------------------------------------------------------


def test_status_before_the_first_run(site: Site, tmp_path: Path) -> None:
    report = site.json("status")
    assert report["bundles"] == {str(state): 0 for state in BundleState}
    assert report["files"] == {str(state): 0 for state in FileState}
    assert (report["held"], report["outage"], report["oldest_waiting_s"], report["waiting"]) == (None, None, None, [])
    result = site.run("status")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "nothing has been seen yet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drop", "folder-agent.toml"]


def test_status_tells_what_waits_and_what_failed(site: Site) -> None:
    site.bundle("CT1", reasons=(MISSING,), overdue=True)
    site.bundle("CT2", *WAITING, reasons=(UNREACHABLE,), due_at=NOW + 60)
    refused = site.shelved("CT3", problem("FA-TOO-MANY", field="imageCnt", declared=2, found=3))
    site.bundle("CT4", *COMMITTED)
    site.open().sight("ct", [Sighting("stray.dcm", Stamp(1, 1, 1))], {"stray.dcm": FileKind.DICOM}, NOW)
    report = site.json("status")
    one, two, four = report["waiting"]
    assert (one["bundle"], one["drop"], one["state"]) == ("CT1", "ct", "GATHERING")
    assert one["for"] == "waiting for 2 of 14 images, 1 PDF"
    assert one["for_zh"].startswith("等待")
    assert (one["code"], one["overdue"], one["due"]) == ("FA-WAIT-FILES", True, None)
    assert (two["state"], two["overdue"]) == ("WAITING", False)
    assert two["due"] > two["since"]
    assert (four["state"], four["for"]) == ("COMMITTED", "accepted by the gateway; being moved to done/")
    (failed,) = report["failed"]
    assert (failed["bundle"], failed["code"], failed["where"]) == ("CT3", "FA-TOO-MANY", refused.target)
    assert "imageCnt says 2, but 3 are there" in failed["why"]
    assert report["bundles"]["REFUSED"] == report["bundles"]["WAITING"] == report["unassigned"] == 1
    assert 3500 < report["oldest_waiting_s"] < 7200  # NOW is when the suite began
    lines = site.run("status").stdout.splitlines()
    assert any("CT1" in line and "OVERDUE: waiting for 2 of 14 images, 1 PDF" in line for line in lines)
    assert any("CT2" in line and "next try" in line for line in lines)
    assert any(line.startswith("failed #3 CT3") for line in lines)


@pytest.mark.parametrize(("held", "key", "banner"), [(True, "held", "HELD"), (False, "outage", "OUTAGE")])
def test_status_shows_a_shut_gate_first(site: Site, held: bool, key: str, banner: str) -> None:
    site.bundle("CT1", BundleEvent.COMPLETE)
    shut = Gate(DENIED if held else UNREACHABLE, held, NOW - 60, 1, NOW)
    site.open().remember("gate", written(shut))
    report = site.json("status")
    other = {"held": "outage", "outage": "held"}[key]
    assert report[other] is None
    assert set(report[key]) == {"code", "reason", "reason_zh", "todo", "todo_zh", "since"}
    assert report["waiting"][0]["for"] == report[key]["reason"]
    assert site.run("status").stdout.startswith(banner)
    assert PATIENT not in site.run("status").stdout + json.dumps(report, ensure_ascii=False)


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"reason": {"code": "FA-OF-THE-FUTURE", "values": {}}, "held": true}']
)
def test_status_survives_a_strange_note(site: Site, note: str) -> None:
    site.open().remember("gate", note)
    assert site.json("status")["held"] is None


def test_status_names_the_successor_of_a_failure(site: Site) -> None:
    site.shelved("CT1", MISSING)
    again = site.bundle("CT1")
    assert site.json("status")["failed"][0]["superseded_by"] == again.id
    assert "failed" not in site.run("status").stdout


# --- show -----------------------------------------------------------------------------------------------------------


def test_show_tells_all(site: Site) -> None:
    record = site.bundle("CT1", *WAITING, reasons=(DENIED,), access_number="A1", study_id="S1", attempts=3, due_at=NOW)
    ledger = site.open()
    (file,) = ledger.sight("ct", [Sighting("CT1/x.dcm", Stamp(5, 1, 1))], {}, NOW)
    ledger.amend([replace(file, bundle_id=record.id, reason=problem("FA-FILE-LOCKED"))])
    for name in (str(record.id), "CT1", "A1", "S1"):
        report = site.json("show", name)
        assert report["bundle"]["id"] == record.id
    assert (report["bundle"]["state"], report["bundle"]["attempts"]) == ("WAITING", 3)
    assert [entry["to"] for entry in report["timeline"] if entry["subject"] == "bundle"] == [
        *("GATHERING", "COMPLETE", "SENDING", "WAITING")
    ]
    assert report["files"][0]["path"] == "CT1/x.dcm"
    assert "another program holds" in report["files"][0]["reason"]
    text = site.run("show", "CT1").stdout
    assert "FA-GW-AUTH" in text
    assert "CT1/x.dcm" in text
    assert "accession number" in text
    assert PATIENT not in text


def test_show_of_several_shows_the_newest(site: Site) -> None:
    site.shelved("CT1", MISSING)
    newest = site.bundle("CT1")
    report = site.json("show", "CT1")
    assert report["bundle"]["id"] == newest.id
    assert [other["id"] for other in report["others"]] == [1]


def test_show_of_nothing(site: Site) -> None:
    assert site.run("show", "nobody").exit_code == 1  # no ledger yet
    site.bundle("CT1")
    result = site.run("show", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nobody" in result.stderr


# --- retry ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [WAITING, HELD], ids=["waiting", "held"])
def test_retry_makes_it_due_and_knocks(site: Site, events: tuple[BundleEvent, ...]) -> None:
    record = site.bundle(
        "CT1", *events, reasons=(UNREACHABLE,), attempts=7, first_failed_at=NOW - 9000, due_at=NOW + 600
    )
    result = site.run("retry", "CT1")
    assert (result.exit_code, "tried again now" in result.stdout) == (0, True)
    after = site.open().bundle(record.id)
    assert after is not None
    assert (after.state, after.attempts, after.first_failed_at, after.due_at) == (record.state, 0, None, None)
    knock = site.open().recall("knock")
    assert knock
    assert site.run("retry", "CT1").exit_code == 0
    assert site.open().recall("knock") not in (None, knock)
    assert site.open().history(record.id)[-1].event == "retry now"


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ((), "still being gathered"),
        ((BundleEvent.COMPLETE,), "about to be sent"),
        ((BundleEvent.COMPLETE, BundleEvent.SEND), "being sent"),
        (COMMITTED, "has accepted it"),
        ((*COMMITTED, BundleEvent.SHELVE), "delivered"),
        ((BundleEvent.WITHDRAW,), "taken away"),
        ((BundleEvent.REFUSE,), "on its way to failed/"),
    ],
)
def test_retry_says_why_not(site: Site, events: tuple[BundleEvent, ...], why: str) -> None:
    record = site.bundle("CT1", *events)
    result = site.run("retry", "CT1")
    assert (result.exit_code, why in result.stderr) == (1, True), result.stderr
    assert site.open().bundle(record.id) == record
    assert site.open().recall("knock") is None


def test_retry_puts_a_failed_bundle_back(site: Site) -> None:
    record = site.shelved("CT1 一", MISSING, content='{"a": 1}')
    report = site.json("retry", "CT1 一")
    (one,) = report["bundles"]
    assert (report["retried"], one["retried"], one["where"]) == (1, True, str(site.drop / "CT1 一"))
    assert (site.drop / "CT1 一" / "CT1 一.json").read_text(encoding="utf-8") == '{"a": 1}'
    assert not Path(str(record.target)).exists()
    result = site.run("retry", "CT1 一")
    assert (result.exit_code, "does not lie in failed/" in result.stderr) == (1, True)


def test_retry_puts_back_beside_what_is_there(site: Site) -> None:
    site.shelved("CT1", MISSING)
    (site.drop / "CT1").mkdir()
    (site.drop / "CT1" / "new").write_text("mine", encoding="utf-8")
    assert site.json("retry", "CT1")["bundles"][0]["where"] == str(site.drop / "CT1 (2)")
    assert (site.drop / "CT1" / "new").read_text(encoding="utf-8") == "mine"


def test_retry_all(site: Site) -> None:
    assert site.run("retry", "--all").exit_code == 1
    site.bundle("CT1", *WAITING, due_at=NOW + 600)
    site.bundle("CT2", *HELD)
    site.bundle("CT3")
    site.shelved("CT4", MISSING)
    assert [one["bundle"] for one in site.json("retry", "--all")["bundles"]] == ["CT1", "CT2"]
    report = site.json("retry", "--all", "--failed")
    assert [one["bundle"] for one in report["bundles"] if one["retried"]] == ["CT1", "CT2", "CT4"]
    assert (site.drop / "CT4").is_dir()
    assert site.run("retry", "CT4", "--failed").exit_code == 2


def test_retry_of_what_has_just_moved_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    record = site.bundle("CT1", *WAITING)

    def stale(ledger: PeeweeLedger, name: str, limit: int = 50) -> list[BundleRecord]:
        moved = bundle_step(record, BundleEvent.SEND, NOW)
        site.open().apply([moved])
        return [record]

    monkeypatch.setattr(PeeweeLedger, "find_bundles", stale)
    result = site.run("retry", "CT1")
    assert (result.exit_code, "just moved on" in result.stderr) == (1, True)


def test_retry_of_a_drop_that_is_no_longer_set(site: Site) -> None:
    record = site.shelved("CT1", MISSING)
    text = site.config.read_text(encoding="utf-8").replace("'ct'", "'mr'")
    site.config.write_text(text, encoding="utf-8")
    assert site.run("retry", "CT1").exit_code == 1
    assert Path(str(record.target)).is_dir()


def test_retry_in_a_folder_without_ledger_makes_none(site: Site, tmp_path: Path) -> None:
    assert site.run("retry", "CT1").exit_code == 1
    assert not (tmp_path / "ledger.db").exists()


# --- simulate-gateway -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there without a word")
def test_simulate_gateway_says_where_it_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "folder_agent", "simulate-gateway", "--state", str(tmp_path / "gw"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        where = json.loads(running.stdout.readline())
        running.terminate()
        assert running.wait(20) == 0
    assert where["url"].startswith("https://127.0.0.1:")
    assert Path(where["ca_file"]).is_file()


def test_simulate_gateway_usage(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["simulate-gateway", "--misbehave", "{"]).exit_code == 2
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    assert CliRunner().invoke(app, ["simulate-gateway", "--port", "0", "--state", str(file)]).exit_code == 1


# --- with a running agent -------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there without a word")
def test_retry_wakes_a_running_agent(site: Site, tmp_path: Path) -> None:
    """The next try would be minutes away; the knock makes it now."""
    with Simulator(tmp_path / "gateway") as gateway:
        gateway.misbehave(do="code", match="/ris/study/add", code=1)
        text = site.config.read_text(encoding="utf-8").replace("https://127.0.0.1:1", gateway.url)
        text = text.replace("'secret-token'", f"'{gateway.behaviour.token}'\nca_file = '{gateway.ca_file}'")
        text += "settle_s = 0.1\nquiet_s = 0.3\n[sync]\nretry_first_s = 3000\nretry_max_s = 3000\n"
        site.config.write_text(text, encoding="utf-8")
        (site.drop / "CT1").mkdir()
        exam = {"patientId": "P1", "patientName": PATIENT, "patientSex": "M", "studyId": "S1", "accessNumber": "A1"}
        (site.drop / "CT1" / "CT1.json").write_text(json.dumps({**exam, "modality": "CT"}), encoding="utf-8")
        (site.drop / "CT1" / "CT1.pdf").write_bytes(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")
        command = [sys.executable, "-m", "folder_agent", "run", "--config", str(site.config)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
            try:
                wait_for(site, "WAITING")
                assert site.run("retry", "CT1").exit_code == 0
                wait_for(site, "DONE")
            finally:
                running.terminate()
        assert running.returncode == 0
    (done,) = site.json("status")["done"]
    assert (Path(done["where"]) / "receipt.json").is_file()
    assert PATIENT not in site.run("show", "CT1").stdout + json.dumps(site.json("show", "CT1"), ensure_ascii=False)


def wait_for(site: Site, state: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if site.json("status")["bundles"][state]:
            return
        time.sleep(0.2)
    raise AssertionError(site.run("status").stdout)
