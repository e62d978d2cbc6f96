"""One association with the receiver, as its requestor (DICOM PS3.8 7.1): ask for it, store by it, release or abort it.

Touches the network by a Line, from one thread. Every method raises AgentError for whatever ends the association.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.gateway.dimse import messages
from folder_agent.edges.gateway.dimse.contexts import Pair
from folder_agent.edges.gateway.dimse.line import Line, line_to
from folder_agent.edges.gateway.dimse.node import Node
from folder_agent.edges.gateway.dimse.talk import Talk, expect
from folder_agent.edges.gateway.multipart import ShouldStop

_FAREWELL_S = 5.0  # how long a receiver may take to agree that all is said
_MOST_COMMAND = 64 * 1024  # bytes of a response
_LAST_ID = 0xFFFF


class Association:
    """An association that the receiver has accepted. Ends with `release` or `abort`."""

    def __init__(self, node: Node, contexts: Mapping[int, Pair], should_stop: ShouldStop) -> None:
        request = messages.associate_request(node.called_ae, node.calling_ae, contexts)
        self._message_id = 0
        self.waited_s = 0.0  # for the last status, from the instance's last byte on
        self._line: Line = line_to(node, should_stop)
        try:
            self._line.send(request)
            kind, pdu = self._line.receive()
            expect(messages.ACCEPTED, kind, pdu)
            self.agreement = messages.agreement(pdu, contexts)
            self.talk = Talk(self._line, self.agreement.most_bytes)
        except BaseException:
            self.abort()
            raise

    def store(self, pair: Pair, sop_instance: str, blocks: Iterable[bytes]) -> int:
        """Send one instance (C-STORE), and the receiver's status of it. The blocks are those of its data set; an error
        among them ends the sending before its last byte, and the association must be aborted."""
        context, most = self.agreement.contexts[pair], self.agreement.most_bytes
        number = self._next_id()
        self._line.send(
            messages.command_pdus(context, messages.store_request(number, pair.sop_class, sop_instance), most)
        )
        for part in messages.data_pdus(context, blocks, most):
            if self._line.has_answer():
                return self._early_status(number)
            self._line.send(part)
        ended_at = time.monotonic()
        status = self._status(number)
        self.waited_s = time.monotonic() - ended_at
        return status

    def echo(self) -> int:
        """Ask whether anybody is there (C-ECHO), and the receiver's status."""
        number = self._next_id()
        context = next(iter(self.agreement.contexts.values()))
        self._line.send(messages.command_pdus(context, messages.echo_request(number), self.agreement.most_bytes))
        return self._status(number)

    def ask(self, pair: Pair, request: Callable[[int], bytes], data: bytes) -> int:
        """Send a request with a data set, made for its message id, which is returned. What comes is for `talk`."""
        number = self._next_id()
        self.talk.say(self.agreement.contexts[pair], request(number), data)
        return number

    def release(self) -> None:
        """End it in good order. What was stored stays so, whatever the receiver has to say to this."""
        with contextlib.suppress(AgentError):
            self._line.shorten(_FAREWELL_S)
            self._line.send(messages.RELEASE_REQUEST)
            kind, _ = self._line.receive()
            if kind == messages.RELEASE:  # both wanted to (PS3.8 7.2.2.7)
                self._line.send(messages.RELEASE_RESPONSE)
                self._line.receive()
        self._line.close()

    def abort(self) -> None:
        """End it at once; an instance that was on its way is not stored."""
        self._line.say_last(messages.ABORT_REQUEST)
        self._line.close()

    def _next_id(self) -> int:
        self._message_id = self._message_id % _LAST_ID + 1
        return self._message_id

    def _early_status(self, number: int) -> int:
        """The receiver answers in the midst of an instance: only a refusal can be believed."""
        status = self._status(number)
        if status == 0:
            raise failure(problem("FA-GW-ANSWER", detail="it came before the file was sent"))
        return status

    def _status(self, number: int) -> int:
        command, is_last = bytearray(), False
        while not is_last:
            kind, pdu = self._line.receive()
            if kind == messages.RELEASE:
                self._line.say_last(messages.RELEASE_RESPONSE)
            expect(messages.DATA, kind, pdu)
            for part in messages.fragments(pdu):
                if part.is_command:
                    command += part.content
                    is_last = part.is_last
            if len(command) > _MOST_COMMAND:
                raise failure(problem("FA-GW-ANSWER", detail="longer than expected"))
        found = messages.response(bytes(command))
        if not found.answers(number):
            raise failure(problem("FA-GW-ANSWER", detail="it answers another request"))
        return found.status
