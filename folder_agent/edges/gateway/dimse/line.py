"""The TCP or TLS connection below an association: every wait has an end, and a stop ends it sooner.

Touches one socket, from one thread. pynetdicom's own transport has no timeout while it sends, queues a whole object
before the first byte of it has left, leaves Nagle's algorithm on, and knows no pinned certificate; so this one is ours.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.gateway.dimse.node import Node
from folder_agent.edges.gateway.faults import socket_fault
from folder_agent.edges.gateway.multipart import ShouldStop
from folder_agent.edges.gateway.pace import Pace

_TICK_S = 0.25  # how soon a stop is noticed
_MOST_PDU = 1024 * 1024  # bytes of one PDU from the receiver: it sends answers only
_READ = 65536
_KINDS = frozenset(range(1, 8))  # PDU types (PS3.8 9.3)
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Line:
    """One connection. Everything raises AgentError: unreachable, broken, timed out, not trusted, or FA-STOPPING."""

    def __init__(self, sock: socket.socket, timeout_s: float, should_stop: ShouldStop) -> None:
        """Over a socket that is connected, which is closed with it."""
        self._timeout_s = timeout_s
        self._should_stop = should_stop
        self._early = bytearray()  # what came while we were still sending
        self.has_ended = False  # the other side was seen to hang up
        self._pace = Pace()
        self._socket = sock

    def send(self, data: bytes | bytearray) -> None:
        """Send all of it, each piece within the timeout, and all of it not slower than the least rate."""
        rest = memoryview(data)
        while rest:
            began = time.monotonic()
            sent = self._send_some(rest, began + self._timeout_s)
            rest = rest[sent:]
            if not self._pace.keeps_up(sent, time.monotonic() - began, self._timeout_s):
                raise socket_fault(TimeoutError(), self._timeout_s, is_connecting=False)

    def receive(self) -> tuple[int, bytes]:
        """The next PDU (PS3.8 9.3.1): its type, and all of its bytes; whole within the timeout."""
        end = time.monotonic() + self._timeout_s
        head = self._exactly(6, end)
        kind, length = head[0], int.from_bytes(head[2:], "big")
        if kind not in _KINDS or length > _MOST_PDU:
            raise failure(problem("FA-GW-ANSWER", detail="it is not DICOM"))
        return kind, head + self._exactly(length, end)

    def has_answer(self) -> bool:
        """Whether something has come, without waiting. Reading is the only way to tell it from TLS's own messages."""
        if not self._early:
            self._socket.settimeout(0)
            try:
                came = self._socket.recv(_READ)
            except _NOTHING_YET:
                return False
            except ssl.SSLError as error:  # an alert, which the next send would not repeat
                raise socket_fault(error, self._timeout_s, is_connecting=False) from None
            except OSError:
                self.has_ended = True
                return False  # the next send says it better
            self._early += came
            self.has_ended = not came
        return bool(self._early)

    def say_last(self, data: bytes) -> None:
        """Send it if that is possible at once; nobody waits for it."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(data)

    def shorten(self, timeout_s: float) -> None:
        """From now on wait no longer than this."""
        self._timeout_s = min(self._timeout_s, timeout_s)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _send_some(self, rest: memoryview, end: float) -> int:
        while True:
            self._wait_at_most(end)
            try:
                return self._socket.send(rest)
            except TimeoutError:
                continue
            except OSError as error:
                if self.has_answer():  # why it takes no more
                    return len(rest)
                raise socket_fault(error, self._timeout_s, is_connecting=False) from None

    def _exactly(self, count: int, end: float) -> bytes:
        while len(self._early) < count:
            self._wait_at_most(end)
            _acknowledge_at_once(self._socket)
            try:
                block = self._socket.recv(_READ)
            except TimeoutError:
                continue
            except OSError as error:
                raise socket_fault(error, self._timeout_s, is_connecting=False) from None
            if not block:
                raise failure(problem("FA-GW-BROKEN", detail="connection closed"))
            self._early += block
        taken = bytes(self._early[:count])
        del self._early[:count]
        return taken

    def _wait_at_most(self, end: float) -> None:
        """Let the next operation take a tick, if there is time for one."""
        if self._should_stop():
            raise failure(problem("FA-STOPPING"))
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise socket_fault(TimeoutError(), self._timeout_s, is_connecting=False)
        self._socket.settimeout(min(_TICK_S, left_s))


def line_to(node: Node, should_stop: ShouldStop) -> Line:
    """A new connection to the node."""
    return Line(_connected(node), node.timeout_s, should_stop)


def _acknowledge_at_once(sock: socket.socket) -> None:
    """Answers come in two small writes. Where the receiver has Nagle's algorithm on (DCMTK does), the second waits for
    our acknowledgement of the first, which Linux delays by 40 ms unless it is told so before each wait."""
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _connected(node: Node) -> socket.socket:
    try:
        plain = socket.create_connection((node.host, node.port), node.timeout_s)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        found = error if isinstance(error, OSError) else socket.gaierror()
        raise socket_fault(found, node.timeout_s, is_connecting=True) from None
    try:
        # An object is written in pieces and its answer is small: with Nagle's algorithm each would wait for an
        # acknowledgement that the other side delays by 40 ms.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if node.context is None else node.context.wrap_socket(plain, server_hostname=node.host)
    except (OSError, ValueError) as error:  # ValueError: a name that no certificate can bear
        plain.close()
        found = error if isinstance(error, OSError) else ssl.SSLCertVerificationError()
        raise socket_fault(found, node.timeout_s, is_connecting=False) from None
