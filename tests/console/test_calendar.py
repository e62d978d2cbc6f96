"""The calendar's colours: by the ledger alone, and by what was compared once it was."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from folder_agent.checkup.accounts import Day, begin_of
from folder_agent.console.calendar import DAYS, Counting, weeks
from folder_agent.core.lifecycle import BundleEvent, bundle_step
from folder_agent.core.reconciling import Row
from folder_agent.edges.ledger import open_ledger

DAY = "2026-11-25"


def row(**exams: int) -> Row:
    made = Row(DAY, "ct")
    for name, count in exams.items():
        setattr(made.exams, name, count)
    return made


def compared(ledger: Row, missing: int = 0, files_waiting: int = 0) -> Day:
    made = Day(DAY, {"ct": Row(DAY, "ct", exams=ledger.exams, missing=missing)})
    made.rows["ct"].files.waiting = files_waiting
    return made


@pytest.mark.parametrize(
    ("exams", "proven", "mood"),
    [
        ({}, None, "none"),
        ({"accepted": 3}, None, "well"),
        ({"accepted": 3, "refused": 1}, None, "mixed"),
        ({"accepted": 3, "failed": 1}, None, "mixed"),
        ({"accepted": 3, "failed": 1, "waiting": 1}, None, "watch"),
        ({"accepted": 3}, compared(row(accepted=3)), "well"),
        ({"accepted": 3}, compared(row(accepted=3), missing=1), "bad"),
        ({"accepted": 3}, compared(row(accepted=3), files_waiting=1), "watch"),  # as it was then, and still is
        ({"accepted": 3}, compared(row(accepted=2, waiting=1)), "well"),  # it has gone on since
        ({"accepted": 3}, compared(row(accepted=2, waiting=1), missing=1), "bad"),  # no delivery finds what is missing
    ],
)
def test_a_day_is_coloured(exams: dict[str, int], proven: Day | None, mood: str) -> None:
    (week,) = weeks({DAY: {"ct": row(**exams)}}, [proven] if proven else [])
    assert [one and one.mood for one in week] == [None, None, mood, None, None, None, None]
    assert week[2] is not None
    assert (week[2].missing is None) == (proven is None)


def test_days_are_counted_by_when_an_exam_was_first_seen(tmp_path: Path) -> None:
    today = date(2026, 11, 28)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    for number, back in enumerate([0, 1, 1, DAYS - 1, DAYS]):
        begun = ledger.open_bundle(
            "ct", f"{number}/", f"{number}", begin_of(date.fromordinal(today.toordinal() - back))
        )
        if number == 2:
            ledger.apply([bundle_step(begun, BundleEvent.REFUSE, begun.created_at + 86400)])
    counted = Counting(ledger, ["ct", "mr"]).of(today)
    ledger.close()
    assert len(counted) == DAYS
    assert list(counted) == sorted(counted)
    found = {day: (rows["ct"].exams.waiting, rows["ct"].exams.refused) for day, rows in counted.items()}
    assert {day: numbers for day, numbers in found.items() if any(numbers)} == {
        "2026-10-25": (1, 0),
        "2026-11-27": (1, 1),
        "2026-11-28": (1, 0),
    }
    assert counted["2026-11-28"]["mr"].is_empty
