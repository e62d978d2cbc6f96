"""The HTTP/1.1 connections below httpx: httpcore's pool with streams that keep a deadline and notice early answers.

Touches sockets. httpx's own transport bounds each read but not the answer as a whole, so that a byte every 29 seconds
would hold a worker for ever; and it would push a whole batch at a server that has already said no.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

_KEEPALIVE_S = 4.0  # Apache and uvicorn hang up after 5 s of silence: be first, so that no request meets a dead line
_PROMPT_READ = 65536  # bytes
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class PromptStream(httpcore.NetworkStream):
    """A connection whose answer is due, whole, within the read timeout of the last byte that was sent."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._sent_at = time.monotonic()
        self._early = b""  # what the server said while we were still sending

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes; httpcore.ReadTimeout once the answer as a whole is overdue."""
        if self._early:
            taken, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return taken
        if timeout is None:
            return self._inner.read(max_bytes, None)
        left_s = self._sent_at + timeout - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the answer as a whole is overdue")
        return self._inner.read(max_bytes, left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it; httpcore.WriteError, upon which httpcore reads the answer, if the server has given one."""
        try:
            if self._has_answered():
                raise httpcore.WriteError("the server answered before the end of the request")
            self._inner.write(buffer, timeout)
        finally:
            self._sent_at = time.monotonic()

    def _has_answered(self) -> bool:
        """Look without waiting. Reading is the only way to tell an answer from TLS 1.3's session tickets."""
        if not self._early:
            sock = self._inner.get_extra_info("socket")
            sock.settimeout(0)
            try:
                self._early = sock.recv(_PROMPT_READ)
            except _NOTHING_YET:
                return False
            except OSError:
                return False  # the write that follows says it better
        return bool(self._early) and not self._early.startswith(b"HTTP/1.1 1")  # 1xx: go on (RFC 9110 15.2)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return PromptStream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PromptBackend(httpcore.NetworkBackend):
    """httpcore's ordinary sockets (which set TCP_NODELAY), as PromptStreams."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return PromptStream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options))


class WireTransport(httpx.BaseTransport):
    """httpx's transport over such a pool: no proxies, no HTTP/2, no silent second tries."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEPALIVE_S,
            retries=0,
            network_backend=PromptBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with translated():
            answer = self._pool.handle_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The answer's body as it arrives."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def translated() -> Generator[None, None, None]:
    """httpcore's errors as httpx's: each has its namesake, which a test proves."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "httpcore":
            raise
        namesake = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise namesake(str(error)) from error
