"""The installer's steps, as it calls them: a file of answers, a step, a report; with a service of our own making."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from folder_agent import __version__, settings
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.status import Phrase
from folder_agent.edges.credentials import read_token
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.ledger.migrations import STEPS
from folder_agent.installing.steps import run
from folder_agent.installing.texts import Ending
from folder_agent.service.controlling import ServiceState, ServiceStatus
from folder_agent.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef"
SETTINGS = "[gateway]\nurl = 'https://10.0.0.5'\napp_id = '1'\n[[drops]]\nname = 'ct'\npath = 'drop'\n"


class Service:
    """A Controller that remembers."""

    def __init__(self) -> None:
        self.state = ServiceState.ABSENT
        self.account: str | None = None
        self.password: str | None = None
        self.calls: list[str] = []
        self.breaks: set[str] = set()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.breaks:
            raise failure(problem("FA-SERVICE-FAILED", detail=name))

    def plan(self, config: Path, loaded: Settings, account: str | None) -> str:
        return ""

    def install(
        self, config: Path, loaded: Settings, account: str | None, ask_password: Callable[[str], str]
    ) -> Sequence[Phrase]:
        self._call("install")
        self.state, self.account = ServiceState.STOPPED, account
        if account is not None and account.startswith("HOSPITAL\\svc"):
            self.password = ask_password(account)
        return [Phrase("请在共享上给权限", "give it rights on the share")]

    def start(self) -> None:
        self._call("start")
        self.state = ServiceState.RUNNING

    def stop(self) -> None:
        self._call("stop")
        self.state = ServiceState.STOPPED

    def remove(self) -> None:
        self._call("remove")
        self.state = ServiceState.ABSENT

    def status(self) -> ServiceStatus:
        return ServiceStatus(self.state, "windows", account=self.account)


class Machine:
    """A data folder, a drop folder, and steps to take."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "数据 data"
        self.drop = folder / "投放 drop"
        self.drop.mkdir()
        self.service = Service()
        self.report = ""

    @property
    def settings(self) -> Path:
        return self.data / "folder-agent.toml"

    def step(self, step: str, **answers: object) -> int:
        given = {"data": self.data, "language": "en", **answers}
        file = self.folder / "answers"
        file.write_text("".join(f"{key}={value}\r\n" for key, value in given.items()), encoding="utf-16", newline="")
        code = run(step, file, self.folder / "report", self.service)
        assert not file.exists(), "the answers may hold a token"
        self.report = (self.folder / "report").read_text(encoding="utf-16")
        return code

    def install(self, **answers: object) -> None:
        """A first installation from pages."""
        given = {"drop": self.drop, "url": "https://10.0.0.5", "app_id": "1251", "token": TOKEN, **answers}
        assert self.step("prepare", **given) == Ending.DONE, self.report
        assert self.step("configure", **given) == Ending.DONE, self.report


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_first_installation_from_the_pages(machine: Machine) -> None:
    machine.install(fingerprint="sha256:" + "ab" * 32, program=machine.folder)
    loaded = settings.load(machine.settings, {})
    assert (loaded.gateway.url, loaded.gateway.app_id) == ("https://10.0.0.5", "1251")
    assert loaded.gateway.fingerprint == "ab" * 32
    assert [drop.path for drop in loaded.drops] == [machine.drop]
    assert read_token(loaded) == TOKEN
    assert TOKEN not in machine.settings.read_text(encoding="utf-8") + machine.report
    assert machine.data.stat().st_mode & 0o077 == 0
    assert machine.service.calls == ["install"]
    assert machine.service.account == "NT SERVICE\\folder-agent"
    assert "give it rights on the share" in machine.report
    link = (machine.folder / "console.url").read_text(encoding="ascii")
    assert "URL=http://127.0.0.1:8765/" in link


