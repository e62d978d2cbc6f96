"""Locks of the operating system that say: an agent of this machine works here. They end with the process that took
them, however it ends, so a crash leaves no hold behind.

Touches the lock files that it is given and their folders. The lock decides; what the file says is for messages only.
Sources: flock(2); LockFileEx (fileapi.h), because the C runtime's own call does not say why it failed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from folder_agent.edges.holder import MOST_BYTES, Holder, Taken, read_holder
from folder_agent.edges.paths import normal

CHECK_S = 10.0  # between two looks whether a lock file is still the one that newcomers find
_TRIES = 50  # at a lock file that is removed again and again by those who end
_REGISTRY = "registry"  # held while somebody takes holds in a folder, so that of two that start at once one is first
_REGISTRY_S = 10.0
_MOST_OTHERS = 10_000  # lock files of others that are looked at
_LEFT_S = 3600.0  # what a crash left behind is kept for so long: it tells the next holder whose leases have ended

if sys.platform == "win32":
    import ctypes
    import msvcrt

    class _Overlapped(ctypes.Structure):
        """OVERLAPPED (minwinbase.h): where the lock begins."""

        _fields_ = (
            ("internal", ctypes.c_size_t),
            ("internal_high", ctypes.c_size_t),
            ("offset", ctypes.c_uint32),
            ("offset_high", ctypes.c_uint32),
            ("event", ctypes.c_void_p),
        )

    _FAR = 1 << 30  # a byte behind any content: Windows lets nobody read what is locked
    _FLAGS = os.O_BINARY | os.O_NOINHERIT
    _AT_ONCE, _EXCLUSIVE = 1, 2  # LOCKFILE_FAIL_IMMEDIATELY, LOCKFILE_EXCLUSIVE_LOCK
    _HELD = frozenset({33, 997})  # ERROR_LOCK_VIOLATION, ERROR_IO_PENDING
    _lock_file = ctypes.WinDLL("kernel32", use_last_error=True).LockFileEx
    _lock_file.argtypes = (ctypes.c_void_p, *[ctypes.c_uint32] * 4, ctypes.POINTER(_Overlapped))
    _lock_file.restype = ctypes.c_int

    def _try_lock(descriptor: int) -> bool:
        place = _Overlapped(offset=_FAR)
        if _lock_file(msvcrt.get_osfhandle(descriptor), _AT_ONCE | _EXCLUSIVE, 0, 1, 0, ctypes.byref(place)):
            return True
        if (code := ctypes.get_last_error()) in _HELD:
            return False
        raise ctypes.WinError(code)

    def _discard(path: Path, descriptor: int) -> None:
        os.close(descriptor)
        with suppress(OSError):  # somebody has opened it again already: then it stays
            path.unlink()

    def _is_at(path: Path, descriptor: int) -> bool:  # noqa: ARG001
        return True  # nobody can remove or rename what is open, unless its opener allows it

    def _machine_folders() -> tuple[Path, ...]:
        return (Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "folder-agent" / "locks",)

else:
    import fcntl

    # O_NONBLOCK: opening a pipe that somebody has put there must not wait.
    _FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _discard(path: Path, descriptor: int) -> None:
        # Removed while it is locked: whoever waits for this lock finds that the name is gone, and opens it anew.
        with suppress(OSError):  # of another account in a sticky folder: then it stays, and means nothing
            if _is_at(path, descriptor):
                path.unlink()
        os.close(descriptor)

    def _is_at(path: Path, descriptor: int) -> bool:
        try:
            return os.path.samestat(path.lstat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _machine_folders() -> tuple[Path, ...]:
        return Path("/run/lock/folder-agent"), Path("/tmp/folder-agent-locks")  # noqa: S108  see `machine_folders`


class Hold:
    """One lock file, held from construction on. Raises Taken, or OSError where there can be no lock."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path, self.holder = path, holder
        self.previous: Holder | None = None  # who held it and did not end in an orderly way
        self._descriptor = self._take()

    @property
    def is_held(self) -> bool:
        """Always: it could not be had otherwise."""
        return True

    def step(self) -> float:
        """See that newcomers still meet this lock: somebody may have removed its file. Taken if one was faster.
        Seconds until it is to be called again."""
        if not _is_at(self.path, self._descriptor):
            stray, self._descriptor = self._descriptor, self._take()
            os.close(stray)
        with suppress(OSError):
            os.utime(self.path)  # those who clear temporary folders spare what is young
        return CHECK_S

    def release(self) -> None:
        """Let the next one in."""
        _discard(self.path, self._descriptor)

    def _take(self) -> int:
        descriptor = _open_locked(self.path)
        try:
            self.previous = read_holder(_content(descriptor))
            with suppress(OSError):  # of another account, and read-only for us: held all the same
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, text := self.holder.text().encode())
                os.ftruncate(descriptor, len(text))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def machine_folders() -> tuple[Path, ...]:
    """Where this machine's agents keep the locks of their drop folders, so that nothing is written into those.

    All that can be used are used: accounts have different rights, and two of them conflict wherever they meet.
    """
    return _machine_folders()


