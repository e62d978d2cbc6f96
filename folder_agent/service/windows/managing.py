"""Windows' service manager: install, start, stop, remove, status.

Touches the service's entry, our Event Log source, and what `rights` grants. Source: winsvc.h.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pywintypes
import win32service

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.status import Phrase
from folder_agent.edges.volumes import is_remote
from folder_agent.service.accounts import Account, account
from folder_agent.service.controlling import ServiceState, ServiceStatus
from folder_agent.service.naming import DESCRIPTION, NAME, TITLE, command_line
from folder_agent.service.places import written
from folder_agent.service.windows import event_log, rights
from folder_agent.settings import Settings

_RESTARTS_MS = (5_000, 30_000, 300_000)  # after each crash in a row; the last one is repeated
_RESET_S = 24 * 3600  # without a crash for so long, the row begins anew
_PRESHUTDOWN_MS = 60_000  # what Windows gives us before it goes down; its own default is 10 s
_START_S, _STOP_S = 3600.0, 180.0  # the longest that is waited for; a start or stop without progress ends earlier
_STUCK_S = 60.0  # without another checkpoint
_POLL_S = 0.1
_SPECIFIC = 1066  # ERROR_SERVICE_SPECIFIC_ERROR: the code is the service's own
_NEVER_STARTED = 1077
# Error codes of the service manager (winerror.h) as entries of the catalogue.
_CODES = {5: "FA-SERVICE-RIGHTS", 1060: "FA-SERVICE-ABSENT"}
_OF_THE_ACCOUNT = frozenset({1057, 1069, 1326, 1332})  # unknown, log-on failed, wrong password, not mapped
_STATES = {
    win32service.SERVICE_STOPPED: ServiceState.STOPPED,
    win32service.SERVICE_START_PENDING: ServiceState.STARTING,
    win32service.SERVICE_RUNNING: ServiceState.RUNNING,
    win32service.SERVICE_STOP_PENDING: ServiceState.STOPPING,
}


class WindowsServices:
    """A Controller."""

    def plan(self, config: Path, settings: Settings, name: str | None) -> str:
        """What would be registered."""
        who = _account(name)
        places = "\n".join(f"  {place}" for place in written(settings))
        return (
            f"service: {NAME}\ncommand: {command_line(Path(sys.executable), config)}\naccount: {who.name}\n"
            f"start: automatic, delayed\nrestart after a crash: {', '.join(f'{ms // 1000} s' for ms in _RESTARTS_MS)}\n"
            f"log on as a service: {'granted' if who.needs_the_right_to_log_on else 'has it'}\n"
            f"change rights on:\n{places}\n"
        )

    def install(
        self, config: Path, settings: Settings, name: str | None, ask_password: Callable[[str], str]
    ) -> Sequence[Phrase]:
        """Register the service, or change the one that is there; then its Event Log source and rights."""
        who = _account(name)
        with _translated(), _manager(win32service.SC_MANAGER_CREATE_SERVICE) as manager:
            password = ask_password(who.name) if who.needs_password else None
            told = _grant_log_on(who)
            service = _create_or_change(manager, command_line(Path(sys.executable), config), who, password)
            try:
                told += _configure(service)
            finally:
                win32service.CloseServiceHandle(service)
        try:
            event_log.register()
        except OSError as error:
            told.append(_not_done("事件日志来源", "the Event Log source", error.winerror or 0))
        return [*told, *_grant_folders(who, settings)]

    def start(self) -> None:
        """Start it, and wait until it runs. AgentError if it ends instead."""
        with _translated(), _service(win32service.SERVICE_START | win32service.SERVICE_QUERY_STATUS) as service:
            if _state(service) is not ServiceState.RUNNING:
                with contextlib.suppress(_Already):
                    _unless_already(lambda: win32service.StartService(service, None), 1056)
                _await(service, ServiceState.RUNNING, _START_S)

    def stop(self) -> None:
        """Stop it, and wait until it is stopped."""
        with _translated(), _service(win32service.SERVICE_STOP | win32service.SERVICE_QUERY_STATUS) as service:
            _stop(service)

    def remove(self) -> None:
        """Stop it, and take its entry and its Event Log source away."""
        access = win32service.SERVICE_STOP | win32service.SERVICE_QUERY_STATUS | 0x10000  # DELETE
        with _translated(), _service(access) as service:
            _stop(service)
            with contextlib.suppress(_Already):
                _unless_already(lambda: win32service.DeleteService(service), 1072)  # marked for deletion
        with contextlib.suppress(OSError):
            event_log.unregister()

    def status(self) -> ServiceStatus:
        """What the service manager says of it."""
        access = win32service.SERVICE_QUERY_STATUS | win32service.SERVICE_QUERY_CONFIG
        try:
            with _translated(), _service(access) as service:
                found = _query(service)
                settings = win32service.QueryServiceConfig(service)
        except AgentError as error:
            if error.problem.code == "FA-SERVICE-ABSENT":
                return ServiceStatus(ServiceState.ABSENT, "windows")
            raise
        code = _exit_code(found)
        state = _STATES.get(found["CurrentState"], ServiceState.STOPPED)
        if state is ServiceState.STOPPED and code:
            state = ServiceState.FAILED
        pending = state in (ServiceState.STARTING, ServiceState.STOPPING)
        return ServiceStatus(
            state,
            "windows",
            pid=found["ProcessId"] or None,
            account=settings[7],
            starts_by_itself=settings[1] == win32service.SERVICE_AUTO_START,
            command=settings[3],
            exit_code=code,
            text=f"checkpoint {found['CheckPoint']}" if pending else None,
        )


class _Already(Exception):
    """It is so already."""


def _unless_already(action: Callable[[], object], winerror: int) -> None:
    try:
        action()
    except pywintypes.error as error:
        if error.winerror == winerror:
            raise _Already from None
        raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The service manager's errors as entries of the catalogue."""
    try:
        yield
    except pywintypes.error as error:
        if error.winerror in _OF_THE_ACCOUNT:
            raise failure(problem("FA-SERVICE-ACCOUNT", detail=f"WinError {error.winerror}")) from None
        code = _CODES.get(error.winerror, "FA-SERVICE-FAILED")
        raise failure(problem(code, detail=f"{error.funcname}: WinError {error.winerror}")) from None


