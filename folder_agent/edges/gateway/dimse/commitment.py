"""Has the receiver commit itself to keep what it took: storage commitment, push model (DICOM PS3.4 J).

Touches the network by an Association for each request; the report comes back on it, or on one that the receiver opens
to us (a Listener).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.edges.gateway.dimse import messages, pledges
from folder_agent.edges.gateway.dimse.association import Association
from folder_agent.edges.gateway.dimse.awaited import Awaited, Wanted
from folder_agent.edges.gateway.dimse.contexts import Pair
from folder_agent.edges.gateway.dimse.listening import Listener, answer_report
from folder_agent.edges.gateway.dimse.messages import IMPLICIT
from folder_agent.edges.gateway.dimse.node import Node, Place
from folder_agent.edges.gateway.multipart import ShouldStop
from folder_agent.edges.gateway.proof import Instance
from folder_agent.edges.meters import Meters

_PAIR = Pair(pledges.PUSH_MODEL, IMPLICIT)
_TICK_S = 0.05  # how soon a report or a stop is noticed
_SAME_S = 5.0  # for how long the report may come on the same association, where it may come another way, too
_NOT_AUTHORIZED = 0x0124
_WARNINGS = (0x0001, 0x0107, 0x0116)  # success with a remark (PS3.7 C.4)


class Commitment:
    """The Asker by storage commitment. `place`: where the receiver can call us; None: it cannot. Safe for many
    threads."""

    words = "storage committed"

    def __init__(
        self,
        node: Node,
        place: Place | None,
        wait_s: float,
        should_stop: ShouldStop,
        meters: Meters | None = None,
    ) -> None:
        self._node, self._wait_s, self._should_stop = node, wait_s, should_stop
        self._meters = meters or Meters()
        self._awaited = Awaited()
        self._listener = None if place is None else Listener(place, node, self._awaited, should_stop)

    def lacking(self, wanted: Sequence[Instance]) -> frozenset[str]:
        """See proof.Asker. Raises FA-GW-NO-REPORT (RETRY) if nothing is reported in time; a report that comes later
        answers the next time, and until then nobody waits for it here, nor asks again before long."""
        uids = frozenset(one.sop_instance for one in wanted)
        committed = self._awaited.take(uids)
        if committed is None and self._awaited.is_asked(uids):
            raise self._silent("nobody has called")
        return uids - (self._ask(wanted, uids) if committed is None else committed)

    def close(self) -> None:
        """Ask nothing more."""
        if self._listener is not None:
            self._listener.close()

    def _ask(self, wanted: Sequence[Instance], uids: Wanted) -> Wanted:
        transaction = self._awaited.ask(uids)
        try:
            if self._listener is not None:
                self._listener.open()
            association = associated(self._node, self._should_stop)
            try:
                _check(self._request(association, pledges.action_data(transaction, wanted)))
            except BaseException:
                association.abort()
                raise
        except BaseException:
            self._awaited.forget(transaction)
            raise
        return self._wait(association, transaction, uids)

    def _request(self, association: Association, data: bytes) -> int | None:
        """Send it; the status of its answer."""
        began, outcome = time.monotonic(), "error"
        try:
            status = self._status(association, data)
            outcome = "none" if status is None else f"0x{status:04X}"
            return status
        finally:
            self._meters.request("N-ACTION", outcome, time.monotonic() - began)

    def _status(self, association: Association, data: bytes) -> int | None:
        number = association.ask(_PAIR, pledges.action_request, data)
        while (message := association.talk.hear()) is not None:
            if message.number("CommandField") == pledges.REPORT:  # which some send before their answer
                answer_report(association.talk, message, self._awaited, is_implicit=True)
                continue
            answers = message.number("CommandField"), message.number("MessageIDBeingRespondedTo")
            if answers != (pledges.ACTION_ANSWER, number):
                raise messages.not_understood()
            return message.number("Status")
        raise failure(problem("FA-GW-BROKEN", detail="association released by the receiver"))

    def _wait(self, association: Association, transaction: str, uids: Wanted) -> Wanted:
        """For the report, with the association open for as long as it may come on that."""
        began = time.monotonic()
        end = began + self._wait_s
        stays_until = end if self._listener is None else min(end, began + _SAME_S)
        is_open = True
        try:
            while (found := self._awaited.take(uids)) is None and (now := time.monotonic()) < end:
                if self._should_stop():
                    raise failure(problem("FA-STOPPING"))
                if is_open and association.talk.has_news():
                    is_open = self._hear(association)
                elif is_open and now >= stays_until:
                    is_open = False
                    association.release()
                elif not is_open and self._listener is None:
                    break  # nothing can come any more
                else:
                    self._awaited.wait(_TICK_S)
        finally:
            if is_open:
                association.release()
        if found is None and self._listener is None:
            self._awaited.forget(transaction)
            raise self._silent("nothing on the same association" if is_open else "the association was ended")
        if found is None:
            raise self._silent("nobody has called")
        return found

    def _hear(self, association: Association) -> bool:
        """Whether the association goes on."""
        try:
            message = association.talk.hear()
            if message is not None:
                answer_report(association.talk, message, self._awaited, is_implicit=True)
                return True
        except AgentError:
            pass  # it has ended in its own way; the report may come on another
        association.abort()
        return False

    def _silent(self, how: str) -> AgentError:
        words = self._awaited.last_remark() or how
        return failure(problem("FA-GW-NO-REPORT", seconds=math.ceil(self._wait_s), detail=words))


def associated(node: Node, should_stop: ShouldStop) -> Association:
    """An association for storage commitment. Raises AgentError: FA-GW-NO-COMMITMENT (HOLD) if it is not offered."""
    association = Association(node, {1: _PAIR}, should_stop)
    why = association.agreement.refusals.get(_PAIR)
    if why is not None:
        association.release()
        raise failure(problem("FA-GW-NO-COMMITMENT", detail=why))
    return association


def check_offered(node: Node) -> None:
    """Ask the node whether it would commit itself. Raises AgentError if not, or if it does not answer."""
    associated(node, lambda: False).release()


def _check(status: int | None) -> None:
    """What the answer to a request means."""
    if status == 0 or status in _WARNINGS:
        return
    name = "N-ACTION" if status is None else f"N-ACTION 0x{status:04X}"
    if status == _NOT_AUTHORIZED:
        raise failure(Problem("FA-GW-PERMISSION", None, (("code", name), ("message", "not authorized"))))
    raise failure(problem("FA-GW-UNPROVEN", detail=name))
