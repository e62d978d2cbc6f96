"""What an agent holds as a whole: ledger, drop folders by whatever name, leases; and what is told of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileClosedEvent, FileMovedEvent

from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError, Disposition, Problem
from folder_agent.core.records import FileKind
from folder_agent.edges import leases, tenancy
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.names import LEASE_NAME
from folder_agent.edges.drop_folder.native import NativeWatch
from folder_agent.edges.holder import this_process
from folder_agent.edges.holds import Hold
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.logs import LogPublisher
from folder_agent.edges.tenancy import Tenancy, claimant
from folder_agent.settings import Settings

WITHIN_S = 60.0


class Telling(LogPublisher):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.notices: list[Problem] = []
        self.faults: list[Exception] = []

    def notice(self, problem: Problem, is_over: bool = False) -> None:
        self.notices.append(problem)

    def fault(self, error: Exception) -> None:
        self.faults.append(error)


class Machine:
    """One machine with its folder for locks, and the tenancies that were entered on it."""

    def __init__(self, root: Path, lock_folders: tuple[Path, ...] | None = None) -> None:
        self.root, self.told = root, Telling()
        self.locks = (root / "locks",) if lock_folders is None else lock_folders
        self._entered: list[Tenancy] = []

    def enter(self, ledger: str | Path, **drops: Path) -> Tenancy:
        """A tenancy of an agent with that ledger (a path or a url) and those drop folders, by name."""
        entered = Tenancy(settings(ledger, **drops), self.told, self.locks)
        self._entered.append(entered)
        return entered

    def refuse(self, ledger: str | Path, **drops: Path) -> str:
        """What is told when it is refused."""
        with pytest.raises(AgentError) as refused:
            self.enter(ledger, **drops)
        assert refused.value.disposition is Disposition.FATAL
        assert refused.value.problem.code == "FA-IN-USE"
        return explain(refused.value.problem, "en")

    def leave(self) -> None:
        for one in self._entered:
            one.release()
        assert self.told.faults == []


def settings(ledger: str | Path, **drops: Path) -> Settings:
    url = ledger if isinstance(ledger, str) else f"sqlite:///{ledger.as_posix()}"
    table: dict[str, Any] = {
        "gateway": {"url": "https://10.0.0.5", "app_id": "1"},
        "ledger": {"url": url},
        "drops": [{"name": name, "path": path} for name, path in drops.items()],
    }
    return Settings.model_validate(table)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.leave()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """A machine without any folder for locks: as two machines that see one folder."""
    made = Machine(tmp_path, ())
    yield made
    made.leave()


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


# --- on one machine ---------------------------------------------------------------------------------------------------


def test_one_ledger_is_for_one_agent_by_whatever_path(machine: Machine, drop: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    machine.enter(tmp_path / "ledger.db", ct=drop)
    told = machine.refuse(tmp_path / "other" / ".." / "ledger.db", ct=other)
    assert told.startswith("the ledger ledger.db is in use by another agent (host ")
    assert f"process {os.getpid()}" in told


def test_one_drop_folder_is_for_one_agent_whatever_ledger_and_name(
    machine: Machine, drop: Path, tmp_path: Path
) -> None:
    machine.enter(tmp_path / "a.db", ct=drop)
    assert machine.refuse(tmp_path / "b.db", mr=drop).startswith("the drop folder mr is in use by another agent")
    assert not (tmp_path / "b.db.lock").exists()  # what it had taken already is given back


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
def test_a_link_to_a_drop_folder_is_the_drop_folder(machine: Machine, drop: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(drop)
    machine.enter(tmp_path / "a.db", ct=drop)
    machine.refuse(tmp_path / "b.db", ct=tmp_path / "link")


def test_another_path_to_the_same_folder_is_the_drop_folder(
    machine: Machine, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a second mount, which no path tells."""
    machine.enter(tmp_path / "a.db", ct=drop)
    monkeypatch.setattr(os.path, "realpath", lambda path, **_: f"/elsewhere/{Path(path).name}")
    machine.refuse(tmp_path / "b.db", ct=drop)