def _account(name: str | None) -> Account:
    try:
        return account(name)
    except ValueError as error:
        raise failure(problem("FA-SERVICE-ACCOUNT", detail=str(error))) from None


@contextlib.contextmanager
def _manager(access: int) -> Iterator[Any]:
    manager = win32service.OpenSCManager(None, None, access | win32service.SC_MANAGER_CONNECT)
    try:
        yield manager
    finally:
        win32service.CloseServiceHandle(manager)


@contextlib.contextmanager
def _service(access: int) -> Iterator[Any]:
    with _manager(0) as manager:
        service = win32service.OpenService(manager, NAME, access)
        try:
            yield service
        finally:
            win32service.CloseServiceHandle(service)


def _create_or_change(manager: Any, command: str, who: Account, password: str | None) -> Any:
    own, automatic = win32service.SERVICE_WIN32_OWN_PROCESS, win32service.SERVICE_AUTO_START
    common: Any = (own, automatic, win32service.SERVICE_ERROR_NORMAL, command, None, 0, None, who.name, password)
    everything = win32service.SERVICE_ALL_ACCESS
    try:
        return win32service.CreateService(manager, NAME, TITLE, everything, *common)
    except pywintypes.error as error:
        if error.winerror != 1073:  # it exists
            raise
    service = win32service.OpenService(manager, NAME, everything)
    win32service.ChangeServiceConfig(service, *common, TITLE)  # type: ignore[call-arg]  # eleven, says its page
    return service


