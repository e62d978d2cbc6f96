"""The bandwidth limit in force: one bucket for all workers and every way to the gateway.

Touches the clock, and makes who sends wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from folder_agent.core.bandwidth import Limit, grant, limit_at
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.ports import Clock
from folder_agent.edges.clock import week_minute

_TICK_S = 0.1  # how soon a stop is noticed


class Allowance:
    """Whoever is about to send bytes of files takes them from here first. Turns are short and in order of asking: who
    sends a large file leaves room for the others."""

    def __init__(self, limits: Sequence[Limit], clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = tuple(limits)
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, wanted: int, should_stop: Callable[[], bool]) -> int:
        """How many bytes may leave, when they may: 1 to `wanted`. Raises AgentError (FA-STOPPING) instead of waiting
        on."""
        limit = limit_at(self._limits, *week_minute(self._clock.now())) if self._limits else None
        if limit is None:
            return wanted
        with self._lock:
            turn = grant(self._free_at, wanted, limit.rate, self._monotonic())
            self._free_at = turn.free_at
        end = self._monotonic() + turn.wait_s
        while (left_s := end - self._monotonic()) > 0:
            if should_stop():
                raise failure(problem("FA-STOPPING"))
            time.sleep(min(left_s, _TICK_S))
        return turn.size
