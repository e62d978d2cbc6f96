"""What keeps a ledger and a disk from filling up over the years: old rows become counts, and where a site wants it,
done/ is purged. A little at a time, beside the deliveries; whatever fails here is tried again the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from folder_agent.agent.concerns import Concerns
from folder_agent.core.errors import AgentError, Problem, StaleState, problem
from folder_agent.core.ports import Clock, Ledger, Publisher, Shelves
from folder_agent.core.receipts import parse
from folder_agent.core.retention import Retention, purgeable
from folder_agent.core.shelving import RECEIPT

FIRST_S = 60.0  # after the start
EVERY_S = 600.0
PAUSE_S = 0.5  # between two slices, so that deliveries come first
MOST_FOLDERS = 50  # purged in one slice
DAY_S = 86_400.0
_PATIENCE_S = 5.0  # how long `stop` waits for a slice


@dataclass(frozen=True, slots=True)
class Household:
    """One drop folder's part of it."""

    name: str
    shelves: Shelves
    retention: Retention


class Housekeeping:
    """A slice is one call of `turn`; `start` has a thread of its own call it. `day_of` says to which day (YYYY-MM-DD)
    a time (epoch seconds) belongs."""

    def __init__(
        self,
        households: Sequence[Household],
        ledger: Ledger,
        clock: Clock,
        publisher: Publisher,
        keep_days: int,
        day_of: Callable[[float], str],
    ) -> None:
        self._households, self._ledger, self._clock = households, ledger, clock
        self._publisher, self._keep_s, self._day_of = publisher, keep_days * DAY_S, day_of
        self._concerns = Concerns(ledger, publisher)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def work(self, seconds: float) -> None:
        """Slices until nothing is left to do, for no longer than that: for an agent that runs now and then."""
        end = self._clock.monotonic() + seconds
        while not self._stopping.is_set() and self._clock.monotonic() < end and self.turn():
            pass

    def turn(self) -> bool:
        """One slice of everything; whether there is more to do."""
        more = False
        for house in self._households:
            more = self._compact(house) or more
            more = self._purge(house) or more
        return more

    def _run(self) -> None:
        pause_s = FIRST_S
        while not self._stopping.wait(pause_s):
            try:
                pause_s = PAUSE_S if self.turn() else EVERY_S
            except Exception as error:  # noqa: BLE001 - this thread must not end, and must not end the agent
                self._publisher.fault(error)
                pause_s = EVERY_S

    def _compact(self, house: Household) -> bool:
        if not self._keep_s:
            return False
        try:
            return self._ledger.compact(house.name, self._clock.now() - self._keep_s, self._day_of) > 0
        except (AgentError, StaleState):
            return False  # the agent itself meets it, and tells

    def _purge(self, house: Household) -> bool:
        if not house.retention.is_on:
            return False
        trouble: Problem | None = None
        try:
            count, is_short = self._purge_slice(house)
        except AgentError as error:
            count, is_short, trouble = 0, False, problem("FA-PURGE", detail=error.problem.code)
        except StaleState:
            return True  # the bundle has just moved on: look again
        try:
            self._concerns.settle("purge", house.name, trouble)
            if trouble is None:
                free_gb = (house.retention.min_free_bytes or 0) / 1e9
                low = problem("FA-LOW-SPACE", needed=f"{free_gb:g}") if is_short and count == 0 else None
                self._concerns.settle("space", house.name, low)
        except AgentError:
            return False  # told the next time
        return count >= MOST_FOLDERS

    def _purge_slice(self, house: Household) -> tuple[int, bool]:
        """Purge a few folders, oldest day first; how many, and whether the disk is still too full."""
        today = date.fromisoformat(self._day_of(self._clock.now()))
        is_short, count = self._is_short(house), 0
        for day in house.shelves.days():
            if not house.retention.is_over(day, today, is_short=is_short):
                continue
            for target in house.shelves.on_day(day):
                if count >= MOST_FOLDERS or self._stopping.is_set():
                    return count, is_short
                if self._purge_one(house, target):
                    count += 1
                    is_short = self._is_short(house)
                    if not house.retention.is_over(day, today, is_short=is_short):
                        return count, is_short
        return count, is_short

    def _purge_one(self, house: Household, target: str) -> bool:
        """Purge one folder of done/, if it is ours; whether that freed anything."""
        content = house.shelves.read(target, RECEIPT)
        row = self._ledger.bundle_at(target)
        files = purgeable(None if content is None else parse(content), row, house.name)
        if files is None:
            return False
        if row is not None and row.purged_at is None:
            self._ledger.amend([replace(row, purged_at=self._clock.now())])
        return house.shelves.purge(target, files) > 0

    def _is_short(self, house: Household) -> bool:
        return house.retention.is_short(house.shelves.free_bytes())
