"""What travels in an association, as bytes: PDUs by pynetdicom (DICOM PS3.8 9.3), commands (PS3.7 6.3 and 9.3). Pure.

Commands are put together here: pynetdicom's would check each UID, and complain aloud of those that old devices make.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pynetdicom import dsutils
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.gateway import implementation as ours
from folder_agent.edges.gateway.dimse.contexts import Pair

ACCEPTED, REJECTED, DATA, RELEASE, RELEASED, ABORT = 2, 3, 4, 5, 6, 7  # PDU types
RELEASE_REQUEST, RELEASE_RESPONSE = (bytes((kind, 0, 0, 0, 0, 4, 0, 0, 0, 0)) for kind in (RELEASE, RELEASED))
ABORT_REQUEST = bytes((ABORT, 0, 0, 0, 0, 4, 0, 0, 0, 0))

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
MOST_FRAGMENT = 128 * 1024  # bytes, if the receiver sets no bound of its own
LEAST_BYTES = 8  # of a PDU: with less, not one byte of a data set would fit
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_OUR_MOST = 16384  # bytes of a PDU that we want to receive
_STORE, _ECHO, _RESPONSE = 0x0001, 0x0030, 0x8000  # command fields (PS3.7 E.1)
_NO_DATA_SET, _WITH_DATA_SET = 0x0101, 0x0001
_COMMAND, _LAST = 1, 2  # bits of a fragment's header (PS3.8 E.2)
_CONTEXT_REFUSALS = {
    1: "refused by its user",
    2: "no reason given",
    3: "kind of object not supported",
    4: "encoding not supported",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the receiver has agreed to."""

    most_bytes: int  # of a P-DATA PDU's contents; 0: no bound
    contexts: Mapping[Pair, int]  # the ids of those that it takes
    refusals: Mapping[Pair, str]  # why it does not take the others


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request."""

    to: int
    command: int
    status: int

    def answers(self, request: int) -> bool:
        return self.to == request and self.command in (_STORE | _RESPONSE, _ECHO | _RESPONSE)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A presentation data value (PS3.8 E.2)."""

    context: int
    is_command: bool
    is_last: bool
    content: bytes


def associate_request(called: str, calling: str, contexts: Mapping[int, Pair]) -> bytes:
    """An A-ASSOCIATE-RQ."""
    request = A_ASSOCIATE()
    request.application_context_name = APPLICATION_CONTEXT
    request.called_ae_title, request.calling_ae_title = called, calling
    proposed = []
    for number, pair in contexts.items():
        context = build_context(pair.sop_class, pair.syntax)
        context.context_id = number
        proposed.append(context)
    request.presentation_context_definition_list = proposed
    request.user_information = about_us()
    return A_ASSOCIATE_RQ(request).encode()


def about_us() -> list[Any]:
    """The user information of an association (PS3.7 D.3.3.1, D.3.3.2)."""
    most, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    most.maximum_length_received = _OUR_MOST
    implementation.implementation_class_uid = ours.UID
    version.implementation_version_name = ours.VERSION
    return [most, implementation, version]


def agreement(pdu: bytes, contexts: Mapping[int, Pair]) -> Agreement:
    """Read an A-ASSOCIATE-AC. A context that is not mentioned, or answered with another syntax, is refused."""
    try:
        decoded = A_ASSOCIATE_AC()
        decoded.decode(pdu)
        answer = decoded.to_primitive()
        most_bytes = answer.maximum_length_received or 0
        results = {result.context_id: result for result in answer.presentation_context_definition_results_list}
    except Exception:  # noqa: BLE001 - whatever a library raises over what the receiver sent is the receiver's fault
        raise not_understood() from None
    if 0 < most_bytes < LEAST_BYTES or not results:  # nothing is said of any context
        raise not_understood()
    taken, refused = {}, {}
    for number, pair in contexts.items():
        result = results.get(number)
        if result is not None and result.result == 0 and list(result.transfer_syntax) == [pair.syntax]:
            taken[pair] = number
        else:
            refused[pair] = _CONTEXT_REFUSALS.get(result.result or 0, "another encoding chosen") if result else "?"
    return Agreement(most_bytes, taken, refused)


