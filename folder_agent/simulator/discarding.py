"""For benchmarks: which instances a Store request carries, without keeping, hashing or searching their bytes.

Parts that say their Content-Length are skipped by length into one buffer; others go through the push parser.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from folder_agent.simulator.bodies import Body, drain
from folder_agent.simulator.dicom import Instance, kind_of
from folder_agent.simulator.multipart import MultipartError, parse_parts

_HEAD = 8192
_BUFFER = 1024 * 1024
Skimmed = tuple[int, Instance | None, str | None]  # bytes, the instance, why there is none


def skim(body: Body, boundary: str) -> list[Skimmed]:
    """Every part's size and instance. Raises MultipartError."""
    scanner, delimiter = _Scanner(body), b"--" + boundary.encode("latin-1")
    found: list[Skimmed] = []
    opening = scanner.line()
    if opening != delimiter:
        raise MultipartError("the body does not begin with its boundary")
    while True:
        raw = scanner.header_lines()
        length = _length_in(raw)
        if length is None:
            sink = _HeadSink(found)
            parse_parts(body, boundary, sink, delimiter + b"\r\n" + raw + b"\r\n" + scanner.rest())
            return found
        head = scanner.take(min(length, _HEAD))
        scanner.skip(length - len(head))
        found.append(_judge(length, head))
        if scanner.take(2) != b"\r\n":
            raise MultipartError("a part is longer than its Content-Length")
        closing = scanner.line()
        if closing == delimiter + b"--":
            drain(body)
            return found
        if closing != delimiter:
            raise MultipartError("a part is longer than its Content-Length")


def skim_instance(head: bytes) -> Instance | None:
    """The UIDs in a file's first kilobytes, by looking for their tags (little endian; enough for a benchmark)."""
    if head[128:132] != b"DICM":
        return None
    sop_class, sop = _uid(head, b"\x02\x00\x02\x00"), _uid(head, b"\x02\x00\x03\x00")
    study = _uid(head, b"\x20\x00\x0d\x00")
    if not (sop_class and sop and study):
        return None
    return Instance(sop_class, sop, study, "", kind_of(sop_class, has_pixels=False))


def _uid(head: bytes, tag: bytes) -> str | None:
    at = head.find(tag, 132)
    if at < 0:
        return None
    explicit = head[at + 4 : at + 6] == b"UI"
    length = int(struct.unpack_from("<H" if explicit else "<L", head, at + (6 if explicit else 4))[0])
    value = head[at + 8 : at + 8 + min(length, 64)].rstrip(b"\0 ")
    return value.decode("ascii") if re.fullmatch(rb"[0-9.]+", value) else None


def _judge(size: int, head: bytes) -> Skimmed:
    instance = skim_instance(head)
    return size, instance, None if instance else "no UIDs in the first 8 KB"


def _length_in(headers: bytes) -> int | None:
    found = re.search(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r?$", headers)
    return int(found[1]) if found else None


class _HeadSink:
    """Keeps each part's first kilobytes only."""

    def __init__(self, found: list[Skimmed]) -> None:
        self._found, self._head, self._size = found, bytearray(), 0

    def begin(self, _headers: Mapping[str, str]) -> None:
        self._head.clear()
        self._size = 0

    def data(self, piece: memoryview) -> None:
        self._size += len(piece)
        if len(self._head) < _HEAD:
            self._head += piece[: _HEAD - len(self._head)]

    def end(self) -> None:
        self._found.append(_judge(self._size, bytes(self._head)))


class _Scanner:
    """A small look-ahead over a body, and a skip that does not copy."""

    def __init__(self, body: Body) -> None:
        self._body, self._ahead = body, b""
        self._view = memoryview(bytearray(_BUFFER))

    def line(self) -> bytes:
        while (at := self._ahead.find(b"\r\n")) < 0:
            self._more()
        line, self._ahead = self._ahead[:at], self._ahead[at + 2 :]
        return line

    def header_lines(self) -> bytes:
        lines = []
        while line := self.line():
            lines.append(line + b"\r\n")
        return b"".join(lines)

    def take(self, count: int) -> bytes:
        while len(self._ahead) < count:
            self._more()
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def skip(self, count: int) -> None:
        ahead = min(count, len(self._ahead))
        self._ahead, count = self._ahead[ahead:], count - ahead
        while count:
            taken = self._body.readinto(self._view[: min(count, _BUFFER)])
            if not taken:
                raise MultipartError("the closing boundary is missing")
            count -= taken

    def rest(self) -> bytes:
        return self._ahead

    def _more(self) -> None:
        if len(self._ahead) > 8 * _HEAD:
            raise MultipartError("a header line is too long")
        piece = self._body.read(_HEAD)
        if not piece:
            raise MultipartError("the closing boundary is missing")
        self._ahead += piece
