"""What the service manager is asked for, by the real calls into it; what Wine does not take is told.

Beside it, what our service answers to the service manager, whose side is played here: Wine sends no preshutdown.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

assert sys.platform == "win32"

import pywintypes
import win32service

from folder_agent import settings
from folder_agent.core.errors import AgentError
from folder_agent.service.controlling import ServiceState
from folder_agent.service.naming import DESCRIPTION, NAME
from folder_agent.service.windows import hosting, managing, rights
from folder_agent.service.windows.managing import WindowsServices

_DESCRIPTION, _ACTIONS, _DELAYED, _FLAG, _PRESHUTDOWN = 1, 2, 3, 4, 7  # SERVICE_CONFIG_… (winsvc.h)
_RESTART = 1  # SC_ACTION_RESTART


class Asked:
    """Writes down what the service manager is asked for, and lets it go there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.levels: dict[int, Any] = {}
        self.passwords: list[str | None] = []
        change, create = win32service.ChangeServiceConfig2, win32service.CreateService

        def changed(service: Any, level: int, value: Any) -> None:
            self.levels[level] = value
            change(service, level, value)

        def created(*values: Any) -> Any:
            self.passwords.append(values[-1])
            return create(*values)

        monkeypatch.setattr(win32service, "ChangeServiceConfig2", changed)
        monkeypatch.setattr(win32service, "CreateService", created)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    file = tmp_path / "folder-agent.toml"
    file.write_text(
        f"[gateway]\nurl = 'https://127.0.0.1:1'\napp_id = '1251'\ntoken = '{'0' * 32}'\n"
        f"[[drops]]\nname = 'ct'\npath = '{tmp_path / 'drop'}'\n",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def services() -> Iterator[WindowsServices]:
    made = WindowsServices()
    yield made
    if made.status().state is not ServiceState.ABSENT:
        made.remove()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def install(services: WindowsServices, config: Path, account: str, password: str | None = None) -> list[str]:
    """Install; what the administrator is told. Asked for a password where none is given, it fails."""

    def ask(name: str) -> str:
        assert password is not None, f"asked for the password of {name}"
        return password

    return [told.en for told in services.install(config, settings.load(config, {}), account, ask)]


def held(level: int) -> Any:
    """What the service manager has on record."""
    manager = win32service.OpenSCManager(None, None, win32service.SC_MANAGER_CONNECT)
    service = win32service.OpenService(manager, NAME, win32service.SERVICE_QUERY_CONFIG)
    return win32service.QueryServiceConfig2(service, level)


def test_restarts_a_delayed_start_and_time_before_a_shutdown_are_asked_for(
    services: WindowsServices, config: Path, asked: Asked
) -> None:
    told = install(services, config, "LocalSystem")
    assert (held(_DESCRIPTION), held(_PRESHUTDOWN)) == (DESCRIPTION, 60_000)
    assert asked.levels[_DELAYED] is True
    assert asked.levels[_FLAG] is False
    assert asked.levels[_ACTIONS]["Actions"] == [(_RESTART, 5_000), (_RESTART, 30_000), (_RESTART, 300_000)]
    assert asked.levels[_ACTIONS]["ResetPeriod"] == 24 * 3600
    for line in told:  # what Wine does not know; anything else went through
        assert line.endswith("could not be set (WinError 124)")


def test_a_managed_account_is_registered_without_a_password(
    services: WindowsServices, config: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[str] = []
    monkeypatch.setattr(rights, "let_log_on_as_service", lambda who: granted.append(who.name))  # no domain here
    told = install(services, config, "HOSPITAL\\gmsa-pacs$")
    assert granted == ["HOSPITAL\\gmsa-pacs$"]
    assert asked.passwords == [None]
    assert services.status().account == "HOSPITAL\\gmsa-pacs$"
    assert any("the rights on" in line for line in told), "a domain that is not there cannot be given rights"


def test_another_accounts_password_goes_to_the_service_manager_alone(
    services: WindowsServices, config: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "let_log_on_as_service", lambda who: None)
    told = install(services, config, "HOSPITAL\\svc-pacs", "geheim-秘密")
    assert asked.passwords == ["geheim-秘密"]
    assert "geheim" not in "".join(told) + (services.status().command or "")


def test_an_account_that_nobody_has_is_refused_before_anything_is_registered(
    services: WindowsServices, config: Path
) -> None:
    with pytest.raises(AgentError) as caught:
        install(services, config, "HOSPITAL\\gmsa-pacs$")
    assert caught.value.problem.code == "FA-SERVICE-ACCOUNT"
    assert services.status().state is ServiceState.ABSENT


def test_installing_again_changes_the_entry_that_is_there(services: WindowsServices, config: Path) -> None:
    install(services, config, "LocalSystem")
    other = config.with_name("other.toml")
    config.rename(other)
    install(services, other, "NetworkService")
    found = services.status()
    assert found.account == "NT AUTHORITY\\NetworkService"
    assert str(other) in (found.command or "")
    assert found.state is ServiceState.STOPPED


@pytest.mark.parametrize("action", ["start", "stop", "remove"])
def test_what_is_not_installed_says_so(action: str, services: WindowsServices) -> None:
    with pytest.raises(AgentError) as caught:
        getattr(services, action)()
    assert caught.value.problem.code == "FA-SERVICE-ABSENT"


# --- the service's side -----------------------------------------------------------------------------------------------


class Service(hosting.AgentService):
    """Ours, but for the handle that only the service manager gives; its reports are written down."""

    def __init__(self) -> None:
        self._lock, self._over = threading.Lock(), threading.Event()
        self._state, self._asked_to_stop, self._stop = win32service.SERVICE_START_PENDING, False, None
        self.reports: list[tuple[int, int, int, int]] = []  # state, wait hint, exit code, our own exit code
        self.stops = 0

    def ReportServiceStatus(self, state: int, waitHint: int = 0, win32ExitCode: int = 0, svcExitCode: int = 0) -> None:  # noqa: N802, N803
        self.reports.append((state, waitHint, win32ExitCode, svcExitCode))

    def states(self) -> list[int]:
        return [state for state, *_ in self.reports]

    def stop_agent(self) -> None:
        self.stops += 1


START, RUN, STOP = win32service.SERVICE_START_PENDING, win32service.SERVICE_RUNNING, win32service.SERVICE_STOP_PENDING


def test_it_takes_stop_shutdown_and_preshutdown() -> None:
    accepted = Service().GetAcceptedControls()
    for control in (win32service.SERVICE_ACCEPT_STOP, win32service.SERVICE_ACCEPT_SHUTDOWN, 0x100):
        assert accepted & control


@pytest.mark.parametrize("how", ["stop", "shutdown", "preshutdown"])
def test_each_end_lets_the_step_in_hand_finish_and_is_told_as_a_stop_that_takes_time(how: str) -> None:
    service = Service()
    assert service.began(service.stop_agent)
    if how == "preshutdown":
        service.SvcOtherEx(0xF, 0, None)
    else:
        getattr(service, f"Svc{how.capitalize()}")()
    assert service.stops == 1
    assert service.states() == [RUN, STOP]
    assert service.reports[-1][1] == 20_000  # ms until the next word


def test_other_controls_do_nothing() -> None:
    service = Service()
    assert service.began(service.stop_agent)
    service.SvcOtherEx(0xD, 0, None)  # the power's state has changed
    assert (service.stops, service.states()) == (0, [RUN])


def test_asked_to_stop_while_it_starts_it_never_says_that_it_runs() -> None:
    service = Service()
    service.SvcStop()
    assert not service.began(service.stop_agent)
    assert service.stops == 1
    assert RUN not in service.states()


def test_a_start_that_takes_long_tells_of_progress_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "_TICK_S", 0.01)
    service = Service()
    thread = threading.Thread(target=service._tick)
    thread.start()
    while len(service.reports) < 5:
        service._over.wait(0.01)
    service._over.set()
    thread.join()
    assert set(service.reports) == {(START, 20_000, 0, 0)}


def test_a_stop_that_hangs_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "_TICK_S", 0.01)
    monkeypatch.setattr(hosting, "_MOST_STOP_S", 0.05)
    ended: list[int] = []
    service = Service()

    def end(code: int) -> None:
        ended.append(code)
        service._over.set()

    monkeypatch.setattr(service, "_end", end)
    service.SvcStop()
    service._tick()
    assert ended == [0]


def test_pywintypes_errors_of_the_service_manager_become_words() -> None:
    with pytest.raises(AgentError) as caught, managing._translated():
        raise pywintypes.error(5, "OpenSCManager", "拒绝访问。")
    assert caught.value.problem.code == "FA-SERVICE-RIGHTS"
    with pytest.raises(AgentError) as caught, managing._translated():
        raise pywintypes.error(1069, "StartService", "由于登录失败而无法启动服务。")
    assert caught.value.problem.code == "FA-SERVICE-ACCOUNT"
    with pytest.raises(AgentError) as caught, managing._translated():
        raise pywintypes.error(1053, "StartService", "服务没有及时响应启动或控制请求。")
    assert dict(caught.value.problem.values)["detail"] == "StartService: WinError 1053"
