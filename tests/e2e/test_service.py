"""`folder-agent service …` as a person types it, with a service manager of the test's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from folder_agent.cli.app import app
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.status import Phrase
from folder_agent.service import controlling
from folder_agent.service.controlling import ServiceState, ServiceStatus
from folder_agent.settings import Settings

OURS, THEIRS = ("--account", "--user") if sys.platform == "win32" else ("--user", "--account")


class FakeManager:
    """A service manager that remembers."""

    def __init__(self, state: ServiceState = ServiceState.STOPPED) -> None:
        self.state = state
        self.done: list[str] = []
        self.password: str | None = None

    def plan(self, config: Path, settings: Settings, account: str | None) -> str:
        return f"plan\n  {config} {account}\n"

    def install(
        self, config: Path, settings: Settings, account: str | None, ask_password: Callable[[str], str]
    ) -> Sequence[Phrase]:
        self.done.append(f"install {config.name} {account}")
        if account == "H\\svc":
            self.password = ask_password(account)
        return [Phrase("注意", "take note")]

    def start(self) -> None:
        self.done.append("start")
        self.state = ServiceState.RUNNING

    def stop(self) -> None:
        if self.state is ServiceState.ABSENT:
            raise failure(problem("FA-SERVICE-ABSENT"))
        self.done.append("stop")
        self.state = ServiceState.STOPPED

    def remove(self) -> None:
        self.done.append("remove")

    def status(self) -> ServiceStatus:
        return ServiceStatus(self.state, "fake", pid=7, account="H\\svc", starts_by_itself=True, exit_code=0)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> FakeManager:
    made = FakeManager()
    monkeypatch.setattr(controlling, "controller", lambda: made)
    monkeypatch.setattr("folder_agent.cli.servicing.controller", lambda: made)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "fa.toml"
    drop = json.dumps(str(tmp_path / "drop"))
    text = f'[gateway]\nurl = "https://10.0.0.5"\napp_id = "1"\n[[drops]]\nname = "ct"\npath = {drop}\n'
    file.write_text(text, encoding="utf-8")
    return file


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["service", *arguments], input=typed, env={"FOLDER_AGENT_LANG": "en"})


def test_install_with_the_settings_and_whom_to_run_as(manager: FakeManager, config: Path) -> None:
    done = run("install", "--config", str(config), OURS, "pacs")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "take note"
    assert manager.done == ["install fa.toml pacs"]


def test_a_dry_run_shows_and_does_nothing(manager: FakeManager, config: Path) -> None:
    done = run("install", "--config", str(config), "--dry-run")
    assert (done.exit_code, done.stdout) == (0, f"plan\n  {config} None\n")
    assert manager.done == []


def test_the_password_comes_by_standard_input_and_is_shown_nowhere(manager: FakeManager, config: Path) -> None:
    done = run("install", "--config", str(config), OURS, "H\\svc", "--password-stdin", typed="geheim 密 \r\nmore\n")
    assert (done.exit_code, manager.password) == (0, "geheim 密 ")
    assert "geheim" not in done.output


def test_settings_that_cannot_be_used_install_nothing(manager: FakeManager, config: Path) -> None:
    config.write_text("[gateway]\n", encoding="utf-8")
    assert run("install", "--config", str(config)).exit_code == 2
    assert manager.done == []


def test_the_other_platforms_option_is_refused(manager: FakeManager, config: Path) -> None:
    assert run("install", "--config", str(config), THEIRS, "x").exit_code == 2
    assert manager.done == []


def test_start_stop_restart_remove(manager: FakeManager) -> None:
    assert run("start").stdout == "running\n"
    assert run("stop").stdout == "stopped\n"
    assert run("restart").stdout == "running\n"
    assert run("remove").exit_code == 0
    assert manager.done == ["start", "stop", "stop", "start", "remove"]


def test_what_is_not_installed_is_said_in_words(manager: FakeManager) -> None:
    manager.state = ServiceState.ABSENT
    done = run("stop")
    assert (done.exit_code, "folder-agent service install" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("state", "code"), [(ServiceState.RUNNING, 0), (ServiceState.ABSENT, 4), (ServiceState.FAILED, 3)]
)
def test_the_status_is_told_for_people_scripts_and_by_the_exit_code(
    manager: FakeManager, state: ServiceState, code: int
) -> None:
    manager.state = state
    told = run("status", "--json")
    assert (told.exit_code, json.loads(told.stdout)["state"]) == (code, str(state))
    shown = run("status")
    assert shown.exit_code == code
    assert "H\\svc" in shown.stdout
    assert "状态" in run("status", "--lang", "zh").stdout
