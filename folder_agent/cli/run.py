"""`folder-agent run`: the agent in the foreground, until it is told to stop, or `--once`. As systemd's service, too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from folder_agent import running
from folder_agent.service.notifying import Notifier


def run(config: Path, once: bool) -> int:
    """Run with the settings of `config`. Returns the exit code: 0 stopped (or all delivered), 3 and 4 as `--once` says.

    Raises SettingsError and AgentError (FATAL or HOLD at the start), which the caller turns into words.
    """
    with Notifier() as notifier:
        return running.run(config, Foreground(notifier), once=once)


class Foreground(running.Host):
    """Ctrl-C and SIGTERM stop the agent after the step in hand; a second one does not hurry it. systemd is told."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._before: dict[int, signal._HANDLER] = {}

    def began(self, stop: Callable[[], None]) -> None:
        """Take the signals, where that may be done: only in the main thread."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._notifier.stopping()
            stop()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, on_signal)
        self._notifier.ready()

    def beat(self) -> None:
        """Tell the watchdog."""
        self._notifier.alive()

    def ended(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
