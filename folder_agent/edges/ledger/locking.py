"""Whether anybody has a SQLite ledger open, told by SQLite's own locks, which also stand on a file that is damaged.

Touches the ledger's file: its locks, no byte of it. Every connection in WAL mode holds SQLite's shared lock for as long
as it is open (sqlite.org/lockingv3.html; the bytes are those of os.h: PENDING_BYTE and what follows).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem

_FIRST, _COUNT = 0x40000000, 512  # pending, reserved, and 510 shared bytes


@contextmanager
def held_alone(path: Path) -> Iterator[Callable[[], None]]:
    """Keep everybody else from opening the ledger; yields what ends that early. Nothing is held if there is no file.

    Raises AgentError FA-LEDGER-OPEN if somebody has it open. Nothing in this process may open or close the file
    meanwhile: on POSIX that would end the lock.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        yield lambda: None
        return
    is_held = [True]

    def let_go() -> None:
        if is_held.pop(0) if is_held else False:
            os.close(descriptor)

    try:
        if not _lock(descriptor):
            raise failure(problem("FA-LEDGER-OPEN"))
        yield let_go
    finally:
        let_go()


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FIRST, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, _COUNT)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _COUNT, _FIRST)
        except (BlockingIOError, PermissionError):
            return False
        return True
