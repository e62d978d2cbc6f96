"""THE state machine: every state, every event, and the only table of what leads where.

An unlisted (state, event) pair raises NotAllowed. Whoever wants to change a state makes a Transition here and hands it
to the ledger, which persists it only if the row is still in the state that the transition starts from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from folder_agent.core.records import BundleRecord, FileRecord


class FileState(StrEnum):
    SEEN = "SEEN"  # it was in the drop folder at the last look; nothing is known of its content
    SETTLED = "SETTLED"  # unchanged for settle_s, could be opened, its structure is whole
    SENT = "SENT"  # the gateway accepted exactly these bytes (their SHA-256 and its answer are kept)
    VANISHED = "VANISHED"  # somebody else took it away before we moved it; if it comes back, that is a new file
    REFUSED = "REFUSED"  # it stopped changing, and is not what it claims to be, or is cut short


class FileEvent(StrEnum):
    SETTLE = "settle"
    ACCEPT = "accept"  # the gateway took it
    RECOGNISE = "recognise"  # the gateway took the same bytes earlier, from another drop of the same exam
    MISS = "miss"  # the gateway took it, and, asked for it, does not have it: it goes once more
    REFUSE = "refuse"
    CHANGE = "change"  # its stamp is another one than before: what we knew of its content is void
    VANISH = "vanish"


class BundleState(StrEnum):
    GATHERING = "GATHERING"  # some of its files are known; it is not proven complete; `eager` may send images ahead
    COMPLETE = "COMPLETE"  # sidecar valid, every file settled and identified; nothing has left but what is SENT
    SENDING = "SENDING"  # bytes may have left; files marked SENT have arrived; study/add may be under way
    WAITING = "WAITING"  # an attempt failed; the next is due at due_at; nothing is lost
    HELD = "HELD"  # an attempt met something that an operator must mend; goes on by itself afterwards
    COMMITTED = "COMMITTED"  # every file accepted and study/add accepted; only the move to done/ is left
    DONE = "DONE"  # committed and wholly in done/, with its receipt
    REFUSED = "REFUSED"  # its content is wrong; it is in failed/, or on its way there
    FAILED = "FAILED"  # the gateway's verdict or exhausted retries; it is in failed/, or on its way there
    WITHDRAWN = "WITHDRAWN"  # all of its files were taken away by somebody else before anything was decided


class BundleEvent(StrEnum):
    COMPLETE = "complete"
    REOPEN = "reopen"  # its files or its sidecar changed: what was decided is decided anew
    SEND = "send"
    PUT_OFF = "put off"  # try again at due_at
    HOLD = "hold"
    RETRY_NOW = "retry now"  # an operator asks for it
    COMMIT = "commit"
    REPEAT = "repeat"  # all of it was delivered before, and the gateway was told the same: nothing is sent
    REFUSE = "refuse"
    FAIL = "fail"
    AIM = "aim"  # the place on the shelf is chosen and recorded; the first move comes after this
    SHELVE = "shelve"  # every file is on the shelf, with receipt or reason
    WITHDRAW = "withdraw"


class NotAllowed(Exception):
    """This event cannot happen in this state."""


_F, _FE, _B, _BE = FileState, FileEvent, BundleState, BundleEvent

FILE_TABLE: dict[tuple[FileState, FileEvent], FileState] = {
    (_F.SEEN, _FE.SETTLE): _F.SETTLED,
    (_F.SEEN, _FE.REFUSE): _F.REFUSED,
    (_F.SEEN, _FE.CHANGE): _F.SEEN,
    (_F.SEEN, _FE.VANISH): _F.VANISHED,
    (_F.SETTLED, _FE.ACCEPT): _F.SENT,
    (_F.SETTLED, _FE.RECOGNISE): _F.SENT,
    (_F.SETTLED, _FE.CHANGE): _F.SEEN,
    (_F.SETTLED, _FE.REFUSE): _F.REFUSED,
    (_F.SETTLED, _FE.VANISH): _F.VANISHED,
    (_F.SENT, _FE.MISS): _F.SETTLED,
    (_F.SENT, _FE.CHANGE): _F.SEEN,
    (_F.SENT, _FE.VANISH): _F.VANISHED,
    (_F.REFUSED, _FE.CHANGE): _F.SEEN,
    (_F.REFUSED, _FE.SETTLE): _F.SETTLED,
    (_F.REFUSED, _FE.VANISH): _F.VANISHED,
}

BUNDLE_TABLE: dict[tuple[BundleState, BundleEvent], BundleState] = {
    (_B.GATHERING, _BE.COMPLETE): _B.COMPLETE,
    (_B.GATHERING, _BE.REFUSE): _B.REFUSED,
    (_B.GATHERING, _BE.FAIL): _B.FAILED,
    (_B.GATHERING, _BE.WITHDRAW): _B.WITHDRAWN,
    (_B.COMPLETE, _BE.SEND): _B.SENDING,
    (_B.COMPLETE, _BE.REOPEN): _B.GATHERING,
    (_B.COMPLETE, _BE.REFUSE): _B.REFUSED,
    (_B.SENDING, _BE.COMMIT): _B.COMMITTED,
    (_B.SENDING, _BE.REPEAT): _B.COMMITTED,
    (_B.SENDING, _BE.PUT_OFF): _B.WAITING,
    (_B.SENDING, _BE.HOLD): _B.HELD,
    (_B.SENDING, _BE.REFUSE): _B.REFUSED,
    (_B.SENDING, _BE.FAIL): _B.FAILED,
    (_B.SENDING, _BE.REOPEN): _B.GATHERING,
    (_B.WAITING, _BE.SEND): _B.SENDING,
    (_B.WAITING, _BE.RETRY_NOW): _B.WAITING,
    (_B.WAITING, _BE.REOPEN): _B.GATHERING,
    (_B.WAITING, _BE.REFUSE): _B.REFUSED,
    (_B.WAITING, _BE.FAIL): _B.FAILED,
    (_B.HELD, _BE.SEND): _B.SENDING,
    (_B.HELD, _BE.RETRY_NOW): _B.HELD,
    (_B.HELD, _BE.REOPEN): _B.GATHERING,
    (_B.HELD, _BE.REFUSE): _B.REFUSED,
    (_B.COMMITTED, _BE.AIM): _B.COMMITTED,
    (_B.COMMITTED, _BE.SHELVE): _B.DONE,
    (_B.REFUSED, _BE.AIM): _B.REFUSED,
    (_B.REFUSED, _BE.SHELVE): _B.REFUSED,
    (_B.FAILED, _BE.AIM): _B.FAILED,
    (_B.FAILED, _BE.SHELVE): _B.FAILED,
}

ON_THE_WAY_TO_A_SHELF = frozenset({_B.COMMITTED, _B.REFUSED, _B.FAILED})
SENDABLE = frozenset({_B.COMPLETE, _B.SENDING, _B.WAITING, _B.HELD})  # SENDING: an attempt that a crash interrupted

_R = TypeVar("_R", "FileRecord", "BundleRecord")


@dataclass(frozen=True, slots=True)
class Transition(Generic[_R]):
    """One lawful change of one record; only this module makes them, only the ledger persists them."""

    before: _R
    event: FileEvent | BundleEvent
    after: _R
    at: float


def next_file_state(state: FileState, event: FileEvent) -> FileState:
    """Where the event leads, or NotAllowed."""
    try:
        return FILE_TABLE[state, event]
    except KeyError:
        raise NotAllowed(f"a file in {state} cannot meet '{event}'") from None


def next_bundle_state(state: BundleState, event: BundleEvent) -> BundleState:
    """Where the event leads, or NotAllowed."""
    try:
        return BUNDLE_TABLE[state, event]
    except KeyError:
        raise NotAllowed(f"a bundle in {state} cannot meet '{event}'") from None


def file_step(record: FileRecord, event: FileEvent, at: float, **changes: Any) -> Transition[FileRecord]:
    """The transition of a file on an event, with what else changes along with its state."""
    return Transition(record, event, replace(record, state=next_file_state(record.state, event), **changes), at)


def bundle_step(record: BundleRecord, event: BundleEvent, at: float, **changes: Any) -> Transition[BundleRecord]:
    """The transition of a bundle on an event; `changed_at` follows by itself."""
    after = replace(record, state=next_bundle_state(record.state, event), changed_at=at, **changes)
    return Transition(record, event, after, at)
