"""What of a problem or of a line of the log may be told outside of the hospital. Pure: touches nothing.

Names of bundles and files, the gateway's own words and everything private are not: a PACS may name its folders for
patients. A bundle is told by its number, which `folder-agent show NUMBER` finds on the spot.
"""

from __future__ import annotations

import re
from functools import cache

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import Problem, Value
from folder_agent.core.lifecycle import BundleState

HIDDEN = "***"
_SAFE_NAMES = frozenset(
    {"attempts", "code", "count", "declared", "depth", "detail", "en", "entry", "expected", "field", "found", "hours"}
    | {"known", "limit", "line", "column", "method", "missing", "needed", "pid", "posted", "seconds", "shelf", "since"}
    | {"status", "syntax", "sop_class", "total", "zh"}
)
_NOT_TOLD = frozenset({("FA-FILE-UNREADABLE", "detail"), ("FA-LEDGER", "detail")})  # words of libraries, with paths
_LONGEST = 160
_TELLING = re.compile(r"\d{6,}|[/\\]|\d+(?:\.\d+){5}")  # numbers of persons and accessions, paths, UIDs
_STATES = "|".join(BundleState)
_HEAD = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) ([A-Z]+) +(.*)$", re.DOTALL)
_BUNDLE = re.compile(r"^([\w\-]+#\d+)(?: |: )", re.DOTALL)
_CHANGE = re.compile(rf"(?:^|: )((?:(?:{_STATES}) -> )?(?:{_STATES})(?: \([a-z_ ]+\))?)(?=$|: FA-)")
_CODE = re.compile(r"FA-[A-Z][A-Z-]*[A-Z]")
_LASTING = re.compile(
    r", (?:since \d{4}-\d\d-\d\d \d\d:\d\d, \d+ bundles? waiting|after [\dhmin ]+; \d+ bundles? to go)$"
)
_OWN = (
    re.compile(r"folder-agent [\w.]+ begins; \d+ drop folders"),
    re.compile(r"folder-agent (?:is at work|ends)"),
    re.compile(r"internal error \w+ at [\w.<> :]+"),
)


def told_problem(problem: Problem) -> dict[str, object]:
    """Its code, and those of its values that can name nobody."""
    values = {name: told_value(problem.code, name, value) for name, value in problem.values}
    return {"code": problem.code, "values": values}


def told_value(code: str, name: str, value: Value) -> Value:
    """The value if it can name nobody, else three stars."""
    if isinstance(value, int):
        return value
    if name not in _SAFE_NAMES or (code, name) in _NOT_TOLD or len(value) > _LONGEST or _TELLING.search(value):
        return HIDDEN
    return value


def told_line(line: str) -> str:
    """One line of the log, as far as it may be told."""
    head = _HEAD.match(line)
    if head is None:
        return f"({len(line)} characters left out)" if line.strip() else ""
    at, level, message = head.groups()
    return f"{at} {level: <7} {_told_message(message)}"


def _told_message(message: str) -> str:
    if any(own.fullmatch(message) for own in _OWN):
        return message
    if bundle := _BUNDLE.match(message):
        return _told_bundle(bundle[1], message)
    for beginning in ("recovered: ", "folder-agent ends: ", ""):
        if message.startswith(f"{beginning}FA-"):
            return beginning + _told_notice(message.removeprefix(beginning))
    return f"({len(message)} characters left out)"


def _told_bundle(number: str, message: str) -> str:
    """`ct#12 NAME: SENDING -> WAITING (put off): FA-…` without the name and the reasons' words."""
    changes = list(_CHANGE.finditer(message))
    change = changes[-1] if changes else None
    codes = _CODE.findall(message[change.end() :]) if change else []
    words = [change[1]] if change else []
    return f"{number}: " + ": ".join([*words, *([", ".join(codes)] if codes else [])])


def _told_notice(text: str) -> str:
    """`FA-CODE words, since …`: the words are said anew from the catalogue, with the values that may be told."""
    code, _, words = text.partition(" ")
    lasting = _LASTING.search(words)
    if code not in CATALOGUE:
        return HIDDEN
    end = lasting[0] if lasting else ""
    found = _sentence(code).fullmatch(words.removesuffix(end))
    if found is None:
        return f"{code}{end}"
    values = {name: told_value(code, name, value) for name, value in found.groupdict().items()}
    return f"{code} {CATALOGUE[code].en.what.format_map(values)}{end}"


@cache
def _sentence(code: str) -> re.Pattern[str]:
    """What matches the catalogue's sentence for the code, with a path in front or not."""
    parts = re.split(r"\{(\w+)\}", CATALOGUE[code].en.what)
    seen: set[str] = set()
    pattern = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            pattern += re.escape(part)
        else:
            pattern += f"(?P={part})" if part in seen else f"(?P<{part}>.*?)"
            seen.add(part)
    return re.compile(rf"(?:.*?: )??{pattern}", re.DOTALL)
