"""Tells systemd how the agent is (sd_notify(3)): starting, ready, alive, stopping. Nobody there: nothing is done.

Touches the socket that NOTIFY_SOCKET names, and nothing else; what cannot be told is not told.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

_TICK_S = 10.0  # while starting: how often systemd is asked for more time
_MORE_US = 60_000_000  # how much it is asked for
_MOST_START_S = 3600.0  # a ledger of millions of rows is checked in less; after that it hangs, and systemd may end it


class Notifier:
    """From entering on the agent is starting; `ready` when it is at work."""

    def __init__(self, environment: Mapping[str, str] = os.environ, tick_s: float = _TICK_S) -> None:
        self._address = _address(environment)
        self._tick_s = tick_s
        self._watched_s = _watchdog_s(environment)
        self._beat_at = 0.0
        self._is_ready = threading.Event()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Notifier:
        if sys.platform != "win32" and self._address is not None:
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
                threading.Thread(target=self._tell_of_starting, name="notifier", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ready.set()
        if self._socket is not None:
            self.stopping()
            self._socket.close()
            self._socket = None

    def ready(self) -> None:
        """The agent is at work."""
        self._is_ready.set()
        self._tell("READY=1\nSTATUS=at work")

    def alive(self) -> None:
        """The loop goes round: for the watchdog (WATCHDOG_USEC), four times in its period at most."""
        if self._watched_s is None or (now := time.monotonic()) < self._beat_at:
            return
        self._beat_at = now + self._watched_s / 4
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The step in hand is being finished. May be called by a signal's handler."""
        self._tell("STOPPING=1\nSTATUS=stopping: finishing the step in hand")

    def _tell_of_starting(self) -> None:
        end = time.monotonic() + _MOST_START_S
        while time.monotonic() < end:
            self._tell(f"STATUS=starting: opening the ledger and the drop folders\nEXTEND_TIMEOUT_USEC={_MORE_US}")
            if self._is_ready.wait(self._tick_s):
                return

    def _tell(self, text: str) -> None:
        told, address = self._socket, self._address
        if told is not None and address is not None:
            with suppress(OSError):
                told.sendto(text.encode(), address)


def _address(environment: Mapping[str, str]) -> str | None:
    """The socket's path; `@` stands for the zero byte of an abstract one (Linux only)."""
    named = environment.get("NOTIFY_SOCKET", "")
    if not named.startswith(("/", "@")):
        return None
    return "\0" + named[1:] if named[0] == "@" else named


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The watchdog's period in seconds, if it watches this very process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    period = environment.get("WATCHDOG_USEC", "")
    return int(period) / 1e6 if period.isascii() and period.isdigit() and int(period) else None
