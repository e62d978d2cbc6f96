"""A publisher for the Event Log: holds, outages, failed bundles and faults, in both languages, and never a flood.

Touches nothing: whoever makes it says how an entry is written.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from folder_agent.core.catalogue import disposition, explain, what_to_do
from folder_agent.core.errors import Disposition, Problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord
from folder_agent.edges.logs import line_of
from folder_agent.service.events import MEANINGS, EventId

Write = Callable[[EventId, str], None]

MOST_OF_A_KIND = 20  # entries of one number in `PERIOD_S`; the rest are counted
PERIOD_S = 3600.0
_TOLD = {
    BundleState.REFUSED: EventId.BUNDLE_FAILED,
    BundleState.FAILED: EventId.BUNDLE_FAILED,
    BundleState.HELD: EventId.BUNDLE_HELD,
}
_LONGEST = 10_000  # characters; an entry may have 31,839


class EventPublisher:
    """Writes down what an administrator should see. Starts and ends are told once each, through `say`, unbounded."""

    def __init__(self, write: Write, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._write, self._monotonic = write, monotonic
        self._began = monotonic()
        self._counts: dict[EventId, int] = {}

    def say(self, event: EventId, zh: str = "", en: str = "") -> None:
        """One entry: the table's words, then these."""
        self._write(event, entry(event, zh, en))

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """Only bundles that somebody must look at, when they become so."""
        kind = _TOLD.get(bundle.state)
        if kind is not None and before != str(bundle.state):
            state = str(bundle.state)
            self._bounded(kind, line_of(bundle, state, personal, "zh"), line_of(bundle, state, personal, "en"))

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """No news to an administrator."""

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """No news, either."""

    def fault(self, error: Exception) -> None:
        """Where it happened, without the message, which may quote a patient's data."""
        where = fault_text(error)
        self._bounded(EventId.INTERNAL, where, where)

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """A hold or an outage began or ended."""
        is_hold = disposition(problem) in (Disposition.HOLD, Disposition.FATAL)
        kinds = (EventId.HELD, EventId.RESUMED) if is_hold else (EventId.OUTAGE, EventId.RECOVERED)
        waiting = (f"({lasting.waiting} 个检查等待)", f" ({lasting.waiting} waiting)") if lasting else ("", "")
        todo = ("", "") if is_over else (what_to_do(problem, "zh"), f". {what_to_do(problem, 'en')}")
        self._bounded(
            kinds[is_over],
            f"{problem.code} {explain(problem, 'zh')}{waiting[0]}{'。' if todo[0] else ''}{todo[0]}",
            f"{problem.code} {explain(problem, 'en')}{waiting[1]}{todo[1]}",
        )

    def _bounded(self, event: EventId, zh: str, en: str) -> None:
        if self._monotonic() - self._began >= PERIOD_S:
            self._begin_anew()
        self._counts[event] = self._counts.get(event, 0) + 1
        if self._counts[event] <= MOST_OF_A_KIND:
            self.say(event, zh, en)
        elif self._counts[event] == MOST_OF_A_KIND + 1:
            self.say(EventId.NOT_TOLD, f"事件编号 {int(event)}", f"event id {int(event)}")

    def _begin_anew(self) -> None:
        """A new period; how much the last one kept to itself is told first."""
        over = {event: count - MOST_OF_A_KIND for event, count in self._counts.items() if count > MOST_OF_A_KIND}
        self._began, self._counts = self._monotonic(), {}
        for event, count in over.items():
            self.say(EventId.NOT_TOLD, f"事件编号 {int(event)}:{count} 条", f"event id {int(event)}: {count} of them")


def entry(event: EventId, zh: str = "", en: str = "") -> str:
    """The text of an entry: Chinese first, then English, each with what is particular to it."""
    meaning = MEANINGS[event]
    parts = [meaning.zh + "。", zh, "", meaning.en[0].upper() + meaning.en[1:] + ".", en]
    return "\r\n".join(part for number, part in enumerate(parts) if part or number == 2)[:_LONGEST]


def fault_text(error: BaseException) -> str:
    """The fault's kind and place, innermost first; no values."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return " < ".join([type(error).__name__, *where[:20]])
