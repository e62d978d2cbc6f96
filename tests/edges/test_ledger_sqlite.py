"""The SQLite ledger as a file: its settings, its rights, what other processes and a kill do to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition, StaleState, problem
from folder_agent.core.lifecycle import BundleEvent, FileEvent, FileState, bundle_step, file_step
from folder_agent.core.records import FileRecord, Sighting, Stamp
from folder_agent.edges.ledger import PeeweeLedger, open_ledger, sqlite
from folder_agent.edges.ledger.engine import Engine
from tests.rights import as_nobody, public_folder

on_posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and signals")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "账本.db"


@contextmanager
def opened(path: Path, *, readonly: bool = False) -> Iterator[PeeweeLedger]:
    ledger = open_ledger(f"sqlite:///{path}", readonly=readonly)
    try:
        yield ledger
    finally:
        ledger.close()


def engine_of(ledger: PeeweeLedger) -> Engine:
    return ledger._session.engine


def sight(ledger: PeeweeLedger, *paths: str) -> list[FileRecord]:
    return ledger.sight("ct", [Sighting(path, Stamp(1, 2, 3)) for path in paths], {}, 1.0)


def settle(ledger: PeeweeLedger, files: list[FileRecord]) -> None:
    ledger.apply([file_step(file, FileEvent.SETTLE, 2.0) for file in files])


def refusal(path: Path, *, readonly: bool = False) -> AgentError:
    with pytest.raises(AgentError) as caught, opened(path, readonly=readonly):
        pass
    return caught.value


def child(script: str, path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another Python process, with this module's helpers at hand and `path` set."""
    opening = f"from tests.edges.test_ledger_sqlite import *\npath = Path({str(path)!r})\n"
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", opening + script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=root,
    )


# --- the file ---------------------------------------------------------------------------------------------------------


def test_every_connection_is_wal_and_fully_synchronous(path: Path) -> None:
    def settings() -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
        return [engine_of(ledger).run(f"PRAGMA {name}").fetchone()[0] for name in names]

    with opened(path) as ledger:
        results = [settings()]
        thread = threading.Thread(target=lambda: results.append(settings()))
        thread.start()
        thread.join()
    assert results == [["wal", 2, 1, 10_000, 2]] * 2


@on_posix
def test_only_its_owner_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(path) as ledger:
            sight(ledger, "a")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys([path.name, path.name + "-wal", path.name + "-shm"], 0o600)


def test_relative_urls_and_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(Path("sub dir") / "a%20?#b 账.db" if os.name != "nt" else Path("sub dir") / "账.db") as ledger:
        ledger.remember("a", "b")
    assert len(list((tmp_path / "sub dir").iterdir())) == 1  # -wal and -shm are gone with the last connection


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x/y", "ledger.db", ""])
def test_a_url_that_names_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(AgentError) as caught:
        open_ledger(url)
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-LEDGER", Disposition.FATAL)


def test_a_network_drive_is_refused_and_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("folder_agent.edges.volumes.is_remote", lambda asked: asked == path)
    assert refusal(path).problem == problem("FA-LEDGER-REMOTE")
    assert not path.parent.exists()


def test_no_private_value_reaches_the_disk(path: Path) -> None:
    secret = {"ours": "张三丰PATIENT", "theirs": "SECRET^NAME"}
    why = problem("FA-MISMATCH", "a", secret, field="patientId")
    with opened(path) as ledger:
        bundle = ledger.open_bundle("ct", "k", "k", 1.0)
        (file,) = sight(ledger, "a")
        ledger.apply([file_step(file, FileEvent.REFUSE, 2.0, reason=why, bundle_id=bundle.id)])
        ledger.apply([bundle_step(bundle, BundleEvent.REFUSE, 2.0, reasons=(why, why))])
        ledger.amend([bundle_step(bundle, BundleEvent.REFUSE, 2.0, reasons=(why,)).after])
        written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    written += path.read_bytes()
    assert b"FA-MISMATCH" in written
    for value in secret.values():
        for form in (value, value[1:], value[:3]):
            assert form.encode() not in written
            assert form.encode("unicode_escape") not in written


# --- reading only -----------------------------------------------------------------------------------------------------


def test_reading_only_makes_nothing(path: Path) -> None:
    assert refusal(path, readonly=True).problem == problem("FA-LEDGER", detail="there is none yet")
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    assert refusal(path, readonly=True).problem == problem("FA-LEDGER", detail="there is none yet")
    assert path.stat().st_size == 0


def test_reading_only_reads_beside_a_writer_and_after_it(path: Path) -> None:
    with opened(path) as writer:
        sight(writer, "a")
        with opened(path, readonly=True) as reader:
            assert len(reader.open_files("ct")) == 1
            sight(writer, "b")
            assert len(reader.open_files("ct")) == 2
    with opened(path, readonly=True) as reader:
        assert len(reader.open_files("ct")) == 2
        with pytest.raises(AgentError) as caught:
            reader.remember("a", "b")
        assert caught.value.problem == problem("FA-LEDGER", detail="read-only")


