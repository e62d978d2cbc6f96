"""What the ledger asks of a database beyond peewee's own Database, and what both engines share: one connection for
each thread, all of which can be closed. Touches nothing by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from typing import Any, ClassVar

from peewee import Database, Model, Query

from folder_agent.edges.ledger.codec import Values
from folder_agent.edges.ledger.failures import FOREIGN

Change = tuple[int, str, Values]  # a row's id, the state that it must still be in, its new values


class Connections:
    """The open connections, each with the thread that uses it. Threads end; their connections must not linger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[tuple[threading.Thread, Any]] = []

    def keep(self, connection: Any, *, shared: bool = False) -> None:
        """Add this thread's connection, or one that all threads share, and close those whose threads have ended."""
        with self._lock:
            ended = [held for thread, held in self._held if not thread.is_alive()]
            self._held = [pair for pair in self._held if pair[0].is_alive()]
            self._held.append((threading.main_thread() if shared else threading.current_thread(), connection))
        _close(ended)

    def forget(self, connection: Any) -> None:
        """The connection is about to be closed by its own thread."""
        with self._lock:
            self._held = [pair for pair in self._held if pair[1] is not connection]

    def close(self) -> None:
        """Close them all; no thread may be using one."""
        with self._lock:
            held, self._held = self._held, []
        _close([connection for _, connection in held])


class Engine(Database):
    """A peewee Database with the ledger's bulk statements. Rows travel by the thousand, values in column order."""

    read_mode: ClassVar[str]  # what `atomic` takes for a transaction that only reads, from one snapshot
    write_mode: ClassVar[str]
    one_writer: ClassVar[bool]  # the threads of this process take turns at writing
    ddl: ClassVar[Mapping[str, str]]  # fills the braces of the migrations

    def __init__(self, database: str, **options: Any) -> None:
        self.connections = Connections()
        super().__init__(database, **options)

    def run(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Run one statement; its cursor."""
        database: Any = self
        return database.execute_sql(statement, values)

    def fetch(self, query: Query) -> list[Any]:
        """A query's rows as the driver gives them: peewee's conversions would double the time of a large look."""
        database: Any = self
        return list(database.execute(query).fetchall())

    def whole(self, number: Any) -> Any:
        """An expression: the number, which is not negative, without its fraction."""
        raise NotImplementedError

    def writer(self) -> AbstractContextManager[None]:
        """Inside, this thread uses the one connection that all writers share (`one_writer`), by turns."""
        return nullcontext()

    def is_writing(self) -> bool:
        """Whether the connection in use is in a transaction that has not been given up."""
        return self.in_transaction()

    def lock_schema(self) -> None:
        """Keep other processes from migrating until this transaction ends."""
        raise NotImplementedError

    def lock_words(self, words: Iterable[str]) -> None:
        """Let no other process that asks for one of these words go on until this transaction ends."""
        raise NotImplementedError

    def next_ids(self, model: type[Model], count: int) -> list[int]:
        """So many ids of new rows, ascending; for use in this transaction."""
        raise NotImplementedError

    def insert_rows(self, model: type[Model], columns: tuple[str, ...], rows: Sequence[Values]) -> None:
        """Insert the rows in this order."""
        raise NotImplementedError

    def update_rows(self, model: type[Model], columns: tuple[str, ...], changes: Sequence[Change]) -> int:
        """Change each row that is still in its expected state, in this order; how many were."""
        raise NotImplementedError

    def discard(self) -> None:
        """Drop the connection in use, whatever state it is in; the next call makes another."""
        with suppress(*FOREIGN):
            self.close()

    def _close(self, conn: Any) -> None:
        self.connections.forget(conn)
        conn.close()


@lru_cache(maxsize=64)
def names(columns: tuple[str, ...]) -> str:
    """Column names, quoted, for a statement."""
    return ", ".join(f'"{column}"' for column in columns)


def _close(connections: Sequence[Any]) -> None:
    for connection in connections:
        with suppress(*FOREIGN):
            connection.close()
