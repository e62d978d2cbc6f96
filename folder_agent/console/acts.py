"""What an operator does: every act goes to the audit history first, then into the ledger, and the agent carries it out.

Opens a connection that writes for each act, and closes it at once; moves bundles out of failed/ as `retry` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from folder_agent.checkup.again import knock, try_again, why_not_back
from folder_agent.checkup.sidecars import shown_name
from folder_agent.console.access import Visitor
from folder_agent.console.context import Context
from folder_agent.console.jobs import Job
from folder_agent.console.views import acts_for
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import Act, BundleRecord, Deed
from folder_agent.core.status import Phrase
from folder_agent.edges.ledger import PeeweeLedger

ACTS = {"now": Act.RETRY, "again": Act.RETRY, "refuse": Act.REFUSE, "accept": Act.ACCEPT}
SURE = frozenset(ACTS)  # those that ask before
_WITH_REASON = frozenset({"refuse", "accept"})
_MOST_REASON, _MOST_AT_ONCE = 500, 500
_NOT_NOW = Phrase("它的状态已变,现在不能这样做", "it has moved on: this cannot be done now")
_REFUSED = Phrase("将移入 failed/,并写明原因", "it goes to failed/, with the reason")
_ACCEPTED = Phrase("将按现有文件的数量发送", "it is sent as it is, with the counts of the files that are there")
_BROUGHT_BACK = Phrase(
    "将从 failed/ 移回投放目录,按现有文件的数量发送",
    "it is brought back from failed/, and sent as it is, with the counts of the files that are there",
)
_NEVER = Phrase(
    "不能按现状接受:只有文件多于声明的检查可以;它的问题必须更正",
    "it cannot be accepted as it is: only more files than declared can be; what is wrong with it has to be mended",
)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an act."""

    bundle: BundleRecord | None
    words: Phrase
    is_done: bool = False
    needs_reason: bool = False


def act(context: Context, visitor: Visitor, record: BundleRecord, name: str, reason: str) -> Told:
    """One act on one bundle."""
    if not acts_for(record)[name]:
        is_wrong = name == "accept" and record.state is BundleState.REFUSED and not record.is_open
        return Told(record, _NEVER if is_wrong else _NOT_NOW)
    if name == "accept" and not record.is_open and (why_not := why_not_back(context.settings, record)) is not None:
        return Told(record, why_not)
    if name in _WITH_REASON and not reason:
        return Told(record, _NOT_NOW, needs_reason=True)
    kind = ACTS[name]
    with _writing(context) as ledger:
        ledger.keep_deed(_deed(visitor, kind, record.id, reason or None))
        if kind is Act.RETRY:
            outcome = try_again(context.settings, ledger, [record])[0]
            told = Told(record, outcome.words, outcome.is_retried)
        else:
            knock(ledger)
            accepted = _ACCEPTED if record.is_open else _BROUGHT_BACK
            told = Told(record, _REFUSED if kind is Act.REFUSE else accepted, is_done=True)
    _changed(context)
    return told


def again(context: Context, visitor: Visitor, numbers: Sequence[int]) -> list[Told]:
    """Try a whole group again."""
    with _writing(context) as ledger:
        found = [one for one in map(ledger.bundle, numbers[:_MOST_AT_ONCE]) if one is not None]
        for record in found:
            ledger.keep_deed(_deed(visitor, Act.RETRY, record.id))
        outcomes = try_again(context.settings, ledger, found)
    _changed(context)
    return [Told(one.bundle, one.words, one.is_retried) for one in outcomes]


def reveal(context: Context, visitor: Visitor, record: BundleRecord) -> str | None:
    """The patient's name, from the sidecar or the receipt; that it was shown is recorded first."""
    with _writing(context) as ledger:
        ledger.keep_deed(_deed(visitor, Act.REVEAL, record.id))
    files = context.ledger.files_of(record.id)
    drop = next((drop for drop in context.settings.drops if drop.name == record.drop), None)
    _changed(context)
    return shown_name(drop, record, files)


def check(context: Context, visitor: Visitor, name: str, job: Job[Any]) -> None:
    """Have doctor or reconcile look."""
    with _writing(context) as ledger:
        ledger.keep_deed(_deed(visitor, Act.CHECK, reason=name))
    job.start()
    _changed(context)


def log_in(context: Context, visitor: Visitor, name: str, password: str) -> str | None:
    """A new session's cookie, or None."""
    access = context.access
    was_locked = access.is_locked(name, visitor.place)
    cookie = access.log_in(name, password, visitor.place)
    if not was_locked:  # of a guesser's thousands of tries, those that are not even looked at are not kept
        known = access.accounts is not None and access.accounts.role(name) is not None
        kind = Act.LOGIN if cookie is not None else Act.LOGIN_FAILED
        with _writing(context) as ledger:  # a name that is not known may be a password in the wrong field
            ledger.keep_deed(Deed(time.time(), name if known else "?", str(kind), place=visitor.place))
    return cookie


def may_read(context: Context, visitor: Visitor, name: str, password: str) -> bool:
    """Whether a program that brings name and password may read."""
    cookie = context.access.log_in(name, password, visitor.place)
    context.access.log_out(cookie)
    return cookie is not None


def log_out(context: Context, visitor: Visitor, cookie: str) -> None:
    """End the session."""
    if visitor.who is not None:
        with _writing(context) as ledger:
            ledger.keep_deed(_deed(visitor, Act.LOGOUT))
    context.access.log_out(cookie)


@contextmanager
def _writing(context: Context) -> Iterator[PeeweeLedger]:
    ledger = context.writing()
    try:
        yield ledger
    finally:
        ledger.close()


def _changed(context: Context) -> None:
    context.epoch += 1
    context.live.touch()


def _deed(visitor: Visitor, kind: Act, bundle_id: int | None = None, reason: str | None = None) -> Deed:
    assert visitor.who is not None
    return Deed(time.time(), visitor.who, str(kind), bundle_id, reason and reason[:_MOST_REASON], visitor.place)
