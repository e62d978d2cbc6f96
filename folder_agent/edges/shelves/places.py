"""Where things are: relative paths jailed to their folder, links on the way refused, errors in the core's words.

Touches nothing but by lstat.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.records import Stamp
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.paths import as_text, from_text, is_gone, is_link, openable, stamp_of

# ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED
_FULL_WINERRORS = frozenset({39, 112, 1295})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def errors_of(shelf: str) -> Iterator[None]:
    """Turn what the file system raises into AgentError (RETRY); paths, which may name a patient, stay behind."""
    try:
        yield
    except OSError as error:
        raise shelf_failure(error, shelf) from None


def shelf_failure(error: OSError, shelf: str) -> AgentError:
    """The catalogue's words for a shelf that cannot be used now."""
    winerror = getattr(error, "winerror", None)
    if winerror in _FULL_WINERRORS or (winerror is None and error.errno in _FULL):
        return failure(problem("FA-DISK-FULL", where=shelf), Disposition.RETRY)
    return failure(problem("FA-SHELF", shelf=shelf, detail=name_of(error)), Disposition.RETRY)


def crosses_volumes(error: OSError) -> bool:
    """Whether a rename failed because it led to another volume (ERROR_NOT_SAME_DEVICE on Windows)."""
    winerror = getattr(error, "winerror", None)
    return winerror == 17 if winerror is not None else error.errno == errno.EXDEV


def target_text(path: Path) -> str:
    """A place on a shelf as text that any ledger keeps. On Windows it stays as people write it there."""
    return str(path) if sys.platform == "win32" else as_text(str(path))


@lru_cache(maxsize=256)  # it is asked for at each step of a bundle's way there
def target_path(text: str) -> Path:
    """The inverse of `target_text`, as the platform can open it."""
    try:
        raw = text if sys.platform == "win32" else from_text(text)
    except ValueError:
        raw = ""
    if not os.path.isabs(raw) or "\0" in raw:  # noqa: PTH117 - text, not yet a path
        raise OSError(errno.EINVAL, "not a place on a shelf")
    return openable(Path(raw))


def below(base: Path, relative: str) -> Path:
    """The path of a file below `base`, from its text form. OSError (EINVAL) if it could lead anywhere else, by what it
    says, and ELOOP if a folder on the way is a link."""
    try:
        parts = from_text(relative).split("/")
    except ValueError:
        parts = [""]
    if not all(map(_is_plain, parts)):
        raise OSError(errno.EINVAL, "leads out of its folder")
    path = base
    for part in parts[:-1]:
        path /= part
        found = there(path)
        if found is not None and is_link(found):
            raise OSError(errno.ELOOP, "a folder on the way is a link")
    return path / parts[-1]


def _is_plain(part: str) -> bool:
    """Whether it names an entry of its folder. On Windows `:` would begin a drive or a second stream of a file."""
    forbidden = "\0\\:" if sys.platform == "win32" else "\0"
    return part not in {"", ".", ".."} and not set(part) & set(forbidden)


def there(path: Path) -> os.stat_result | None:
    """What is there itself, no link followed; None if nothing is. OSError on an outage."""
    try:
        return path.lstat()
    except OSError as error:
        if is_gone(error):
            return None
        raise


def is_ours(found: os.stat_result, stamp: Stamp) -> bool:
    """Whether size and mtime are those of the stamp. The identity is not asked: on shares, it changes by itself."""
    now = stamp_of(found)
    return (now.size, now.mtime_ns) == (stamp.size, stamp.mtime_ns)
