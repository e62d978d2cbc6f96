"""`[sync] limit`: how many bytes a second may leave at which hour of the week, and when the next ones may. Pure.

A limit reads "20Mbit/s Mon-Fri 08-18": a rate, then days and hours of the place, which may be left out. A window that
ends at or before its beginning ends on the next day. Where several apply, the lowest does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

DAY = 24 * 60  # minutes
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"kbit/s": 125, "Mbit/s": 125_000, "Gbit/s": 125_000_000, "kB/s": 1000, "MB/s": 10**6, "GB/s": 10**9}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMG])(bit/s|B/s)", re.ASCII)
_DAY_RANGE = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?", re.ASCII)
_HOURS = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?-([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII)
_LEAST = 8000  # bytes a second: with less, receivers would hang up on us

QUANTUM_S = (
    0.1  # what may leave at once: the share of so long a time, so that a change is felt soon and turns are short
)
_LEAST_QUANTUM = 1024  # bytes


class WrongLimit(ValueError):
    """What is written is no limit; the text says why."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours of some days; minutes are those since midnight."""

    days: frozenset[int]  # on which it begins; 0 is Monday
    begin: int
    end: int  # not above `begin`: on the next day

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether that minute of that day lies in it."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        yesterday = (weekday - 1) % 7
        return (weekday in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)


ALWAYS = Window(frozenset(range(7)), 0, DAY)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate in bytes a second, when it holds, and how both are written."""

    rate: float
    window: Window
    words: str  # of the rate alone
    text: str  # all of it


def parse_limit(text: str) -> Limit:
    """Read one limit. Raises WrongLimit."""
    rate = _RATE.match(text.strip())
    if rate is None:
        raise WrongLimit(f'"{text}" must begin with a rate such as 20Mbit/s, 500kbit/s or 2.5MB/s')
    number, unit = float(rate[1]), rate[2].replace("K", "k") + rate[3]
    found = number * _UNITS[unit]
    if found < _LEAST:
        raise WrongLimit(f'"{text}": less than {_LEAST * 8 // 1000}kbit/s would break connections')
    rest = text.strip()[rate.end() :]
    if rest and not rest.startswith(" "):
        raise WrongLimit(f'"{text}": there must be a space behind the rate')
    return Limit(found, _window(rest.split(), text), f"{rate[1]}{unit}", " ".join(text.split()))


def _window(words: list[str], text: str) -> Window:
    if not words or [word.lower() for word in words] == ["always"]:
        return ALWAYS
    days = _days(words[0].lower())
    if days is not None:
        words = words[1:]
    if len(words) > 1 or (days is None and not words):
        raise WrongLimit(f'"{text}": behind the rate stand days and hours, such as Mon-Fri 08-18, or nothing')
    begin, end = _hours(words[0], text) if words else (0, DAY)
    return Window(days if days is not None else ALWAYS.days, begin, end)


def _days(word: str) -> frozenset[int] | None:
    """ "mon-fri,sun" as numbers; None if it is not of that form."""
    found: set[int] = set()
    for part in word.split(","):
        matched = _DAY_RANGE.fullmatch(part)
        names = [name for name in matched.groups() if name] if matched else []
        if not names or not set(names) <= set(_DAYS):
            return None
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        found |= {day % 7 for day in range(first, last + 1 if last >= first else last + 8)}
    return frozenset(found)


def _hours(word: str, text: str) -> tuple[int, int]:
    matched = _HOURS.fullmatch(word)
    if matched is None:
        raise WrongLimit(f'"{text}": "{word}" is neither days such as Mon-Fri or Sat,Sun nor hours such as 08-18')
    begin_h, begin_m, end_h, end_m = (int(part or 0) for part in matched.groups())
    begin, end = 60 * begin_h + begin_m, 60 * end_h + end_m
    if begin_m > 59 or end_m > 59 or begin >= DAY or end > DAY:
        raise WrongLimit(f'"{text}": there is no such time as {word}')
    if begin == end:
        raise WrongLimit(f'"{text}": {word} begins when it ends; leave the hours out for the whole day')
    return begin, end


def limit_at(limits: Iterable[Limit], weekday: int, minute: int) -> Limit | None:
    """The limit that holds at that minute of that day (0 is Monday); None: there is none."""
    holding = [limit for limit in limits if limit.window.holds(weekday, minute)]
    return min(holding, key=lambda limit: limit.rate, default=None)


@dataclass(frozen=True, slots=True)
class Grant:
    """So many bytes may leave after so many seconds; `free_at` is when the next ones may, on the same clock."""

    size: int
    wait_s: float
    free_at: float


def grant(free_at: float, wanted: int, rate: float, now: float) -> Grant:
    """The next turn at that rate (bytes a second): at most `wanted` bytes. Who asks first goes first, and what a quiet
    time has saved is no more than one turn."""
    size = min(wanted, max(_LEAST_QUANTUM, int(rate * QUANTUM_S)))
    begin = max(free_at, now - QUANTUM_S)
    return Grant(size, max(0.0, begin - now), begin + size / rate)
