"""The simulator's own check of the three signing headers: pure, with the clock passed in.

Source: the gateway's page, "鉴权方式": signature = Hmac-Sha256(token, appId + timestamp).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping


def sign(app_id: str, token: str, timestamp: str) -> str:
    """HMAC-SHA256 over `appId` followed by `timestamp` (decimal milliseconds), key `token`, as lower-case hex."""
    return hmac.new(token.encode(), (app_id + timestamp).encode(), hashlib.sha256).hexdigest()


def objection(headers: Mapping[str, str], app_id: str, token: str, now: float, window_s: float) -> str | None:
    """Why a request is not let in, or None. `headers` has lower-case names; `now` and `window_s` are in seconds."""
    missing = [name for name in ("appId", "timestamp", "signature") if not headers.get(name.lower())]
    if missing:
        return "signature headers missing: " + ", ".join(missing)
    timestamp = headers["timestamp"]
    if headers["appid"] != app_id:
        return "signature refused: unknown appId"
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 19:
        return "signature refused: timestamp is not a number of milliseconds"
    expected = sign(app_id, token, timestamp)
    if not hmac.compare_digest(expected.encode(), headers["signature"].encode("utf-8", "replace")):
        return "signature does not match"
    off_s = int(timestamp) / 1000 - now
    if abs(off_s) > window_s:
        return f"timestamp expired: it is {off_s:+.0f} s from the gateway's clock, {window_s:.0f} s are allowed"
    return None
