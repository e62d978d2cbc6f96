"""What a receiver's refusals and statuses mean: the tables of A-ASSOCIATE-RJ, A-ABORT and C-STORE, applied. Pure."""

from __future__ import annotations

from pydicom import config
from pydicom.uid import UID

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.records import Outgoing
from folder_agent.edges.gateway.dimse.contexts import Pair
from folder_agent.edges.gateway.stow_verdicts import failed

_TRANSIENT = 2
_HELD, _BUSY = "FA-GW-ASSOCIATION", "FA-GW-BUSY"
# (source, reason) of an A-ASSOCIATE-RJ (PS3.8 Table 9-21) -> what it means; else: held, or busy if it says "transient".
REJECTIONS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 2): (_HELD, "application context not supported"),
    (1, 3): (_HELD, "calling AE title not recognised"),
    (1, 7): (_HELD, "called AE title not recognised"),
    (2, 2): (_HELD, "protocol version not supported"),
    (3, 1): (_BUSY, "temporary congestion"),
    (3, 2): (_BUSY, "local limit exceeded"),
}
# (mask, value) of a status that stands for success (PS3.4 Table B.2-1, PS3.7 C.4): stored, with a remark.
_WARNINGS = ((0xF000, 0xB000), (0xFFFF, 0x0001), (0xFFFF, 0x0107), (0xFFFF, 0x0116))


def rejection(pdu: bytes) -> AgentError:
    """What an A-ASSOCIATE-RJ means. A rejection for good holds: nothing of it is any exam's fault."""
    result, source, reason = pdu[7:10] if len(pdu) >= 10 else (0, 0, 0)
    code, words = REJECTIONS.get((source, reason), (_HELD, f"no known reason: {result}, {source}, {reason}"))
    return failure(problem(_BUSY if result == _TRANSIENT else code, detail=words))


def abortion(pdu: bytes) -> AgentError:
    """What an A-ABORT means (PS3.8 9.3.8): it may have been for anything, so it is tried again."""
    source, reason = pdu[8:10] if len(pdu) >= 10 else (0, 0)
    return failure(problem("FA-GW-BROKEN", detail=f"association aborted: {source}, {reason}"))


def unwanted(file: Outgoing, pair: Pair, why: str) -> AgentError:
    """The receiver does not take this kind of object in this transfer syntax."""
    return failure(
        problem("FA-GW-SYNTAX", file.path, sop_class=_name(pair.sop_class), syntax=_name(pair.syntax), detail=why)
    )


def verdict(file: Outgoing, status: int) -> Problem | str:
    """What a C-STORE-RSP's status means: a problem, or what is kept as the answer of an accepted file."""
    name = f"C-STORE 0x{status:04X}"
    if status == 0:
        return name
    if any(status & mask == value for mask, value in _WARNINGS):
        return f"{name}, stored with a warning"
    found = failed(file, status)
    return found if isinstance(found, Problem) else name + found


def _name(uid: str) -> str:
    """What people call it; a private or unknown one is its own name."""
    return UID(uid, config.IGNORE).name or "?"
