"""What is happening now, from the one publisher: a number that grows with every change, progress, and the last notices.

Only memory: nobody who publishes waits for anybody who looks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord

_MOST_NOTICES = 30


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the agent as a whole that began or ended; its problem is masked."""

    at: float  # epoch seconds
    problem: Problem
    is_over: bool


class Live:
    """A Publisher. `version` grows whenever a page may look different; `close` ends those who listen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.version = 0
        self.is_closed = False
        self.bytes_sent = 0
        self.faults = 0
        self._progress: dict[int, tuple[int, int]] = {}
        self._notices: deque[Notice] = deque(maxlen=_MOST_NOTICES)

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """A bundle moved on."""
        with self._lock:
            self.version += 1
            if bundle.state is not BundleState.SENDING:
                self._progress.pop(bundle.id, None)

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """What a bundle waits for has changed."""
        with self._lock:
            self.version += 1

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Bytes have left."""
        with self._lock:
            before = self._progress.get(bundle.id, (0, 0))[0]
            self.bytes_sent += max(0, sent - before if sent >= before else sent)
            self._progress[bundle.id] = (sent, total)

    def fault(self, error: Exception) -> None:
        """Counted."""
        with self._lock:
            self.faults += 1

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Kept for those who look later."""
        with self._lock:
            self.version += 1
            self._notices.appendleft(Notice(time.time(), problem.masked(), is_over))

    def touch(self) -> None:
        """Something else changed that pages show."""
        with self._lock:
            self.version += 1

    def progress(self) -> dict[int, tuple[int, int]]:
        """Bytes that have left and bytes in all, of each bundle that is being sent."""
        with self._lock:
            return dict(self._progress)

    def notices(self) -> list[Notice]:
        """The last ones, newest first."""
        with self._lock:
            return list(self._notices)

    def close(self) -> None:
        """No more is to be told."""
        self.is_closed = True
