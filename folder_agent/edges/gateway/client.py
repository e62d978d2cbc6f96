"""The one HTTP client of the agent, and `Link.exchange`, through which every request to the gateway goes.

Touches the network. Whatever goes wrong comes out as an AgentError; an answer comes out as a Reply, not yet judged.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from folder_agent import __version__
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.ports import Clock
from folder_agent.edges.gateway.faults import FAULTS, fault
from folder_agent.edges.gateway.lanes import Lanes
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.wire import LeftMeanwhile, WireTransport
from folder_agent.edges.meters import Meters

ANSWER_LIMIT = 1024 * 1024  # bytes of an answer to study/add or a form
_REDIRECTS = (307, 308)
_STRUGGLES = (429, 503, 504)  # the statuses of a server that has too much to do, or whose own server has
_MOST_REPEATS = 4  # requests for one exchange
_SPARE_CONNECTIONS = 2
_MOST_LEFT = 2  # kept connections that one request may find left by the server: another thread's may be next in line
_LONGEST_RETRY_AFTER_S = 86400
_ALWAYS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
    "User-Agent": f"folder-agent/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole."""

    status: int
    body: bytes
    clock_offset_s: float | None = None  # our clock minus the gateway's, from the Date header
    retry_after_s: int | None = None
    media_type: str = ""  # lower case, without parameters
    location: str | None = None  # where it redirects to, as an absolute address
    content_range: str | None = None
    challenge: str | None = None  # WWW-Authenticate, or a proxy's word of the kind
    waited_s: float = 0.0  # from the end of the request to the whole answer
    asked_at: float = 0.0  # monotonic: when the request began


class Client:
    """What is needed of httpx's own client, and no more: each request is signed and handed to the transport. Nothing is
    followed, kept of one answer for the next request, or taken from the environment."""

    def __init__(self, auth: SignedHeaders, transport: httpx.BaseTransport, timeout_s: float) -> None:
        self._auth, self._transport = auth, transport
        self._timeout = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        self.is_closed = False

    @contextmanager
    def stream(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | Iterable[bytes] | None
    ) -> Iterator[httpx.Response]:
        """The answer, whose body has not been read. Raises httpx's errors; RuntimeError once it is closed.

        Where a server had left a kept connection, it is asked again over another, signed anew.
        """
        for _ in range(_MOST_LEFT):
            with suppress(LeftMeanwhile):
                response = self._asked(method, url, headers, content)
                break
        else:
            response = self._asked(method, url, headers, content)
        try:
            yield response
        finally:
            response.close()

    def _asked(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | Iterable[bytes] | None
    ) -> httpx.Response:
        if self.is_closed:
            raise RuntimeError("closed")
        told = {**_ALWAYS, **headers}
        request = httpx.Request(method, _parsed(url), headers=told, content=content, extensions=self._timeout)
        return self._transport.handle_request(self._auth.signed(request))

    def close(self) -> None:
        """Give back every connection; one that another thread uses is given back when its request has ended."""
        self.is_closed = True
        self._transport.close()


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol("not an address that can be asked")
    return parsed


def make_client(auth: SignedHeaders, context: ssl.SSLContext, timeout_s: float, workers: int) -> Client:
    """One client with a pool of connections for all workers: HTTP/1.1, signed."""
    return Client(auth, WireTransport(context, workers + _SPARE_CONNECTIONS), timeout_s)


