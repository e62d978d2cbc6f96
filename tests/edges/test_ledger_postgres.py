"""PostgreSQL as a server: its url, lost connections, refused logins, many agents. And the map of all failures."""

from __future__ import annotations

import errno
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pg8000.dbapi
import pg8000.exceptions
import pytest

from folder_agent.core.errors import AgentError, Disposition, StaleState, problem
from folder_agent.core.lifecycle import FileEvent, file_step
from folder_agent.core.records import Sighting, Stamp
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from folder_agent.edges.ledger.failures import FOREIGN, translate
from folder_agent.edges.ledger.postgres import options_of
from tests.servers.postgres import PostgresServer, shared_server


@pytest.fixture
def server() -> PostgresServer:
    return shared_server()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
def ledger(url: str) -> Iterator[PeeweeLedger]:
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


def refusal(url: str) -> AgentError:
    with pytest.raises(AgentError) as caught:
        open_ledger(url)
    return caught.value


def cut_off(server: PostgresServer) -> None:
    """End every other connection, as a restart of the server does."""
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'folder-agent'")


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_lost_connection_fails_one_call_and_is_made_anew(server: PostgresServer, ledger: PeeweeLedger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    for call in (ledger.tallies, lambda: ledger.open_bundle("ct", "other", "k", 1.0)):
        cut_off(server)
        with pytest.raises(AgentError) as caught:
            call()
        assert caught.value.problem == problem("FA-LEDGER", detail="connection lost")
        assert caught.value.disposition == Disposition.RETRY
        assert ledger.open_bundles() == [bundle]


def test_a_connection_lost_within_a_call_undoes_it(server: PostgresServer, ledger: PeeweeLedger) -> None:
    def sightings() -> Iterator[Sighting]:
        for number in range(12_000):
            if number == 6_000:
                cut_off(server)
            yield Sighting(str(number), Stamp(1, 2, 3))

    with pytest.raises(AgentError) as caught:
        ledger.sight("ct", sightings(), {}, 1.0)
    assert caught.value.disposition == Disposition.RETRY
    assert ledger.open_files("ct") == []


def test_commits_wait_for_the_disk_whatever_the_server_thinks(server: PostgresServer, url: str) -> None:
    database = url.rpartition("/")[2]
    server.run(f'ALTER DATABASE "{database}" SET synchronous_commit = off')
    ledger = open_ledger(url)
    try:
        engine = ledger._session.engine
        assert engine.run("SHOW synchronous_commit").fetchone()[0] == "on"
        assert engine.run("SHOW fsync").fetchone()[0] == "on"
    finally:
        ledger.close()


def test_a_row_that_is_locked_for_long_is_tried_again(ledger: PeeweeLedger, url: str) -> None:
    (file,) = ledger.sight("ct", [Sighting("a", Stamp(1, 2, 3))], {}, 1.0)
    ledger._session.engine.run("SET lock_timeout = '200ms'")
    options = options_of(url)
    other = pg8000.dbapi.connect(**options)
    try:
        other.cursor().execute("SELECT * FROM files FOR UPDATE")
        with pytest.raises(AgentError) as caught:
            ledger.apply([file_step(file, FileEvent.SETTLE, 2.0)])
        assert caught.value.problem == problem("FA-LEDGER", detail="locked")
        assert caught.value.disposition == Disposition.RETRY
        other.rollback()
        ledger.apply([file_step(file, FileEvent.SETTLE, 2.0)])
    finally:
        other.close()


def test_batches_that_cross_one_another_never_half_succeed(ledger: PeeweeLedger) -> None:
    files = ledger.sight("ct", [Sighting(f"{number:03}", Stamp(1, 2, 3)) for number in range(300)], {}, 1.0)
    steps = [file_step(file, FileEvent.SETTLE, 2.0) for file in files]
    outcomes: list[str] = []

    def work(order: int) -> None:
        try:
            ledger.apply(steps[::order])
            outcomes.append("done")
        except (StaleState, AgentError) as error:  # a deadlock's loser is to try again
            assert getattr(error, "disposition", Disposition.RETRY) == Disposition.RETRY
            outcomes.append("not done")

    threads = [threading.Thread(target=work, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "not done", "not done", "not done"]
    assert ledger.tallies().files == {"SETTLED": 300}


# --- what can be wrong with the url -----------------------------------------------------------------------------------


def test_a_wrong_password_is_fatal_and_not_told(server: PostgresServer) -> None:
    error = refusal(server.url("postgres", password="guess-me"))
    assert (error.problem, error.disposition) == (problem("FA-LEDGER", detail="login refused"), Disposition.FATAL)
    assert "guess-me" not in f"{error!r} {error.problem}"


def test_a_missing_database_is_told(server: PostgresServer) -> None:
    assert refusal(server.url("nowhere")).problem == problem("FA-LEDGER", detail="no such database")


def test_a_server_that_does_not_answer_is_tried_again() -> None:
    error = refusal("postgresql://user:secret@127.0.0.1:1/x")
    assert (error.problem, error.disposition) == (problem("FA-LEDGER", detail="connection lost"), Disposition.RETRY)


def test_tls_is_demanded_when_asked_for(url: str) -> None:
    assert refusal(url + "?sslmode=require").problem == problem("FA-LEDGER", detail="the server refuses TLS")
    open_ledger(url + "?sslmode=disable").close()


def test_the_url_is_taken_apart() -> None:
    options = options_of("postgresql://a%40b:p%2Fw%3A@db.example:6543/led%20ger?sslmode=require")
    assert options == {
        "user": "a@b",
        "password": "p/w:",
        "host": "db.example",
        "port": 6543,
        "database": "led ger",
        "ssl_context": True,
    }
    assert options_of("postgresql://u@h/d")["ssl_context"] is None
    context = options_of("postgresql://u@h/d?sslmode=verify-full")["ssl_context"]
    assert context.check_hostname
    assert not options_of("postgresql://u@h/d?sslmode=verify-ca")["ssl_context"].check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h:x/d",
        "postgresql://u:secret@h/d?sslmode=maybe",
        "postgresql://u:secret@h/d?colour=blue",
        "postgresql://u:secret@h/d?sslmode=verify-full&sslrootcert=/nowhere",
        "postgresql://u:secret@[h/d",
    ],
)
def test_a_malformed_url_is_fatal_and_its_password_not_told(url: str) -> None:
    error = refusal(url)
    assert (error.problem.code, error.disposition) == ("FA-LEDGER", Disposition.FATAL)
    assert "secret" not in f"{error!r} {error.problem}"


