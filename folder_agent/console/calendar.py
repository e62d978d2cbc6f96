"""The calendar of proof: how each day went. By the ledger's own counts at any time; by what was compared once it was.

Counts in the ledger, a while apart, what days before today came to; those of today whenever it is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from folder_agent.assembly import local_day
from folder_agent.checkup.accounts import Day, begin_of
from folder_agent.core.reconciling import Row
from folder_agent.edges.ledger import PeeweeLedger

DAYS = 35  # of the calendar
EARLIER_S = 60.0  # how old the counts of earlier days may be, and at least so many times what counting took:
SHARE = 100.0

Rows = Mapping[str, Row]  # by drop folder
Counted = Mapping[str, Rows]  # by day


@dataclass(frozen=True, slots=True)
class Square:
    """A day. `missing` is known once it was compared."""

    day: date
    mood: str
    exams: int
    missing: int | None


class Counting:
    """How many exams of each of the last days ended how, as the ledger has it. One thread's."""

    def __init__(self, ledger: PeeweeLedger, drops: Sequence[str]) -> None:
        self._ledger, self._drops = ledger, drops
        self._earlier: tuple[date, Counted] = (date.min, {})
        self._at = self._took_s = 0.0  # monotonic, seconds

    def of(self, today: date) -> Counted:
        """The days up to today, oldest first. Raises AgentError where the ledger fails."""
        now = time.monotonic()
        is_old = now - self._at >= max(EARLIER_S, SHARE * self._took_s)
        if self._earlier[0] != today or is_old:
            self._earlier = (today, self._count(today - timedelta(days=DAYS - 1), today))
            self._at, self._took_s = time.monotonic(), time.monotonic() - now
        return {**self._earlier[1], **self._count(today, today + timedelta(days=1))}

    def _count(self, first: date, until: date) -> Counted:
        days = [(first + timedelta(days=number)).isoformat() for number in range((until - first).days)]
        found = {day: {drop: Row(day, drop) for drop in self._drops} for day in days}
        for quarter_at, drop, state, total in self._ledger.first_seen(begin_of(first), begin_of(until)):
            if (rows := found.get(local_day(quarter_at))) is not None:
                rows.setdefault(drop, Row(local_day(quarter_at), drop)).exams.add(state, total)
        for tally in self._ledger.day_tallies(days[0], days[-1]):
            if tally.subject == "bundle":
                found[tally.day].setdefault(tally.drop, Row(tally.day, tally.drop)).exams.add(tally.state, tally.total)
        return found


def weeks(counted: Counted, compared: Iterable[Day]) -> list[list[Square | None]]:
    """The days in weeks from Monday to Sunday; None for those outside."""
    proven = {one.day: one.rows for one in compared}
    squares = [_square(day, rows, proven.get(day)) for day, rows in counted.items()]
    line: list[Square | None] = [None] * (squares[0].day.weekday() if squares else 0)
    line += squares
    line += [None] * (-len(line) % 7)
    return [line[begin : begin + 7] for begin in range(0, len(line), 7)]


def _square(day: str, rows: Rows, proven: Rows | None) -> Square:
    exams = sum(row.exams.dropped for row in rows.values())
    missing = None if proven is None else sum(row.missing for row in proven.values())
    return Square(date.fromisoformat(day), _mood(rows, proven), exams, missing)


def _mood(rows: Rows, proven: Rows | None) -> str:
    """By what was compared, as long as the ledger says the same; what is missing is not found by the ledger's going
    on."""
    if proven is not None and any(row.missing for row in proven.values()):
        return "bad"
    is_newer = proven is None or any(_exams(rows, drop) != _exams(proven, drop) for drop in {*rows, *proven})
    every = list((rows if is_newer or proven is None else proven).values())
    if any(row.waits for row in every):
        return "watch"
    if any(row.exams.refused or row.exams.failed for row in every):
        return "mixed"
    return "well" if any(not row.is_empty for row in every) else "none"


def _exams(rows: Rows, drop: str) -> object:
    return replace(rows[drop].exams if drop in rows else Row("", drop).exams)
