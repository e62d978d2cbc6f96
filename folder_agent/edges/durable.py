"""Durability in one place: whole writes, renames that never overwrite, copies that are compared before they count.

Touches the paths that it is given and one temporary name beside each; nothing else in the agent calls fsync. All raise
OSError. Paths are in the form that the platform can open (`openable`).

A kill leaves everything as it was at that moment; a power cut also undoes whatever was not synced. Which step relies on
which sync (tests/crash/test_power_cut.py tries every moment):

  a file gets its final name          its bytes were synced under its temporary one (`write_whole`, `copy_whole`)
  anything is put into a new folder   the folder was synced into its parent, all the way up (`make_folder`), by an
                                      interrupted try, too (`sync_folders` of what is found there)
  the first file of a bundle moves    the receipt or reason was synced, and so was its folder (`write_whole`)
  a copied original is removed        the copy's bytes and its folder were synced (`copy_whole`)
  the ledger says SHELVE              the target's folders, and those that the files came from, were synced
  copies that go back are shown       the originals' folders were synced after their removal
  the note of a way back is removed   the folder that shows the copies was synced

The ledger's own commits are synced by its database (SQLite: synchronous=FULL). On Windows a file is flushed by
FlushFileBuffers (os.fsync); names are kept by NTFS's journal in the order in which they changed, a rename returns when
it is on the disk (MOVEFILE_WRITE_THROUGH), and there is no call to sync a folder.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from folder_agent.core.records import Stamp
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.paths import is_gone, retrying

CHUNK = 1024 * 1024  # bytes
_LONGEST_NAME = 240  # bytes: what we add must still fit into the 255 that file systems take

# File systems that cannot sync a folder say so in one of these ways (some FUSE and network ones); there is no more
# to be done about it there.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})


class SourceChanged(Exception):
    """The file is not the one that was to be copied, or stopped being it on the way; there is no copy."""


def part_of(path: Path) -> Path:
    """Where a file is written before it is whole. The same for the same file, so that leftovers are found again."""
    return _beside(path, ".part")


def aside_of(path: Path) -> Path:
    """Where a copied original waits for its removal, out of the way of a newcomer; every scan passes over it."""
    return _beside(path, ".moved.part")


def _beside(path: Path, ending: str) -> Path:
    raw = os.fsencode(path.name)
    short = path.name if len(raw) + len(ending) < _LONGEST_NAME else hashlib.sha256(raw).hexdigest()
    return path.with_name(f".{short}{ending}")


if sys.platform == "win32":

    def sync_folder(path: Path) -> None:
        """Nothing: Windows has no such call, NTFS keeps its folders in a journal."""

    _REPLACE_EXISTING, _WRITE_THROUGH = 1, 8  # MoveFileExW (winbase.h)
    _move_file = ctypes.WinDLL("kernel32", use_last_error=True).MoveFileExW
    _move_file.argtypes = (ctypes.c_wchar_p, ctypes.c_wchar_p, ctypes.c_uint32)
    _move_file.restype = ctypes.c_int

    def _rename(source: Path, target: Path) -> None:
        _move(source, target, _WRITE_THROUGH)  # without the other flag it refuses a name that is taken

    def _replace(source: Path, target: Path) -> None:
        _move(source, target, _WRITE_THROUGH | _REPLACE_EXISTING)

    def _move(source: Path, target: Path, flags: int) -> None:
        if not _move_file(os.fspath(source), os.fspath(target), flags):
            raise ctypes.WinError(ctypes.get_last_error())

else:
    _AT_FDCWD, _NOREPLACE = -100, 1  # renameat2(2)
    _renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    _NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})  # NFS, some FUSE, old kernels

    def sync_folder(path: Path) -> None:
        """Make the folder's entries durable: what was created in it, renamed into it or out of it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return  # we may write to it but not list it: there is no way to sync such a folder
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise
        finally:
            os.close(descriptor)

    def _rename(source: Path, target: Path) -> None:
        if _renameat2 is None:
            return _check_then_rename(source, target)
        names = os.fsencode(source), os.fsencode(target)
        if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _NOREPLACE) == 0:
            return None
        number = ctypes.get_errno()
        if number in _NOT_OFFERED:
            return _check_then_rename(source, target)
        raise OSError(number, os.strerror(number), os.fspath(target))

    def _replace(source: Path, target: Path) -> None:
        source.replace(target)

    def _check_then_rename(source: Path, target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
        source.rename(target)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or a folder; FileExistsError if the target is there, which is never overwritten."""
    retrying(lambda: _rename(source, target))


def write_whole(path: Path, content: bytes, opener: Callable[[str, int], int] | None = None) -> None:
    """Write the file so that it is there whole, or as it was before; durable. Replaces what is there. `opener`, as
    for `open`, makes the file where it is not for everybody."""
    part = part_of(path)
    try:
        _discard(part)
        with retrying(lambda: open(part, "xb", opener=opener)) as writer:
            writer.write(content)
            sync_file(writer)
        retrying(lambda: _replace(part, path))  # Closed before: Windows refuses the other order
    except OSError:
        _discard(part)
        raise
    sync_folder(path.parent)


def copy_whole(source: Path, target: Path, stamp: Stamp | None = None) -> None:
    """Copy the file so that the target is there whole, the same byte for byte and durable, or not at all.

    FileExistsError if the target is taken; SourceChanged if the source is not (or does not stay) the one of `stamp`.
    The copy is read back and compared before it gets its name; it keeps the source's mtime.
    """
    part = part_of(target)
    try:
        digest = _write_part(source, part, stamp)
        _compare(part, digest)
        rename_new(part, target)
    except (OSError, SourceChanged):
        _discard(part)
        raise
    sync_folder(target.parent)


def _write_part(source: Path, part: Path, stamp: Stamp | None) -> str:
    """Copy the bytes; the digest of what was read."""
    _discard(part)  # what a crash has left
    with retrying(lambda: open_for_reading(source)) as reader:
        found = os.fstat(reader.fileno())
        if stamp is not None and (found.st_size, found.st_mtime_ns) != (stamp.size, stamp.mtime_ns):
            raise SourceChanged
        with retrying(lambda: part.open("xb")) as writer:
            digest = _pump(reader, writer)
        after = os.fstat(reader.fileno())
        if (after.st_size, after.st_mtime_ns) != (found.st_size, found.st_mtime_ns):
            raise SourceChanged
    os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))  # Closed before: closing may set the mtime on Windows
    return digest


def _compare(part: Path, digest: str) -> None:
    """Sync the copy, and read it back, from the disk where the platform can be told to."""
    with retrying(lambda: part.open("r+b")) as copy:  # Windows flushes only what is open for writing
        os.fsync(copy.fileno())
        if sys.platform == "linux":
            os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if _pump(copy) != digest:
            raise OSError(errno.EIO, "the copy differs from its source")


def digest_of(path: Path) -> str:
    """SHA-256 of a regular file's bytes, lower-case hex, streamed."""
    with retrying(lambda: open_for_reading(path)) as reader:
        return _pump(reader)


def _pump(reader: BinaryIO, writer: BinaryIO | None = None) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    while count := reader.readinto(buffer):  # type: ignore[attr-defined]  # BinaryIO forgets it
        digest.update(buffer[:count])
        if writer is not None:
            writer.write(buffer[:count])
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove one file or link, read-only ones (a CD's files keep that attribute) on Windows, too."""
    if sys.platform == "win32" and path.lstat().st_file_attributes & stat.FILE_ATTRIBUTE_READONLY:
        path.chmod(stat.S_IWRITE)
    retrying(path.unlink)


def sync_file(writer: BinaryIO) -> None:
    """Put everything that was written so far on the disk."""
    writer.flush()
    os.fsync(writer.fileno())


def sync_folders(top: Path) -> None:
    """Make the entries of the folder and of every folder below it durable; none of them may be a link."""
    for folder, _, _ in os.walk(top, onerror=_raise):
        sync_folder(Path(folder))


def _raise(error: OSError) -> None:
    if not is_gone(error):
        raise error


def make_folder(path: Path) -> None:
    """Make the folder and those above it that are missing. Each of them, and the folder itself even if it is there (it
    may have been made a moment before a crash), is durable afterwards."""
    missing = list(takewhile(lambda folder: not folder.is_dir(), (path, *path.parents)))
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    if not missing:
        sync_folder(path.parent)


def _discard(part: Path) -> None:
    with suppress(OSError):  # if it stays, whoever creates it anew is told
        part.unlink()
