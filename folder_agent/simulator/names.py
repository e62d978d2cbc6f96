"""Names from outside made safe for any file system, Windows included: pure."""

from __future__ import annotations

import hashlib
import re

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_LONGEST = 100


def safe_name(raw: str) -> str:
    """One path component. Where it had to differ from `raw` it carries a digest, so that two names never meet."""
    safe = _FORBIDDEN.sub("_", raw).rstrip(". ")
    if len(safe) > _LONGEST:
        stem, dot, ending = safe.rpartition(".")
        safe = stem[: _LONGEST - 12] + dot + ending if dot and len(ending) <= 8 else safe[:_LONGEST]
    if not safe or _RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if safe == raw:
        return safe
    return f"{hashlib.sha256(raw.encode('utf-8', 'replace')).hexdigest()[:8]}-{safe}"
