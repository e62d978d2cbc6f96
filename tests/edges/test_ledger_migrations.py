"""The schema's steps: what they make, that each is taken once and whole, and that the future is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.edges.ledger import open_ledger, tables
from folder_agent.edges.ledger.engine import Engine
from folder_agent.edges.ledger.migrations import STEPS, check, migrate, version
from folder_agent.edges.ledger.session import Session
from tests.contracts.test_ledger_contract import make_url

KNOWN = len(STEPS)
NEXT = ("ALTER TABLE notes ADD COLUMN colour TEXT", "CREATE INDEX notes_colour ON notes (colour)")
BROKEN = ("ALTER TABLE notes ADD COLUMN colour TEXT", "CREATE NONSENSE")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return make_url(request.param, tmp_path)


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    ledger = open_ledger(url)
    ledger.remember("kept", "yes")
    yield ledger._session
    ledger.close()


@pytest.fixture
def engine(session: Session) -> Engine:
    return session.engine


def columns(engine: Engine, table: str) -> set[str]:
    return {column.name for column in engine.get_columns(table)}


def test_an_empty_database_takes_every_step(engine: Engine) -> None:
    assert version(engine) == KNOWN
    assert set(engine.get_tables()) == {"schema_version", *tables.TABLE_NAMES.values()}


def test_the_tables_are_those_of_the_models(engine: Engine) -> None:
    for model, table in tables.TABLE_NAMES.items():
        found = {column.name: column.null for column in engine.get_columns(table)}
        declared = {name: field.null for name, field in model._meta.fields.items()}
        for name in model._meta.fields:
            if model._meta.fields[name].primary_key:  # SQLite calls a primary key nullable; it is not written so
                found[name] = declared[name]
        assert found == declared


def test_a_step_is_taken_once_and_keeps_what_was_there(engine: Engine) -> None:
    for _ in range(2):
        migrate(engine, (*STEPS, NEXT))
    assert version(engine) == KNOWN + 1
    assert "colour" in columns(engine, "notes")
    assert engine.run("SELECT name, content FROM notes").fetchall()[0][1] == "yes"


def test_files_of_the_first_version_get_the_time_at_which_they_were_seen(session: Session) -> None:
    engine = session.engine
    for table in tables.TABLE_NAMES.values():
        engine.run(f"DROP TABLE {table} CASCADE" if "Postgres" in type(engine).__name__ else f"DROP TABLE {table}")
    engine.run("DROP TABLE schema_version")
    migrate(engine, STEPS[:1])
    told = "INSERT INTO history (at, subject, subject_id, was, event, became) VALUES "
    engine.run(told + "(5.5, 'file', 1, '', 'see', 'SEEN'), (9.5, 'file', 1, 'SEEN', 'settle', 'SETTLED')")
    engine.run(
        "INSERT INTO files (id, drop_name, path, size, mtime_ns, identity, state, kind, is_open) "
        "VALUES (1, 'ct', 'a.dcm', 1, '1', '0', 'SETTLED', 'DICOM', '1')"
    )
    migrate(engine)
    assert engine.run("SELECT seen_at FROM files").fetchall()[0][0] == 5.5


def test_a_step_that_fails_leaves_the_old_version_whole(session: Session) -> None:
    engine = session.engine
    with pytest.raises(AgentError), session.call():
        migrate(engine, (*STEPS, BROKEN))
    assert version(engine) == KNOWN
    assert "colour" not in columns(engine, "notes")
    migrate(engine, (*STEPS, NEXT))
    assert version(engine) == KNOWN + 1


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_kill_in_the_middle_of_a_step_leaves_the_old_version_whole(url: str, engine: Engine) -> None:
    script = """
import os, signal, sys
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.ledger.migrations import STEPS, migrate
from tests.edges.test_ledger_migrations import NEXT
engine = open_ledger(sys.argv[1])._session.engine
run = engine.run
def lethal(statement, values=()):
    if statement == NEXT[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(statement, values)
engine.run = lethal
migrate(engine, (*STEPS, NEXT))
"""
    root = Path(__file__).parents[2]
    died = subprocess.run([sys.executable, "-c", script, url], cwd=root, check=False)
    assert died.returncode == -signal.SIGKILL
    assert version(engine) == KNOWN
    assert "colour" not in columns(engine, "notes")
    migrate(engine, (*STEPS, NEXT))
    assert "colour" in columns(engine, "notes")


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_ledger_is_refused(url: str, engine: Engine, readonly: bool) -> None:
    engine.run(f"INSERT INTO schema_version (version) VALUES ({KNOWN + 3})")
    with pytest.raises(AgentError) as caught:
        open_ledger(url, readonly=readonly)
    assert caught.value.problem == problem("FA-LEDGER-NEWER", found=KNOWN + 3, known=KNOWN)
    assert caught.value.disposition == Disposition.FATAL


def test_reading_only_neither_makes_nor_migrates(url: str, engine: Engine) -> None:
    with pytest.raises(AgentError) as caught:
        check(engine, (*STEPS, NEXT))
    assert caught.value.problem.code == "FA-LEDGER"
    assert version(engine) == KNOWN
    ledger = open_ledger(url, readonly=True)
    try:
        assert ledger.recall("kept") == "yes"
        with pytest.raises(AgentError):
            ledger.remember("kept", None)
        assert ledger.recall("kept") == "yes"
    finally:
        ledger.close()


def test_several_agents_may_open_an_empty_database_at_once(url: str) -> None:
    script = "import sys; from folder_agent.edges.ledger import open_ledger; open_ledger(sys.argv[1]).close()"
    children = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(3)]
    assert [one.wait() for one in children] == [0, 0, 0]
