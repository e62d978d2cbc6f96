"""The bench runs, and gives every figure. How fast it was never decides a test; how much memory it took does."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pytest

from tests.bench import receivers
from tests.bench.measures import CASES, DIMSE, RSS_LIMIT_MB, STOW, Sizes, measure, names
from tests.bench.processes import ROOT
from tests.bench.table import Row, as_json, as_markdown, as_text, from_json, with_ratios

pytestmark = pytest.mark.timeout(600)
_TOOLS = {"curl": "curl", "rclone": "rclone"}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return measure(Sizes.quick())


def _is_possible(name: str) -> bool:
    _, receiver, client = (part.strip() for part in name.split(" / "))
    tool = _TOOLS.get(client.partition(" ")[0])
    return receivers.missing(receiver) is None and (tool is None or shutil.which(tool) is not None)


def test_every_row_is_there_and_every_figure_is_finite(rows: list[Row]) -> None:
    possible = [case for case in CASES if _is_possible(case.name)]
    assert [(row.receiver, row.client) for row in rows[: len(possible)]] == [(c.receiver, c.client) for c in possible]
    assert len(rows) == len(possible) + 2 * len(Sizes.quick().eager) + 4
    for row in rows:
        figures = (row.mb_s, row.objects_s, row.ratio, row.cpu_s, row.cpu_s_per_gb, row.last_to_commit_s)
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures if figure is not None), row
        assert row.seconds > 0


def test_the_agent_stays_small_whatever_it_sends(rows: list[Row]) -> None:
    """200 MB in one file, too, through at most 150 MB: no file is ever in memory as a whole."""
    sizes = [row.peak_rss_mb for row in rows if row.client in (STOW, DIMSE) and row.peak_rss_mb is not None]
    assert len(sizes) >= 7
    assert 10 < min(sizes) <= max(sizes) < RSS_LIMIT_MB


def test_every_form_shows_every_row(rows: list[Row]) -> None:
    assert [row["client"] for row in json.loads(as_json(rows))] == [row.client for row in rows]
    assert len(as_text(rows).splitlines()) == 1 + len(rows)
    assert len(as_markdown(rows).splitlines()) == 2 + len(rows)
    assert from_json(as_json(rows)) == rows


def test_rows_are_chosen_by_words_of_their_names() -> None:
    line = [sys.executable, "-m", "tests.bench", "--list"]
    listed = subprocess.run(line, capture_output=True, cwd=ROOT, encoding="utf-8", check=True).stdout.splitlines()
    assert listed == names(Sizes())
    assert len(set(listed)) == len(listed)


def test_ratios_are_to_the_reference_of_the_same_block() -> None:
    rows = [
        Row("w", "r", "mine", 1.0, mb_s=50.0),
        Row("w", "r", "bare", 1.0, mb_s=100.0),
        Row("w", "other", "mine", 1.0, mb_s=7.0),
        Row("v", "r", "mine", 1.0, objects_s=30.0),
        Row("v", "r", "second", 1.0, objects_s=10.0),
    ]
    assert [row.ratio for row in with_ratios(rows, ("bare", "second"))] == [0.5, 1.0, None, 3.0, 1.0]