def usable(folder: Path) -> bool:
    """Whether locks can be had in the folder, which is made if need be, for every account of the machine."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                folder.chmod(0o1777)
        return folder.is_dir() and not folder.is_symlink()
    except OSError:
        return False


@contextmanager
def registering(folder: Path) -> Iterator[None]:
    """One at a time; but an agent that hangs right here keeps the others waiting for a few seconds only."""
    descriptor: int | None = None
    end = time.monotonic() + _REGISTRY_S
    while descriptor is None and time.monotonic() < end:
        try:
            descriptor = _open_locked(folder / _REGISTRY)
        except Taken:
            time.sleep(0.05)
        except OSError:
            break
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # the file stays: it is one for each machine


def others(folder: Path, but: frozenset[Path]) -> Iterator[Holder]:
    """Who else holds a lock in the folder; call it while registering. What a crash left long ago is removed."""
    try:
        names = sorted(os.listdir(folder))[:_MOST_OTHERS]  # noqa: PTH208  names alone
    except OSError:
        return
    for path in (folder / name for name in names if name.endswith(".lock")):
        if path in but:
            continue
        try:
            descriptor = _open_locked(path, make=False)
        except Taken as taken:
            if taken.holder is not None:
                yield taken.holder
        except OSError:
            continue
        else:
            left_s = time.time() - os.fstat(descriptor).st_mtime
            _discard(path, descriptor) if left_s > _LEFT_S else os.close(descriptor)


def one_lies_in_the_other(one: str, other: str) -> bool:
    """Whether two real paths are one inside the other."""
    first, second = normal(one).rstrip(os.sep) + os.sep, normal(other).rstrip(os.sep) + os.sep
    return first.startswith(second) or second.startswith(first)


def _open_locked(path: Path, make: bool = True) -> int:
    """A descriptor of the file that is at that path now, locked. Raises Taken, OSError."""
    for _ in range(_TRIES):
        descriptor = _open(path, make)
        try:
            _lock(descriptor)
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just ended and removed it
    raise OSError(errno.EAGAIN, "the lock file does not stay")


def _open(path: Path, make: bool) -> int:
    # First without O_CREAT: in a sticky folder Linux denies that for another account's file, even to root
    # (sysctl fs.protected_regular). A file that may only be read can be locked as well.
    for flags in (os.O_RDWR, os.O_RDONLY):
        with suppress(PermissionError, FileNotFoundError):
            return os.open(path, flags | _FLAGS)
    if not make:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
    except FileExistsError:
        return os.open(path, os.O_RDWR | _FLAGS)
    if sys.platform != "win32":
        with suppress(OSError):
            os.fchmod(descriptor, 0o666)  # whatever the umask: the service's account must be able to lock it, too
    return descriptor


def _lock(descriptor: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # put there to have us write into something else
        raise OSError(errno.EINVAL, "no lock file of ours")
    if not _try_lock(descriptor):
        raise Taken(read_holder(_content(descriptor)))


def _content(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, MOST_BYTES).decode("utf-8", "replace")
