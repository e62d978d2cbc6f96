"""The process that Windows' service manager starts: our own interpreter, hosting one service, which is the agent.

Touches the service manager; `serving` does the work. Nothing else is imported before the service manager has heard from
us: it waits for 30 s, and on a slow machine that boots, importing the agent takes a good part of that.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import servicemanager
import win32service
import win32serviceutil

from folder_agent.service.naming import NAME, TITLE

_TICK_S = 2.0  # between two checkpoints while starting or stopping
_HINT_MS = 20_000  # how long the service manager should wait for the next one
_MOST_START_S = 3600.0  # then no more checkpoints: it hangs, and the service manager may say so
_MOST_STOP_S = 90.0  # the longest step in hand is bounded; whatever takes longer hangs, and may be cut off safely
_PRESHUTDOWN, _ACCEPT_PRESHUTDOWN = 0xF, 0x100  # SERVICE_CONTROL_PRESHUTDOWN, SERVICE_ACCEPT_PRESHUTDOWN (winsvc.h)
_SPECIFIC = 1066  # ERROR_SERVICE_SPECIFIC_ERROR: the code beside it is our own

_config = Path()  # the service manager makes the instance: there is no other way to hand it over


class AgentService(win32serviceutil.ServiceFramework):
    """One service, from its start to its end. The service manager calls the methods called Svc…"""

    _svc_name_, _svc_display_name_ = NAME, TITLE

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(args)
        self._lock = threading.Lock()  # of what the service manager was told last
        self._state = win32service.SERVICE_START_PENDING
        self._over = threading.Event()
        self._asked_to_stop = False
        self._stop: Callable[[], None] | None = None

    def GetAcceptedControls(self) -> int:  # noqa: N802
        """Stop, shutdown (both from the framework, by the methods below), and preshutdown, which leaves more time."""
        accepted: int = super().GetAcceptedControls()  # type: ignore[no-untyped-call]
        return accepted | _ACCEPT_PRESHUTDOWN

    def SvcStop(self) -> None:  # noqa: N802
        """Finish the step in hand, and end."""
        self._report(win32service.SERVICE_STOP_PENDING)
        self._asked_to_stop = True
        if self._stop is not None:
            self._stop()

    def SvcShutdown(self) -> None:  # noqa: N802
        """The machine goes down."""
        self.SvcStop()

    def SvcOtherEx(self, control: int, event_type: int, data: object) -> None:  # noqa: N802
        """The machine will go down: this comes first, and gives the time that `install` has asked for."""
        if control == _PRESHUTDOWN:
            self.SvcStop()

    def SvcRun(self) -> None:  # noqa: N802
        """The whole life of the service. Its last report lets `main` end the process."""
        self._report(win32service.SERVICE_START_PENDING)
        threading.Thread(target=self._tick, name="checkpoints", daemon=True).start()
        from folder_agent.service.windows.serving import serve

        self._end(serve(_config, self.began))

    def began(self, stop: Callable[[], None]) -> bool:
        """The agent is at work, and `stop` ends it. False if a stop was asked for earlier, and is obeyed now."""
        self._stop = stop
        if self._asked_to_stop:
            stop()
            return False
        self._report(win32service.SERVICE_RUNNING)
        return True

    def _end(self, specific: int) -> None:
        self._over.set()
        with self._lock:
            self._state = win32service.SERVICE_STOPPED
            code = _SPECIFIC if specific else 0
            self.ReportServiceStatus(self._state, win32ExitCode=code, svcExitCode=specific)
        threading.Event().wait()  # the framework would report once more, with a code of its own

    def _report(self, state: int) -> None:
        with self._lock:
            over = self._state == win32service.SERVICE_STOPPED
            late = state == win32service.SERVICE_RUNNING and self._asked_to_stop
            if not over and not late:
                self._state = state
                self.ReportServiceStatus(state, waitHint=_HINT_MS)

    def _tick(self) -> None:
        """Checkpoints while starting and stopping; the end of a stop that hangs."""
        left_s = {win32service.SERVICE_START_PENDING: _MOST_START_S, win32service.SERVICE_STOP_PENDING: _MOST_STOP_S}
        while not self._over.wait(_TICK_S):
            state = self._state
            if state not in left_s:
                continue
            left_s[state] -= _TICK_S
            if left_s[state] > 0:
                self._report(state)
            elif state == win32service.SERVICE_STOP_PENDING:
                self._end(0)  # as wanted; what it holds is whole at every moment


def main(arguments: Sequence[str]) -> None:
    """Host the service until its end, and end the process. `arguments` are those of `naming.command_line`."""
    global _config
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as we live
    _config = Path(arguments[arguments.index("--config") + 1])
    servicemanager.Initialize()
    servicemanager.PrepareToHostSingle(AgentService)
    servicemanager.StartServiceCtrlDispatcher()  # type: ignore[no-untyped-call]
    os._exit(0)  # the service's own thread waits for ever