def _configure(service: Any) -> list[Phrase]:
    """What CreateService has no parameters for. Each by itself: an old Windows may lack one."""
    restarts = [(win32service.SC_ACTION_RESTART, ms) for ms in _RESTARTS_MS]
    actions = {"ResetPeriod": _RESET_S, "RebootMsg": None, "Command": None, "Actions": restarts}
    settings: list[tuple[int, Any, str, str]] = [
        (win32service.SERVICE_CONFIG_DESCRIPTION, DESCRIPTION, "说明", "its description"),
        (win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, True, "延迟启动", "the delayed start"),
        (win32service.SERVICE_CONFIG_FAILURE_ACTIONS, actions, "故障后重启", "the restart after a crash"),
        # Only a crash is followed by a restart: settings that cannot be used would be tried for ever.
        (win32service.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, False, "故障后重启", "the restart after a crash alone"),
        (win32service.SERVICE_CONFIG_PRESHUTDOWN_INFO, _PRESHUTDOWN_MS, "关机前的时间", "the time before a shutdown"),
    ]
    told = []
    for level, value, zh, en in settings:
        try:
            win32service.ChangeServiceConfig2(service, level, value)
        except pywintypes.error as error:
            told.append(_not_done(zh, en, error.winerror))
    return told


def _grant_log_on(who: Account) -> list[Phrase]:
    if not who.needs_the_right_to_log_on:
        return []
    try:
        rights.let_log_on_as_service(who)
    except pywintypes.error as error:
        if error.winerror in _OF_THE_ACCOUNT:
            raise
        return [_not_done("「作为服务登录」权限", 'the right to "log on as a service"', error.winerror)]
    return []


def _grant_folders(who: Account, settings: Settings) -> list[Phrase]:
    """Rights on local folders, which are made if need be; for shares a person is told what to do there."""
    told = []
    for place in written(settings) if who.name != "LocalSystem" else ():
        if is_remote(place):
            whom = who.name if who.reaches_shares_as_itself else "DOMAIN\\MACHINE$"
            told.append(
                Phrase(f"请在共享 {place} 上给 {whom} 修改权限", f"give {whom} the right to change files on {place}")
            )
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
            rights.let_modify(who, place)
        except pywintypes.error as error:
            told.append(_not_done(f"{place} 的权限", f"the rights on {place}", error.winerror))
        except OSError as error:
            told.append(_not_done(f"{place} 的权限", f"the rights on {place}", error.winerror or 0))
    return told


def _not_done(zh: str, en: str, winerror: int) -> Phrase:
    return Phrase(f"未能设置{zh}(WinError {winerror})", f"{en} could not be set (WinError {winerror})")


def _query(service: Any) -> dict[str, int]:
    found: Any = win32service.QueryServiceStatusEx(service)  # a dictionary, whatever the stubs say
    return dict(found)


def _state(service: Any) -> ServiceState:
    return _STATES.get(_query(service)["CurrentState"], ServiceState.STOPPED)


def _stop(service: Any) -> None:
    if _state(service) is ServiceState.STOPPED:
        return
    with contextlib.suppress(_Already):
        _unless_already(lambda: win32service.ControlService(service, win32service.SERVICE_CONTROL_STOP), 1062)
    _await(service, ServiceState.STOPPED, _STOP_S)


def _await(service: Any, wanted: ServiceState, most_s: float) -> None:
    """Until it is so. AgentError if it makes no progress, or ends instead."""
    end = time.monotonic() + most_s
    checkpoint, moved = -1, time.monotonic()
    while True:
        found = _query(service)
        state = _STATES.get(found["CurrentState"], ServiceState.STOPPED)
        if state is wanted:
            return
        if state is ServiceState.STOPPED:
            raise failure(problem("FA-SERVICE-START", detail=str(_exit_code(found))))
        now = time.monotonic()
        if found["CheckPoint"] != checkpoint:
            checkpoint, moved = found["CheckPoint"], now
        if now > end or now - moved > _STUCK_S:
            raise failure(problem("FA-SERVICE-FAILED", detail=f"it stays {state}"))
        time.sleep(_POLL_S)


def _exit_code(found: dict[str, int]) -> int | None:
    code = found["Win32ExitCode"]
    if code == _NEVER_STARTED:
        return None
    return found["ServiceSpecificExitCode"] if code == _SPECIFIC else code
