"""The state of the whole, put together now and then by a thread of its own, so that no page waits for it.

Reads the ledger, asks the disks how much is free, and looks at the watchers. Writes nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from statistics import median

from folder_agent.agent import concerns
from folder_agent.assembly import local_day
from folder_agent.checkup.accounts import begin_of
from folder_agent.checkup.reports import gate_of
from folder_agent.console.calendar import Counted, Counting
from folder_agent.console.live import Live
from folder_agent.core.errors import AgentError, Problem
from folder_agent.core.gate import Gate
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Tallies
from folder_agent.edges.disks import GB
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.edges.volumes import free_bytes
from folder_agent.settings import Settings

EVERY_S, AT_LEAST_S = 2.0, 15.0
QUICK_S, AGE_SHARE = 0.05, 50.0  # of a processor: what takes longer is done aside, and for a fiftieth of the time
_LEAVING = ("COMMITTED", "REFUSED", "FAILED")


@dataclass(frozen=True, slots=True)
class Span:
    """What was delivered in an hour or a day."""

    label: str
    delivered: int = 0
    median_s: float = 0.0  # from the first sight to the gateway's answer
    slowest_s: float = 0.0  # nine in ten were faster


@dataclass(frozen=True, slots=True)
class DropToday:
    """One drop folder today."""

    name: str
    delivered: int = 0
    waiting: int = 0
    sending: int = 0
    failed: int = 0  # and not dropped or tried again since
    overdue: int = 0
    troubles: tuple[Problem, ...] = ()
    free: int | None = None  # bytes, where done/ lies
    is_watched: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it, at one time."""

    at: float
    gate: Gate = field(default_factory=Gate)
    drops: tuple[DropToday, ...] = ()
    day: tuple[Span, ...] = ()
    week: tuple[Span, ...] = ()
    ledger_free: int | None = None
    oldest_at: float | None = None
    trouble: Problem | None = None  # the ledger cannot be read
    states: Mapping[str, int] = field(default_factory=dict)  # open bundles
    days: Counted = field(default_factory=dict)  # those of the calendar
    scarce_bytes: float = 0.0  # less than this is little

    def essence(self) -> Snapshot:
        """Without what changes all the time."""
        drops = tuple(replace(drop, free=None) for drop in self.drops)
        return replace(self, at=0.0, ledger_free=None, drops=drops)

    def total(self, name: str) -> int:
        """The sum of one of the counts over all drop folders."""
        return sum(getattr(drop, name) for drop in self.drops)

    @property
    def is_scarce(self) -> bool:
        """Whether some disk is nearly full."""
        places = [self.ledger_free, *(drop.free for drop in self.drops)]
        return any(free is not None and free < self.scarce_bytes for free in places)


