"""Whether a SQLite ledger is whole, asked before anything of ours writes to it. Touches the file, reading only.

The file itself is never opened here but by SQLite: closing another descriptor of it would drop the locks that this
process' own connections hold (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from folder_agent.edges.ledger.failures import SQLITE_DAMAGE, damaged

WITHIN_S = 10.0  # reading every page of a ledger of years takes longer; damage that matters shows in use, too
_STEPS = 50_000  # of SQLite's virtual machine between two looks at the clock: some milliseconds


def swap_note(path: Path) -> Path:
    """The note that lies beside a ledger while a rebuilt one takes its place (rebuilding.py)."""
    return path.with_name(path.name + ".swap")


def check_files(path: Path) -> None:
    """Before any connection is made: AgentError FA-LEDGER-CORRUPT if the files beside each other cannot be one ledger.

    SQLite takes an empty or missing file for a new database and deletes the -wal beside it, with all that was
    committed to it.
    """
    if _size(swap_note(path)) >= 0:
        raise damaged("a rebuild was interrupted")
    if _size(path) <= 0 and _size(path.with_name(path.name + "-wal")) > 0:
        raise damaged("the file is empty, and its -wal is not")


def check(path: Path, was_used: Callable[[], bool] = lambda: False, within_s: float = WITHIN_S) -> None:
    """AgentError FA-LEDGER-CORRUPT if the ledger is damaged: its files, its header, a page. Every page is read, as far
    as that takes no longer than `within_s` seconds. `was_used` tells whether an empty file must have held something.

    A ledger that is not there is not damaged. What else keeps it from being read is left to whoever opens it.
    """
    check_files(path)
    if _size(path) == 0 and was_used():
        raise damaged("the file is empty")
    if _size(path) <= 0:
        return
    try:
        found = _quick_check(path, within_s)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in SQLITE_DAMAGE:
            raise damaged(SQLITE_DAMAGE[code]) from None
        return
    if found != "ok":
        raise damaged("damaged pages")


def _quick_check(path: Path, within_s: float) -> str:
    """The first thing that is wrong, in SQLite's words, or "ok"; also "ok" if time was over before anything was."""
    end = time.monotonic() + within_s
    where = path.absolute().as_uri() + "?mode=ro"  # such a connection never moves the -wal into the file
    with closing(sqlite3.connect(where, uri=True, timeout=within_s)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            row = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                return "ok"
            raise
    return "ok" if row is None else str(row[0])


def _size(path: Path) -> int:
    """In bytes; -1 if it is not there, or cannot be asked: whoever opens it is told why."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
