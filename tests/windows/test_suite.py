"""What the suite inside of Windows makes of what its processes say; that it runs is seen where the gate runs it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.windows import suite
from tests.windows.lab.session import ROOT

SAID = """.s.E
SKIPPED [12] tests\\edges\\test_x.py:48: PostgreSQL runs on the Linux side
SKIPPED [1] tests\\e2e\\test_y.py:5: Wine lacks: notifications
1822 passed, 13 skipped, 1 deselected, 2 errors in 909.48s (0:15:09)
the interpreter's last words
"""
SAID_WELL = "3 passed in 1.00s"


def test_the_closing_line_counts_whatever_is_said_after_it() -> None:
    assert suite._counts(SAID) == Counter(passed=1822, skipped=13, error=2)
    assert suite._counts("= 1 failed, 2 passed in 3.00s =") == Counter(passed=2, failed=1)
    assert suite._counts("..F +++ Timeout +++") == Counter()


def test_every_skip_is_told_with_its_reason() -> None:
    assert suite._reasons(SAID) == {"PostgreSQL runs on the Linux side": 12, "Wine lacks: notifications": 1}


def test_what_is_chosen_and_what_is_left_out_is_there() -> None:
    chosen = suite.chosen(everything=True)
    assert {*suite.chosen()} | suite.ALL_ALONE == {*chosen}
    assert all((ROOT / file).is_file() for file in [*chosen, *suite.LEFT_OUT])
    assert not suite.LEFT_OUT & {*chosen}
    assert len(chosen) == len({*chosen})


@pytest.mark.parametrize("said", ["", "..F +++ Timeout +++", "3 deselected in 1.00s"])
def test_a_process_that_ends_without_a_word_of_success_fails_the_suite(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "_prepare", lambda session: None)
    monkeypatch.setattr(suite, "_run", lambda session, number, files, *more: (number, said if number else SAID_WELL))
    outcome = suite.run(None, ["a", "b"], 2)  # type: ignore[arg-type]
    assert (outcome.passed, outcome.failed) == (3, 1)