class Pulse:
    """Keeps the newest snapshot."""

    def __init__(
        self,
        settings: Settings,
        ledger: PeeweeLedger,
        live: Live,
        is_watched: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._settings, self._ledger, self._live, self._is_watched = settings, ledger, live, is_watched
        self._stop = threading.Event()
        self._earlier: tuple[str, tuple[Span, ...]] = ("", ())  # the six days before a day
        self._days = Counting(ledger, [drop.name for drop in settings.drops])
        self._thread = threading.Thread(target=self._run, name="console's pulse", daemon=True)
        self.now = Snapshot(time.time())
        self._counting = threading.Lock()
        self._counted: Tallies | None = None
        self._counted_at = self._count_took_s = 0.0
        self._counted_version = -1
        self._is_counting = False

    def start(self) -> None:
        """Take the first one, and begin."""
        self.now = self.take()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def tallies(self) -> Tallies:
        """All counts of the ledger: anew if something has changed since they were taken. Where counting takes long,
        those of a while ago, and a thread counts anew."""
        with self._counting:
            age_s = time.monotonic() - self._counted_at
            # Not everything is published: files on their way are not, nor what another process writes.
            is_same = self._counted_version == self._live.version and age_s < EVERY_S
            if self._counted is not None and is_same:
                return self._counted
            if self._counted is None or self._count_took_s < QUICK_S:
                return self._count()
            if age_s > AGE_SHARE * self._count_took_s and not self._is_counting:
                self._is_counting = True
                threading.Thread(target=self._count_aside, name="console's count", daemon=True).start()
            return self._counted

    def _count_first(self) -> None:
        with self._counting, suppress(AgentError):  # whoever asks meanwhile waits for it
            self._count()

    def _count(self) -> Tallies:
        version, began = self._live.version, time.thread_time()  # of this thread alone, however busy the machine is
        found = self._ledger.tallies()
        self._count_took_s = time.thread_time() - began
        self._counted, self._counted_at, self._counted_version = found, time.monotonic(), version
        return found

    def _count_aside(self) -> None:
        try:
            with suppress(AgentError):
                self._count()
        finally:
            self._is_counting = False

    def _run(self) -> None:
        self._count_first()
        seen, taken_at, wait_s = -1, 0.0, 0.0
        while not self._stop.wait(wait_s):
            wait_s = EVERY_S
            if self._live.version == seen and time.monotonic() - taken_at < AT_LEAST_S:
                continue
            seen, taken_at = self._live.version, time.monotonic()
            before, self.now = self.now, self.take(with_days=True)
            if before.essence() != self.now.essence():
                self._live.touch()  # pages that were made in between show how things were

    def take(self, *, with_days: bool = False) -> Snapshot:
        """How things are. Counting the days of the calendar takes a while, and is not for whoever is waited for."""
        now = time.time()
        try:
            days = self._days.of(datetime.fromtimestamp(now).astimezone().date()) if with_days else self.now.days
            return replace(self._take(now), days=days)
        except AgentError as error:
            was = self.now
            return Snapshot(now, trouble=error.problem.masked(), drops=was.drops, gate=was.gate, days=was.days)

    def _take(self, now: float) -> Snapshot:
        today = datetime.fromtimestamp(now).astimezone().date()
        midnight = begin_of(today)
        ended, lost = self._ledger.count_since(midnight), self._ledger.count_left_behind(midnight)
        open_ones = self._ledger.open_counts()
        drops = []
        for drop in self._settings.drops:
            mine = {(state, late): n for (name, state, late), n in open_ones.items() if name == drop.name}
            drops.append(
                DropToday(
                    name=drop.name,
                    delivered=ended.get((drop.name, "DONE"), 0)
                    + sum(n for (s, _), n in mine.items() if s == "COMMITTED"),
                    waiting=sum(n for (state, _), n in mine.items() if state not in (*_LEAVING, "SENDING")),
                    sending=sum(n for (state, _), n in mine.items() if state == "SENDING"),
                    failed=lost.get(drop.name, 0),
                    overdue=sum(n for (_, late), n in mine.items() if late),
                    troubles=tuple(concerns.of_drop(self._ledger, drop.name)),
                    free=_free(lambda at=drop.done_dir: free_bytes(at)),  # type: ignore[misc]
                    is_watched=self._is_watched(drop.name),
                )
            )
        delivered = [
            (datetime.fromtimestamp(changed).hour, (committed or changed) - created)  # noqa: DTZ006 - as above
            for _, changed, created, committed in self._ledger.delivered_since(midnight, 20_000)
        ]
        states: Counter[str] = Counter()
        for (_, state, _), n in open_ones.items():
            states[state] += n
        url = self._settings.ledger.url or ""
        return Snapshot(
            at=now,
            gate=gate_of(self._ledger),
            drops=tuple(drops),
            day=_hours(delivered, datetime.fromtimestamp(now).hour),  # noqa: DTZ006 - the wall time of the place
            week=(*self._week(today), _span(today.isoformat()[5:], [took for _, took in delivered])),
            ledger_free=_free(lambda: free_bytes(path_of(url).parent)) if url.startswith("sqlite:") else None,
            oldest_at=self._ledger.oldest_waiting(),
            scarce_bytes=self._settings.notify.disk_low_gb * GB,
            states={str(state): states[state] for state in BundleState} if url else {},
        )

    def _week(self, today: date) -> tuple[Span, ...]:
        """The six days before today, which are asked for once a day."""
        if self._earlier[0] != today.isoformat():
            days = [today - timedelta(days=back) for back in range(6, 0, -1)]
            found: dict[str, list[float]] = {day.isoformat(): [] for day in days}
            for _, changed, created, committed in self._ledger.delivered_since(begin_of(days[0]), 60_000):
                if (name := local_day(changed)) in found:
                    found[name].append((committed or changed) - created)
            self._earlier = (today.isoformat(), tuple(_span(name[5:], took) for name, took in found.items()))
        return self._earlier[1]


def _hours(today: Sequence[tuple[int, float]], last: int) -> tuple[Span, ...]:
    found: dict[int, list[float]] = {}
    for hour, took in today:
        found.setdefault(hour, []).append(took)
    return tuple(_span(f"{hour}", found.get(hour, [])) for hour in range(last + 1))


def _span(label: str, took: Sequence[float]) -> Span:
    if not took:
        return Span(label)
    ordered = sorted(took)
    return Span(label, len(ordered), max(0.0, median(ordered)), max(0.0, ordered[int(0.9 * (len(ordered) - 1))]))


def _free(ask: Callable[[], int]) -> int | None:
    with suppress(OSError):
        return ask()
    return None
