"""Whole messages in an association, both ways: requests and answers with or without a data set (PS3.7 6.3, 9.3, 10.3).

Touches the network by a Line, from one thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom import dsutils

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.gateway.dimse import messages
from folder_agent.edges.gateway.dimse.line import Line
from folder_agent.edges.gateway.dimse.verdicts import abortion, rejection

_MOST_BYTES = 16 * 1024 * 1024  # of one message: a report on some 100,000 instances
_NO_DATA_SET = 0x0101


@dataclass(frozen=True, slots=True)
class Message:
    """A command, and the data set behind it, if there is one."""

    context: int
    command: Dataset
    data: bytes

    def number(self, keyword: str) -> int | None:
        """A number of the command; None if it is not there, or none."""
        value = self.command.get(keyword)
        return value if isinstance(value, int) else None


class Talk:
    """What is said in one association that is established."""

    def __init__(self, line: Line, most_bytes: int) -> None:
        self._line, self._most_bytes = line, most_bytes
        self._incoming = Incoming()
        self._whole: deque[Message] = deque()

    def say(self, context: int, command: bytes, data: bytes = b"") -> None:
        """Send a message. Raises AgentError, as everything of a Line does."""
        self._line.send(messages.command_pdus(context, command, self._most_bytes))
        for part in messages.data_pdus(context, [data], self._most_bytes) if data else ():
            self._line.send(part)

    def hear(self) -> Message | None:
        """The next message, when it comes; None: the other side has ended the association in good order."""
        while not self._whole:
            kind, pdu = self._line.receive()
            if kind == messages.RELEASE:
                self._line.say_last(messages.RELEASE_RESPONSE)
                return None
            expect(messages.DATA, kind, pdu)
            self._whole.extend(self._incoming.take(pdu))
        return self._whole.popleft()

    def has_news(self) -> bool:
        """Whether `hear` has something to read, or to raise, at once."""
        return bool(self._whole) or self._line.has_answer() or self._line.has_ended


class Incoming:
    """Puts messages together from PDUs."""

    def __init__(self) -> None:
        self._command, self._data = bytearray(), bytearray()
        self._waits_for_data: Dataset | None = None

    def take(self, pdu: bytes) -> list[Message]:
        """The messages that are whole with this P-DATA-TF PDU."""
        found = []
        for part in messages.fragments(pdu):
            if part.is_command is (self._waits_for_data is not None):
                raise messages.not_understood()
            (self._command if part.is_command else self._data).extend(part.content)
            if len(self._command) + len(self._data) > _MOST_BYTES:
                raise failure(problem("FA-GW-ANSWER", detail="longer than expected"))
            if part.is_last and (message := self._whole(part)) is not None:
                found.append(message)
        return found

    def _whole(self, last: messages.Fragment) -> Message | None:
        if self._waits_for_data is None:
            command = decoded(bytes(self._command), is_implicit=True)
            if command.get("CommandDataSetType") != _NO_DATA_SET:
                self._waits_for_data = command
                return None
        else:
            command = self._waits_for_data
        message = Message(last.context, command, bytes(self._data))
        self._command, self._data, self._waits_for_data = bytearray(), bytearray(), None
        return message


def decoded(content: bytes, *, is_implicit: bool) -> Dataset:
    """A data set in little endian. Raises AgentError (FA-GW-ANSWER) if it is none."""
    try:
        return dsutils.decode(BytesIO(content), is_implicit, True)
    except Exception:  # noqa: BLE001 - whatever a library raises over what came is the sender's fault
        raise messages.not_understood() from None


def expect(wanted: int, kind: int, pdu: bytes) -> None:
    """Raise AgentError for any PDU but one of the wanted kind: what ended the association, or makes no sense in it."""
    if kind == wanted:
        return
    if kind == messages.REJECTED:
        raise rejection(pdu)
    if kind == messages.ABORT:
        raise abortion(pdu)
    if kind == messages.RELEASE:
        raise failure(problem("FA-GW-BROKEN", detail="association released by the receiver"))
    raise messages.not_understood()
