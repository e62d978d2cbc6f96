"""What the bench prints: rows of figures, as one table for people or as JSON. Touches nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. None where a figure means nothing. `ratio` is the rate in terms of the block's reference, which
    has 1.0: in MB/s where bytes count, else in objects a second."""

    workload: str
    receiver: str
    client: str
    seconds: float
    mb_s: float | None = None
    objects_s: float | None = None
    ratio: float | None = None
    cpu_s: float | None = None
    cpu_s_per_gb: float | None = None
    peak_rss_mb: float | None = None
    last_to_commit_s: float | None = None  # from the last file's arrival to the accepted exam
    note: str = ""

    @property
    def name(self) -> str:
        """What the row is chosen by."""
        return f"{self.workload} / {self.receiver} / {self.client}"


_COLUMNS = (
    *("workload", "receiver", "client", "seconds", "MB/s", "objects/s", "ratio", "CPU s", "CPU s/GB", "RSS MB"),
    *("last→commit s", ""),
)
_FOR_PEOPLE = (
    *("workload", "receiver", "client", "MB/s", "objects/s", "ratio", "CPU s/GB", "RSS MB", "last→commit s"),
)
_TEXTS = 3  # columns that hold no figures


def with_ratios(rows: Sequence[Row], references: Sequence[str]) -> list[Row]:
    """The rows with their ratios to the first of the reference clients that was measured for the same workload and
    receiver."""
    found = []
    for row in rows:
        block = [one for one in rows if (one.workload, one.receiver) == (row.workload, row.receiver)]
        base = next((one for name in references for one in block if one.client == name), None)
        found.append(replace(row, ratio=_ratio(row, base)) if base is not None else row)
    return found


def _ratio(row: Row, base: Row) -> float | None:
    if row.mb_s is not None and base.mb_s:
        return row.mb_s / base.mb_s
    return row.objects_s / base.objects_s if row.objects_s is not None and base.objects_s else None


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)


def from_json(text: str) -> list[Row]:
    """The rows of `as_json`."""
    return [Row(**row) for row in json.loads(text)]


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as the README's table: of each what its block is, and the figures that say most."""
    lines = ["| " + " | ".join(_FOR_PEOPLE) + " |", "| --- | --- | --- |" + " ---: |" * (len(_FOR_PEOPLE) - _TEXTS)]
    before = ("", "")
    for row in rows:
        block = (row.workload, row.receiver)
        shown = ("" if block[0] == before[0] else block[0], "" if block == before else block[1])
        figures = ((row.mb_s, 0), (row.objects_s, 0), (row.ratio, 2), (row.cpu_s_per_gb, 1), (row.peak_rss_mb, 0))
        cells = [*(_figure(*one) for one in figures), _figure(row.last_to_commit_s, 2)]
        client = f"{row.client} ({row.note})" if row.note else row.client
        lines.append("| " + " | ".join((*shown, client, *cells)) + " |")
        before = block
    return "\n".join(lines)


def as_text(rows: Sequence[Row]) -> str:
    """The rows as aligned columns; what repeats the row above is left out."""
    lines: list[tuple[str, ...]] = [_COLUMNS]
    before = ("", "")
    for row in rows:
        block = (row.workload, row.receiver)
        shown = ("" if block[0] == before[0] else block[0], "" if block == before else block[1])
        lines.append((*shown, *_cells(row)))
        before = block
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join(_line(line, widths) for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    figures = ((row.mb_s, 1), (row.objects_s, 0), (row.ratio, 2), (row.cpu_s, 2), (row.cpu_s_per_gb, 1))
    more = ((row.peak_rss_mb, 0), (row.last_to_commit_s, 2))
    return (row.client, f"{row.seconds:.2f}", *(_figure(*one) for one in (*figures, *more)), row.note)


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *columns, note = cells
    padded = [c.ljust(w) if i < _TEXTS else c.rjust(w) for i, (c, w) in enumerate(zip(columns, widths, strict=False))]
    return "  ".join([*padded, note]).rstrip()
