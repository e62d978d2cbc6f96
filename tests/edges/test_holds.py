"""Locks that end with their process: real processes, real kills."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from folder_agent.edges import holds
from folder_agent.edges.holder import Holder, Taken, read_holder, this_process
from folder_agent.edges.holds import Hold, one_lies_in_the_other, others, registering, usable
from tests.marks import OPEN_FILES_GO

ROOT = Path(__file__).parents[2]
HOLDING = """
import sys, time
from pathlib import Path
from folder_agent.edges.holder import this_process
from folder_agent.edges.holds import Hold
hold = Hold(Path(sys.argv[1]), this_process("theirs.toml"))
print("held", flush=True)
sys.stdin.read()
hold.release()
"""


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    line = [sys.executable, "-c", HOLDING, str(path)]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def me() -> Holder:
    return this_process("mine.toml")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "some.lock"


def test_what_another_process_holds_is_refused_and_it_is_told_who_holds_it(lock: Path) -> None:
    with another_process(lock) as process:
        with pytest.raises(Taken) as refused:
            Hold(lock, me())
        holder = refused.value.holder
        assert holder is not None
        assert (holder.pid, holder.host, holder.settings) == (process.pid, this_process("").host, "theirs.toml")


def test_what_a_killed_process_held_is_free_at_once_and_it_is_known_whose_it_was(lock: Path) -> None:
    with another_process(lock) as process:
        process.kill()
        process.wait()
        assert lock.exists()
        hold = Hold(lock, me())
        assert hold.previous is not None
        assert hold.previous.pid == process.pid
        hold.release()


def test_two_in_one_process_conflict_as_well(lock: Path) -> None:
    first = Hold(lock, me())
    with pytest.raises(Taken) as refused:
        Hold(lock, me())
    assert refused.value.holder == first.holder
    first.release()
    second = Hold(lock, me())
    assert second.previous is None  # the first one ended in an orderly way
    second.release()


def test_an_orderly_end_leaves_no_file_behind(lock: Path) -> None:
    Hold(lock, me()).release()
    assert not lock.exists()


def test_what_the_file_says_never_decides(lock: Path) -> None:
    lock.write_text(this_process("an older one").text(), encoding="utf-8")
    Hold(lock, me()).release()
    lock.write_bytes(b"\xff\xfe not JSON {")
    hold = Hold(lock, me())
    assert hold.previous is None
    assert read_holder(lock.read_text(encoding="utf-8")) == hold.holder
    hold.release()


@OPEN_FILES_GO
def test_a_lock_file_that_somebody_removed_is_there_again_after_the_next_check(lock: Path) -> None:
    hold = Hold(lock, me())
    lock.unlink()
    hold.step()
    with pytest.raises(Taken):
        Hold(lock, me())
    hold.release()
    assert not lock.exists()


@OPEN_FILES_GO
def test_a_lock_that_was_removed_and_taken_by_another_is_noticed(lock: Path) -> None:
    hold = Hold(lock, me())
    lock.unlink()
    with another_process(lock) as process:
        with pytest.raises(Taken) as lost:
            hold.step()
        assert lost.value.holder is not None
        assert lost.value.holder.pid == process.pid
        hold.release()
        assert lock.exists()  # the other's, which is none of our business
        with pytest.raises(Taken):
            Hold(lock, me())


def test_of_many_that_start_at_once_exactly_one_gets_it(lock: Path) -> None:
    script = HOLDING.replace("hold = Hold", "sys.stdin.readline()\nhold = Hold")
    line = [sys.executable, "-c", script, str(lock)]
    crowd = [
        subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(6)
    ]
    try:
        for process in crowd:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        deadline = time.monotonic() + 60
        while sum(process.poll() is not None for process in crowd) < len(crowd) - 1:
            assert time.monotonic() < deadline, "nobody or more than one is refused"
            time.sleep(0.05)
        (winner,) = [process for process in crowd if process.poll() is None]
        assert winner.stdout is not None
        assert winner.stdout.readline() == "held\n"
        for process in crowd:
            if process is not winner:
                assert "Taken" in process.communicate()[1]
    finally:
        for process in crowd:
            process.kill()
            process.communicate()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every account can come to; pytest's are for their owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
class TestAccounts:
    def test_the_folder_and_its_locks_are_open_to_every_account_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            folder = tmp_path / "locks"
            assert usable(folder)
            hold = Hold(folder / "a.lock", me())
        finally:
            os.umask(before)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
        assert stat.S_IMODE((folder / "a.lock").stat().st_mode) == 0o666
        hold.release()

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can be another account")
    def test_another_accounts_lock_file_can_be_locked_and_conflicts(self, reachable: Path) -> None:
        folder = reachable / "locks"
        assert usable(folder)
        lock = folder / "a.lock"
        script = HOLDING.replace("hold = Hold", "import os; os.setuid(65534)\nhold = Hold").replace(
            "hold.release()", ""
        )
        mine = Hold(lock, me())
        line = [sys.executable, "-c", script, str(lock)]
        refused = subprocess.run(line, input="", capture_output=True, text=True, cwd=ROOT, check=False)
        assert "Taken" in refused.stderr, refused.stderr
        lock.chmod(0o444)  # of an agent with stricter habits: it may be read, and so it can be locked
        refused = subprocess.run(line, input="", capture_output=True, text=True, cwd=ROOT, check=False)
        assert "Taken" in refused.stderr, refused.stderr
        lock.chmod(0o666)
        mine.release()
        left = subprocess.run(line, input="", capture_output=True, text=True, cwd=ROOT, check=False)
        assert left.stdout == "held\n", left.stderr
        assert lock.stat().st_uid == 65534
        Hold(lock, me()).release()  # root after the service's account

    def test_nothing_is_written_into_a_file_that_somebody_linked_there(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("keep", encoding="utf-8")
        (tmp_path / "hard.lock").hardlink_to(precious)
        (tmp_path / "soft.lock").symlink_to(precious)
        os.mkfifo(tmp_path / "pipe.lock")
        for name in ("hard.lock", "soft.lock", "pipe.lock"):
            with pytest.raises(OSError):  # whichever: there is no lock
                Hold(tmp_path / name, me())
        assert precious.read_text(encoding="utf-8") == "keep"


def test_others_are_those_who_hold_a_lock_now(tmp_path: Path) -> None:
    mine = Hold(tmp_path / "mine.lock", me())
    (tmp_path / "left.lock").write_text(this_process("dead").text(), encoding="utf-8")
    (tmp_path / "broken.lock").mkdir()
    with another_process(tmp_path / "theirs.lock") as process, registering(tmp_path):
        found = [holder.pid for holder in others(tmp_path, frozenset({mine.path}))]
        assert found == [process.pid]
    assert (tmp_path / "left.lock").exists()  # it may still tell its next holder whose leases have ended
    mine.release()


def test_what_a_crash_left_long_ago_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "left.lock"
    left.write_text(this_process("dead").text(), encoding="utf-8")
    os.utime(left, (1, 1))
    assert list(others(tmp_path, frozenset())) == []
    assert not left.exists()


def test_registering_does_not_wait_for_ever_for_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "_REGISTRY_S", 0.2)
    with registering(tmp_path), registering(tmp_path):
        pass
    monkeypatch.setattr(holds, "_REGISTRY_S", 60.0)
    with registering(tmp_path):
        pass  # it was given back


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [("/a", "/a/b", True), ("/a/b", "/a", True), ("/a", "/a", True), ("/a", "/ab", False), ("/", "/ab", True)],
)
def test_what_lies_inside_what(one: str, other: str, answer: bool) -> None:
    assert one_lies_in_the_other(one, other) is answer


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "null", '{"host": 1}', me().text()[:-9], "\udcff"])
def test_a_text_that_no_holder_wrote_names_nobody(text: str | None) -> None:
    assert read_holder(text) is None


def test_a_holder_is_read_as_it_was_written() -> None:
    holder = this_process("C:\\医院\\\udcff.toml")
    assert read_holder(holder.text(7)) == holder
    assert holder.text().isascii()
