"""A multipart body (RFC 2046 5.1) that is streamed from files: its length is known before, each byte is read once.

Touches the files only by reading them. A file that is not the announced one any more breaks the body off, so that the
receiver gets an incomplete request and keeps nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.ports import Progress
from folder_agent.core.records import Outgoing
from folder_agent.edges.drop_folder.opening import why_not
from folder_agent.edges.gateway.allowance import Allowance
from folder_agent.edges.paths import is_gone, matches

BLOCK = 256 * 1024  # bytes read and sent at a time
JOINED = 64 * 1024  # bytes: what is smaller travels together with what follows
_DIGEST_LENGTH = 64  # SHA-256 as hex

OpenFile = Callable[[Path], BinaryIO]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class DigestOf:
    """Stands for the SHA-256 of a file that was sent earlier in the same body: its length is fixed, so it may wait."""

    file_id: int


@dataclass(frozen=True, slots=True)
class Rest:
    """A file without its first bytes, which are there already; they are read all the same, for its digest."""

    file: Outgoing
    start: int


Piece = bytes | Outgoing | Rest | DigestOf


def new_boundary() -> str:
    """A boundary that no content can contain by accident or intent: 128 random bits."""
    return f"folder-agent-{secrets.token_hex(16)}"


def length_of(pieces: Sequence[Piece]) -> int:
    """The body's length in bytes."""
    return sum(_length(piece) for piece in pieces)


def _length(piece: Piece) -> int:
    if isinstance(piece, Outgoing):
        return piece.length
    if isinstance(piece, Rest):
        return piece.file.length - piece.start
    return len(piece) if isinstance(piece, bytes) else _DIGEST_LENGTH


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body needs while it is read."""

    open_file: OpenFile
    should_stop: ShouldStop
    allowance: Allowance | None = None  # None: there is no limit


class Body:
    """The pieces, one after the other. Iterating sends, from the beginning each time: `digests` holds the SHA-256 of
    each file that went out whole.

    Raises AgentError while it is read: FA-CHANGED or another reason of the file (WAIT), FA-STOPPING (RETRY).
    """

    def __init__(self, pieces: Sequence[Piece], reading: Reading, progress: Progress) -> None:
        self.digests: dict[int, str] = {}
        self._read: dict[int, str] = {}  # the same of each file that was read whole
        self._pieces = pieces
        self._reading = reading
        self._progress = progress
        self._blocks = self._joined()

    def __iter__(self) -> Iterator[bytes]:
        self._blocks.close()
        self.digests.clear()
        self._read.clear()
        self._blocks = self._joined()
        return self._blocks

    def close(self) -> None:
        """Close the file that was being read, if the receiver did not want the rest."""
        self._blocks.close()

    def _joined(self) -> Generator[bytes, None, None]:
        """Small pieces as one: each that is sent costs a write of its own, and a look at what the receiver says."""
        least = JOINED if self._reading.allowance is None else 0  # under a limit, what is allowed goes at once
        held = bytearray()
        with closing(self._stream()) as blocks:
            for block in blocks:
                if len(block) < least:
                    held += block
                if held and (len(block) >= least or len(held) >= least):
                    yield bytes(held)
                    held.clear()
                    self.digests |= self._read
                if len(block) >= least:
                    yield block
                    self.digests |= self._read
        if held:
            yield bytes(held)
        self.digests |= self._read

    def _stream(self) -> Generator[bytes, None, None]:
        for piece in self._pieces:
            if isinstance(piece, Outgoing):
                yield from self._blocks_of(piece)
            elif isinstance(piece, Rest):
                yield from self._blocks_of(piece.file, piece.start)
            else:
                yield piece if isinstance(piece, bytes) else self._read[piece.file_id].encode()

    def _blocks_of(self, file: Outgoing, start: int = 0) -> Iterator[bytes]:
        digest = hashlib.sha256()
        if file.lead:
            yield file.lead
        with opened(file, self._reading.open_file) as stream:
            left, start = file.stamp.size, max(start, file.skip)
            while (known := start - (file.stamp.size - left)) > 0:
                block = self._block(stream, min(known, BLOCK), file)
                if not block:
                    break
                digest.update(block)
                left -= len(block)
                self._progress(len(block))
            while left and (block := self._block(stream, self._allowed(min(left, BLOCK)), file)):
                digest.update(block)
                left -= len(block)
                yield block
                self._progress(len(block))
            if left or not matches(file.stamp, os.fstat(stream.fileno())):
                raise failure(problem("FA-CHANGED", file.path))
        self._read[file.file_id] = digest.hexdigest()
        if file.tail:
            yield file.tail

    def _allowed(self, size: int) -> int:
        allowance = self._reading.allowance
        return size if allowance is None else allowance.take(size, self._reading.should_stop)

    def _block(self, stream: BinaryIO, size: int, file: Outgoing) -> bytes:
        if self._reading.should_stop():
            raise failure(problem("FA-STOPPING"))
        try:
            return stream.read(size)
        except OSError as error:
            raise _unreadable(error, file) from None


def opened(file: Outgoing, open_file: OpenFile) -> BinaryIO:
    """The file, open, and still the announced one. AgentError (WAIT) if it is not, or cannot be opened."""
    try:
        stream = open_file(file.location)
    except OSError as error:
        raise _unreadable(error, file) from None
    if not matches(file.stamp, os.fstat(stream.fileno())):
        stream.close()
        raise failure(problem("FA-CHANGED", file.path))
    return stream


def _unreadable(error: OSError, file: Outgoing) -> AgentError:
    return failure(problem("FA-CHANGED", file.path) if is_gone(error) else why_not(error, file.path))