class Link:
    """The client together with the clock that judges the answers' dates."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        timeout_s: float,
        meters: Meters | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self._client = client
        self._meters = meters or Meters()
        self.lanes = lanes or Lanes()
        self._clock = clock
        self.timeout_s = timeout_s

    def exchange(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
        answer_limit: int = ANSWER_LIMIT,
        method: str = "POST",
        endpoint: str | None = None,
        parts: int = 1,
    ) -> Reply:
        """Ask, and read the answer: within timeout_s of the request's end, and at most `answer_limit` bytes of it.

        A redirect that keeps the method (307, 308) is followed to the same scheme, host and port, signed anew;
        `content` is then iterated again, from its beginning. Raises AgentError for everything but an answer, and
        whatever `content` raises while it is read. `endpoint` is what the requests are counted under, where the
        address names an exam; `parts` is how many things are in the content.
        """
        asked, endpoint = url, endpoint or urlsplit(url).path
        for _ in range(_MOST_REPEATS):
            with self.lanes.lane():
                reply = self._ask(asked, headers, content, answer_limit, method, endpoint, parts)
            if reply.status in _REDIRECTS and reply.location and _origin(reply.location) == _origin(asked):
                asked = reply.location
            elif reply.status != HTTPStatus.EXPECTATION_FAILED:  # else once more, without asking first
                break
        return reply

    def _ask(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None,
        answer_limit: int,
        method: str,
        endpoint: str,
        parts: int,
    ) -> Reply:
        began = time.monotonic()
        sent = content if content is None or isinstance(content, bytes) else _Timed(content)
        try:
            with self._client.stream(method, url, headers, sent) as response:
                body = _read(response, answer_limit)
        except tuple(FAULTS) as error:
            self._meters.request(endpoint, "error", time.monotonic() - began)
            found = fault(error, self.timeout_s)
            if found.problem.code == "FA-GW-TIMEOUT":
                self.lanes.troubled(began)
            raise found from None
        except RuntimeError:
            if not self._client.is_closed:
                raise
            raise failure(problem("FA-STOPPING")) from None
        now = self._clock.now()
        theirs = _date(response.headers.get("Date"))
        offset_s = None if theirs is None else now - theirs
        self._meters.request(endpoint, str(response.status_code), time.monotonic() - began, offset_s)
        told = response.headers
        waited_s = time.monotonic() - (sent.ended_at if isinstance(sent, _Timed) else began)
        if response.status_code in _STRUGGLES:
            self.lanes.troubled(began)
        elif response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            size = sent.size if isinstance(sent, _Timed) else len(sent or b"")
            self.lanes.answered(f"{method} {endpoint}", began, waited_s, size, parts)
        return Reply(
            response.status_code,
            body,
            clock_offset_s=offset_s,
            retry_after_s=_retry_after(told.get("Retry-After"), now),
            media_type=told.get("Content-Type", "").partition(";")[0].strip().lower(),
            location=_absolute(url, told.get("Location")),
            content_range=told.get("Content-Range"),
            challenge=told.get("WWW-Authenticate") or told.get("Proxy-Authenticate"),
            waited_s=waited_s,
            asked_at=began,
        )

    def close(self) -> None:
        """Give back every connection; one that another thread uses is given back when its request has ended."""
        self._client.close()


class _Timed:
    """Knows when it was read to its end, and how much it was."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self.size = 0
        self.ended_at = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        self.size = 0
        for block in self._content:
            self.size += len(block)
            yield block
        self.ended_at = time.monotonic()


def _absolute(url: str, location: str | None) -> str | None:
    """Where a Location leads (RFC 9110 10.2.2); None if there is none or it makes no sense."""
    try:
        return None if location is None else str(httpx.URL(url).join(location))
    except httpx.InvalidURL:
        return None


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; a port that goes without saying is None."""
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def _read(response: httpx.Response, limit: int) -> bytes:
    read = bytearray()
    for chunk in response.iter_bytes():
        read += chunk
        if len(read) > limit:
            raise failure(problem("FA-GW-ANSWER", detail="longer than expected"))
    return bytes(read)


def _date(text: str | None) -> float | None:
    """An HTTP date (RFC 9110 5.6.7) as epoch seconds; None if there is none or it makes no sense."""
    try:
        found = parsedate_to_datetime(text or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _retry_after(text: str | None, now: float) -> int | None:
    """Retry-After (RFC 9110 10.2.3) in seconds from now, at most a day; it comes as seconds or as a date."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return min(int(stripped[:9]), _LONGEST_RETRY_AFTER_S)
    due = _date(stripped)
    return None if due is None else max(0, min(round(due - now), _LONGEST_RETRY_AFTER_S))
