"""How a site writes a date, in letters that Java and .NET use, too: `yyyyMMddHHmmss`, `dd/MM/yyyy`, `yyyy年M月d日`.

Own and small instead of strptime, whose month names and AM/PM depend on the locale of the machine.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

from folder_agent.core import normalising
from folder_agent.core.normalising import Unfit

MAX_PATTERN = 64  # characters

_PARTS = {
    "yyyy": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d\d)",
    "M": r"(?P<month>\d\d?)",
    "dd": r"(?P<day>\d\d)",
    "d": r"(?P<day>\d\d?)",
    "HH": r"(?P<hour>\d\d)",
    "H": r"(?P<hour>\d\d?)",
    "hh": r"(?P<hour12>\d\d)",
    "h": r"(?P<hour12>\d\d?)",
    "mm": r"(?P<minute>\d\d)",
    "m": r"(?P<minute>\d\d?)",
    "ss": r"(?P<second>\d\d)",
    "s": r"(?P<second>\d\d?)",
    "S": r"(?P<fraction>\d{1,9})",  # left out, as the gateway's form has none
    "a": r"(?P<half>am|pm|a\.m\.|p\.m\.|上午|下午)",
}
LETTERS = "yyyy MM M dd d HH H hh h mm m ss s S a"
_TOKEN = re.compile(r"'(?P<quoted>[^']*)'|(?P<blank>\s+)|(?P<letters>([A-Za-z])\4*)|(?P<sign>.)", re.DOTALL)
_NEEDS = (("hour", "day"), ("hour12", "half"), ("half", "hour12"), ("second", "minute"), ("fraction", "second"))
_AFTERNOON = frozenset({"pm", "p.m.", "下午"})


class WrongPattern(ValueError):
    """A pattern that cannot be used; its text says why."""


@dataclass(frozen=True, slots=True)
class DatePattern:
    """A pattern of the letters above; every other letter stands in 'single quotes', signs and hanzi for themselves."""

    written: str
    _compiled: re.Pattern[str] = field(repr=False, compare=False)

    def read(self, raw: object, *, with_time: bool) -> str | None:
        """The gateway's form of the value; None for none. Raises Unfit for anything that is not of this pattern."""
        try:
            value = normalising.text(raw)
        except Unfit:
            raise Unfit(self.written) from None
        if value is None:
            return None
        found = self._compiled.fullmatch(_plain(value).strip())
        if found is None:
            raise Unfit(self.written)
        moment = normalising.wall_time(self._numbers(found.groupdict("0")), self.written)
        return moment.isoformat(" ", "seconds") if with_time else moment.date().isoformat()

    def _numbers(self, parts: dict[str, str]) -> tuple[int, ...]:
        hour = int(parts.get("hour", 0))
        if "hour12" in parts:
            hour = int(parts["hour12"])
            if not 1 <= hour <= 12:
                raise Unfit(self.written)
            hour = hour % 12 + (12 if parts["half"] in _AFTERNOON else 0)
        rest = (int(parts.get(name, 0)) for name in ("minute", "second"))
        return (*(int(parts[name]) for name in ("year", "month", "day")), hour, *rest)


def date_pattern(written: str) -> DatePattern:
    """The pattern, checked. Raises WrongPattern."""
    if len(written) > MAX_PATTERN:
        raise WrongPattern(f"must not be longer than {MAX_PATTERN} characters")
    tokens = list(_TOKEN.finditer(written))
    pieces = [_piece(token) for token in tokens]
    for token, after in pairwise(tokens):
        if len(token["letters"] or "--") == 1 and (after["letters"] or "a") != "a" and token["letters"] != "a":
            raise WrongPattern(f"has {token['letters']!r} right before another number: nothing tells where it ends")
    names = re.findall(r"\?P<(\w+)>", "".join(pieces))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise WrongPattern(f"has the {twice[0]} twice")
    if absent := [name for name in ("year", "month", "day") if name not in names]:
        raise WrongPattern(f"has no {absent[0]}; a date needs yyyy, MM and dd")
    if "hour" in names and "hour12" in names:
        raise WrongPattern("has the hour twice")
    for name, other in _NEEDS:
        if name in names and other not in names:
            raise WrongPattern("needs h and a together" if "half" in (name, other) else f"has a {name}, but no {other}")
    if "minute" in names and not {"hour", "hour12"} & set(names):
        raise WrongPattern("has a minute, but no hour")
    return DatePattern(written, re.compile("".join(pieces), re.ASCII))


def _piece(token: re.Match[str]) -> str:
    letters = token["letters"]
    if letters is None:
        if token["blank"]:
            return r"\s+"
        if token["sign"] == "'":
            raise WrongPattern("has a single quote that is not closed")
        return re.escape(_plain(token["quoted"] if token["quoted"] is not None else token["sign"]))
    if set(letters) == {"S"}:
        letters = "S"
    if letters not in _PARTS:
        raise WrongPattern(f"{letters!r} is none of {LETTERS}; other letters stand in 'single quotes'")
    return _PARTS[letters]


def _plain(text: str) -> str:
    """Width and case carry no meaning in a date."""
    return unicodedata.normalize("NFKC", text).lower()
