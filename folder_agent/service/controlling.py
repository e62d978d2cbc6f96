"""The service as a person handles it, on either platform: the port that the commands use, and who fulfils it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from folder_agent.core.status import Phrase
from folder_agent.settings import Settings


class ServiceState(StrEnum):
    """How the service is, in words of both platforms."""

    ABSENT = "absent"  # not installed
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"  # it ended by itself, and is not (or not yet) started again


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What `service status` tells."""

    state: ServiceState
    manager: str  # "windows" | "systemd"
    pid: int | None = None
    account: str | None = None
    starts_by_itself: bool = False
    command: str | None = None  # as the manager starts it
    exit_code: int | None = None  # of the last end; 2 are settings that cannot be used
    text: str | None = None  # systemd's status text; on Windows the checkpoint of a start or stop


class Controller(Protocol):
    """The machine's service manager. Everything raises AgentError (FA-SERVICE-…)."""

    def plan(self, config: Path, settings: Settings, account: str | None) -> str:
        """What `install` would set up, as text; nothing is changed."""
        ...

    def install(
        self, config: Path, settings: Settings, account: str | None, ask_password: Callable[[str], str]
    ) -> Sequence[Phrase]:
        """Set the service up, or anew; what a person should know of it. `ask_password` is given the account's name,
        and called only if that needs one."""
        ...

    def start(self) -> None:
        """Start it, and wait until it is at work or has failed. Nothing to do if it runs."""
        ...

    def stop(self) -> None:
        """Stop it after the step in hand, and wait. Nothing to do if it is stopped."""
        ...

    def remove(self) -> None:
        """Stop it, and take it away; settings, ledger and files stay."""
        ...

    def status(self) -> ServiceStatus:
        """How it is."""
        ...


def controller() -> Controller:
    """This machine's."""
    if sys.platform == "win32":
        from folder_agent.service.windows.managing import WindowsServices

        return WindowsServices()
    else:  # noqa: RET505 - mypy knows only this form of asking for the platform
        from folder_agent.service.systemd import Systemd

        return Systemd()
