"""Storage commitment as bytes (DICOM PS3.4 J): the request for it (N-ACTION) and the report (N-EVENT-REPORT). Pure.

A report that is not whole, or does not name an instance, commits nothing of it: what is not said to be safe is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from folder_agent.edges.gateway.dimse.messages import encoded, not_understood, ui, us
from folder_agent.edges.gateway.dimse.talk import Message, decoded
from folder_agent.edges.gateway.proof import Instance

PUSH_MODEL, PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
ACTION, REPORT = 0x0130, 0x0100  # command fields (PS3.7 E.1)
ACTION_ANSWER, REPORT_ANSWER = 0x8130, 0x8100
_REQUEST_COMMITMENT = 1  # the action type
_WITH_DATA_SET, _NO_DATA_SET = 0x0001, 0x0101
_TRANSACTION, _REFERENCED = 0x00081195, 0x00081199
_SOP_CLASS, _SOP_INSTANCE = 0x00081150, 0x00081155


@dataclass(frozen=True, slots=True)
class Report:
    """What the receiver says of one request."""

    transaction: str
    committed: frozenset[str]  # SOPInstanceUIDs; it does not answer for any other


def action_request(number: int) -> bytes:
    """An N-ACTION-RQ command (PS3.7 10.3.4.1) that requests storage commitment."""
    return encoded(
        {
            0x0003: ui(PUSH_MODEL),
            0x0100: us(ACTION),
            0x0110: us(number),
            0x0800: us(_WITH_DATA_SET),
            0x1001: ui(PUSH_MODEL_INSTANCE),
            0x1008: us(_REQUEST_COMMITMENT),
        }
    )


def action_data(transaction: str, wanted: Sequence[Instance]) -> bytes:
    """Its data set (PS3.4 Table J.3-1), in implicit VR little endian."""
    items = b"".join(
        _item(_element(_SOP_CLASS, ui(one.sop_class)) + _element(_SOP_INSTANCE, ui(one.sop_instance))) for one in wanted
    )
    return _element(_TRANSACTION, ui(transaction)) + _element(_REFERENCED, items)


def report_answer(number: int, event_type: int, status: int) -> bytes:
    """An N-EVENT-REPORT-RSP command (PS3.7 10.3.1.2)."""
    return encoded(
        {
            0x0002: ui(PUSH_MODEL),
            0x0100: us(REPORT_ANSWER),
            0x0120: us(number),
            0x0800: us(_NO_DATA_SET),
            0x0900: us(status),
            0x1000: ui(PUSH_MODEL_INSTANCE),
            0x1002: us(event_type),
        }
    )


def report_of(message: Message, *, is_implicit: bool) -> Report:
    """Read an N-EVENT-REPORT-RQ (PS3.4 Table J.3-2). Raises AgentError (FA-GW-ANSWER) if that cannot be done."""
    content = decoded(message.data, is_implicit=is_implicit)
    try:
        items: Sequence[Dataset] = content[_REFERENCED].value if _REFERENCED in content else ()
        committed = frozenset(uid for item in items for uid in _uids(item, _SOP_INSTANCE))
        transaction = next(_uids(content, _TRANSACTION), "")
    except Exception:  # noqa: BLE001 - whatever a library raises over what came is the sender's fault
        raise not_understood() from None
    return Report(transaction, committed)


def _uids(item: Dataset, tag: int) -> Iterator[str]:
    """As it was written: pydicom would judge it, and old devices make UIDs that it complains of."""
    raw = item.get_item(tag)
    if raw is None or raw.value is None:
        return
    value = raw.value
    yield (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")


def _element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def _item(content: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content
