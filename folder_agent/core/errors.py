"""What can go wrong, as values: a Problem names an entry of the catalogue and fills it in; AgentError carries one.

    AgentError            anything that an edge reports to the agent
    └── StaleState        the ledger's row is no longer in the state that the caller saw: look again

The disposition is set where the problem is noticed (the catalogue's by default) and obeyed everywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Disposition(StrEnum):
    """What is to be done about a problem."""

    WAIT = "wait"  # nothing is wrong yet: more files or time will settle it
    RETRY = "retry"  # try again later, with back-off
    HOLD = "hold"  # an operator must act; everything stays queued
    REFUSE = "refuse"  # the content or the gateway's verdict is final: to failed/
    FATAL = "fatal"  # the process cannot go on safely: it stops and says why


Value = str | int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or waited for. `code` is a key of the catalogue; the values fill in its sentences.

    `private` holds what may identify a patient: it is written next to the patient's own files (WHY.txt) and
    masked everywhere else (logs, ledger, status, exceptions).
    """

    code: str
    path: str | None = None  # the file it is about, relative to the drop folder
    values: tuple[tuple[str, Value], ...] = ()
    private: tuple[tuple[str, str], ...] = ()

    def masked(self) -> Problem:
        """The same problem with every private value shortened to what cannot identify anyone."""
        return replace(self, private=tuple((name, mask(value)) for name, value in self.private))


def problem(code: str, path: str | None = None, private: dict[str, str] | None = None, **values: Value) -> Problem:
    """Make a Problem: `problem("FA-TOO-MANY", declared=2, found=3)`."""
    return Problem(code, path, tuple(values.items()), tuple((private or {}).items()))


def mask(value: str) -> str:
    """Shorten a personal value: one character stays, so that two of them can still be told apart at a glance."""
    return value if value.endswith("***") and len(value) <= 4 else (value[:1] if len(value) > 1 else "") + "***"


class AgentError(Exception):
    """A problem that stops what is being done now; its text never holds a personal value."""

    def __init__(self, problem: Problem, disposition: Disposition) -> None:
        super().__init__(f"{problem.code}{f' ({problem.path})' if problem.path else ''}")
        self.problem = problem
        self.disposition = disposition


class StaleState(Exception):
    """The ledger refused a transition because the row had already left the state that the caller saw."""