# --- what can be wrong with it ----------------------------------------------------------------------------------------


def test_another_file_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content := b"this is a letter, not a ledger. " * 100)
    for readonly in (False, True):
        error = refusal(path, readonly=readonly)
        assert error.problem == problem("FA-LEDGER-CORRUPT", detail="not a database")
        assert error.disposition == Disposition.FATAL
    assert path.read_bytes() == content


def test_a_corrupt_ledger_is_refused(path: Path) -> None:
    with opened(path) as ledger:
        sight(ledger, *(str(number) for number in range(3_000)))
    size = path.stat().st_size
    with path.open("r+b") as file:  # the first page stays, with the header
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    with pytest.raises(AgentError) as caught, opened(path) as ledger:
        ledger.open_files("ct")
    assert caught.value.problem == problem("FA-LEDGER-CORRUPT", detail="damaged pages")
    assert caught.value.disposition == Disposition.FATAL


@on_posix
def test_a_folder_without_rights_is_told() -> None:
    with public_folder() as folder:
        folder.chmod(0o555)
        with as_nobody():
            assert refusal(folder / "x.db").problem == problem("FA-LEDGER", detail="permission denied")


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "x.db").problem.code == "FA-LEDGER"
    assert refusal(tmp_path).problem.code == "FA-LEDGER"  # a folder in place of the file


def test_a_full_disk_undoes_the_call_and_passes(path: Path) -> None:
    with opened(path) as ledger:
        files = sight(ledger, "a")
        engine = engine_of(ledger)
        pages = engine.run("PRAGMA page_count").fetchone()[0]

        def hold_at(most: int) -> None:
            with engine.writer():
                engine.run(f"PRAGMA max_page_count = {most}")

        hold_at(pages)
        for _ in range(2):
            with pytest.raises(AgentError) as caught:
                sight(ledger, *(f"new/{number}" for number in range(2_000)))
            assert caught.value.problem == problem("FA-DISK-FULL", where="ledger")
            assert caught.value.disposition == Disposition.RETRY
            hold_at(pages)  # the connection is a new one
        assert ledger.open_files("ct") == files
        hold_at(1_000_000)
        assert len(sight(ledger, *(f"new/{number}" for number in range(2_000)))) == 2_000


def test_a_ledger_that_another_program_locks_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.1)
    with opened(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        (file,) = sight(ledger, "a")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AgentError) as caught:
            settle(ledger, [file])
        assert caught.value.problem == problem("FA-LEDGER", detail="locked")
        assert caught.value.disposition == Disposition.RETRY
        assert ledger.open_files("ct") == [file]  # readers are not kept out
        other.execute("ROLLBACK")
        settle(ledger, [file])


# --- threads ----------------------------------------------------------------------------------------------------------


def test_connections_of_ended_threads_do_not_linger(path: Path) -> None:
    with opened(path) as ledger:
        for _ in range(10):
            thread = threading.Thread(target=ledger.tallies)
            thread.start()
            thread.join()
        assert len(engine_of(ledger).connections._held) <= 2


