"""A request's body as a bounded stream, whether sent with Content-Length or in chunks (RFC 9112, sections 6 and 7).

Touches only the reader that it is given. Nothing here ever holds more of a body than was asked for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from io import BufferedIOBase
from typing import Protocol

_LINE = 8192
_DRAIN = 256 * 1024


class BadFramingError(Exception):
    """The request's framing breaks RFC 9112; `status` is the answer. The connection cannot be used further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BrokenBodyError(ConnectionError):
    """The client went away in the middle of the body."""


class Body(Protocol):
    """Bytes until `read` gives b"". Both raise BrokenBodyError, and BadFramingError for broken chunks."""

    length: int | None  # announced bytes, None when chunked

    def read(self, size: int, /) -> bytes: ...

    def readinto(self, view: memoryview, /) -> int: ...


def open_body(headers: Mapping[str, str], reader: BufferedIOBase, before_reading: Callable[[], None]) -> Body:
    """The body that the headers (lower-case names) announce. `before_reading` is called once, before the first read."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise BadFramingError(400, "both Content-Length and Transfer-Encoding")
        if coding.strip().lower() != "chunked":
            raise BadFramingError(501, "only the chunked transfer coding is known")
        return _Chunked(reader, before_reading)
    if length is None:
        raise BadFramingError(411, "neither Content-Length nor Transfer-Encoding")
    if not (length.isascii() and length.isdigit()):
        raise BadFramingError(400, "Content-Length is not a number")
    return _Sized(reader, int(length), before_reading)


def drain(body: Body) -> None:
    """Reads what is left, so that the connection can carry the next request."""
    view = memoryview(bytearray(_DRAIN))
    while body.readinto(view):
        pass


def read_all(body: Body, limit: int) -> bytes | None:
    """The whole body, or None (and the rest drained) if it is longer than `limit` bytes."""
    found = bytearray()
    while piece := body.read(64 * 1024):
        found += piece
        if len(found) > limit:
            drain(body)
            return None
    return bytes(found)


class HashedBody:
    """A body, and the SHA-256 of what has been read of it."""

    def __init__(self, body: Body) -> None:
        self.length, self._body, self._hash = body.length, body, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        piece = self._body.read(size)
        self._hash.update(piece)
        return piece

    def readinto(self, view: memoryview, /) -> int:
        taken = self._body.readinto(view)
        self._hash.update(view[:taken])
        return taken

    def is_as_announced(self, headers: Mapping[str, str]) -> bool:
        """Whether it is what Content-Digest (RFC 9530) and Digest (RFC 3230) say; without them it is."""
        value = base64.b64encode(self._hash.digest()).decode("ascii")
        wanted = {"content-digest": f"sha-256=:{value}:", "digest": f"sha-256={value}"}
        return all(headers.get(name, right) == right for name, right in wanted.items())


class _Sized:
    def __init__(self, reader: BufferedIOBase, length: int, before_reading: Callable[[], None]) -> None:
        self.length: int | None = length
        self._reader, self._left, self._before = reader, length, before_reading

    def read(self, size: int) -> bytes:
        if not self._left:
            return b""
        self._announce()
        piece = self._reader.read(min(size, self._left))
        self._took(len(piece))
        return piece

    def readinto(self, view: memoryview) -> int:
        if not self._left:
            return 0
        self._announce()
        taken = self._reader.readinto(view[: min(len(view), self._left)])
        self._took(taken)
        return taken

    def _announce(self) -> None:
        if self._left == self.length:
            self._before()

    def _took(self, count: int) -> None:
        if not count:
            raise BrokenBodyError("the body ended early")
        self._left -= count


class _Chunked:
    def __init__(self, reader: BufferedIOBase, before_reading: Callable[[], None]) -> None:
        self.length: int | None = None
        self._reader, self._before = reader, before_reading
        self._left, self._started, self._ended = 0, False, False

    def read(self, size: int) -> bytes:
        ready = self._next()
        piece = self._reader.read(min(size, ready)) if ready else b""
        self._took(len(piece))
        return piece

    def readinto(self, view: memoryview) -> int:
        ready = self._next()
        taken = self._reader.readinto(view[: min(len(view), ready)]) if ready else 0
        self._took(taken)
        return taken

    def _next(self) -> int:
        """Bytes left in this chunk, opening the next one where needed; 0 at the body's end."""
        if self._left or self._ended:
            return self._left
        if not self._started:
            self._started = True
            self._before()
        size = self._line().split(b";")[0].strip()
        if not size or size.strip(b"0123456789abcdefABCDEF") or len(size) > 15:
            raise BadFramingError(400, "chunk size is not hexadecimal")
        self._left = int(size, 16)
        if not self._left:
            self._ended = True
            while self._line():
                pass  # trailer fields mean nothing here
        return self._left

    def _took(self, count: int) -> None:
        if self._ended:
            return
        if not count:
            raise BrokenBodyError("the body ended early")
        self._left -= count
        if not self._left and self._line():
            raise BadFramingError(400, "a chunk is longer than it says")

    def _line(self) -> bytes:
        line = self._reader.readline(_LINE)
        if not line.endswith(b"\n"):
            raise (
                BrokenBodyError("the body ended early") if len(line) < _LINE else BadFramingError(400, "line too long")
            )
        return line.rstrip(b"\r\n")
