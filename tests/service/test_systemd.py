"""The unit that is written, and what systemctl is asked; judged by systemd's own tool where that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from folder_agent import settings
from folder_agent.core.errors import AgentError
from folder_agent.service.controlling import ServiceState
from folder_agent.service.systemd import Systemd, unit
from folder_agent.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux'")
AWKWARD = '/srv/影像 100% "of" $HOME\\x'


@pytest.fixture
def loaded(tmp_path: Path) -> Settings:
    file = tmp_path / "folder-agent.toml"
    file.write_text(
        "[gateway]\nurl = 'https://10.0.0.5'\napp_id = '1'\n"
        f"[log]\ndir = '/var/log/folder-agent'\n[ledger]\nurl = 'sqlite:////var/lib/folder-agent/ledger.db'\n"
        f"[[drops]]\nname = 'ct'\npath = '{AWKWARD}'\ndone = '/srv/done'\n",
        encoding="utf-8",
    )
    return settings.load(file, {})


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_what_the_agent_writes_to_is_writable_and_nothing_else(loaded: Settings) -> None:
    (paths,) = lines(unit(Path("/etc/fa.toml"), loaded, "pacs", Path("/opt/fa/bin/python")), "ReadWritePaths")
    assert '"-/srv/影像 100%% \\"of\\" $HOME\\\\x"' in paths
    for place in ("-/srv/done", "-/var/log/folder-agent", "-/var/lib/folder-agent", "-/run/lock"):
        assert place in paths.split()
    assert "/failed" not in paths  # it lies in the drop folder


def test_a_program_or_settings_file_of_any_name_is_started(loaded: Settings) -> None:
    (start,) = lines(unit(Path(AWKWARD), loaded, "pacs", Path("/opt/fa/python")), "ExecStart")
    assert start == '/opt/fa/python -m folder_agent run --config "/srv/影像 100%% \\"of\\" $$HOME\\\\x"'


def test_settings_that_cannot_be_used_are_not_tried_again(loaded: Settings) -> None:
    text = unit(Path("/etc/fa.toml"), loaded, "pacs", Path("/opt/fa/python"))
    assert lines(text, "Restart") == ["on-failure"]
    assert lines(text, "RestartPreventExitStatus") == ["2"]
    assert lines(text, "Type") == ["notify"]
    assert lines(text, "User") == ["pacs"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_every_line_of_it(loaded: Settings, tmp_path: Path) -> None:
    file = tmp_path / "folder-agent.service"
    file.write_text(unit(Path(AWKWARD), loaded, "root", Path(sys.executable)), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "folder-agent" in line]) == (0, [])


class Systemctl:
    """Answers as systemctl does, and remembers what it was asked."""

    def __init__(self, show: str = "LoadState=loaded\nActiveState=active\n", fails: str = "") -> None:
        self.asked: list[str] = []
        self.show, self.fails = show, fails

    def __call__(self, command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(" ".join(command))
        if command[1] == "show":
            return subprocess.CompletedProcess(command, 0, self.show, "")
        return subprocess.CompletedProcess(command, 1 if self.fails else 0, "", self.fails)


def no_password(_: str) -> str:
    raise AssertionError("nobody needs one on Linux")


def test_install_writes_the_unit_and_has_it_started_with_the_machine(loaded: Settings, tmp_path: Path) -> None:
    systemctl = Systemctl()
    told = Systemd(tmp_path, systemctl).install(Path("/etc/fa.toml"), loaded, "pacs", no_password)
    assert "User=pacs" in (tmp_path / "folder-agent.service").read_text(encoding="utf-8")
    assert systemctl.asked == ["systemctl daemon-reload", "systemctl enable folder-agent.service"]
    assert not any("--user" in phrase.en for phrase in told)


def test_root_is_advised_against(loaded: Settings, tmp_path: Path) -> None:
    told = Systemd(tmp_path, Systemctl()).install(Path("/etc/fa.toml"), loaded, "root", no_password)
    assert any("--user" in phrase.en for phrase in told)


def test_remove_stops_disables_and_deletes(loaded: Settings, tmp_path: Path) -> None:
    systemctl = Systemctl()
    service = Systemd(tmp_path, systemctl)
    service.install(Path("/etc/fa.toml"), loaded, "pacs", no_password)
    service.remove()
    assert "systemctl disable --now folder-agent.service" in systemctl.asked
    assert not list(tmp_path.glob("*.service"))


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        ("LoadState=not-found\nActiveState=inactive\n", ServiceState.ABSENT),
        ("LoadState=loaded\nActiveState=activating\nStatusText=starting: opening\n", ServiceState.STARTING),
        ("LoadState=loaded\nActiveState=active\nMainPID=7\nUnitFileState=enabled\n", ServiceState.RUNNING),
        ("LoadState=loaded\nActiveState=deactivating\n", ServiceState.STOPPING),
        ("LoadState=loaded\nActiveState=failed\nExecMainStatus=2\n", ServiceState.FAILED),
        ("LoadState=loaded\nActiveState=inactive\n", ServiceState.STOPPED),
    ],
)
def test_the_states_are_those_of_systemd(shown: str, state: ServiceState, tmp_path: Path) -> None:
    found = Systemd(tmp_path, Systemctl(shown)).status()
    assert found.state is state
    assert found.text == ("starting: opening" if state is ServiceState.STARTING else None)
    assert found.pid == (7 if state is ServiceState.RUNNING else None)
    assert found.exit_code == (2 if state is ServiceState.FAILED else None)


@pytest.mark.parametrize("act", [Systemd.start, Systemd.stop, Systemd.remove])
def test_what_is_not_installed_is_said_to_be_so(act: Callable[[Systemd], None], tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        act(Systemd(tmp_path, Systemctl("LoadState=not-found\n")))
    assert caught.value.problem.code == "FA-SERVICE-ABSENT"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Failed to start folder-agent.service: Interactive authentication required.", "FA-SERVICE-RIGHTS"),
        ("Failed to start folder-agent.service: Access denied", "FA-SERVICE-RIGHTS"),
        ("Job for folder-agent.service failed.", "FA-SERVICE-FAILED"),
    ],
)
def test_what_systemctl_refuses_becomes_words(said: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        Systemd(tmp_path, Systemctl(fails=said)).start()
    assert caught.value.problem.code == code


def test_a_machine_without_systemd_says_so(tmp_path: Path) -> None:
    def absent(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    with pytest.raises(AgentError) as caught:
        Systemd(tmp_path, absent).status()
    assert caught.value.problem.code == "FA-SERVICE-FAILED"
