"""Calls on the ledger's database: each one transaction, with foreign exceptions translated and an orderly end.

Touches the database through its engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import StaleState, problem
from folder_agent.edges.ledger.convoy import Convoy
from folder_agent.edges.ledger.engine import Engine
from folder_agent.edges.ledger.failures import FOREIGN, translate

_PATIENCE_S = 30.0  # how long `close` waits for calls that are under way


class _Own(threading.local):
    """What each thread is at."""

    is_writing = False


class Session:
    """The door to one database, for any number of threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._calm = threading.Condition()
        self._calls = 0
        self._closed = False
        self._own = _Own()
        # Waiting in line is fair; SQLite's own waiting is a lottery that a busy thread may lose for seconds.
        self._convoy = Convoy(engine) if engine.one_writer else None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction that sees one state of the database: within one that writes, what that one has written."""
        with self.call():
            if self._own.is_writing:
                yield
                return
            with self.engine.atomic(self.engine.read_mode):
                yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that is on disk when it ends; any exception undoes it. Within another one of this thread it is
        a part of that: on disk when that ends, undone alone."""
        with self.call():
            if self._own.is_writing:
                with self._part():
                    yield
                return
            with self._convoy.place() if self._convoy else self.engine.atomic(self.engine.write_mode):
                self._own.is_writing = True
                try:
                    yield
                finally:
                    self._own.is_writing = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """No transaction, but the rest: what leaves is AgentError or StaleState. Enough for one statement that reads,
        which sees one state of the database in any case."""
        self._enter()
        try:
            yield
        except FOREIGN as error:
            told = translate(error)
            if not isinstance(told, StaleState) and not self._own.is_writing:
                self.engine.discard()
            # Not chained: the driver's message may quote values, and tracebacks end up in logs.
            raise told from None
        finally:
            self._leave()

    @contextmanager
    def _part(self) -> Iterator[None]:
        self.engine.run("SAVEPOINT inner_part")
        try:
            yield
        except BaseException:
            with suppress(*FOREIGN):  # what cannot be undone alone fails with all of it, at the end
                self.engine.run("ROLLBACK TO SAVEPOINT inner_part")
                self.engine.run("RELEASE SAVEPOINT inner_part")
            raise
        self.engine.run("RELEASE SAVEPOINT inner_part")

    def close(self) -> None:
        """Refuse new calls, let those under way end, and close every connection."""
        with self._calm:
            self._closed = True
            if not self._calm.wait_for(lambda: self._calls == 0, _PATIENCE_S):
                return  # closing a connection under a running statement could crash the process
        self.engine.discard()
        self.engine.connections.close()

    def _enter(self) -> None:
        with self._calm:
            if self._closed:
                raise failure(problem("FA-STOPPING"))
            self._calls += 1

    def _leave(self) -> None:
        with self._calm:
            self._calls -= 1
            self._calm.notify_all()
