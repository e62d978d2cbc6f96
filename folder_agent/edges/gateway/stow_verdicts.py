"""What the answer to a STOW-RS request means for each file of the batch: the table of failure reasons, applied.

Touches nothing. The server may answer in DICOM's form (PS3.18 10.5.3) or, as a whole, in the gateway's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.records import Outgoing
from folder_agent.edges.gateway.answers import DUPLICATE, STATUSES, about, by_status, judge, told
from folder_agent.edges.gateway.client import Reply
from folder_agent.edges.gateway.stow_answer import StoreResponse, read_store_response

_WITH_VERDICTS = frozenset({200, 202, 409})  # PS3.18 Table 10.5.3-1: all, some or none were stored

_STORED, _AGAIN, _PERMISSION, _REFUSED = "", "FA-GW-INSTANCE-AGAIN", "FA-GW-PERMISSION", "FA-GW-INSTANCE"
# (mask, value) of a Failure Reason (PS3.18 10.5.3.1, PS3.4 Table B.2-1, PS3.7 C.5) -> what it means; else: refused.
FAILURE_REASONS: dict[tuple[int, int], str] = {
    (0xFFFF, 0x0110): _AGAIN,  # processing failure
    (0xFFFF, 0x0111): _STORED,  # duplicate SOP instance: it is there already
    (0xFFFF, 0x0124): _PERMISSION,  # not authorized
    (0xFFFF, 0x0213): _AGAIN,  # resource limitation
    (0xFF00, 0xA700): _AGAIN,  # out of resources
}


class Halve(Exception):
    """The batch must be sent in smaller requests: it is too large, or one answer for all of it does not tell enough."""

    def __init__(self, too_large: bool) -> None:
        super().__init__()
        self.too_large = too_large


def store_response(batch: Sequence[Outgoing], reply: Reply, *, trusts_status: bool = False) -> StoreResponse:
    """The verdicts by instance. Raises Halve, or AgentError where there are none. `trusts_status`: what is not said is
    taken from the status (200: all is stored; 202: what is not said to have failed)."""
    if STATUSES.get(reply.status) == "FA-GW-AUTH":
        raise by_status(reply)
    found = told(reply.body)
    is_duplicate = found is not None and found.code == DUPLICATE  # of one of them, at least: which, we learn singly
    if len(batch) > 1 and (reply.status == 413 or is_duplicate):
        raise Halve(too_large=reply.status == 413)
    if found is not None:
        return _all_stored(batch, reply)
    if reply.status not in _WITH_VERDICTS:
        raise _named(batch, by_status(reply))
    response = _with_unnamed(batch, _read(reply, trusts_status=trusts_status))
    if trusts_status and (reply.status == 200 or (reply.status == 202 and response.failed)):
        known = response.stored.keys() | response.failed.keys()
        response.assumed = {file.sop_instance or "" for file in batch} - known
    return response


def _read(reply: Reply, *, trusts_status: bool) -> StoreResponse:
    try:
        return read_store_response(reply.body)
    except AgentError as error:
        is_silent = not reply.body.strip() or reply.media_type == "text/plain"
        if trusts_status and reply.status == 200 and is_silent:
            return StoreResponse()
        detail = dict(error.problem.values)["detail"]
        raise failure(problem("FA-GW-UNSAID", status=reply.status, detail=detail)) from None


def _with_unnamed(batch: Sequence[Outgoing], response: StoreResponse) -> StoreResponse:
    """Failures without a name (Other Failures Sequence) are those of the unmentioned files, if their number agrees."""
    known = response.stored.keys() | response.failed.keys()
    unmentioned = [file.sop_instance or "" for file in batch if file.sop_instance not in known]
    if len(unmentioned) == len(response.unnamed):
        response.failed.update(zip(unmentioned, response.unnamed, strict=True))
    return response


def _all_stored(batch: Sequence[Outgoing], reply: Reply) -> StoreResponse:
    """The gateway answered in its own form: one code for the whole batch."""
    try:
        judge(reply)
    except AgentError as error:
        raise _named(batch, error) from None
    return StoreResponse(stored={file.sop_instance or "": None for file in batch})


def _named(batch: Sequence[Outgoing], error: AgentError) -> AgentError:
    return about(error, batch[0].path) if len(batch) == 1 else error


def verdict(file: Outgoing, response: StoreResponse) -> Problem | str:
    """What the answer says of one file: a problem, or a remark on its acceptance. A failure outweighs a success."""
    uid = file.sop_instance or ""
    if uid in response.failed:
        return failed(file, response.failed[uid])
    if uid in response.assumed:
        return ", not itemised"
    if uid in response.stored:
        warning = response.stored[uid]
        return "" if warning is None else f", warning 0x{warning:04X}"
    return problem("FA-GW-ANSWER", file.path, detail="instance not mentioned")


def lacks_resources(found: Problem) -> bool:
    """Whether the receiver says that it has too much to do: out of resources (0xA7xx), resource limitation (0x0213)."""
    reason = str(dict(found.values).get("reason", ""))
    return found.code == _AGAIN and (reason.startswith("0xA7") or reason == "0x0213")


def failed(file: Outgoing, reason: int | None) -> Problem | str:
    """What a failure reason means: a problem, or a remark where it is none. C-STORE's statuses are the same numbers."""
    if reason is None:
        return problem(_AGAIN, file.path, reason="?")
    name = f"0x{reason:04X}"
    matching = (outcome for (mask, value), outcome in FAILURE_REASONS.items() if reason & mask == value)
    outcome = next(matching, _REFUSED)
    if outcome == _STORED:
        return f", already there ({name})"
    if outcome == _PERMISSION:
        return Problem(_PERMISSION, file.path, (("code", name), ("message", "not authorized")))
    return problem(outcome, file.path, reason=name)