def test_after_close_every_call_is_refused_in_every_thread(path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{path}")
    errors: list[AgentError] = []
    is_closed = threading.Event()

    def work() -> None:
        ledger.tallies()
        is_warm.set()
        is_closed.wait()
        with pytest.raises(AgentError) as caught:
            ledger.tallies()
        errors.append(caught.value)

    is_warm = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    is_warm.wait()
    ledger.close()
    is_closed.set()
    thread.join()
    assert [(error.problem.code, error.disposition) for error in errors] == [("FA-STOPPING", Disposition.RETRY)]
    path.unlink()  # nothing holds it: Windows would refuse


def test_close_lets_a_running_call_end(path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{path}")
    done: list[int] = []
    begun = threading.Event()

    def sightings() -> Iterator[Sighting]:
        for number in range(20_000):
            begun.set()
            yield Sighting(str(number), Stamp(1, 2, 3))

    thread = threading.Thread(target=lambda: done.append(len(ledger.sight("ct", sightings(), {}, 1.0))))
    thread.start()
    begun.wait()
    ledger.close()
    thread.join()
    assert done == [20_000]


# --- processes --------------------------------------------------------------------------------------------------------


def test_several_processes_may_create_it_at_once(path: Path) -> None:
    script = "with opened(path) as ledger: ledger.open_bundle('ct', sys.argv[1], 'x', 1.0)"
    children = [child(script, path, str(number)) for number in range(4)]
    assert [one.communicate()[0] and one.returncode for one in children] == [""] * 4
    assert [one.returncode for one in children] == [0] * 4
    with opened(path) as ledger:
        assert sorted(bundle.key for bundle in ledger.open_bundles()) == list("0123")


def test_two_processes_write_and_a_third_reads(path: Path) -> None:
    script = """
with opened(path) as ledger:
    for round_ in range(20):
        settle(ledger, sight(ledger, *(f"{sys.argv[1]}/{round_}/{number}" for number in range(20))))
"""
    with opened(path) as reader:
        children = [child(script, path, name) for name in "ab"]
        while any(one.poll() is None for one in children):
            states = reader.tallies().files
            assert sum(states.values()) % 20 == 0  # never a part of a call
        assert [one.wait() for one in children] == [0, 0]
        assert reader.tallies().files == {"SETTLED": 800}
        for one in children:
            one.communicate()


@on_posix
@pytest.mark.parametrize("rows", [3, 700, 2_500, 4_999])
def test_a_kill_in_the_middle_of_a_call_leaves_nothing_of_it(path: Path, rows: int) -> None:
    """The child dies by SIGKILL while it writes the row of that number, or its history."""
    with opened(path) as ledger:
        before = sight(ledger, *(f"{number:04}" for number in range(3_000)))
    script = """
from folder_agent.edges.ledger import codec
limit, written = int(sys.argv[1]), 0
def lethal(values):
    def count(*arguments):
        global written
        written += 1
        if written > limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return values(*arguments)
    return count
ledger = open_ledger(f"sqlite:///{path}")
files = ledger.open_files("ct")
engine = engine_of(ledger)
many = engine._run_many
engine._run_many = lambda sql, rows: many(sql, (lethal(lambda row: row)(row) for row in rows))
print("ready", flush=True)
settle(ledger, files)
"""
    died = child(script, path, str(rows))
    out, _ = died.communicate()
    assert (died.returncode, out) == (-signal.SIGKILL, "ready\n")
    with opened(path) as ledger:
        assert ledger.open_files("ct") == before
        assert engine_of(ledger).run("SELECT count(*) FROM history").fetchone()[0] == 3_000
        settle(ledger, before)
        assert ledger.tallies().files == {"SETTLED": 3_000}


@on_posix
def test_what_a_call_has_answered_survives_a_kill(path: Path) -> None:
    """Killed at any moment, the child's last finished batch is there, whole, and none is there in part."""
    script = """
ledger = open_ledger(f"sqlite:///{path}")
for number in range(1_000_000):
    settle(ledger, sight(ledger, *(f"{number}/{one}" for one in range(50))))
    print(number, flush=True)
"""
    for delay in (3, 17):
        dying = child(script.replace("range(1_000_000)", f"range({delay * 10**6}, 10**9)"), path)
        assert dying.stdout is not None
        told = [dying.stdout.readline() for _ in range(delay)]
        dying.kill()
        told += dying.communicate()[0].splitlines(keepends=True)
        whole = [int(line) for line in told if line.endswith("\n")]
        with opened(path) as ledger:
            files = [file for file in ledger.open_files("ct") if int(file.path.split("/")[0]) >= delay * 10**6]
            settled = [file for file in files if file.state == FileState.SETTLED]
            assert len(files) % 50 == 0
            assert len(settled) % 50 == 0
            assert len(settled) >= 50 * len(whole)
            history = engine_of(ledger).run("SELECT count(*) FROM history WHERE event = 'settle'").fetchone()[0]
            assert history == ledger.tallies().files["SETTLED"]


# --- speed, by plan ---------------------------------------------------------------------------------------------------


def test_no_question_of_a_look_reads_a_whole_table(path: Path) -> None:
    with opened(path) as ledger:
        engine, statements = engine_of(ledger), list[tuple[str, tuple[object, ...]]]()
        execute = engine.execute_sql  # type: ignore[attr-defined]

        def noting(sql: str, values: tuple[object, ...] = ()) -> object:
            statements.append((sql, values))
            return execute(sql, values)

        engine.execute_sql = noting  # type: ignore[attr-defined]
        ledger.open_bundles()
        ledger.open_files("ct")
        ledger.files_of(1)
        ledger.accepted("A1", "1.2.3", "A")
        ledger.delivered("A1", "1.2.3")
        ledger.target_is_taken("x")
        ledger.history(1)
        ledger.find_bundles("x")
        ledger.latest_bundles()
        engine.execute_sql = execute  # type: ignore[attr-defined]
        for sql, values in statements:
            plan = [row[3] for row in engine.run("EXPLAIN QUERY PLAN " + sql, values).fetchall()]
            scans = [line for line in plan if line.startswith("SCAN") and "INDEX" not in line]
            assert not scans, (sql, plan)
        assert len(statements) == 9


def test_a_spawned_process_needs_nothing_of_ours(path: Path) -> None:
    """`multiprocessing` on Windows spawns; the package must import there without a ledger being open."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_open_and_close, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()


def _open_and_close(path: Path) -> None:
    with opened(path) as ledger:
        try:
            sight(ledger, "a", "a")
        except StaleState:
            return
    raise AssertionError