@pytest.mark.parametrize(("one", "other"), [("", "inner"), ("inner", ""), ("inner", "inner/most")])
def test_a_drop_folder_inside_of_anothers_or_above_it_is_refused(
    machine: Machine, drop: Path, tmp_path: Path, one: str, other: str
) -> None:
    (drop / "inner" / "most").mkdir(parents=True)
    machine.enter(tmp_path / "a.db", ct=drop / one)
    assert f"overlaps with {drop / one}" in machine.refuse(tmp_path / "b.db", ct=drop / other)


def test_folders_side_by_side_are_no_conflict(machine: Machine, tmp_path: Path) -> None:
    for name in ("drop", "drop2", "dro"):
        (tmp_path / name).mkdir()
        machine.enter(tmp_path / f"{name}.db", ct=tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
def test_two_drops_of_one_agent_that_are_one_folder_are_told_as_such(
    machine: Machine, drop: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(drop)
    assert "the same folder as another of these settings" in machine.refuse(
        tmp_path / "a.db", ct=drop, mr=tmp_path / "link"
    )


def test_after_an_orderly_end_nothing_is_left(machine: Machine, drop: Path, tmp_path: Path) -> None:
    machine.enter(tmp_path / "a.db", ct=drop).release()
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["registry"]
    assert not (tmp_path / "a.db.lock").exists()
    machine.enter(tmp_path / "a.db", ct=drop)


def test_a_local_drop_folder_gets_nothing_written_into_it(machine: Machine, drop: Path, tmp_path: Path) -> None:
    machine.enter(tmp_path / "a.db", ct=drop)
    assert list(drop.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody remove a file that is open")
def test_a_lock_that_is_lost_ends_the_agent(
    machine: Machine, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("folder_agent.edges.holds.CHECK_S", 0.05)
    first = machine.enter(tmp_path / "a.db", ct=drop)
    first.check()
    theirs = Hold(tmp_path / "theirs.lock", this_process("theirs.toml"))
    theirs.path.rename(tmp_path / "a.db.lock")  # as if ours had been removed, and they had been faster
    until(lambda: _is_lost(first), "the loss is not noticed")
    with pytest.raises(AgentError) as lost:
        first.check()
    assert (lost.value.problem.code, lost.value.disposition) == ("FA-HOLD-LOST", Disposition.FATAL)
    first.release()
    assert (tmp_path / "a.db.lock").exists()  # theirs
    theirs.release()


def _is_lost(one: Tenancy) -> bool:
    try:
        one.check()
    except AgentError:
        return True
    return False


# --- where no lock reaches --------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases in a hurry. Patience stays as it is: a busy machine must not make a living lease look stale."""
    monkeypatch.setattr(leases, "BEAT_S", 0.1)
    monkeypatch.setattr(leases, "POLL_S", 0.05)


@pytest.fixture
def hasty(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which nobody renews what is watched."""
    monkeypatch.setattr(leases, "PATIENCE_S", 0.5)
    monkeypatch.setattr(leases, "CONFIRM_S", 0.05)


def test_without_a_folder_for_locks_a_lease_in_the_drop_folder_does(
    quick: None, bare: Machine, drop: Path, tmp_path: Path
) -> None:
    first = bare.enter(tmp_path / "a.db", ct=drop)
    assert (drop / LEASE_NAME).is_file()
    first.admit("ct")
    assert bare.refuse(tmp_path / "b.db", ct=drop).startswith("the drop folder ct is in use by another agent")
    (waited,) = bare.told.notices
    assert waited.code == "FA-HOLD-WAIT"
    first.release()
    assert not (drop / LEASE_NAME).exists()


def test_a_lease_that_nobody_renews_is_taken_over(hasty: None, bare: Machine, drop: Path, tmp_path: Path) -> None:
    (drop / LEASE_NAME).write_text(this_process("dead").text(3), encoding="utf-8")
    bare.enter(tmp_path / "a.db", ct=drop).admit("ct")


def test_a_folder_that_cannot_be_made_for_locks_is_no_reason_not_to_start(drop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    machine = Machine(tmp_path, (tmp_path / "file" / "locks",))
    machine.enter(tmp_path / "a.db", ct=drop)
    assert (drop / LEASE_NAME).is_file()
    machine.leave()


def test_somebody_elses_lease_in_a_local_folder_counts(
    quick: None, bare: Machine, machine: Machine, drop: Path, tmp_path: Path
) -> None:
    bare.enter(tmp_path / "a.db", ct=drop)
    machine.refuse(tmp_path / "b.db", ct=drop)


def test_a_share_has_both_so_that_a_restart_on_the_same_machine_need_not_wait(
    machine: Machine, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "is_remote", lambda path: Path(path) == drop)
    monkeypatch.setattr(leases, "is_remote", lambda path: Path(path) == drop)
    monkeypatch.setattr(leases, "CONFIRM_S", 0.05)
    dead = this_process("dead")
    first = machine.enter(tmp_path / "a.db", ct=drop)
    machine.refuse(tmp_path / "b.db", ct=drop)
    (lock,) = (tmp_path / "locks").glob("path-*.lock")
    assert not list((tmp_path / "locks").glob("id-*.lock"))  # a share's identity says nothing
    first.release()
    lock.write_text(dead.text(), encoding="utf-8")  # as a crash leaves the two
    (drop / LEASE_NAME).write_text(dead.text(9), encoding="utf-8")
    machine.enter(tmp_path / "a.db", ct=drop).admit("ct")
    assert machine.told.notices == []  # nothing was waited for


def test_a_share_that_is_away_at_the_start_is_leased_when_it_comes_and_not_looked_at_before(
    bare: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("folder_agent.edges.keeper._AGAIN_S", 0.05)
    drop = tmp_path / "later"
    entered = bare.enter(tmp_path / "a.db", ct=drop)
    folder = RealDropFolder("ct", drop, admit=lambda: entered.admit("ct"))
    with pytest.raises(AgentError) as outage:
        folder.look()
    assert (outage.value.problem.code, outage.value.disposition) == ("FA-DROP-GONE", Disposition.RETRY)
    drop.mkdir()
    until((drop / LEASE_NAME).exists, "the share is not leased when it comes")
    until(lambda: _may_look(folder), "the share is not looked at when it is leased")
    entered.check()


def test_a_share_that_comes_back_and_is_anothers_ends_the_agent(
    quick: None, bare: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("folder_agent.edges.keeper._AGAIN_S", 0.05)
    drop, hidden = tmp_path / "drop", tmp_path / "hidden"
    second = bare.enter(tmp_path / "b.db", ct=drop)
    hidden.mkdir()
    (hidden / LEASE_NAME).write_text(this_process("theirs").text(0), encoding="utf-8")
    hidden.rename(drop)
    beat = 0
    deadline = time.monotonic() + WITHIN_S
    with pytest.raises(AgentError) as ended:
        while time.monotonic() < deadline:
            beat += 1
            (drop / LEASE_NAME).write_text(this_process("theirs").text(beat), encoding="utf-8")
            second.check()
            assert not _may_look(RealDropFolder("ct", drop, admit=lambda: second.admit("ct")))
            time.sleep(0.02)
    assert ended.value.problem.code == "FA-IN-USE"


def _may_look(folder: RealDropFolder) -> bool:
    try:
        folder.look()
    except AgentError:
        return False
    return True


def test_a_lease_that_another_took_over_ends_the_agent_and_says_whose_it_is(
    quick: None, bare: Machine, drop: Path, tmp_path: Path
) -> None:
    first = bare.enter(tmp_path / "a.db", ct=drop)
    theirs = this_process("theirs.toml")
    (drop / LEASE_NAME).write_text(theirs.text(1), encoding="utf-8")
    until(lambda: _is_lost(first), "the loss is not noticed")
    with pytest.raises(AgentError) as lost:
        first.check()
    assert (lost.value.problem.code, lost.value.disposition) == ("FA-HOLD-LOST", Disposition.FATAL)
    assert f"host {theirs.host}, process {theirs.pid}" in explain(lost.value.problem, "en")
    first.release()
    assert (drop / LEASE_NAME).read_text(encoding="utf-8") == theirs.text(1)  # and it is left to them


def test_the_lease_is_never_seen_in_the_drop_folder(drop: Path) -> None:
    (drop / "CT1").mkdir()
    for name in ("a.dcm", LEASE_NAME, f"CT1/{LEASE_NAME}"):
        (drop / name).write_bytes(b"a")
    folder = RealDropFolder("ct", drop)
    assert sorted(one.path for one in folder.look()) == [f"CT1/{LEASE_NAME}", "a.dcm"]
    assert folder.kind(f"CT1/{LEASE_NAME}") is FileKind.JUNK  # a copy that came along with something else


def test_the_beat_of_a_lease_is_no_news(drop: Path) -> None:
    hints: list[int] = []
    watch = NativeWatch(drop, frozenset(), lambda: hints.append(1))
    watch.stop()
    hints.clear()
    watch.dispatch(FileClosedEvent(str(drop / LEASE_NAME)))
    assert hints == []
    watch.dispatch(FileClosedEvent(str(drop / "CT1" / LEASE_NAME)))
    watch.dispatch(FileMovedEvent(str(drop / LEASE_NAME), str(drop / "a.dcm")))
    assert hints == [1, 1]


# --- a shared ledger --------------------------------------------------------------------------------------------------


def test_a_drops_name_in_a_shared_ledger_is_for_one_agent(
    quick: None, bare: Machine, tmp_path: Path, postgres_url: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = open_ledger(postgres_url), open_ledger(postgres_url)
    first, second = bare.enter(postgres_url, ct=tmp_path / "a"), bare.enter(postgres_url, ct=tmp_path / "b")
    first.hold_names(one)
    with pytest.raises(AgentError) as refused:
        second.hold_names(other)
    assert explain(refused.value.problem, "en").startswith("the drop's name ct in the ledger is in use by another")
    second.release()
    third = bare.enter(postgres_url, mr=tmp_path / "b")
    third.hold_names(other)  # another name: they share the ledger
    first.check()
    third.check()
    first.release()
    assert one.recall("hold:ct") is None
    assert other.recall("hold:mr") is not None
    third.release()
    one.close()
    other.close()


def test_a_drops_name_is_taken_over_at_once_from_one_that_crashed_on_this_machine(
    machine: Machine, drop: Path, tmp_path: Path, postgres_url: str
) -> None:
    dead = this_process("dead")
    ledger = open_ledger(postgres_url)
    first = machine.enter(postgres_url, ct=drop)
    (lock,) = (tmp_path / "locks").glob("path-*.lock")
    first.release()
    lock.write_text(dead.text(), encoding="utf-8")
    ledger.remember("hold:ct", dead.text(5))
    second = machine.enter(postgres_url, ct=drop)
    second.hold_names(ledger)
    assert machine.told.notices == []
    second.check()
    second.release()
    ledger.close()


def test_claims_bear_the_same_name_after_a_restart_and_another_for_each_agent(tmp_path: Path) -> None:
    url = "postgresql://db/agents"
    one = settings(url, ct=tmp_path / "a", mr=tmp_path / "b")
    assert claimant(one) == claimant(settings(url, mr=tmp_path / "c", ct=tmp_path / "a"))
    assert claimant(one) != claimant(settings(url, us=tmp_path / "d"))


def test_a_bundle_that_one_agent_of_this_host_works_on_is_not_claimed_by_another(
    tmp_path: Path, postgres_url: str
) -> None:
    one, other = (claimant(settings(postgres_url, **{name: tmp_path})) for name in ("ct", "mr"))
    ledger = open_ledger(postgres_url)
    bundle = ledger.open_bundle("ct", "CT1/", "CT1", 1.0)
    assert ledger.claim(bundle.id, one, 10.0, 900.0)
    assert not ledger.claim(bundle.id, other, 11.0, 900.0)
    assert ledger.claim(bundle.id, one, 12.0, 900.0)  # its own, left by a crash: at once
    ledger.close()
