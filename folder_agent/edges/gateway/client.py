"""The one HTTP client of the agent, and `Link.exchange`, through which every request to the gateway goes.

Touches the network. Whatever goes wrong comes out as an AgentError; an answer comes out as a Reply, not yet judged.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx

from folder_agent import __version__
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.ports import Clock
from folder_agent.edges.gateway.faults import FAULTS, fault
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.wire import WireTransport
from folder_agent.edges.meters import Meters

ANSWER_LIMIT = 1024 * 1024  # bytes of an answer to study/add or a form
_SPARE_CONNECTIONS = 2
_LONGEST_RETRY_AFTER_S = 86400


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole."""

    status: int
    body: bytes
    clock_offset_s: float | None = None  # our clock minus the gateway's, from the Date header
    retry_after_s: int | None = None


def make_client(auth: SignedHeaders, context: ssl.SSLContext, timeout_s: float, workers: int) -> httpx.Client:
    """One pooled client for all workers: HTTP/1.1, signed, no redirects, nothing taken from the environment."""
    client = httpx.Client(
        auth=auth,
        transport=WireTransport(context, workers + _SPARE_CONNECTIONS),
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": f"folder-agent/{__version__}", "Accept-Encoding": "identity"},
    )
    # Each request stands for itself, whichever worker sends it.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


class Link:
    """The client together with the clock that judges the answers' dates."""

    def __init__(self, client: httpx.Client, clock: Clock, timeout_s: float, meters: Meters | None = None) -> None:
        self._client = client
        self._meters = meters or Meters()
        self._clock = clock
        self.timeout_s = timeout_s

    def exchange(
        self,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
        answer_limit: int = ANSWER_LIMIT,
        method: str = "POST",
    ) -> Reply:
        """Ask, and read the answer: within timeout_s of the request's end, and at most `answer_limit` bytes of it.

        Raises AgentError for everything but an answer, and whatever `content` raises while it is read.
        """
        began, endpoint = time.monotonic(), urlsplit(url).path
        try:
            with self._client.stream(method, url, headers=headers, content=content) as response:
                body = _read(response, answer_limit)
        except tuple(FAULTS) as error:
            self._meters.request(endpoint, "error", time.monotonic() - began)
            raise fault(error, self.timeout_s) from None
        except RuntimeError:
            if not self._client.is_closed:
                raise
            raise failure(problem("FA-STOPPING")) from None
        now = self._clock.now()
        theirs = _date(response.headers.get("Date"))
        offset_s = None if theirs is None else now - theirs
        self._meters.request(endpoint, str(response.status_code), time.monotonic() - began, offset_s)
        return Reply(response.status_code, body, offset_s, _retry_after(response.headers.get("Retry-After"), now))

    def close(self) -> None:
        """Give back every connection; one that another thread uses is given back when its request has ended."""
        self._client.close()


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
