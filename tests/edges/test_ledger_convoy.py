"""Writers who stand in line share a transaction and its sync; each is told what became of its own part, and only when
that is on the disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from folder_agent.edges.ledger import convoy as convoys
from folder_agent.edges.ledger.convoy import Convoy
from folder_agent.edges.ledger.sqlite import SqliteEngine

pytestmark = pytest.mark.timeout(60)


class Engine(SqliteEngine):
    """One that counts its commits, and fails at them when it is told to."""

    def __init__(self, path: Path) -> None:
        self.commits = 0
        self.failing: BaseException | None = None
        super().__init__(path)

    def commit(self) -> object:
        if self.failing is not None:
            error, self.failing = self.failing, None
            raise error
        self.commits += 1
        return super().commit()


class Line:
    """A convoy, and threads that write one number each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = Engine(path)
        self.engine.create()
        self.convoy = Convoy(self.engine)
        self.write(lambda: self.engine.run("CREATE TABLE t (x INTEGER)"))
        self.engine.commits = 0
        self.outcomes: dict[int, BaseException | None] = {}
        self.held = threading.Event()
        self._threads: list[threading.Thread] = []

    def write(self, action: Callable[[], object]) -> None:
        with self.convoy.place():
            action()

    def insert(self, number: int) -> None:
        self.engine.run("INSERT INTO t VALUES (?)", (number,))

    def send(self, number: int, action: Callable[[], object] | None = None) -> None:
        """A writer in a thread of its own, which is in line when this returns."""

        def run() -> None:
            try:
                self.write(action or (lambda: self.insert(number)))
            except BaseException as error:  # noqa: BLE001
                self.outcomes[number] = error
            else:
                self.outcomes[number] = None

        waiting = self.convoy._in_line
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        until(lambda: self.convoy._in_line > waiting or number in self.outcomes or self.held.is_set())

    def hold(self, number: int = 0) -> threading.Event:
        """A writer who has its turn until the event is set: whoever comes meanwhile stands in line."""
        go_on = threading.Event()

        def wait() -> None:
            self.insert(number)
            self.held.set()
            assert go_on.wait(30)

        self.send(number, wait)
        assert self.held.wait(30)
        self.held.clear()
        return go_on

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a writer waits for ever"

    def on_disk(self) -> list[int]:
        """What another connection sees."""
        with closing(sqlite3.connect(self.path)) as other:
            return sorted(x for (x,) in other.execute("SELECT x FROM t"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path / "line.db")
    yield line
    line.engine.connections.close()


def test_whoever_stands_in_line_shares_one_commit(line: Line) -> None:
    go_on = line.hold()
    for number in range(1, 6):
        line.send(number)
    assert line.on_disk() == []
    assert line.outcomes == {}, "somebody was told before it was on the disk"
    go_on.set()
    line.finish()
    assert line.outcomes == dict.fromkeys(range(6))
    assert line.on_disk() == list(range(6))
    assert line.engine.commits == 1


def test_whoever_comes_alone_does_not_wait_for_company(line: Line) -> None:
    for number in range(3):
        line.write(lambda number=number: line.insert(number))  # type: ignore[misc]
        assert line.on_disk() == list(range(number + 1))
    assert line.engine.commits == 3


@pytest.mark.parametrize("fails", range(4))
def test_what_one_gets_wrong_undoes_its_own_part_only(line: Line, fails: int) -> None:
    """The first excepted: nobody else is aboard yet."""

    def wrong() -> None:
        line.insert(100)
        raise ValueError("mine")

    go_on = line.hold()
    for number in range(1, 5):
        line.send(number, wrong if number == fails + 1 else None)
    go_on.set()
    line.finish()
    assert line.on_disk() == [number for number in range(5) if number != fails + 1]
    assert [number for number, error in line.outcomes.items() if isinstance(error, ValueError)] == [fails + 1]
    assert sum(error is None for error in line.outcomes.values()) == 4


def test_what_the_first_gets_wrong_is_undone_and_the_others_go_on(line: Line) -> None:
    go_on, error = threading.Event(), ValueError("mine")

    def wrong() -> None:
        line.insert(100)
        line.held.set()
        assert go_on.wait(30)
        raise error

    line.send(0, wrong)
    assert line.held.wait(30)
    line.held.clear()
    line.send(1)
    go_on.set()
    line.finish()
    assert line.outcomes == {0: error, 1: None}
    assert line.on_disk() == [1]


def test_if_the_commit_fails_everybody_aboard_is_told_and_nothing_is_kept(line: Line) -> None:
    go_on = line.hold()
    for number in range(1, 4):
        line.send(number)
    line.engine.failing = sqlite3.OperationalError("database or disk is full")
    go_on.set()
    line.finish()
    assert all(isinstance(error, sqlite3.OperationalError) for error in line.outcomes.values())
    assert len(line.outcomes) == 4
    assert line.on_disk() == []
    line.write(lambda: line.insert(7))
    assert line.on_disk() == [7]


def test_if_the_database_gives_the_whole_transaction_up_nobody_is_told_that_it_is_kept(line: Line) -> None:
    """SQLite rolls all of it back by itself when a disk is full or fails (sqlite.org/lang_transaction.html)."""

    def gives_up() -> None:
        line.engine.run("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    go_on = line.hold()
    line.send(1, gives_up)
    line.send(2)
    go_on.set()
    line.finish()
    assert isinstance(line.outcomes[0], sqlite3.Error)
    assert isinstance(line.outcomes[1], sqlite3.Error)
    # The third was aboard, too, or came after it: nobody's turn is promised.
    assert line.on_disk() == [number for number, error in line.outcomes.items() if error is None]


def test_who_leaves_the_line_without_a_word_keeps_nobody_waiting(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that dies in line would have been the one to commit."""
    monkeypatch.setattr(convoys, "_PATIENCE_S", 0.05)
    line.convoy._in_line += 1
    line.write(lambda: line.insert(1))
    assert line.on_disk() == [1]
    line.convoy._in_line -= 1
    line.write(lambda: line.insert(2))
    assert line.on_disk() == [1, 2]


def test_many_writers_lose_nothing_and_see_their_own(line: Line) -> None:
    def often(first: int) -> None:
        for number in range(first, first + 50):
            line.write(lambda number=number: line.insert(number))  # type: ignore[misc]

    threads = [threading.Thread(target=often, args=(100 * one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert line.on_disk() == [100 * one + number for one in range(4) for number in range(50)]
    assert line.engine.commits <= 200
