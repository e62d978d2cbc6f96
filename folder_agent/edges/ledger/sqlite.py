"""The ledger's SQLite: WAL and synchronous=FULL, one file on a local disk that only its owner may read.

Touches that file, its -wal and -shm, and the folder that it lies in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from peewee import Model, SqliteDatabase, _ConnectionState

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges import durable
from folder_agent.edges.ledger.codec import Values
from folder_agent.edges.ledger.engine import Change, Engine, names

BUSY_S = 10
_SETTINGS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": "full",  # in WAL mode anything less may lose the last commits with the power
    "foreign_keys": "on",
    "secure_delete": "fast",  # what is overwritten does not linger in the file, where that costs nothing
    "journal_size_limit": 64 * 1024 * 1024,  # bytes: a -wal that one huge look blew up shrinks again
}


class _Connection(threading.local):
    """Which of its connections a thread uses now: for reading its own, for writing the one that all share, whose cache
    of pages stays warm because nobody else changes them."""

    def __init__(self) -> None:
        self.own = _ConnectionState()
        self.is_writer = False


class SqliteEngine(Engine, SqliteDatabase):
    """One SQLite file. `readonly` neither makes nor changes anything."""

    read_mode: ClassVar[str] = "DEFERRED"
    write_mode: ClassVar[str] = "IMMEDIATE"  # a reader that turns writer midway could not wait for its turn
    one_writer: ClassVar[bool] = True
    ddl: ClassVar[Mapping[str, str]] = {
        "id": "INTEGER PRIMARY KEY",
        "double": "REAL",
        "bool": "INTEGER",
        "ordered": "TEXT",
        "hash": "",
        "exact": "",
    }

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self.path = path
        self._connections, self._writer = _Connection(), _ConnectionState()
        where = path.absolute().as_uri() + "?mode=" + ("ro" if readonly else "rw")
        pragmas = {"query_only": "on"} if readonly else _SETTINGS
        # Any thread may close a connection (Connections.close), but only its own ever uses it.
        super().__init__(where, pragmas=pragmas, timeout=BUSY_S, uri=True, check_same_thread=False)

    @property
    def _state(self) -> Any:
        """peewee's state of the connection in use."""
        return self._writer if self._connections.is_writer else self._connections.own

    @_state.setter
    def _state(self, state: Any) -> None:
        """peewee would have one a thread."""

    @contextmanager
    def writer(self) -> Iterator[None]:
        before, self._connections.is_writer = self._connections.is_writer, True
        try:
            yield
        finally:
            self._connections.is_writer = before

    def is_writing(self) -> bool:
        return bool(not self._state.closed and self._state.conn.in_transaction)

    def create(self) -> None:
        """Make the folder and an empty file for the owner alone; -wal and -shm take over the file's rights."""
        durable.make_folder(self.path.parent)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        durable.sync_folder(self.path.parent)

    def whole(self, number: Any) -> Any:
        return number.cast("INTEGER")

    def lock_schema(self) -> None:
        """BEGIN IMMEDIATE has locked it already."""

    def lock_words(self, words: Iterable[str]) -> None:
        """BEGIN IMMEDIATE lets nobody else write."""

    def next_ids(self, model: type[Model], count: int) -> list[int]:
        cursor = self.run(f'SELECT coalesce(max("id"), 0) FROM "{model._meta.table_name}"')  # noqa: S608
        first = int(cursor.fetchone()[0]) + 1
        return list(range(first, first + count))

    def insert_rows(self, model: type[Model], columns: tuple[str, ...], rows: Sequence[Values]) -> None:
        marks = ", ".join("?" * len(columns))
        sql = f'INSERT INTO "{model._meta.table_name}" ({names(columns)}) VALUES ({marks})'  # noqa: S608 - our names
        self._run_many(sql, rows)

    def update_rows(self, model: type[Model], columns: tuple[str, ...], changes: Sequence[Change]) -> int:
        rows = [(*values, row, state) for row, state, values in changes]
        return self._run_many(_update(model._meta.table_name, columns), rows)

    def rollback(self) -> None:
        """A full disk has SQLite roll back by itself; saying so again would hide why."""
        if self.is_writing():
            super().rollback()

    def _run_many(self, sql: str, rows: Sequence[Values]) -> int:
        database: Any = self
        cursor = database.cursor()
        cursor.executemany(sql, rows)
        return int(cursor.rowcount)

    def _connect(self) -> Any:
        parent: Any = super()
        connection = parent._connect()
        self.connections.keep(connection, shared=self._connections.is_writer)
        return connection


@lru_cache(maxsize=16)
def _update(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join(f'"{column}" = ?' for column in columns)
    return f'UPDATE "{table}" SET {marks} WHERE "id" = ? AND "state" = ?'  # noqa: S608 - our names


def path_of(url: str) -> Path:
    """The file of `sqlite:///relative.db`, `sqlite:////absolute.db` or `sqlite:///C:/folder/x.db`."""
    name = url.removeprefix("sqlite:///")
    if name == url or not name or name == ":memory:":
        raise failure(problem("FA-LEDGER", detail="the url names no file"))
    return Path(name)
