"""A TLS server that answers exactly what a test tells it, byte by byte where that matters, and keeps what it was sent.

Each request takes the next answer, the last one for ever. An answer is bytes, or a function that drives the socket.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from folder_agent.simulator.secured import secured


@dataclass
class Seen:
    """One request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())


Drive = Callable[[socket.socket, Seen, bytes], None]  # the socket, the head, what came of the body so far
Answer = bytes | Drive


def answer(status: int = 200, body: bytes | dict[str, object] = b"", *headers: str) -> bytes:
    """A whole HTTP answer."""
    content = json.dumps(body, ensure_ascii=False).encode() if isinstance(body, dict) else body
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@dataclass
class ScriptedServer:
    """`with ScriptedServer(cert, answers) as server: server.url`. Without a certificate it speaks plain HTTP."""

    pem: Path | None
    answers: list[Answer]
    keep_body: bool = True
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    raw: bytearray = field(default_factory=bytearray)  # what arrived on connections that never became HTTP

    def __enter__(self) -> ScriptedServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if self.pem else 'http'}://127.0.0.1:{self.port}"
        self._context = None
        if self.pem:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self.pem)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._listen)
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            with self._lock:
                self._open.append(sock)
            if self._context is None:
                self._talk(sock)
                return
            with secured(self._context, sock) as wrapped:
                with self._lock:
                    self._open.append(wrapped)
                self._talk(wrapped)

    def _talk(self, sock: socket.socket) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                block = sock.recv(65536)
                if not block:
                    return
                self.raw += block
                data += block
            head, _, rest = data.partition(b"\r\n\r\n")
            line, *fields = head.decode("utf-8").split("\r\n")
            pairs = [text.split(": ", 1) for text in fields]
            seen = Seen(line, [(pair[0], pair[1]) for pair in pairs])
            with self._lock:
                chosen = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if callable(chosen):
                self.requests.append(seen)
                chosen(sock, seen, rest)
                return
            data = self._read_body(sock, seen, rest)
            self.requests.append(seen)
            sock.sendall(chosen)

    def _read_body(self, sock: socket.socket, seen: Seen, rest: bytes) -> bytes:
        if not any(name.lower() == "content-length" for name, _ in seen.headers):
            return rest  # a request without a body
        left = int(seen.header("Content-Length")) - len(rest)
        parts = [rest]
        while left > 0:
            block = sock.recv(1024 * 1024)
            if not block:
                raise ConnectionError
            left -= len(block)
            if self.keep_body:
                parts.append(block)
        seen.body = b"".join(parts)
        return b""


def drip(content: bytes, pause_s: float) -> Drive:
    """One byte at a time."""

    def drive(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        left = int(seen.header("Content-Length")) - len(rest)
        while left > 0:
            left -= len(sock.recv(65536))
        for byte in content:
            sock.sendall(bytes([byte]))
            time.sleep(pause_s)

    return drive


def hang(sock: socket.socket, seen: Seen, rest: bytes) -> None:
    """Take everything, and never answer."""
    while sock.recv(65536):
        pass


def hang_up(sock: socket.socket, seen: Seen, rest: bytes) -> None:
    """Close without a word."""


def early(content: bytes) -> Drive:
    """Answer after the head, read little of the body, then linger until the client gives up."""

    def drive(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        sock.sendall(content)
        time.sleep(0.3)
        read = len(rest)
        while block := sock.recv(65536):
            read += len(block)
        seen.body = b"x" * read

    return drive
