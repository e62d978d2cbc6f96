"""Counts of what the edges do, for whoever measures: requests, looks, watches. Only memory; safe for threads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


@dataclass(slots=True)
class Times:
    """How long something took, each time."""

    count: int = 0
    total_s: float = 0.0
    below: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))  # for each bound, how many took no longer

    def add(self, seconds: float) -> None:
        """Once more."""
        self.count += 1
        self.total_s += seconds
        for place, bound in enumerate(BOUNDS):
            self.below[place] += seconds <= bound


class Meters:
    """All of them. Labels are endpoints, outcomes and drop folders' names: nothing of a patient."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str], Times] = defaultdict(Times)
        self._looks: dict[str, Times] = defaultdict(Times)
        self._watches: dict[str, int] = defaultdict(int)
        self.answered_at: float | None = None  # epoch seconds: the gateway's last answer, whatever it said
        self.under_way: Callable[[], tuple[int, int]] | None = None  # how many requests may be now, and how many are
        self.clock_offset_s: float | None = None  # our clock minus the gateway's, at its last answer

    def request(self, endpoint: str, outcome: str, seconds: float, clock_offset_s: float | None = None) -> None:
        """A request to the gateway has ended. `outcome`: the HTTP or DICOM status, or "error"."""
        with self._lock:
            self._requests[endpoint, outcome].add(seconds)
            if outcome != "error":
                self.answered_at = time.time()
            if clock_offset_s is not None:
                self.clock_offset_s = clock_offset_s

    def look(self, drop: str, seconds: float) -> None:
        """A drop folder has been looked at."""
        with self._lock:
            self._looks[drop].add(seconds)

    def watch(self, drop: str) -> None:
        """A watch has been set up; each after the first is a restart."""
        with self._lock:
            self._watches[drop] += 1

    def requests(self) -> dict[tuple[str, str], Times]:
        """By endpoint and outcome."""
        with self._lock:
            return {key: _copy(times) for key, times in self._requests.items()}

    def looks(self) -> dict[str, Times]:
        """By drop folder."""
        with self._lock:
            return {key: _copy(times) for key, times in self._looks.items()}

    def restarts(self) -> dict[str, int]:
        """Of watches, by drop folder."""
        with self._lock:
            return {drop: max(0, count - 1) for drop, count in self._watches.items()}


def _copy(times: Times) -> Times:
    return Times(times.count, times.total_s, list(times.below))
