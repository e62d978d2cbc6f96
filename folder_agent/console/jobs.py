"""Work that takes long (doctor, reconcile), done by a thread of its own; pages show what it found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from folder_agent.core.errors import AgentError, Problem, problem

_T = TypeVar("_T")


class Job(Generic[_T]):
    """One kind of work; never twice at the same time. `done` is called whenever it ends."""

    def __init__(self, name: str, work: Callable[[], _T], done: Callable[[], None]) -> None:
        self._name, self._work, self._done = name, work, done
        self._lock = threading.Lock()
        self.result: _T | None = None
        self.trouble: Problem | None = None
        self.ended_at: float | None = None  # epoch seconds
        self.is_running = False

    def start(self) -> None:
        """Begin, unless it runs already."""
        with self._lock:
            if self.is_running:
                return
            self.is_running = True
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        result, trouble = self.result, None
        try:
            result = self._work()
        except AgentError as error:
            trouble = error.problem.masked()
        except Exception as raw:  # noqa: BLE001  whatever breaks a look must not break the console
            trouble = problem("FA-INTERNAL", detail=type(raw).__name__)
        with self._lock:
            self.result, self.trouble, self.ended_at, self.is_running = result, trouble, time.time(), False
        self._done()
