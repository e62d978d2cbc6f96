"""When each group of files is to be judged again. What is looked at does not grow with how many of them wait. Touches
nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from folder_agent.core.grouping import Group

NEVER = float("inf")
_SLACK = 64  # entries of before that may stay before the heap is made anew, beside as many as there are groups


@dataclass(slots=True, eq=False)
class Entry:
    """A group, and when it is its turn."""

    group: Group
    ready_since: float | None = None  # monotonic: since when only files that may be another's keep it waiting
    is_blocked: bool = False  # a file of it is being sent ahead, for another bundle
    number: int = 0  # of the latest date that was given to it


class Agenda:
    """The groups by their keys, each with its date: a monotonic time in seconds."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._dates: list[tuple[float, int, Entry]] = []  # a heap; only an entry's latest one counts
        self._numbers = count(1)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: str) -> Entry | None:
        """The group of that key."""
        return self._entries.get(key)

    def forget(self, key: str) -> None:
        """There is no such group any more."""
        self._entries.pop(key, None)

    def take_over(self, groups: Mapping[str, Group], now: float) -> None:
        """These are the groups now; what is new or has changed has its turn at once."""
        before, fresh = self._entries, list[Entry]()
        self._entries = {}
        for key, group in groups.items():
            known = before.get(key)
            if known is None or known.group != group:
                known = Entry(group, known.ready_since if known is not None else None)
                fresh.append(known)
            self._entries[key] = known
        for entry in fresh:  # only now that all of them are there: dates of what is not are dropped
            self.put(entry, now)

    def put(self, entry: Entry, at: float) -> None:
        """Its turn is at that time, and not at another that was said before."""
        entry.number = next(self._numbers)
        if at < NEVER:
            heapq.heappush(self._dates, (at, entry.number, entry))
        if len(self._dates) > 2 * len(self._entries) + _SLACK:
            self._dates = [date for date in self._dates if self._counts(date)]
            heapq.heapify(self._dates)

    def take_due(self, now: float) -> list[Entry]:
        """Those whose turn it is, the longest due first; each has none any more until it is put again."""
        found = []
        while self._dates and self._dates[0][0] <= now:
            date = heapq.heappop(self._dates)
            if self._counts(date):
                found.append(date[2])
        return found

    def next_at(self) -> float:
        """When the next one's turn is."""
        while self._dates and not self._counts(self._dates[0]):
            heapq.heappop(self._dates)
        return self._dates[0][0] if self._dates else NEVER

    def _counts(self, date: tuple[float, int, Entry]) -> bool:
        entry = date[2]
        return entry.number == date[1] and self._entries.get(entry.group.key) is entry
