"""Leases by their clock: a fake one, which passes when the test says so. The same for a file and for both ledgers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from folder_agent.edges import leases
from folder_agent.edges.holder import Holder, Taken, this_process
from folder_agent.edges.leases import BEAT_S, CONFIRM_S, PATIENCE_S, POLL_S, FilePlace, Lease, NotePlace, Place
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from tests.contracts.fake_clock import FakeClock

PLACES = ["file", "sqlite", "postgres"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "file":
        yield FilePlace(tmp_path, on_share=False)
        return
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path / 'l.db'}"
    ledger = open_ledger(url)
    yield NotePlace(ledger, "hold:ct")
    ledger.close()


class Agents:
    """Agents that lease one place, and the time that passes for all of them."""

    def __init__(self, place: Place) -> None:
        self.place, self.clock = place, FakeClock()

    def lease(self, gone: frozenset[str] = frozenset()) -> Lease:
        return Lease(self.place, holder(), gone, self.clock.monotonic)

    def pass_(self, seconds: float, *stepping: Lease) -> None:
        """Time passes, and those leases do what is due."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(0.5)
            for one in stepping:
                one.step()


def holder() -> Holder:
    return this_process("some.toml")


@pytest.fixture
def agents(place: Place) -> Agents:
    return Agents(place)


# --- the place --------------------------------------------------------------------------------------------------------


def test_a_text_is_put_only_in_the_place_of_the_expected_one(place: Place) -> None:
    assert place.read() is None
    assert not place.swap("a\n", "b\n")
    assert place.swap(None, "a\n")
    assert not place.swap(None, "b\n")
    assert place.read() == "a\n"
    assert place.swap("a\n", "a longer text\n")
    assert not place.swap("a\n", "b\n")
    assert place.swap("a longer text\n", "b\n")
    assert place.read() == "b\n"
    assert not place.swap("a\n", None)
    assert place.swap("b\n", None)
    assert place.read() is None