def store_request(number: int, sop_class: str, sop_instance: str) -> bytes:
    """A C-STORE-RQ command (PS3.7 9.3.1.1), of medium priority."""
    return encoded(
        {
            0x0002: ui(sop_class),
            0x0100: us(_STORE),
            0x0110: us(number),
            0x0700: us(0),
            0x0800: us(_WITH_DATA_SET),
            0x1000: ui(sop_instance),
        }
    )


def echo_request(number: int) -> bytes:
    """A C-ECHO-RQ command (PS3.7 9.3.5.1)."""
    return encoded(
        {
            0x0002: ui(VERIFICATION),
            0x0100: us(_ECHO),
            0x0110: us(number),
            0x0800: us(_NO_DATA_SET),
        }
    )


def command_pdus(context: int, command: bytes, most_bytes: int) -> bytes:
    """The PDUs that carry a command."""
    return b"".join(bytes(part) for part in _in_pdus(context, (command,), most_bytes, _COMMAND))


def data_pdus(context: int, blocks: Iterable[bytes], most_bytes: int) -> Iterator[bytearray]:
    """The PDUs that carry a data set, some at a time. The last one is made only when the blocks have ended well, so
    that a data set whose file turns out to have changed is never whole at the receiver."""
    return _in_pdus(context, blocks, most_bytes, 0)


def _in_pdus(context: int, blocks: Iterable[bytes], most_bytes: int, bits: int) -> Iterator[bytearray]:
    size = min(most_bytes - 6 if most_bytes else MOST_FRAGMENT, MOST_FRAGMENT) & ~1  # fragments are of even length
    held = bytearray()
    for block in blocks:
        held += block
        whole = max(len(held) - 1, 0) // size * size  # something stays, to be the last
        if whole:
            made = bytearray()
            for at in range(0, whole, size):
                made += _fragment_header(size, context, bits)
                made += held[at : at + size]
            del held[:whole]
            yield made
    yield bytearray(_fragment_header(len(held), context, bits | _LAST)) + held


def _fragment_header(size: int, context: int, bits: int) -> bytes:
    """Of a P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
    return struct.pack(">BBLLBB", DATA, 0, size + 6, size + 2, context, bits)


def fragments(pdu: bytes) -> list[Fragment]:
    """What a P-DATA-TF PDU holds."""
    try:
        decoded = P_DATA_TF()
        decoded.decode(pdu)
        items = [
            (item.presentation_context_id or 0, item.presentation_data_value or b"\0")
            for item in decoded.presentation_data_value_items
        ]
    except Exception:  # noqa: BLE001 - as above
        raise not_understood() from None
    return [Fragment(context, bool(it[0] & _COMMAND), bool(it[0] & _LAST), it[1:]) for context, it in items]


def response(command: bytes) -> Response:
    """Read a response's command."""
    try:
        found = dsutils.decode(BytesIO(command), True, True)
        return Response(int(found.MessageIDBeingRespondedTo), int(found.CommandField), int(found.Status))
    except Exception:  # noqa: BLE001 - as above
        raise not_understood() from None


def encoded(elements: Mapping[int, bytes]) -> bytes:
    """Elements of group 0000 in implicit VR little endian, behind their length (PS3.7 6.3.1)."""
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements.items())
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def us(value: int) -> bytes:
    """A number of two bytes."""
    return struct.pack("<H", value)


def ui(value: str) -> bytes:
    """A UID, of even length."""
    raw = value.encode("ascii", "replace")
    return raw + bytes(len(raw) % 2)


def not_understood() -> AgentError:
    """What the receiver says makes no sense."""
    return failure(problem("FA-GW-ANSWER", detail="it is not the DICOM that was expected"))
