"""The bench runs, and gives every figure. How fast it was never decides a test; how much memory it took does."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from tests.bench.measures import RSS_LIMIT_MB, Sizes, measure
from tests.bench.table import Row, as_json, as_text

_EXPECTED = [
    "CT study",
    "  bare httpx, same batches",
    "  curl",
    "50 exams of one image in one flat folder",
    "  bare httpx, image and JSON",
    "50 exams of one image in folders",
    "  bare httpx, image and JSON",
    "one file of 200 MB",
    "first look over 500",
    "  a look that finds nothing new",
    "  until all are seen",
    "  idle beside them",
]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return measure(Sizes.quick())


def test_every_row_is_there_and_every_figure_is_finite(rows: list[Row]) -> None:
    expected = [name for name in _EXPECTED if name != "  curl" or shutil.which("curl")]
    assert len(rows) == len(expected)
    for row, name in zip(rows, expected, strict=True):
        assert row.name.startswith(name)
        figures = [row.seconds, row.rate, row.ratio, row.cpu_s, row.cpu_s_per_gb, row.peak_rss_mb]
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures if figure is not None), row
        assert row.seconds > 0


def test_a_file_larger_than_the_memory_goes_through(rows: list[Row]) -> None:
    """200 MB through at most 150 MB: the file is never in memory as a whole."""
    (large,) = [row for row in rows if row.name.startswith("one file")]
    assert large.peak_rss_mb is not None
    assert 10 < large.peak_rss_mb < RSS_LIMIT_MB
    assert large.note.startswith("OK")


def test_both_forms_show_every_row(rows: list[Row]) -> None:
    assert [row["name"] for row in json.loads(as_json(rows))] == [row.name for row in rows]
    assert len(as_text(rows).splitlines()) == 1 + len(rows)