def test_of_many_that_begin_at_once_one_is_first(place: Place) -> None:
    barrier, firsts = threading.Barrier(6), list[str]()

    def begin(text: str) -> None:
        barrier.wait(30)
        if place.swap(None, text):
            firsts.append(text)

    threads = [threading.Thread(target=begin, args=(f"{number}\n",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [place.read()] == firsts


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_of_many_that_replace_one_note_at_once_one_is_first(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else f"sqlite:///{tmp_path / 'l.db'}"
    ledger = open_ledger(url)
    ledger.remember("hold:ct", "stale")
    barrier, firsts = threading.Barrier(6), list[str]()

    def replace(text: str) -> None:
        barrier.wait(30)
        if ledger.swap_note("hold:ct", "stale", text):
            firsts.append(text)

    threads = [threading.Thread(target=replace, args=(f"{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ledger.recall("hold:ct")] == firsts
    ledger.close()


def test_an_unmounted_share_is_out_of_reach_and_nothing_is_written_into_its_mount_point(tmp_path: Path) -> None:
    place = FilePlace(tmp_path, on_share=True)  # and tmp_path is none
    with pytest.raises(OSError, match="not mounted"):
        place.swap(None, "a\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        FilePlace(tmp_path / "gone", on_share=False).read()


# --- the lease --------------------------------------------------------------------------------------------------------


def test_a_free_place_is_leased_at_once_and_free_again_afterwards(agents: Agents) -> None:
    lease = agents.lease()
    lease.step()
    assert lease.is_held
    lease.release()
    assert agents.place.read() is None
    again = agents.lease()
    again.step()
    assert again.is_held


def test_a_lease_that_is_renewed_is_not_taken_over_and_it_is_told_whose_it_is(agents: Agents) -> None:
    first, second = agents.lease(), agents.lease()
    first.step()
    second.step()
    assert second.watched == first.holder
    with pytest.raises(Taken) as refused:
        agents.pass_(BEAT_S + 2, first, second)
    assert refused.value.holder == first.holder
    agents.pass_(100, first)
    assert first.is_held


def test_a_lease_that_goes_stale_is_taken_over_but_not_a_moment_earlier(agents: Agents) -> None:
    first, second = agents.lease(), agents.lease()
    first.step()
    second.step()
    agents.pass_(PATIENCE_S - 2, second)
    assert not second.is_held
    agents.pass_(2 + CONFIRM_S + 2, second)
    assert second.is_held


def test_what_its_holder_is_known_to_have_died_with_is_taken_over_at_once(agents: Agents) -> None:
    first = agents.lease()
    first.step()
    second = agents.lease(frozenset({first.holder.owner}))
    second.step()
    agents.pass_(CONFIRM_S + 1, second)
    assert second.is_held


def test_a_holder_that_slept_notices_that_it_has_lost_and_to_whom(agents: Agents) -> None:
    first, second = agents.lease(), agents.lease()
    first.step()
    agents.pass_(PATIENCE_S + CONFIRM_S + 3, second)
    assert second.is_held
    with pytest.raises(Taken) as lost:
        first.step()
    assert lost.value.holder == second.holder
    assert not first.is_held
    first.release()
    agents.pass_(BEAT_S + 1, second)
    assert second.is_held  # what is another's is not given back


def test_a_watcher_that_slept_watches_on_before_it_calls_a_lease_stale(agents: Agents) -> None:
    first, second = agents.lease(), agents.lease()
    first.step()
    second.step()
    agents.clock.advance(3600)  # both machines were asleep
    second.step()
    assert not second.is_held
    first.step()
    with pytest.raises(Taken):
        agents.pass_(POLL_S + 1, second)


def test_of_two_that_take_a_stale_lease_over_one_remains(agents: Agents) -> None:
    dead, one, other = agents.lease(), agents.lease(), agents.lease()
    dead.step()
    refused = set[Lease]()
    for _ in range(round((PATIENCE_S + CONFIRM_S + BEAT_S) * 2)):
        agents.clock.advance(0.5)
        for lease in (one, other):
            if lease not in refused:
                try:
                    lease.step()
                except Taken:
                    refused.add(lease)
    assert [lease.is_held for lease in (one, other)].count(True) == 1
    assert len(refused) == 1


def test_a_file_that_two_wrote_at_once_belongs_to_the_later_one(tmp_path: Path) -> None:
    agents = Agents(FilePlace(tmp_path, on_share=False))
    agents.lease().step()
    one = agents.lease()
    one.step()
    while one.watched is not None:
        agents.pass_(0.5, one)
    (tmp_path / ".folder-agent.lease").write_text(holder().text(1), encoding="utf-8")  # between our write and our check
    with pytest.raises(Taken):
        agents.pass_(CONFIRM_S + 1, one)
    assert not one.is_held


def test_a_lease_that_somebody_tidied_away_is_written_again(agents: Agents) -> None:
    lease = agents.lease()
    lease.step()
    assert agents.place.swap(agents.place.read(), None)
    agents.pass_(BEAT_S + 1, lease)
    assert lease.is_held
    assert agents.place.read() is not None


def test_a_write_that_arrived_although_it_failed_is_our_own(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = agents.lease()
    lease.step()
    real: Callable[[str | None, str | None], bool] = agents.place.swap

    def arrives_and_fails(expected: str | None, new: str | None) -> bool:
        real(expected, new)
        raise OSError("timed out")

    monkeypatch.setattr(agents.place, "swap", arrives_and_fails)
    with pytest.raises(OSError, match="timed out"):
        agents.pass_(BEAT_S + 1, lease)
    monkeypatch.undo()
    agents.pass_(BEAT_S + 1, lease)
    assert lease.is_held


def test_an_outage_while_watching_makes_it_watch_from_the_beginning(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = agents.lease(), agents.lease()
    first.step()
    agents.pass_(PATIENCE_S - 3, second)

    def away() -> str | None:
        raise OSError("away")

    monkeypatch.setattr(agents.place, "read", away)
    with pytest.raises(OSError, match="away"):
        agents.pass_(POLL_S + 1, second)
    monkeypatch.undo()
    agents.pass_(PATIENCE_S - 3, second)
    assert not second.is_held


def test_half_a_lease_of_one_that_died_while_writing_goes_stale_as_well(tmp_path: Path) -> None:
    (tmp_path / ".folder-agent.lease").write_bytes(b'{"host": "pac')
    agents = Agents(FilePlace(tmp_path, on_share=False))
    lease = agents.lease()
    agents.pass_(PATIENCE_S + CONFIRM_S + 3, lease)
    assert lease.is_held


def test_patience_outlasts_three_beats() -> None:
    assert leases.PATIENCE_S > 3 * leases.BEAT_S
    assert leases.CONFIRM_S < leases.BEAT_S


def test_a_note_of_a_lease_is_none_of_the_agents_own(tmp_path: Path) -> None:
    ledger: PeeweeLedger = open_ledger(f"sqlite:///{tmp_path / 'l.db'}")
    ledger.remember("hold:ct", "x")
    NotePlace(ledger, "hold:mr").swap(None, "y")
    assert (ledger.recall("hold:ct"), ledger.recall("hold:mr")) == ("x", "y")
    ledger.close()
