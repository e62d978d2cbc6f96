"""What the bench prints: rows of figures, as one table for people or as JSON. Touches nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `ratio` is the rate in terms of the bare client's; None where a figure means nothing."""

    name: str
    seconds: float
    rate: float | None = None
    unit: str = ""
    ratio: float | None = None
    cpu_s_per_gb: float | None = None
    cpu_s: float | None = None
    peak_rss_mb: float | None = None
    note: str = ""


_COLUMNS = ("what", "seconds", "rate", "ratio", "CPU s", "CPU s/GB", "RSS MB", "")


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def as_text(rows: Sequence[Row]) -> str:
    """The rows as aligned columns."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return "\n".join(_line(line, widths) for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    rate = "" if row.rate is None else f"{row.rate:.1f} {row.unit}"
    figures = (_figure(row.ratio, 2), _figure(row.cpu_s, 2), _figure(row.cpu_s_per_gb, 1), _figure(row.peak_rss_mb, 0))
    return (row.name, f"{row.seconds:.3f}", rate, *figures, row.note)


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest, note = cells
    columns = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:-1], strict=True))]
    return "  ".join([*columns, note]).rstrip()
