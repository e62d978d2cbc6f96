"""The console's bench works: small amounts, whose figures mean nothing."""

from __future__ import annotations

from tests.bench.console import pages, throughput


def test_every_page_answers_with_a_filled_ledger() -> None:
    found = pages(2_000, None)
    assert {"/", "/bundles", "/attention", "/metrics"} <= found.keys()
    started = [found.pop(one)["ms"] for one in ("first answer after the start", "all counted after the start")]
    assert all(one > 0 for one in started)
    assert all(one["median_ms"] > 0 for one in found.values())


def test_exams_are_delivered_while_browsers_look() -> None:
    found = throughput(10, turns=1)
    assert found["rate_ratio"] > 0
    assert found["watched"]["exams_per_s"] > 0
