"""Counts of kills and storms, told at the end of the session, wherever its tests ran (pytest-xdist, too)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

_NAME = "kills and storms"


def note(record_property: Callable[[str, object], None], **counts: int) -> None:
    """Add to the counts, from a test."""
    record_property(_NAME, json.dumps(counts))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A hook of pytest; runs where the reports of all workers come together."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name == _NAME:
                    total.update(json.loads(counts))
    if total:
        terminalreporter.section(_NAME)
        terminalreporter.write_line(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in total.items()))
