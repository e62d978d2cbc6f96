"""Counts of kills and storms, and measures, told at the end of the session, wherever its tests ran (pytest-xdist)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

_NAME = "kills and storms"
_MEASURED = "measured"


def note(record_property: Callable[[str, object], None], **counts: int) -> None:
    """Add to the counts, from a test."""
    record_property(_NAME, json.dumps(counts))


def measured(record_property: Callable[[str, object], None], line: str) -> None:
    """A line for the end of the session, from a test."""
    record_property(_MEASURED, line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A hook of pytest; runs where the reports of all workers come together."""
    total: Counter[str] = Counter()
    lines: list[str] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name == _NAME:
                    total.update(json.loads(value))
                elif name == _MEASURED:
                    lines.append(str(value))
    if lines:
        terminalreporter.section(_MEASURED)
        for line in lines:
            terminalreporter.write_line(line)
    if total:
        terminalreporter.section(_NAME)
        terminalreporter.write_line(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in total.items()))
