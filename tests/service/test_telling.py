"""What reaches the Windows Event Log: told once, in both languages, nothing personal, never a flood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord
from folder_agent.service.events import MEANINGS, EventId, Level
from folder_agent.service.telling import MOST_OF_A_KIND, PERIOD_S, EventPublisher, entry, fault_text

NAME = "张三"


class Log:
    """An event log, and the clock beside it."""

    def __init__(self) -> None:
        self.entries: list[tuple[EventId, str]] = []
        self.now = 0.0
        self.publisher = EventPublisher(lambda event, text: self.entries.append((event, text)), lambda: self.now)

    @property
    def ids(self) -> list[EventId]:
        return [event for event, _ in self.entries]


@pytest.fixture
def log() -> Log:
    return Log()


def refused(number: int = 1) -> BundleRecord:
    why = (problem("FA-CHANGED", f"{NAME}.dcm"),)
    return BundleRecord(number, "ct", f"{NAME}/", f"{NAME}-CT", BundleState.REFUSED, 0.0, 0.0, reasons=why)


def test_every_event_has_a_meaning_in_both_languages_and_a_number_that_windows_can_show() -> None:
    assert set(MEANINGS) == set(EventId)
    assert all(1 <= event <= 1000 for event in EventId)  # the table of EventCreate.exe
    for meaning in MEANINGS.values():
        assert meaning.zh != meaning.en
        assert not meaning.zh.isascii()
        assert meaning.en.isascii()


def test_the_readme_tells_what_each_means() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for event, meaning in MEANINGS.items():
        assert f"| {int(event)} | {meaning.level.name.lower()} | {meaning.en} |" in readme


def test_a_bundle_that_fails_is_told_without_the_patient(log: Log) -> None:
    log.publisher.transition(refused(), "COMPLETE", "refuse", [NAME])
    ((event, text),) = log.entries
    assert event is EventId.BUNDLE_FAILED
    assert NAME not in text
    assert "FA-CHANGED" in text
    assert text.index("一个检查进入 failed/") < text.index("An exam went to failed/")


def test_while_nobody_knows_the_patient_neither_folder_nor_file_is_named(log: Log) -> None:
    log.publisher.transition(refused(), "COMPLETE", "refuse", None)
    assert NAME not in log.entries[0][1]


def test_what_goes_well_is_no_news(log: Log) -> None:
    bundle = refused()
    for state in set(BundleState) - {BundleState.REFUSED, BundleState.FAILED, BundleState.HELD}:
        log.publisher.transition(replace(bundle, state=state), "X", "x", [])
    log.publisher.transition(bundle, "REFUSED", "aim", [])  # on its way to failed/: told already
    log.publisher.waits(bundle, [])
    log.publisher.sending(bundle, 1, 2)
    assert log.entries == []


@pytest.mark.parametrize(
    ("code", "began", "ended"),
    [
        ("FA-CREDENTIALS", EventId.HELD, EventId.RESUMED),
        ("FA-DROP-GONE", EventId.OUTAGE, EventId.RECOVERED),
        ("FA-GW-UNREACHABLE", EventId.OUTAGE, EventId.RECOVERED),
    ],
)
def test_a_hold_and_an_outage_are_told_at_both_ends(log: Log, code: str, began: EventId, ended: EventId) -> None:
    lasting = Lasting(0.0, 60.0, 214)
    log.publisher.notice(problem(code, detail="x"), lasting=lasting)
    log.publisher.notice(problem(code, detail="x"), is_over=True, lasting=lasting)
    assert log.ids == [began, ended]
    assert "214 个检查等待" in log.entries[0][1]
    assert "(214 waiting)" in log.entries[0][1]


def test_a_fault_is_told_by_its_place_and_not_by_its_values(log: Log) -> None:
    with pytest.raises(ValueError, match=NAME) as caught:
        int(NAME)
    log.publisher.fault(caught.value)
    assert fault_text(caught.value).startswith("ValueError < test_telling.py:")
    assert log.ids == [EventId.INTERNAL]
    assert NAME not in log.entries[0][1]


def test_thousands_of_failures_are_some_entries_and_a_number(log: Log) -> None:
    for number in range(1, 5001):
        log.publisher.transition(refused(number), "COMPLETE", "refuse", [])
    assert log.ids == [EventId.BUNDLE_FAILED] * MOST_OF_A_KIND + [EventId.NOT_TOLD]
    log.publisher.notice(problem("FA-DROP-GONE", detail="x"))
    assert log.ids[-1] is EventId.OUTAGE  # each kind by itself
    log.now += PERIOD_S
    log.publisher.transition(refused(), "COMPLETE", "refuse", [])
    assert log.ids[-2:] == [EventId.NOT_TOLD, EventId.BUNDLE_FAILED]
    assert f"event id 20: {5000 - MOST_OF_A_KIND} of them" in log.entries[-2][1]


def test_an_entry_is_never_longer_than_the_log_takes() -> None:
    assert len(entry(EventId.SETTINGS, "x" * 100_000)) < 31_839


def test_what_needs_somebody_is_an_error() -> None:
    errors = {event for event, meaning in MEANINGS.items() if meaning.level is Level.ERROR}
    assert errors == {EventId.SETTINGS, EventId.ENDED, EventId.CRASHED, EventId.HELD, EventId.INTERNAL}
