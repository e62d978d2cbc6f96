"""The HTTP/1.1 connections below httpx: a deadline for answers, a least rate for requests, and ears for early ones.

Touches sockets. httpx's own transport bounds each read and write but not the whole, so that a byte every 29 seconds
would hold a worker for ever; and it would push a whole batch at a server that has already said no. For the same reason
a server is asked first whether it wants a large body (Expect: 100-continue), as long as it says so in time.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from queue import Empty, LifoQueue
from typing import Any

import httpcore
import httpx

from folder_agent.edges.gateway.pace import Pace

_KEEPALIVE_S = 4.0  # Apache and uvicorn hang up after 5 s of silence: be first, so that no request meets a dead line
RESTED_S = 0.5  # no server leaves a connection sooner: what breaks before is no matter of its patience (Orthanc's: 1 s)
_HOSTS = 2  # a line stays connected to the gateway and to a STOW server on another host
_PROMPT_READ = 65536  # bytes
_INTERIM = b"HTTP/1.1 1"
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
EXPECT_FROM = 1024 * 1024  # bytes of a request's body from which the server is asked first whether it wants it
CONTINUE_S = 1.0  # how long it may take to say so; then the body goes all the same (RFC 9110 10.1.1)
_EXPECTATION = (b"Expect", b"100-continue")


class LeftMeanwhile(httpx.ReadError):
    """The server has closed a connection that had rested, and said nothing to the request that went over it: it most
    likely never saw it (RFC 9112 9.3.1), so that nothing speaks against asking at once over another one."""


class _Silence(httpcore.ReadError):
    """What becomes a LeftMeanwhile on its way through httpcore."""


class Manners:
    """Which servers have been seen not to say whether they want a body: they are not asked again."""

    def __init__(self) -> None:
        self._silent: set[tuple[bytes, int]] = set()

    def are_known_of(self, host: bytes, port: int) -> bool:
        """Whether that server may be asked."""
        return (host, port) not in self._silent

    def forget(self, host: bytes, port: int) -> None:
        """It did not say; or it does not want to be asked."""
        self._silent.add((host, port))


class PromptStream(httpcore.NetworkStream):
    """A connection whose answer is due, whole, within the read timeout of the last byte that was sent."""

    def __init__(self, inner: httpcore.NetworkStream, on_silence: Callable[[], None] = lambda: None) -> None:
        self._inner = inner
        self._on_silence = on_silence
        self._sent_at = time.monotonic()
        self._early = b""  # what the server said while we were still sending
        self._pace = Pace()
        self._begins = True  # what is written next is the head of a request
        self._has_rested = False  # since the answer to an earlier request
        self._heard = False  # something of the answer to the latest request
        self._heard_at = 0.0  # monotonic

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes; httpcore.ReadTimeout once the answer as a whole is overdue."""
        self._begins = True
        if self._early:
            taken, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return taken
        left_s = None if timeout is None else self._sent_at + timeout - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise httpcore.ReadTimeout("the answer as a whole is overdue")
        try:
            block = self._inner.read(max_bytes, left_s)
        except httpcore.ReadError as error:
            if self._has_rested and not self._heard:
                raise _Silence from error
            raise
        if not block and self._has_rested and not self._heard:
            raise _Silence
        self._note(block)
        return block

    def _note(self, block: bytes) -> None:
        if block:
            self._heard, self._heard_at = True, time.monotonic()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it; httpcore.WriteError, upon which httpcore reads the answer, if the server has given one.

        httpcore.WriteTimeout if the server takes nothing for `timeout`, or less than the least rate for long.
        """
        if not buffer:
            return  # the end of the request: an answer is no surprise any more
        asks = self._begins and _asks_first(buffer)
        if self._begins:
            self._has_rested = self._heard and time.monotonic() - self._heard_at >= RESTED_S
            self._begins = self._heard = False
        try:
            if self._has_answered():
                raise httpcore.WriteError("the server answered before the end of the request")
            self._push(memoryview(buffer), timeout)
            if asks and not self._has_spoken(CONTINUE_S if timeout is None else min(CONTINUE_S, timeout)):
                self._on_silence()
        except httpcore.WriteTimeout:
            if self._has_answered():  # and takes no more of the request
                raise httpcore.WriteError("the server answered before the end of the request") from None
            raise
        finally:
            self._sent_at = time.monotonic()

    def _push(self, rest: memoryview, timeout: float | None) -> None:
        """Piece by piece: one that is taken in part makes progress, and would begin the timeout anew for ever."""
        sock = self._inner.get_extra_info("socket")
        while rest:
            began = time.monotonic()
            sock.settimeout(timeout)
            try:
                sent = sock.send(rest)
            except TimeoutError as error:
                raise httpcore.WriteTimeout("nothing was taken") from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error
            rest = rest[sent:]
            if not self._pace.keeps_up(sent, time.monotonic() - began, timeout):
                raise httpcore.WriteTimeout("too little was taken for too long")

    def _has_answered(self) -> bool:
        """Look without waiting. Reading is the only way to tell an answer from TLS 1.3's session tickets."""
        if not self._early:
            self._hear(0)
        self._early = _without_interim(self._early)
        return bool(self._early) and not self._early.startswith(_INTERIM)

    def _has_spoken(self, within_s: float) -> bool:
        """Wait until the server says that it wants the body, or answers: it does not."""
        end = time.monotonic() + within_s
        while (left_s := end - time.monotonic()) > 0:
            heard = self._hear(left_s)
            rest = _without_interim(self._early)
            if heard is None or rest != self._early or (rest and not rest.startswith(_INTERIM)):
                self._early = rest
                return True
        return False

    def _hear(self, within_s: float) -> bool | None:
        """Whether something came; None: nothing will any more, and the write that follows says why."""
        sock = self._inner.get_extra_info("socket")
        sock.settimeout(within_s)
        try:
            block = sock.recv(_PROMPT_READ)
        except (*_NOTHING_YET, TimeoutError):
            return False
        except OSError:
            return None
        self._early += block
        self._note(block)
        return True if block else None

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands. Raises httpcore.ConnectError.

        If the server has reset the connection already, here and not by the ssl module, which would leave it to the
        garbage collector (CPython 3.11 to 3.14, `SSLSocket._create`).
        """
        try:
            self._inner.get_extra_info("socket").getpeername()
        except OSError as error:
            self._inner.close()
            raise httpcore.ConnectError(str(error)) from error
        return PromptStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._on_silence)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _asks_first(head: bytes) -> bool:
    return b"\r\n%b: %b\r\n" % _EXPECTATION in head


def _without_interim(said: bytes) -> bytes:
    """Without the whole 1xx answers before it: they mean "go on" (RFC 9110 15.2)."""
    while said.startswith(_INTERIM) and b"\r\n\r\n" in said:
        said = said.partition(b"\r\n\r\n")[2]
    return said


class PromptBackend(httpcore.NetworkBackend):
    """httpcore's ordinary sockets (which set TCP_NODELAY), as PromptStreams."""

    def __init__(self, manners: Manners) -> None:
        self._inner = httpcore.SyncBackend()
        self._manners = manners

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        silence = partial(self._manners.forget, host.encode("ascii"), port)
        return PromptStream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), silence)


