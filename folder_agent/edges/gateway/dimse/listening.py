"""Where the receiver finds us to report on storage commitment: a port that is open only while a report is awaited.

Touches the network: a socket that listens, and the associations that come in by it. What counts is a report on one of
our own transactions, whose number nobody else knows; AE titles are checked, and whoever calls cannot do anything else.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.gateway.dimse import accepting, messages, pledges
from folder_agent.edges.gateway.dimse.awaited import Awaited
from folder_agent.edges.gateway.dimse.line import Line
from folder_agent.edges.gateway.dimse.node import Node, Place
from folder_agent.edges.gateway.dimse.talk import Message, Talk, expect
from folder_agent.edges.gateway.faults import os_words
from folder_agent.edges.gateway.multipart import ShouldStop

_TICK_S = 0.25  # how soon it is noticed that nothing is awaited any more
_MOST_CALLS = 8  # at one time
_PROCESSING_FAILURE = 0x0110  # status of an answer (PS3.7 C.5)


class Listener:
    """Opens its port with `open`, and closes it by itself."""

    def __init__(self, place: Place, node: Node, awaited: Awaited, should_stop: ShouldStop) -> None:
        self._place, self._node, self._awaited = place, node, awaited
        self._should_stop = should_stop
        self._lock = threading.Lock()
        self._is_open = self._is_closed = False
        self._calls = threading.BoundedSemaphore(_MOST_CALLS)
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Listen until nothing is awaited any more. Raises AgentError (FA-COMMITMENT-PORT) if that is not possible."""
        with self._lock:
            if not self._is_open:
                listening = opened(self._place.port)
                self._is_open = True
                self._start(self._listen, listening)

    def close(self) -> None:
        """Listen no more, whatever is awaited."""
        self._is_closed = True
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(2 * _TICK_S)

    def _start(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=target, args=(sock,), name="commitments", daemon=True))
        self._threads[-1].start()

    def _listen(self, listening: socket.socket) -> None:
        listening.settimeout(_TICK_S)
        while True:
            with self._lock:  # so that it is never open and about to close when somebody needs it
                if self._has_ended():
                    listening.close()
                    self._is_open = False
                    return
            try:
                self._take(listening.accept()[0])
            except TimeoutError:
                continue
            except OSError:  # of one caller, or for the moment: the next one may be well
                time.sleep(_TICK_S)

    def _take(self, sock: socket.socket) -> None:
        if not self._calls.acquire(blocking=False):
            sock.close()
            return
        with self._lock:
            self._start(self._serve, sock)

    def _has_ended(self) -> bool:
        return self._is_closed or self._should_stop() or self._awaited.is_empty()

    def _serve(self, sock: socket.socket) -> None:
        try:
            # Whatever is wrong with one call is its caller's to try again.
            with contextlib.closing(sock), contextlib.suppress(AgentError, OSError):
                sock.settimeout(self._node.timeout_s)
                context = self._place.context
                secured = sock if context is None else context.wrap_socket(sock, server_side=True)
                line = Line(secured, self._node.timeout_s, lambda: self._is_closed or self._should_stop())
                with contextlib.closing(line):
                    self._answer(line)
        finally:
            self._calls.release()

    def _answer(self, line: Line) -> None:
        kind, pdu = line.receive()
        expect(accepting.REQUESTED, kind, pdu)
        asked = accepting.proposal(pdu)
        if (reason := self._unknown(asked)) is not None:
            self._awaited.remark(f"refused a call from {asked.calling!a} to {asked.called!a}")
            line.say_last(accepting.refusal(reason))
            return
        line.send(accepting.acceptance(asked))
        taken, talk = asked.taken(), Talk(line, asked.most_bytes)
        while (message := talk.hear()) is not None:
            if message.context not in taken:
                raise messages.not_understood()
            answer_report(talk, message, self._awaited, is_implicit=taken[message.context] == messages.IMPLICIT)

    def _unknown(self, asked: accepting.Proposal) -> int | None:
        if asked.called != self._node.calling_ae:
            return accepting.CALLED_UNKNOWN
        return accepting.CALLING_UNKNOWN if asked.calling != self._node.called_ae else None


def answer_report(talk: Talk, message: Message, awaited: Awaited, *, is_implicit: bool) -> None:
    """Keep what a report says, and thank for it. One on a transaction of nobody's is refused: its sender may err."""
    number, event = message.number("MessageID"), message.number("EventTypeID")
    if message.number("CommandField") != pledges.REPORT or number is None:
        raise messages.not_understood()
    is_ours = awaited.note(pledges.report_of(message, is_implicit=is_implicit))
    if not is_ours:
        awaited.remark("a report on another transaction")
    talk.say(message.context, pledges.report_answer(number, event or 0, 0 if is_ours else _PROCESSING_FAILURE))


def opened(port: int) -> socket.socket:
    """A socket that listens on every address of this machine. Raises AgentError (FA-COMMITMENT-PORT)."""
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise failure(problem("FA-COMMITMENT-PORT", port=port, detail=os_words(error))) from None