def test_a_first_installation_with_a_settings_file(machine: Machine) -> None:
    given = machine.folder / "rollout.toml"
    given.write_text("\ufeff" + SETTINGS, encoding="utf-8")
    tokens = machine.folder / "token.txt"
    tokens.write_text(TOKEN + "\r\n", encoding="utf-16")
    password = machine.folder / "password.txt"
    password.write_text(" p w \r\n", encoding="utf-8")
    answers = {"config": given, "token_file": tokens, "account": "HOSPITAL\\svc", "password_file": password}
    assert machine.step("prepare", **answers) == Ending.DONE, machine.report
    assert machine.step("configure", **answers) == Ending.DONE, machine.report
    loaded = settings.load(machine.settings, {})
    assert loaded.drops[0].path == machine.data / "drop", "relative paths begin where the settings lie"
    assert read_token(loaded) == TOKEN
    assert (machine.service.account, machine.service.password) == ("HOSPITAL\\svc", " p w ")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "Lacking: /DROP /URL /APPID"),
        ({"drop": "d", "url": "ftp://x", "app_id": "1"}, "folder-agent.toml: gateway.url"),
        ({"drop": "d", "url": "https://x", "app_id": "1", "fingerprint": "zz"}, "gateway.fingerprint"),
        ({"config": "nowhere.toml"}, "cannot be read"),
        ({"drop": "d", "url": "https://x", "app_id": "1", "token_file": "nowhere"}, "is not there"),
        ({"drop": "d", "url": "https://x", "app_id": "1", "account": "svc"}, "with its domain"),
        ({"drop": "d", "url": "https://x", "app_id": "1", "account": "H\\svc"}, "needs a password"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_changed(
    machine: Machine, answers: dict[str, str], said: str
) -> None:
    assert machine.step("prepare", **answers) == Ending.UNUSABLE
    assert said in machine.report
    assert not machine.data.exists()
    assert machine.service.calls == []


def test_without_a_token_it_says_what_to_do(machine: Machine) -> None:
    assert machine.step("prepare", drop=machine.drop, url="https://x", app_id="1") == Ending.DONE
    assert "folder-agent secret set" in machine.report


def test_an_upgrade_keeps_settings_token_and_account_and_copies_all(machine: Machine) -> None:
    machine.install(account="HOSPITAL\\gmsa$")
    url = settings.load(machine.settings, {}).ledger.url or ""
    ledger = open_ledger(url)
    ledger.remember("x", "kept")
    machine.settings.write_text(before := machine.settings.read_text(encoding="utf-8") + "\n# ours\n", encoding="utf-8")
    machine.service.state = ServiceState.RUNNING
    assert machine.step("prepare", previous="0.0.9") == Ending.DONE, machine.report
    assert machine.service.calls == ["install", "stop"]
    assert machine.step("configure", previous="0.0.9") == Ending.DONE, machine.report
    ledger.close()  # open until now: what is in the -wal alone must be in the copy
    assert machine.service.account == "HOSPITAL\\gmsa$"
    assert machine.settings.read_text(encoding="utf-8") == before
    [kept] = (machine.data / "backups").iterdir()
    assert kept.name.startswith("0.0.9 ")
    assert (kept / "folder-agent.toml").read_text(encoding="utf-8") == before
    assert (kept / "folder-agent.toml.secret").exists()
    with closing(sqlite3.connect(kept / "ledger.db")) as copy:
        assert copy.execute("SELECT content FROM notes WHERE name = 'x'").fetchone() == ("kept",)


def test_an_older_ledger_is_brought_up_to_date_and_its_copy_stays_old(machine: Machine) -> None:
    machine.install()
    url = settings.load(machine.settings, {}).ledger.url or ""
    open_ledger(url).close()
    file = machine.data / "ledger.db"
    with closing(sqlite3.connect(file)) as old, old:
        old.execute("DELETE FROM schema_version WHERE version = ?", (len(STEPS),))
        for column in ("role", "series", "digest"):
            old.execute(f"ALTER TABLE files DROP COLUMN {column}")
        old.execute("ALTER TABLE bundles DROP COLUMN posted")
    assert machine.step("configure", previous="0.2.0") == Ending.DONE, machine.report
    [kept] = (machine.data / "backups").iterdir()
    assert [version_of(path) for path in (file, kept / "ledger.db")] == [len(STEPS), len(STEPS) - 1]


def version_of(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as opened:
        return int(opened.execute("SELECT max(version) FROM schema_version").fetchone()[0])


def test_an_account_with_a_password_that_nobody_gave_again_stays(machine: Machine) -> None:
    machine.install(account="HOSPITAL\\svc", password="secret")
    assert machine.step("configure", previous="0.0.9") == Ending.DONE, machine.report
    assert machine.service.calls == ["install"]
    assert "keeps its account HOSPITAL\\svc" in machine.report


def test_a_downgrade_is_refused(machine: Machine) -> None:
    machine.install()
    machine.service.calls.clear()
    assert machine.step("prepare", previous="99.0.0") == Ending.DOWNGRADE
    assert "99.0.0 is installed" in machine.report
    assert machine.service.calls == []


def test_a_ledger_of_a_newer_version_is_refused(machine: Machine) -> None:
    machine.install()
    url = settings.load(machine.settings, {}).ledger.url or ""
    open_ledger(url).close()
    with closing(sqlite3.connect(machine.data / "ledger.db")) as newer, newer:
        newer.execute("INSERT INTO schema_version VALUES (?)", (len(STEPS) + 1,))
    assert machine.step("prepare") == Ending.DOWNGRADE
    assert "of a newer version" in machine.report


def test_the_same_version_again_repairs(machine: Machine) -> None:
    machine.install()
    assert machine.step("prepare", previous=__version__) == Ending.DONE, machine.report


def test_a_service_that_does_not_stop_or_start_is_told(machine: Machine) -> None:
    machine.install()
    machine.service.breaks = {"stop", "start"}
    assert machine.step("prepare") == Ending.SERVICE
    assert machine.step("begin") == Ending.SERVICE
    assert "FA-SERVICE-FAILED" in machine.report
    assert "settings: " in machine.report, "doctor has not been asked"


def test_a_step_that_breaks_says_so(machine: Machine) -> None:
    machine.data.write_text("a file where the folder should be", encoding="utf-8")
    given = {"drop": machine.drop, "url": "https://x", "app_id": "1", "token": TOKEN}
    assert machine.step("configure", **given) == Ending.FAILED
    assert "FileExistsError" in machine.report
    assert TOKEN not in machine.report


def test_the_removal_keeps_everything_unless_told_otherwise(machine: Machine) -> None:
    machine.install()
    before = sorted(machine.data.rglob("*"))
    assert machine.step("remove") == Ending.DONE
    assert machine.service.calls[-1] == "remove"
    assert sorted(machine.data.rglob("*")) == before
    assert f"the drop folder is not touched: {machine.drop}" in machine.report


def test_the_removal_of_data_spares_drop_folders_within_and_what_is_not_ours(machine: Machine) -> None:
    inside = machine.data / "logs" / "drop"
    machine.install(drop=inside)
    (inside / "failed").mkdir(parents=True)
    exam = inside / "failed" / "CT1.dcm"
    exam.write_bytes(b"the only copy")
    other = machine.data / "notes of mine.txt"
    other.write_text("mine", encoding="utf-8")
    (machine.data / "locks").mkdir()
    assert machine.step("remove", purge=1) == Ending.DONE, machine.report
    assert exam.read_bytes() == b"the only copy"
    assert {path.name for path in machine.data.iterdir()} == {"logs", "notes of mine.txt"}
    assert str(other) in machine.report


def test_the_removal_of_data_leaves_nothing_of_ours(machine: Machine) -> None:
    machine.install()
    open_ledger(settings.load(machine.settings, {}).ledger.url or "").close()
    assert machine.step("configure", previous="0.0.9") == Ending.DONE
    assert machine.step("remove", purge=1) == Ending.DONE, machine.report
    assert not machine.data.exists()
    assert machine.drop.is_dir()


def test_with_settings_that_cannot_be_read_no_data_are_deleted(machine: Machine) -> None:
    machine.install()
    machine.settings.write_text("not TOML", encoding="utf-8")
    assert machine.step("remove", purge=1) == Ending.UNUSABLE
    assert machine.settings.exists()
