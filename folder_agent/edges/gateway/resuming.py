"""Going on with an upload that was broken off, where the server can: what it holds of a file is asked for before.

Touches the network by a Link. There is no standard for this that servers share; ours is HTTP's own words for ranges
(RFC 9110 14), so that little is to be invented on the other side:

    HEAD path                            POST path
    Upload-Key: 6f1c…                    Upload-Key: 6f1c…
    Range: bytes=0-                      Upload-Length: 4194304
    → 206, Content-Range:                Content-Range: bytes 1048576-4194303/4194304
           bytes 0-1048575/4194304
      (so much is there; 416: nothing)

The form's part `file` then holds the rest alone, and `sha256` is that of the whole. Any other answer to HEAD means that
the server knows nothing of this: it is not asked again, and gets whole files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from folder_agent.core.records import Outgoing
from folder_agent.edges.gateway.client import Link

RESUME_FROM = 4 * 1024 * 1024  # bytes of a file from which it is worth a question
_HELD = re.compile(r"\s*bytes\s+0-([0-9]{1,18})/([0-9]{1,18}|\*)\s*", re.ASCII)
_PARTIAL, _NOTHING_YET = 206, 416
_NOT_NOW = frozenset({401, 403, 407, 408, 429, 500, 502, 503, 504})  # they say nothing of what the server can


class Resuming:
    """What is known of one address; shared by all who send there."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._is_known_not_to = False
        self._distrusted: set[str] = set()

    def held(self, url: str, key: str, file: Outgoing, endpoint: str) -> int:
        """How many of the file's first bytes need not travel again; never all of them. Raises AgentError if the
        server cannot be asked."""
        if self._is_known_not_to or key in self._distrusted or file.stamp.size < RESUME_FROM:
            return 0
        headers = {"Upload-Key": key, "Range": "bytes=0-"}
        reply = self._link.exchange(url, headers, method="HEAD", endpoint=endpoint)
        if reply.status == _PARTIAL:
            return _first_bytes(reply.content_range, file.stamp.size)
        self._is_known_not_to = reply.status != _NOTHING_YET and reply.status not in _NOT_NOW
        return 0

    def distrust(self, key: str) -> None:
        """What the server has of it does not do: it is not gone on with any more."""
        self._distrusted.add(key)


def upload_key(file: Outgoing, fields: Mapping[str, str], destination: str) -> str:
    """The same for the same file of the same exam, whoever sends it and when; it tells nothing of either."""
    parts = [destination, *(f"{name}={value}" for name, value in sorted(fields.items())), file.path]
    stamp = f"{file.stamp.size} {file.stamp.mtime_ns}"
    return hashlib.sha256("\0".join([*parts, stamp]).encode("utf-8", "replace")).hexdigest()[:32]


def _first_bytes(content_range: str | None, size: int) -> int:
    found = _HELD.fullmatch(content_range or "")
    if found is None or found[2] not in (str(size), "*"):
        return 0
    return min(int(found[1]) + 1, size - 1)