class WireTransport(httpx.BaseTransport):
    """httpx's transport over `lines` such connections: no proxies, no HTTP/2, and no second tries: LeftMeanwhile tells
    where one is in order.

    Each line is a small httpcore pool of its own, lent to one request at a time. Shared among threads, httpcore 1.0's
    pool now and then takes a connection that was just handed out for an idle one whose server hung up, and closes it.
    """

    def __init__(self, context: ssl.SSLContext, lines: int) -> None:
        self._manners = Manners()
        self._free: LifoQueue[httpcore.ConnectionPool] = LifoQueue()  # the one used last is the likeliest to be open
        for _ in range(lines):
            self._free.put(_line(context, self._manners))
        self._closing = threading.Lock()
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        line = self._borrowed(request.extensions.get("timeout", {}).get("pool"))
        asked = _core_request(request)
        host, port = asked.url.host, asked.url.port or (443 if asked.url.scheme == b"https" else 80)
        if _is_large(request) and self._manners.are_known_of(host, port):
            asked.headers = [*asked.headers, _EXPECTATION]
        try:
            with translated():
                answer = line.handle_request(asked)
        except BaseException:
            self._give_back(line)
            raise
        if answer.status == HTTPStatus.EXPECTATION_FAILED:
            self._manners.forget(host, port)
        stream = _Body(answer, lambda: self._give_back(line))
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def close(self) -> None:
        """Close every line that is free now, and each of the others when it is given back by whoever uses it: closing
        it under his hands would free a descriptor, which another thread's file may get before his next byte."""
        with self._closing:
            self._is_closed = True
            with suppress(Empty):
                while True:
                    self._free.get_nowait().close()

    def _borrowed(self, timeout: float | None) -> httpcore.ConnectionPool:
        if self._is_closed:
            raise httpx.TransportError("closed")
        try:
            return self._free.get(timeout=timeout)
        except Empty:
            raise httpx.PoolTimeout("every connection is in use") from None

    def _give_back(self, line: httpcore.ConnectionPool) -> None:
        with self._closing:
            if self._is_closed:
                line.close()
            else:
                self._free.put(line)


def _is_large(request: httpx.Request) -> bool:
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) >= EXPECT_FROM


def _line(context: ssl.SSLContext, manners: Manners) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=context,
        max_connections=_HOSTS,
        keepalive_expiry=_KEEPALIVE_S,
        retries=0,
        network_backend=PromptBackend(manners),
    )


def _core_request(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


class _Body(httpx.SyncByteStream):
    """The answer's body as it arrives; closing it gives the line back, once."""

    def __init__(self, answer: httpcore.Response, give_back: Callable[[], None]) -> None:
        self._answer = answer
        self._give_back: Callable[[], None] | None = give_back

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back:
            try:
                self._answer.close()
            finally:
                give_back()


@contextmanager
def translated() -> Generator[None, None, None]:
    """httpcore's errors as httpx's: each has its namesake, which a test proves."""
    try:
        yield
    except _Silence as error:
        raise LeftMeanwhile("the server closed a kept connection") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "httpcore":
            raise
        namesake = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise namesake(str(error)) from error