# --- the map of failures ----------------------------------------------------------------------------------------------


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("张三")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
    return error


def test_every_foreign_exception_has_a_translation() -> None:
    kinds = [kind for module in (peewee, sqlite3, pg8000.dbapi) for kind in vars(module).values()]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, FOREIGN)]
    assert len(errors) > 20
    for kind in {*errors, OSError, TimeoutError, ConnectionResetError, PermissionError}:
        told = translate(kind("张三"))
        assert isinstance(told, AgentError | StaleState)
        assert "张" not in f"{told} {getattr(told, 'problem', '')}"


def test_every_sqlite_result_code_has_a_translation() -> None:
    codes = {value for name, value in vars(sqlite3).items() if re.fullmatch(r"SQLITE_[A-Z_]+", name)}
    for code in (code for code in codes if isinstance(code, int) and code > 0):
        told = translate(peewee.OperationalError(sqlite_error(code), "x"))
        assert isinstance(told, StaleState) == (code & 0xFF == sqlite3.SQLITE_CONSTRAINT)
    extended = translate(sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT))
    assert isinstance(extended, AgentError)
    assert extended.problem == problem("FA-LEDGER", detail="locked")


@pytest.mark.parametrize(
    ("error", "detail", "disposition"),
    [
        ({"C": "53100"}, None, Disposition.RETRY),
        ({"C": "53300"}, "server overloaded", Disposition.RETRY),
        ({"C": "57P01"}, "connection lost", Disposition.RETRY),
        ({"C": "08006"}, "connection lost", Disposition.RETRY),
        ({"C": "40P01"}, "locked", Disposition.RETRY),
        ({"C": "XX000"}, "the server's internal error", Disposition.FATAL),
        ({"C": "42P01"}, "SQLSTATE 42P01", Disposition.FATAL),
        ("no state at all", "SQLSTATE ", Disposition.FATAL),
    ],
)
def test_postgres_states_are_told_apart(error: Any, detail: str | None, disposition: Disposition) -> None:
    told = translate(peewee.DatabaseError(pg8000.exceptions.DatabaseError(error), error))
    assert isinstance(told, AgentError)
    assert told.disposition == disposition
    where = problem("FA-DISK-FULL", where="ledger")
    assert told.problem == (where if detail is None else problem("FA-LEDGER", detail=detail))


def test_postgres_tells_of_damage_too() -> None:
    told = translate(peewee.DatabaseError(pg8000.exceptions.DatabaseError(error := {"C": "XX001"}), error))
    assert isinstance(told, AgentError)
    assert (told.problem.code, told.disposition) == ("FA-LEDGER-CORRUPT", Disposition.FATAL)


def test_a_full_disk_is_told_as_such() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        told = translate(OSError(number, "x", str(Path("y"))))
        assert isinstance(told, AgentError)
        assert told.problem.code == "FA-DISK-FULL"
