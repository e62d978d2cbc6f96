"""The one way to open a file of a drop folder: for reading, never through a link, with writers denied where possible.

Touches the file only by opening it; what opening may raise is given its catalogue entry here, too.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from folder_agent.core.errors import Problem, problem
from folder_agent.edges.paths import extended, is_link

_BUFFER = 16 * 1024  # bytes: the header of most images in one read, even over a share
_LOCKED = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EBUSY, errno.ETXTBSY})


class LinkRefused(OSError):
    """It is a link, and links are never followed."""


class NotAFile(OSError):
    """It is a folder, a pipe or a device by now; nothing was read of it."""


def open_for_reading(path: Path) -> BinaryIO:
    """Open a regular file; on Windows nobody can write to it until it is closed (renaming it stays possible).

    Raises LinkRefused, NotAFile, or the OSError of the platform. Never blocks on a pipe that took the file's place.
    """
    descriptor = _descriptor(path)
    try:
        _check_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb", buffering=_BUFFER)
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile(errno.EINVAL, "not a regular file")


if sys.platform == "win32":
    import ctypes
    import msvcrt

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateFileW.restype = ctypes.c_void_p
    _kernel.CreateFileW.argtypes = [
        ctypes.c_wchar_p,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_void_p,
    ]
    _GENERIC_READ, _SHARE_READ, _SHARE_DELETE, _OPEN_EXISTING = 0x80000000, 1, 4, 3
    _OPEN_REPARSE_POINT, _INVALID_HANDLE = 0x00200000, ctypes.c_void_p(-1).value

    def _descriptor(path: Path) -> int:
        # Opened without following first, so that a link put in the file's place is seen, not read.
        descriptor = _create(path, _OPEN_REPARSE_POINT)
        if not os.fstat(descriptor).st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT:
            return descriptor
        os.close(descriptor)
        if is_link(os.lstat(extended(os.fspath(path)))):
            raise LinkRefused(errno.ELOOP, "a link")
        return _create(path, 0)  # OneDrive, deduplication and the like: the driver behind it gives the content

    def _create(path: Path, flags: int) -> int:
        handle = _kernel.CreateFileW(
            extended(os.path.normpath(path)),
            _GENERIC_READ,
            _SHARE_READ | _SHARE_DELETE,
            None,
            _OPEN_EXISTING,
            flags,
            None,
        )
        if handle == _INVALID_HANDLE:
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)

else:

    def _descriptor(path: Path) -> int:
        try:
            # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. Regular files do not care.
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ELOOP and is_link(path.lstat()):
                raise LinkRefused(errno.ELOOP, "a link") from None
            if error.errno == errno.ENXIO:  # a socket, or a device without its driver
                raise NotAFile(errno.ENXIO, "not a regular file") from None
            raise


def why_not(error: OSError, path: str) -> Problem:
    """The catalogue's words for a file that could not be opened or read."""
    winerror = getattr(error, "winerror", None)
    if isinstance(error, LinkRefused):
        return problem("FA-FILE-LINK", path)
    if winerror in (32, 33) or error.errno in _LOCKED:
        return problem("FA-FILE-LOCKED", path)
    if isinstance(error, PermissionError):
        return problem("FA-FILE-DENIED", path)
    return problem("FA-FILE-IO", path, detail=name_of(error))


def name_of(error: OSError) -> str:
    """The error's number in letters: its text may hold a path, and paths may hold a patient's name."""
    if winerror := getattr(error, "winerror", None):
        return f"WinError {winerror}"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
