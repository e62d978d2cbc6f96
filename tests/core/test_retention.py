"""What may be purged, and what never."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.lifecycle import BundleState
from folder_agent.core.receipts import Receipt, ReceiptFile
from folder_agent.core.records import BundleRecord, FileKind
from folder_agent.core.retention import YOUNGEST_DAYS, Retention, purgeable

TODAY = date(2026, 11, 23)
FILES = (ReceiptFile("IM1", FileKind.DICOM, 10), ReceiptFile("old", FileKind.PDF, None))
RECEIPT = Receipt("CT1", "ct", True, FILES[:1], FILES[1:])
ROW = BundleRecord(1, "ct", "CT1/", "CT1", BundleState.DONE, 1.0, 1.0, is_open=False)


@given(st.integers(0, 400), st.none() | st.integers(1, 400), st.booleans())
def test_a_day_is_over_by_age_or_for_want_of_space_and_never_while_it_is_young(
    age: int, keep: int | None, is_short: bool
) -> None:
    day = (TODAY - timedelta(days=age)).isoformat()
    over = Retention(keep, 1).is_over(day, TODAY, is_short=is_short)
    assert over == (age >= YOUNGEST_DAYS and (is_short or (keep is not None and age > keep)))


@pytest.mark.parametrize("name", ["", "2026-13-01", "old", "2026-01-01 (2)"])
def test_a_folder_that_is_no_day_is_never_over(name: str) -> None:
    assert not Retention(1, 1).is_over(name, TODAY, is_short=True)


def test_nothing_is_purged_unless_asked_for() -> None:
    off = Retention()
    assert not off.is_on
    assert not off.is_short(0)
    assert not off.is_over("2000-01-01", TODAY, is_short=False)


@pytest.mark.parametrize("row", [None, ROW])
def test_what_the_receipt_lists_with_its_size_may_go(row: BundleRecord | None) -> None:
    assert purgeable(RECEIPT, row, "ct") == {"IM1": 10}


@pytest.mark.parametrize("state", [state for state in BundleState if state is not BundleState.DONE])
def test_a_ledger_that_says_otherwise_is_believed(state: BundleState) -> None:
    assert purgeable(RECEIPT, replace(ROW, state=state), "ct") is None


def test_without_a_receipt_of_this_drop_that_says_delivered_nothing_may_go() -> None:
    assert purgeable(None, ROW, "ct") is None
    assert purgeable(replace(RECEIPT, is_delivered=False), ROW, "ct") is None
    assert purgeable(RECEIPT, None, "mr") is None
    assert purgeable(RECEIPT, replace(ROW, drop="mr"), "ct") is None
