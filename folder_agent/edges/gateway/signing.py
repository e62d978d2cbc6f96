"""Signs requests as the gateway's page says ("Signing" in gateway.md). Touches nothing; the clock is handed in.

Each request is signed at the moment it leaves: a retry with an old timestamp would be refused.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator

import httpx

from folder_agent.core.ports import Clock


def sign(app_id: str, token: str, timestamp_ms: int) -> str:
    """HMAC-SHA256 of appId + timestamp (Unix milliseconds, decimal) under the token, as lower-case hex."""
    return hmac.new(token.encode(), f"{app_id}{timestamp_ms}".encode(), hashlib.sha256).hexdigest()


class SignedHeaders(httpx.Auth):
    """Puts appId, timestamp and signature on every request that passes, freshly for each."""

    def __init__(self, app_id: str, token: str, clock: Clock) -> None:
        self._app_id = app_id
        self._token = token
        self._clock = clock

    def signed(self, request: httpx.Request) -> httpx.Request:
        """The request, signed now. Whatever the answer is, the agent decides: there is no second try here."""
        timestamp_ms = int(self._clock.now() * 1000)
        # As bytes: httpx takes text headers as ASCII, and nothing says that an appId is.
        request.headers.update(
            {
                b"appId": self._app_id.encode(),
                b"timestamp": str(timestamp_ms).encode(),
                b"signature": sign(self._app_id, self._token, timestamp_ms).encode(),
            }
        )
        return request

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The same for a client of httpx's own."""
        yield self.signed(request)
