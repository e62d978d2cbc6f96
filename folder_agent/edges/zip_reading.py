"""Reads a ZIP: its directory within bounds, and each file as long as was announced. Touches only the open file.

What is wrong with an archive comes out as `Unfit`, in the catalogue's words; OSError is the disk's.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from folder_agent.core.errors import problem
from folder_agent.core.unpacking import Entry, Limits, Unfit

CHUNK = 1024 * 1024  # bytes
_MOST_DIRECTORY = 64 * 1024**2  # bytes: it is read as a whole
_END, _END_SIZE, _MOST_COMMENT = b"PK\5\6", 22, 0xFFFF
_LOCATOR, _LOCATOR_SIZE, _END_64 = b"PK\6\7", 20, b"PK\6\6"
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_UNICODE_PATH = 0x7075
# bz2's errors are OSErrors without a number, as OutsideOfFile is; zipfile's own are the rest.
_NONSENSE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


class Archive:
    """An open archive, its directory read. `path` is its name in messages. Raises Unfit."""

    def __init__(self, file: BinaryIO, size: int, path: str, limits: Limits) -> None:
        self._path = path
        with self._sense():
            within = _Within(file, size)
            count, directory = _end_of(within, size)
            if count > limits.entries:
                raise Unfit(problem("FA-ZIP-LARGE", path, zh="文件数", en="files", found=count, limit=limits.entries))
            if directory > min(_MOST_DIRECTORY, size):
                raise zipfile.BadZipFile("directory too large")
            self._zip = zipfile.ZipFile(within)
            self._infos = self._zip.infolist()
        self.entries = [_entry(info) for info in self._infos]

    def chunks(self, number: int) -> Iterator[bytes]:
        """The bytes of one entry, checked against its length and CRC at the end. Raises Unfit."""
        info, left = self._infos[number], self._infos[number].file_size
        with self._sense(), self._zip.open(info) as stream:
            while block := stream.read(CHUNK):
                left -= len(block)
                if left < 0:
                    raise zipfile.BadZipFile("longer than announced")
                yield block
            if left:
                raise zipfile.BadZipFile("shorter than announced")

    @contextmanager
    def _sense(self) -> Iterator[None]:
        try:
            yield
        except _NONSENSE as error:
            raise Unfit(problem("FA-ZIP-BROKEN", self._path, detail=type(error).__name__)) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise Unfit(problem("FA-ZIP-BROKEN", self._path, detail=type(error).__name__)) from None


class OutsideOfFile(OSError):
    """A place in the archive that a damaged directory names. Has no number, unlike what a disk says."""


class _Within:
    """What zipfile asks of a file, such that a place outside of it is the archive's fault and not the disk's."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._size}[whence]
        if not 0 <= start + offset <= self._size:
            raise OutsideOfFile
        return self._file.seek(start + offset)

    def seekable(self) -> bool:
        return True


def _end_of(file: _Within, size: int) -> tuple[int, int]:
    """How many entries there are, and how long the directory is, from the end record (APPNOTE 4.3.14 to 4.3.16)."""
    start = max(0, size - _END_SIZE - _MOST_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_END, 0, len(tail) - _END_SIZE + len(_END))
    if at < 0:
        raise zipfile.BadZipFile("no end record")
    count, directory = struct.unpack_from("<HL", tail, at + 10)
    if count != 0xFFFF and directory != 0xFFFFFFFF:
        return count, directory
    locator = tail[max(0, at - _LOCATOR_SIZE) : at]
    if not locator.startswith(_LOCATOR):
        return count, directory
    file.seek(struct.unpack_from("<Q", locator, 8)[0])
    record = file.read(56)
    if not record.startswith(_END_64):
        raise zipfile.BadZipFile("no end record")
    found: tuple[int, int] = struct.unpack_from("<QQ", record, 32)
    return found


def _entry(info: zipfile.ZipInfo) -> Entry:
    is_utf8 = bool(info.flag_bits & _UTF8_FLAG)
    raw = info.orig_filename.encode("utf-8" if is_utf8 else "cp437", "surrogateescape")
    return Entry(
        raw_name=raw,
        is_utf8=is_utf8,
        size=info.file_size,
        packed=info.compress_size,
        unicode_name=_unicode_path(info.extra, raw),
        method=info.compress_type,
        is_encrypted=bool(info.flag_bits & _ENCRYPTED_FLAG),
        is_link=stat.S_ISLNK(info.external_attr >> 16),
    )


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name of the Unicode Path field, if its checksum says that it is of the entry's name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(data) > 5 and struct.unpack_from("<BL", data) == (1, zlib.crc32(raw)):
            try:
                return data[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None
