"""The bound on what is under way to the gateway at once, over all workers and ways (core/easing.py decides it).

Touches the clock, and makes who would send wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from folder_agent.core import easing
from folder_agent.core.catalogue import failure
from folder_agent.core.easing import Tempo
from folder_agent.core.errors import problem

_TICK_S = 0.1  # how soon a stop is noticed
UNBOUNDED = 1_000_000


class Lanes:
    """Each HTTP request, and each association that stores, takes one while it lasts, in the order of asking."""

    def __init__(
        self,
        most: int = UNBOUNDED,
        should_stop: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._should_stop, self._monotonic = should_stop, monotonic
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._width = easing.full(most)
        self._taken = 0
        self._tempos: dict[str, Tempo] = {}

    @contextmanager
    def lane(self) -> Iterator[None]:
        """One of them, when it is free. Raises AgentError (FA-STOPPING) instead of waiting on."""
        self._enter()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()

    def answered(self, kind: str, began: float, waited_s: float, size: int, parts: int = 1) -> None:
        """A good answer came to a request of that kind, which began at that monotonic time, `waited_s` seconds after
        the last of its `size` bytes; so many things were in it."""
        with self._changed:
            tempo = easing.after_answer(self._tempos.get(kind, Tempo()), waited_s, size, parts)
            self._tempos[kind] = tempo
            if tempo.is_slow:
                self._trouble(began)
            else:
                self._width = easing.after_good(self._width, began, self._monotonic())
                self._changed.notify_all()

    def troubled(self, began: float) -> None:
        """A request that began at that monotonic time met a gateway that struggles."""
        with self._changed:
            self._trouble(began)

    def state(self) -> tuple[int, int]:
        """How many may be under way now, and how many are."""
        with self._changed:
            return self._width.now, self._taken

    def _trouble(self, began: float) -> None:
        self._width = easing.after_trouble(self._width, began, self._monotonic())
        self._tempos = {kind: easing.anew(tempo) for kind, tempo in self._tempos.items()}

    def _enter(self) -> None:
        me = object()
        with self._changed:
            self._queue.append(me)
            try:
                while self._queue[0] is not me or self._taken >= self._width.now:
                    if self._should_stop():
                        raise failure(problem("FA-STOPPING"))
                    self._changed.wait(_TICK_S)
                self._taken += 1
            finally:
                self._queue.remove(me)
                self._changed.notify_all()
