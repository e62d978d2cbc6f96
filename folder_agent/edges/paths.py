"""Real paths: what the platform can open, text that any database can keep, and stamps that compare alike everywhere.

Touches nothing but the file system, through the actions that callers hand in. Everywhere in the agent a path is text
made by `as_text`, relative to its drop folder with `/` between parts; edges turn it back with `from_text`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from folder_agent.core.records import Stamp

T = TypeVar("T")

# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION: antivirus and indexers hold files for a moment.
BUSY_WINERRORS = frozenset({5, 32, 33})
# ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND. A lost share (53, 67) is a FileNotFoundError to Python, too: not gone.
GONE_WINERRORS = frozenset({2, 3})

_AWKWARD = re.compile("[\\\\\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(\\|u(d[89a-f][0-9a-f]{2}))|\\|[\ud800-\udfff]")


def as_text(path: str) -> str:
    """The path as valid Unicode: a backslash is doubled and a lone surrogate (a byte that is no UTF-8 on POSIX, half
    a pair on Windows) becomes `\\udcxx`. Give `/` as the separator; `from_text` is the inverse."""
    if _AWKWARD.search(path) is None:
        return path
    return _AWKWARD.sub(lambda hit: "\\\\" if hit[0] == "\\" else f"\\u{ord(hit[0]):04x}", path)


def from_text(text: str) -> str:
    """The path that `as_text` was given. Raises ValueError for text that it never makes."""
    return text if _AWKWARD.search(text) is None else _ESCAPED.sub(_unescaped, text)


def _unescaped(hit: re.Match[str]) -> str:
    if hit[1] is None:
        raise ValueError("not the text form of a path")
    return "\\" if hit[1] == "\\" else chr(int(hit[2], 16))


def extended(path: str) -> str:
    """The `\\\\?\\` form of an absolute Windows path: no limit of 260 characters, and names that end in a dot or a
    space or are called AUX stay what they are. Relative and already extended paths stay as they are."""
    if path.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path if path[1:3] == ":\\" else path


def plain(path: str) -> str:
    """The inverse of `extended`, for comparing and for people."""
    if path.startswith("\\\\?\\UNC\\"):
        return "\\\\" + path[8:]
    return path[4:] if path.startswith("\\\\?\\") and path[5:7] == ":\\" else path


def openable(path: Path) -> Path:
    """The path as this platform can open it, however long it is and whatever its names end in."""
    return Path(extended(os.path.normpath(path))) if sys.platform == "win32" else path


def normal(path: Path | str) -> str:
    """One spelling of an absolute path, for comparing; links are not resolved."""
    return os.path.normcase(os.path.abspath(plain(os.fspath(path))))  # noqa: PTH100 - Path.absolute keeps ".."


def is_inside(path: str, folders: frozenset[str]) -> bool:
    """Whether the normalised path is one of the normalised folders, or lies below one."""
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def stamp_of(found: os.stat_result, with_identity: bool = True) -> Stamp:
    """The stamp of an `os.stat_result`. The identity is 0 on Windows, where a listing does not give it for free, and
    where the caller says so: on shares inodes change with a remount."""
    identity = found.st_ino if with_identity and sys.platform != "win32" else 0
    return Stamp(found.st_size, found.st_mtime_ns, identity)


def matches(stamp: Stamp, found: os.stat_result) -> bool:
    """Whether this is still the content of the stamp; the identity counts only where both sides know it."""
    now = stamp_of(found)
    unknown = 0 in (stamp.identity, now.identity)
    same = stamp.size == now.size and stamp.mtime_ns == now.mtime_ns
    return same and (unknown or stamp.identity == now.identity)


def is_link(found: os.stat_result) -> bool:
    """Whether an lstat result is a symbolic link or, on Windows, a junction or mounted folder (never followed)."""
    return stat.S_ISLNK(found.st_mode) or _is_reparsed(found)


if sys.platform == "win32":

    def _is_reparsed(found: os.stat_result) -> bool:
        # Other reparse points (OneDrive, deduplication, compression) are ordinary files to whoever opens them.
        return bool(found.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT) and found.st_reparse_tag in (
            stat.IO_REPARSE_TAG_SYMLINK,
            stat.IO_REPARSE_TAG_MOUNT_POINT,
        )

else:

    def _is_reparsed(found: os.stat_result) -> bool:  # noqa: ARG001
        return False


def is_gone(error: OSError) -> bool:
    """Whether the error says that there is no such file, and not that the share which held it is lost."""
    winerror = getattr(error, "winerror", None)
    return isinstance(error, FileNotFoundError | NotADirectoryError) and (
        winerror is None or winerror in GONE_WINERRORS or winerror == 267  # ERROR_DIRECTORY: it is a file now
    )


def is_busy(error: OSError) -> bool:
    """Whether Windows says that somebody holds the file. Python's own `open` goes through the C runtime, which knows
    one number for all of that (EACCES) and keeps Windows' to itself."""
    winerror = getattr(error, "winerror", None)
    return winerror in BUSY_WINERRORS or (sys.platform == "win32" and winerror is None and error.errno == errno.EACCES)


def retrying(action: Callable[[], T], total_s: float = 2.0, sleep: Callable[[float], None] = time.sleep) -> T:
    """Do it, and again with doubling pauses (at most `total_s` seconds in all) while Windows says that the file is
    held. Any other OSError, and every one on POSIX, is raised at once; `action` must bear repeating."""
    pause, left = 0.02, total_s
    while True:
        try:
            return action()
        except OSError as error:
            if not is_busy(error) or left <= 0:
                raise
        pause = min(pause, left)
        sleep(pause)
        left -= pause
        pause *= 2
