"""Writers who stand in line share one transaction, and with it one sync of the disk: the first begins it, whoever is
last in line commits, and everybody waits for that. Each is told what became of it only when it is on the disk.

Touches the database by the connection that all writers share.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from folder_agent.edges.ledger.engine import Engine
from folder_agent.edges.ledger.failures import FOREIGN

_PATIENCE_S = 0.5  # after which a waiting writer looks whether those behind it have left the line


class _Journey:
    """One transaction on its way."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None  # why all of it was undone


class Convoy:
    """The line before the one connection that writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._in_line = 0
        self._journey: _Journey | None = None  # the turn's to change

    @contextmanager
    def place(self) -> Iterator[None]:
        """What is written inside is on disk when this ends, or none of it is. An exception undoes this part only."""
        with self._turn_of_mine():
            journey, is_first = self._aboard()
            try:
                with self._engine.writer(), self._part(journey, is_first):
                    yield
            finally:
                with self._guard:
                    is_last = not self._in_line
                if is_last and self._journey is not None:
                    self._arrive(journey)
        self._await(journey)
        if journey.error is not None:
            raise journey.error

    @contextmanager
    def _turn_of_mine(self) -> Iterator[None]:
        with self._guard:
            self._in_line += 1
        try:
            self._turn.acquire()
        finally:
            with self._guard:
                self._in_line -= 1
        try:
            yield
        finally:
            self._turn.release()

    def _aboard(self) -> tuple[_Journey, bool]:
        if self._journey is not None:
            return self._journey, False
        with self._engine.writer():
            database: Any = self._engine
            database.begin(self._engine.write_mode)
        self._journey = _Journey()
        return self._journey, True

    @contextmanager
    def _part(self, journey: _Journey, is_first: bool) -> Iterator[None]:
        """One writer's share. If the database itself gave the whole transaction up, it is lost for all."""
        if not is_first:
            self._engine.run("SAVEPOINT part")
        try:
            yield
            if not is_first:
                self._engine.run("RELEASE part")
        except BaseException as error:
            self._take_back(journey, is_first, error)
            raise

    def _take_back(self, journey: _Journey, is_first: bool, error: BaseException) -> None:
        if not is_first and self._engine.is_writing():
            try:
                self._engine.run("ROLLBACK TO part")
                self._engine.run("RELEASE part")
            except FOREIGN as worse:
                error = worse
            else:
                return
        self._journey = None  # nobody else's part is in it, or all of them are lost
        self._give_up(journey, error)

    def _arrive(self, journey: _Journey) -> None:
        self._journey = None
        try:
            with self._engine.writer():
                self._engine.commit()
        except BaseException as error:  # noqa: BLE001  whoever waits for it must be told, whatever it was
            with self._engine.writer():
                self._give_up(journey, error)
            return
        journey.ended.set()

    def _give_up(self, journey: _Journey, error: BaseException) -> None:
        try:
            with suppress(*FOREIGN):
                self._engine.rollback()
            if isinstance(error, FOREIGN):
                self._engine.discard()  # whatever state it is in; the next writer makes another
        finally:
            journey.error = error
            journey.ended.set()

    def _await(self, journey: _Journey) -> None:
        while not journey.ended.wait(_PATIENCE_S):
            if self._turn.acquire(blocking=False):
                try:
                    if self._journey is journey:
                        self._arrive(journey)
                finally:
                    self._turn.release()
