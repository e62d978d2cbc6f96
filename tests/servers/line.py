"""A line between the agent and a gateway that can fail as lines do, and be mended while both ends run.

A TCP relay on a port of its own. With a certificate it ends TLS itself (the gateway behind it is then a plain one), so
that the certificate can be changed; without, it passes the bytes on as they are.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from folder_agent.simulator.secured import secured

_RESET = struct.pack("ii", 1, 0)  # linger 0: closing is a reset


class Fault(StrEnum):
    """What happens to every connection, once `after` bytes came from the agent on it."""

    BLACK_HOLE = "black hole"  # it is taken, and nothing ever comes back
    STALL = "stall"  # nothing more is taken of what the agent sends
    RESET = "reset"  # both ends see a reset
    LOSE_ANSWER = "lose answer"  # the gateway answers; the agent sees a reset in its place
    DRIP = "drip"  # the answer comes byte by byte, with a pause before each


@dataclass(frozen=True)
class Trouble:
    """A fault, and when it sets in."""

    fault: Fault
    after: int = 0
    pause_s: float = 0.2


class Line:
    """`with Line(port) as line: line.url`; `line.trouble(…)`, `line.cut()`, `line.mend()` from the test's thread."""

    def __init__(self, target: int, pem: Path | None = None) -> None:
        self.target, self.pem = target, pem
        self.connections = 0
        self._trouble: Trouble | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Line:
        self._listen()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def trouble(self, fault: Fault, after: int = 0, pause_s: float = 0.2) -> None:
        """From now on; connections that are open break, so that each that follows meets the fault from its start."""
        with self._lock:
            self._trouble = Trouble(fault, after, pause_s)
        self._break_all()

    def cut(self) -> None:
        """Nobody listens any more: connections are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._break_all()

    def show(self, pem: Path) -> None:
        """Show another certificate from now on."""
        self.pem = pem
        self._break_all()

    def mend(self) -> None:
        """All is well again."""
        with self._lock:
            self._trouble = None
        self._break_all()
        if self._listener is None:
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = listener.accept()[0]
                self.connections += 1
                with self._lock:
                    self._open.add(sock)
                    trouble = self._trouble
                self._start(self._serve, sock, trouble)

    def _serve(self, near: socket.socket, trouble: Trouble | None) -> None:
        with contextlib.suppress(OSError), near:
            if trouble is not None and trouble.fault is Fault.BLACK_HOLE and not trouble.after:
                self._swallow(near)
                return
            with (
                self._secured(near) as outer,
                socket.create_connection(("127.0.0.1", self.target)) as far,
            ):
                with self._lock:
                    self._open.update((outer, far))
                _Pair(outer, far, trouble).run()
                with self._lock:
                    self._open.difference_update((outer, far))
        with self._lock:
            self._open.discard(near)

    def _secured(self, near: socket.socket) -> socket.socket:
        if self.pem is None:
            return near
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        return secured(context, near)

    def _swallow(self, near: socket.socket) -> None:
        while near.recv(65536):
            pass

    def _break_all(self) -> None:
        with self._lock:
            broken, self._open = self._open, set()
        for sock in broken:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Pair:
    """One connection: two directions, each in a thread."""

    def __init__(self, near: socket.socket, far: socket.socket, trouble: Trouble | None) -> None:
        self._near, self._far, self._trouble = near, far, trouble
        self._sent = 0  # bytes that came from the agent
        self._is_reset = False

    def run(self) -> None:
        back = threading.Thread(target=self._back, daemon=True)
        back.start()
        self._forth()
        back.join(10)

    def _meets(self, *faults: Fault) -> Trouble | None:
        """The trouble, if it is one of these and has set in."""
        trouble = self._trouble
        return trouble if trouble and trouble.fault in faults and self._sent >= trouble.after else None

    def _forth(self) -> None:
        with contextlib.suppress(OSError):
            while block := self._near.recv(65536):
                self._sent += len(block)
                if self._meets(Fault.RESET):
                    self._reset()
                    break
                self._far.sendall(block)
                if self._meets(Fault.STALL):
                    self._wait_for_the_end()
                    break
        self._end()

    def _back(self) -> None:
        with contextlib.suppress(OSError):
            while block := self._far.recv(65536):
                if self._meets(Fault.LOSE_ANSWER):
                    self._reset()
                    break
                if self._meets(Fault.BLACK_HOLE):
                    continue
                if trouble := self._meets(Fault.DRIP):
                    for byte in block:
                        time.sleep(trouble.pause_s)
                        self._near.sendall(bytes([byte]))
                    continue
                self._near.sendall(block)
        self._end()

    def _wait_for_the_end(self) -> None:
        """Until the agent hangs up, without taking anything of what it sent meanwhile."""
        while self._near.fileno() >= 0 and _is_established(self._near):
            time.sleep(0.05)

    def _reset(self) -> None:
        """Have the closing of both be a reset, and wake whoever reads from one."""
        self._is_reset = True
        for sock in (self._near, self._far):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                socket.socket.shutdown(sock, socket.SHUT_RD)

    def _end(self) -> None:
        for sock in (self._near, self._far) if not self._is_reset else ():
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown, which would pull the TLS state from under the other thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _is_established(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # TCP_ESTABLISHED
