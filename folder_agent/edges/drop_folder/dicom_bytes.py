"""Bytes of a DICOM file, taken in order, where too few of them are an error and never a shorter value.

Reads from one open file; holds at most one block, whatever the file's size or a deflated data set's expansion.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO, Protocol

_BLOCK = 64 * 1024
# Past these it is a bomb, not a data set; each element in it costs time.
_MOST_INFLATED = 64 * 1024**3  # bytes
_FREE, _RATIO = 256 * 1024**2, 200  # so many bytes may come of however little, and so many times its size of more


class Damaged(Exception):
    """What is wrong with a DICOM file; the text holds no value of the file."""

    study: str | None = None  # the StudyInstanceUID, if that could be read all the same


class CutShort(Damaged):
    """The bytes end before what was announced; the text says where."""


class TooFew(CutShort):
    """A source has fewer bytes left than are asked for; the walker adds what they were for."""

    def __init__(self, wanted: int, there: int) -> None:
        super().__init__(f"{wanted} bytes announced, {there} there")


class Unreadable(Damaged):
    """The bytes are there and make no sense as DICOM."""


class Source(Protocol):
    """Where elements are read from."""

    def take(self, count: int) -> bytes:
        """The next bytes, exactly so many. Raises TooFew."""
        ...

    def skip(self, count: int) -> None:
        """Pass over so many bytes, all of which must be there. Raises TooFew."""
        ...

    def peek(self, count: int) -> bytes:
        """The next bytes without passing them; fewer at the end."""
        ...

    def at_end(self) -> bool:
        """Whether nothing is left. Raises CutShort if there ought to be more."""
        ...


class FileBytes:
    """The rest of an open file of known size, from where it stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.left = size - file.tell()

    @property
    def at(self) -> int:
        """Where in the file the next byte is."""
        return self._size - self.left

    def take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self.left else b""
        if len(data) != count:
            raise TooFew(count, self.left)
        self.left -= count
        return data

    def skip(self, count: int) -> None:
        if count > self.left:
            raise TooFew(count, self.left)
        self._file.seek(count, os.SEEK_CUR)
        self.left -= count

    def peek(self, count: int) -> bytes:
        data = self._file.read(min(count, self.left))
        self._file.seek(-len(data), os.SEEK_CUR)
        return data

    def at_end(self) -> bool:
        return self.left == 0


class InflatedBytes:
    """A deflated data set (DICOM PS3.5 A.5: a raw RFC 1951 stream, perhaps one zero byte after it), inflated on the
    way. It ends only where the stream itself says so."""

    def __init__(self, source: FileBytes) -> None:
        self._source = source
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._ready = b""
        self._at = 0
        self._total = 0
        self._most = min(_MOST_INFLATED, max(_FREE, _RATIO * source.left))

    def take(self, count: int) -> bytes:
        data = self.peek(count)
        if len(data) != count:
            raise TooFew(count, len(data))
        self._at += count
        return data

    def skip(self, count: int) -> None:
        left = count
        while left > (ready := len(self._ready) - self._at):
            left -= ready
            if not self._inflate(keep=0):
                raise TooFew(count, count - left)
        self._at += left

    def peek(self, count: int) -> bytes:
        while len(self._ready) - self._at < count and self._inflate(keep=len(self._ready) - self._at):
            pass
        return self._ready[self._at : self._at + count]

    def at_end(self) -> bool:
        return not self.peek(1)

    def _inflate(self, keep: int) -> bool:
        """Make one more block ready behind the last `keep` bytes; False at the stream's own end."""
        kept = self._ready[len(self._ready) - keep :]
        block = self._next_block()
        self._ready, self._at = kept + block, 0
        self._total += len(block)
        if self._total > self._most:
            raise Unreadable(f"the deflated data set has more than {self._most} bytes")
        return bool(block)

    def _next_block(self) -> bytes:
        while not self._inflater.eof:
            raw = self._inflater.unconsumed_tail or self._source.take(min(_BLOCK, self._source.left))
            try:
                block = self._inflater.decompress(raw, _BLOCK)
            except zlib.error:
                raise Unreadable("the deflated data set is damaged") from None
            if block:
                return block
            if not raw and not self._inflater.eof:
                raise CutShort("the deflated data set has no end")
        return b""
