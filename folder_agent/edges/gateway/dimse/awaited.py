"""The requests for storage commitment that are under way, and what was reported on them. Only memory; safe for threads.

A gateway may take its time. A report that comes when nobody waits for it any more is kept for whoever asks next; one on
an earlier request counts only if it commits everything, for what it lacked may have been sent again since.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from folder_agent.edges.gateway.dimse.pledges import Report

KEEP_S = 3600.0  # for how long a report on a request is awaited
ASK_AGAIN_S = 600.0  # and after how long it is taken for lost, so that another request is made

Wanted = frozenset[str]  # SOPInstanceUIDs


@dataclass(frozen=True, slots=True)
class _Request:
    wanted: Wanted
    at: float  # monotonic


class Awaited:
    """All of them, by their transaction."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._requests: dict[str, _Request] = {}
        self._newest: dict[Wanted, str] = {}
        self._committed: dict[Wanted, tuple[Wanted, float]] = {}  # and when it was reported (monotonic)
        self._remark: str | None = None

    def ask(self, wanted: Wanted) -> str:
        """A request begins: its transaction, which nobody can guess."""
        transaction = f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2
        with self._changed:
            self._drop_old()
            self._requests[transaction] = _Request(wanted, self._monotonic())
            self._newest[wanted] = transaction
            self._remark = None
        return transaction

    def note(self, report: Report) -> bool:
        """Keep what was reported; false if nobody has asked for it."""
        with self._changed:
            request = self._requests.get(report.transaction)
            if request is None:
                return False
            wanted = request.wanted
            if wanted <= report.committed or self._newest.get(wanted) == report.transaction:
                self._committed[wanted] = report.committed & wanted, self._monotonic()
                self._forget_all(wanted)
            else:
                del self._requests[report.transaction]
            self._changed.notify_all()
            return True

    def take(self, wanted: Wanted) -> Wanted | None:
        """What was reported to be safe of these; None: nothing was, or long ago. It is told once."""
        with self._changed:
            self._drop_old()
            found = self._committed.pop(wanted, None)
            return None if found is None else found[0]

    def is_asked(self, wanted: Wanted) -> bool:
        """Whether a report on these is to be expected yet, so that it would be idle to ask again."""
        with self._changed:
            newest = self._requests.get(self._newest.get(wanted, ""))
            return newest is not None and self._monotonic() < newest.at + ASK_AGAIN_S

    def forget(self, transaction: str) -> None:
        """Nobody will report on it."""
        with self._changed:
            request = self._requests.pop(transaction, None)
            if request is not None and self._newest.get(request.wanted) == transaction:
                del self._newest[request.wanted]

    def wait(self, seconds: float) -> None:
        """Until something has been reported, but no longer."""
        with self._changed:
            self._changed.wait(seconds)

    def is_empty(self) -> bool:
        """Whether no report is awaited."""
        with self._changed:
            self._drop_old()
            return not self._requests

    def remark(self, words: str) -> None:
        """Something came that was no report on a request of ours."""
        with self._changed:
            self._remark = words

    def last_remark(self) -> str | None:
        """What came so since the last request, for whoever has to find out why no report did."""
        with self._changed:
            return self._remark

    def _drop_old(self) -> None:
        now = self._monotonic()
        self._committed = {wanted: one for wanted, one in self._committed.items() if now < one[1] + KEEP_S}
        for transaction in [key for key, one in self._requests.items() if one.at + KEEP_S <= now]:
            wanted = self._requests.pop(transaction).wanted
            if self._newest.get(wanted) == transaction:
                del self._newest[wanted]

    def _forget_all(self, wanted: Wanted) -> None:
        self._newest.pop(wanted, None)
        for transaction in [key for key, one in self._requests.items() if one.wanted == wanted]:
            del self._requests[transaction]
