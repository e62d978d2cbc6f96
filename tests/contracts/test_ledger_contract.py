"""What every Ledger must keep, in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from folder_agent.core.errors import StaleState, problem
from folder_agent.core.lifecycle import (
    BundleEvent,
    BundleState,
    FileEvent,
    FileState,
    NotAllowed,
    bundle_step,
    file_step,
)
from folder_agent.core.ports import DayTally, Ledger, Tallies
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, HistoryEntry, Sighting, Stamp
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from tests.contracts.fake_ledger import FakeLedger
from tests.servers.postgres import shared_server

LEDGERS = ("fake", "sqlite", "postgres")
PRIVATE = problem("FA-MISMATCH", "CT1/a.dcm", {"ours": "张三丰", "theirs": "LI^SI"}, field="patientId")
MASKED = PRIVATE.masked()


def make_url(kind: str, folder: Path) -> str:
    return shared_server().new_database() if kind == "postgres" else f"sqlite:///{folder / 'sub' / 'ledger.db'}"


@pytest.fixture(params=LEDGERS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    """Opens one and the same ledger, as often as called."""
    opened: list[Ledger] = []
    fake, url = FakeLedger(), None if request.param == "fake" else make_url(request.param, tmp_path)

    def open_one() -> Ledger:
        opened.append(fake if url is None else open_ledger(url))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(opener: Callable[[], Ledger]) -> Ledger:
    return opener()


def seen(*paths: str) -> list[Sighting]:
    return [Sighting(path, Stamp(100 + number, 10**18 + number, number)) for number, path in enumerate(paths)]


def sight(ledger: Ledger, *paths: str, drop: str = "ct", at: float = 1.0) -> list[FileRecord]:
    return ledger.sight(drop, seen(*paths), {}, at)


def assign(ledger: Ledger, bundle: BundleRecord, files: list[FileRecord]) -> list[FileRecord]:
    assigned = [replace(file, bundle_id=bundle.id) for file in files]
    ledger.amend(assigned)
    return assigned


def step(ledger: Ledger, record: Any, event: FileEvent | BundleEvent, at: float = 2.0, **changes: Any) -> Any:
    """Apply one transition; the record after it."""
    make: Any = bundle_step if isinstance(record, BundleRecord) else file_step
    transition = make(record, event, at, **changes)
    ledger.apply([transition])
    return transition.after


def bundle_of(ledger: Ledger, bundle: BundleRecord) -> BundleRecord:
    (found,) = [one for one in ledger.latest_bundles(1000) if one.id == bundle.id]
    return found


def at_once(*calls: Callable[[], object]) -> list[object]:
    """The results of calls that begin together, each in a thread of its own; an exception is a result, too."""
    gate, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = calls[number]()  # type: ignore[call-overload]
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results)


# --- sight ------------------------------------------------------------------------------------------------------------


def test_sighted_files_come_back_in_order_and_are_open(ledger: Ledger) -> None:
    sightings = seen("b.dcm", "a.dcm", "检查/张.pdf")
    records = ledger.sight("ct", iter(sightings), {"检查/张.pdf": FileKind.PDF}, 1.5)
    assert [(r.path, r.stamp) for r in records] == [(s.path, s.stamp) for s in sightings]
    assert [r.kind for r in records] == [FileKind.UNKNOWN, FileKind.UNKNOWN, FileKind.PDF]
    assert all(r.state == FileState.SEEN and r.is_open and r.bundle_id is None for r in records)
    assert ledger.open_files("ct") == records
    assert ledger.open_files("other") == []


def test_a_file_knows_when_it_was_first_seen(ledger: Ledger) -> None:
    (record,) = sight(ledger, "A1/a.dcm", at=17.5)
    ledger.apply([file_step(record, FileEvent.SETTLE, 30.0)])
    assert record.seen_at == ledger.open_files("ct")[0].seen_at == 17.5


def test_a_sighting_leaves_one_history_row(ledger: Ledger) -> None:
    files = assign(ledger, ledger.open_bundle("ct", "k", "k", 1.0), sight(ledger, "a", "b", at=3.0))
    entries = [entry for entry in ledger.history(1) if entry.subject == "file"]
    assert entries == [HistoryEntry(3.0, "file", file.id, "", "see", "SEEN") for file in files]


@pytest.mark.parametrize("paths", [("new", "a"), ("new", "new")])
def test_an_open_path_is_not_sighted_again(ledger: Ledger, paths: tuple[str, ...]) -> None:
    before = sight(ledger, "a")
    with pytest.raises(StaleState):
        sight(ledger, *paths)
    assert ledger.open_files("ct") == before  # not even the others


def test_drops_do_not_know_of_each_other(ledger: Ledger) -> None:
    sight(ledger, "a")
    (other,) = sight(ledger, "a", drop="mr")
    assert ledger.open_files("mr") == [other]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_vanished_path_gets_a_new_row(ledger: Ledger, is_open: bool) -> None:
    (old,) = sight(ledger, "a")
    step(ledger, old, FileEvent.VANISH, is_open=is_open)
    assert ledger.open_files("ct") == []
    (new,) = sight(ledger, "a")
    assert new.id != old.id
    assert ledger.open_files("ct") == [new]


def test_a_closed_path_gets_a_new_row(ledger: Ledger) -> None:
    (old,) = sight(ledger, "a")
    ledger.amend([replace(old, is_open=False)])
    (new,) = sight(ledger, "a")
    assert ledger.open_files("ct") == [new]


def test_nothing_is_a_lawful_amount(ledger: Ledger) -> None:
    assert sight(ledger) == []
    ledger.apply([])
    ledger.amend([])


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_a_new_bundle_gathers(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "CT1/", "CT1", 5.25)
    assert bundle == BundleRecord(bundle.id, "ct", "CT1/", "CT1", BundleState.GATHERING, 5.25, 5.25)
    assert ledger.open_bundles() == [bundle]
    assert ledger.history(bundle.id) == [HistoryEntry(5.25, "bundle", bundle.id, "", "open", "GATHERING")]


def test_a_drop_has_one_open_bundle_of_a_key(ledger: Ledger) -> None:
    first = ledger.open_bundle("ct", "CT1/", "CT1", 1.0)
    ledger.open_bundle("mr", "CT1/", "CT1", 1.0)
    with pytest.raises(StaleState):
        ledger.open_bundle("ct", "CT1/", "again", 2.0)
    step(ledger, first, BundleEvent.WITHDRAW, is_open=False)
    second = ledger.open_bundle("ct", "CT1/", "CT1", 3.0)
    assert second.id != first.id
    assert second in ledger.open_bundles()
    other = ledger.open_bundle("ct", "CT2/", "CT2", 4.0)
    with pytest.raises(StaleState):  # the key is the second one's now
        ledger.amend([replace(other, key="CT1/")])
    assert other in ledger.open_bundles()


def test_open_bundles_come_oldest_first(ledger: Ledger) -> None:
    late, early, middle = (ledger.open_bundle("ct", str(at), "x", at) for at in (9.0, 1.0, 5.0))
    refused = step(ledger, middle, BundleEvent.REFUSE, at=20.0)
    assert ledger.open_bundles() == [early, refused, late]  # refused, but not shelved yet
    step(ledger, refused, BundleEvent.SHELVE, at=21.0, is_open=False)
    assert ledger.open_bundles() == [early, late]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_withdrawn_bundle_is_closed_whatever_it_says(ledger: Ledger, is_open: bool) -> None:
    step(ledger, ledger.open_bundle("ct", "k", "k", 1.0), BundleEvent.WITHDRAW, is_open=is_open)
    assert ledger.open_bundles() == []
    assert ledger.tallies().oldest_open_at is None
    again = ledger.open_bundle("ct", "k", "k", 2.0)
    assert ledger.open_bundles() == [again]


# --- apply ------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_file_is_kept(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    (file,) = sight(ledger, "a.dcm")
    settled = step(
        ledger, file, FileEvent.SETTLE, kind=FileKind.DICOM, bundle_id=bundle.id, sop_instance="1.2.3", reason=PRIVATE
    )
    assert ledger.files_of(bundle.id) == [replace(settled, reason=MASKED)]
    sent = step(
        ledger,
        settled,
        FileEvent.ACCEPT,
        sha256="ab" * 32,
        destination="https://10.0.0.5/stow",
        accepted_at=1234567890.123456,
        answer="成功 😀",
        stamp=Stamp(2**62, -(2**70), 2**128 - 1),
        reason=None,
        is_open=False,
    )
    assert ledger.files_of(bundle.id) == [sent]


def test_every_field_of_a_bundle_is_kept(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    everything = {
        "study_uid": "1.2.840.1",
        "access_number": "A1",
        "study_id": "S1",
        "emergency": True,
        "reasons": (PRIVATE, problem("FA-TOO-MANY", declared=2, found=3)),
        "overdue": True,
        "attempts": 7,
        "first_failed_at": 3.5,
        "due_at": 4.125,
        "answer": '{"code": 0, "message": "成功"}',
        "committed_at": 1e9 + 0.1,
        "target": "D:\\done\\2024-01-01\\CT1",
        "name": "CT 1",
    }
    after = step(ledger, bundle, BundleEvent.COMPLETE, at=2.5, **everything)
    assert after.changed_at == 2.5
    assert ledger.open_bundles() == [replace(after, reasons=tuple(one.masked() for one in after.reasons))]
    plain = step(ledger, after, BundleEvent.REOPEN, at=2.75, **dict.fromkeys(everything, None) | _REQUIRED)
    assert ledger.open_bundles() == [plain]


_REQUIRED: dict[str, Any] = {"emergency": False, "reasons": (), "overdue": False, "attempts": 0, "name": "k"}


def test_each_transition_leaves_one_history_row_with_masked_reasons(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    (file,) = assign(ledger, bundle, sight(ledger, "a", at=2.0))
    step(ledger, file, FileEvent.REFUSE, at=3.0, reason=PRIVATE)
    step(ledger, bundle, BundleEvent.REFUSE, at=0.5, reasons=(PRIVATE, PRIVATE))  # the clock was set back
    assert ledger.history(bundle.id) == [
        HistoryEntry(1.0, "bundle", bundle.id, "", "open", "GATHERING"),
        HistoryEntry(2.0, "file", file.id, "", "see", "SEEN"),
        HistoryEntry(3.0, "file", file.id, "SEEN", "refuse", "REFUSED", (MASKED,)),
        HistoryEntry(0.5, "bundle", bundle.id, "GATHERING", "refuse", "REFUSED", (MASKED, MASKED)),
    ]


def test_history_tells_of_one_bundle_only(ledger: Ledger) -> None:
    first, second = (ledger.open_bundle("ct", key, key, 1.0) for key in "ab")
    mine, other = sight(ledger, "a", "b")
    assign(ledger, first, [mine])
    assign(ledger, second, [other])
    assert {(entry.subject, entry.subject_id) for entry in ledger.history(second.id)} == {
        ("bundle", second.id),
        ("file", other.id),
    }
    assert ledger.history(99) == []


def test_a_stale_transition_changes_nothing_not_even_the_others(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    files = assign(ledger, bundle, sight(ledger, "a", "b", "c"))
    step(ledger, files[1], FileEvent.REFUSE)
    before = (ledger.files_of(bundle.id), ledger.open_bundles(), ledger.history(bundle.id))
    steps = [file_step(file, FileEvent.SETTLE, 3.0) for file in files]
    with pytest.raises(StaleState):
        ledger.apply([bundle_step(bundle, BundleEvent.COMPLETE, 3.0), *steps])
    with pytest.raises(StaleState):
        ledger.apply(
            [file_step(files[0], FileEvent.SETTLE, 3.0), file_step(replace(files[2], id=99), FileEvent.SETTLE, 3.0)]
        )
    step(ledger, bundle, BundleEvent.COMPLETE)
    with pytest.raises(StaleState):
        ledger.apply([steps[0], bundle_step(bundle, BundleEvent.COMPLETE, 3.0)])
    assert ledger.files_of(bundle.id) == before[0]
    assert ledger.history(bundle.id)[:-1] == before[2]


def test_one_batch_may_lead_a_record_several_steps(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    one, two = assign(ledger, bundle, sight(ledger, "a", "b"))
    first = file_step(one, FileEvent.SETTLE, 2.0)
    second = file_step(first.after, FileEvent.ACCEPT, 3.0, answer="ok")
    third = file_step(second.after, FileEvent.CHANGE, 4.0, answer=None)
    ledger.apply([first, file_step(two, FileEvent.SETTLE, 2.0), second, third])
    assert [file.state for file in ledger.files_of(bundle.id)] == [FileState.SEEN, FileState.SETTLED]
    assert [entry.event for entry in ledger.history(bundle.id)] == [
        *("open", "see", "see", "settle", "settle", "accept", "change"),
    ]


def test_a_batch_of_thousands_is_one_transaction(ledger: Ledger) -> None:
    files = sight(ledger, *(f"{number:05}" for number in range(5_500)))
    steps = [file_step(file, FileEvent.SETTLE, 2.0) for file in files]
    with pytest.raises(StaleState):
        ledger.apply([*steps, file_step(replace(files[0], id=9_999), FileEvent.SETTLE, 2.0)])
    assert ledger.tallies().files == {"SEEN": 5_500}
    ledger.apply(steps)
    assert ledger.tallies().files == {"SETTLED": 5_500}
    assert [file.path for file in ledger.open_files("ct")] == [file.path for file in files]


def test_a_file_cannot_belong_to_a_bundle_that_is_not_there(ledger: Ledger) -> None:
    (file,) = sight(ledger, "a")
    with pytest.raises(StaleState):
        ledger.amend([replace(file, bundle_id=77)])
    assert ledger.open_files("ct") == [file]


def test_two_agents_cannot_take_the_same_step(ledger: Ledger) -> None:
    for number in range(5):
        bundle = ledger.open_bundle("ct", str(number), "x", 1.0)
        complete = bundle_step(bundle, BundleEvent.COMPLETE, 2.0)
        results = at_once(*[lambda step=complete: ledger.apply([step])] * 4)  # type: ignore[misc]
        assert sorted(type(result).__name__ for result in results) == ["NoneType", *["StaleState"] * 3]
        assert len(ledger.history(bundle.id)) == 2


# --- amend ------------------------------------------------------------------------------------------------------------


def test_amend_changes_all_but_the_state_and_tells_no_history(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    (file,) = sight(ledger, "a")
    better = replace(bundle, reasons=(PRIVATE,), overdue=True, changed_at=8.0)
    belongs = replace(file, bundle_id=bundle.id, stamp=Stamp(1, 2, 3), reason=PRIVATE)
    ledger.amend([better, belongs])
    assert ledger.open_bundles() == [replace(better, reasons=(MASKED,))]
    assert ledger.files_of(bundle.id) == [replace(belongs, reason=MASKED)]
    assert [entry.event for entry in ledger.history(bundle.id)] == ["open", "see"]


def test_amend_refuses_what_has_moved_on(ledger: Ledger) -> None:
    moved, still = sight(ledger, "a", "b")
    settled = step(ledger, moved, FileEvent.SETTLE)
    with pytest.raises(StaleState):
        ledger.amend([replace(still, kind=FileKind.PDF), replace(moved, kind=FileKind.PDF)])
    assert ledger.open_files("ct") == [settled, still]


# --- claims -----------------------------------------------------------------------------------------------------------


def test_a_claim_holds_until_it_is_released_or_expires(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    assert ledger.claim(bundle.id, "one", 100.0, 30.0)
    assert ledger.open_bundles() == [replace(bundle, owner="one", lease_until=130.0)]
    assert not ledger.claim(bundle.id, "two", 130.0, 30.0)
    assert ledger.claim(bundle.id, "one", 130.0, 30.0)  # renewed
    assert not ledger.claim(bundle.id, "two", 131.0, 30.0)
    assert ledger.claim(bundle.id, "two", 160.5, 30.0)  # expired
    ledger.release(bundle.id, "one")  # not ours any more: nothing happens
    assert not ledger.claim(bundle.id, "one", 161.0, 30.0)
    ledger.release(bundle.id, "two")
    assert ledger.open_bundles() == [bundle]
    assert ledger.claim(bundle.id, "one", 162.0, 30.0)


def test_nobody_claims_what_is_closed_or_not_there(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    step(ledger, bundle, BundleEvent.WITHDRAW, is_open=False)
    assert not ledger.claim(bundle.id, "one", 1.0, 30.0)
    assert not ledger.claim(99, "one", 1.0, 30.0)
    ledger.release(99, "one")


def test_a_claim_ends_with_its_bundle(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    assert ledger.claim(bundle.id, "one", 1.0, 30.0)
    step(ledger, bundle, BundleEvent.WITHDRAW, is_open=False)
    closed = ledger.bundle(bundle.id)
    assert closed is not None
    assert (closed.owner, closed.lease_until) == (None, None)


def test_of_several_claims_at_once_one_wins(ledger: Ledger) -> None:
    for number in range(10):
        bundle = ledger.open_bundle("ct", str(number), "x", 1.0)
        results = at_once(*(lambda me=str(me), it=bundle.id: ledger.claim(it, me, 1.0, 30.0) for me in range(4)))  # type: ignore[misc]
        assert sorted(results, key=str) == [False, False, False, True]


def test_transitions_leave_the_claim_alone(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    ledger.claim(bundle.id, "one", 1.0, 30.0)
    complete = step(ledger, bundle, BundleEvent.COMPLETE)  # the record that it starts from knows of no claim
    ledger.amend([replace(complete, owner="two", lease_until=99.0)])
    assert ledger.open_bundles() == [replace(complete, owner="one", lease_until=31.0)]


# --- what was delivered -----------------------------------------------------------------------------------------------


def delivered(ledger: Ledger, key: str, access_number: str | None, study_uid: str | None) -> list[FileRecord]:
    """A committed bundle of two files, accepted at A and at B."""
    bundle = ledger.open_bundle("ct", key, key, 1.0)
    bundle = step(ledger, bundle, BundleEvent.COMPLETE, access_number=access_number, study_uid=study_uid)
    bundle = step(ledger, bundle, BundleEvent.SEND)
    settled = [step(ledger, f, FileEvent.SETTLE, bundle_id=bundle.id) for f in sight(ledger, f"{key}1", f"{key}2")]
    sent = [
        step(ledger, file, FileEvent.ACCEPT, destination=where, accepted_at=4.0, sha256=key * 8)
        for file, where in zip(settled, "AB", strict=True)
    ]
    bundle = step(ledger, bundle, BundleEvent.COMMIT, committed_at=5.0)
    step(ledger, bundle, BundleEvent.SHELVE, target=f"/done/{key}", is_open=False)
    return [replace(file, is_open=False) for file in sent]


def test_a_bundle_that_closes_closes_its_files(ledger: Ledger) -> None:
    first, _ = delivered(ledger, "p", "A1", "1.2.3")
    assert ledger.open_files("ct") == []
    assert [file.is_open for file in ledger.files_of(first.bundle_id or 0)] == [False, False]
    assert [file.path for file in sight(ledger, first.path)] == [first.path]  # its path is free for a newcomer


def test_a_bundle_is_found_by_its_id_open_or_closed(ledger: Ledger) -> None:
    first, _ = delivered(ledger, "p", "A1", "1.2.3")
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    assert ledger.bundle(bundle.id) == bundle
    closed = ledger.bundle(first.bundle_id or 0)
    assert closed is not None
    assert not closed.is_open
    assert ledger.bundle(999) is None


def test_accepted_finds_the_files_of_an_exam_whatever_its_bundle(ledger: Ledger) -> None:
    first, _ = delivered(ledger, "p", "A1", "1.2.3")
    second, _ = delivered(ledger, "q", "A1", None)
    third, there = delivered(ledger, "r", None, "1.2.3")
    delivered(ledger, "s", "A2", "1.2.4")
    (loose,) = sight(ledger, "loose")
    assert loose not in ledger.accepted("A1", "1.2.3", "A")
    assert ledger.accepted("A1", "1.2.3", "A") == [first, second, third]
    assert ledger.accepted("A1", None, "A") == [first, second]
    assert ledger.accepted(None, "1.2.3", "A") == [first, third]
    assert there in ledger.accepted(None, "1.2.3", "B")
    assert ledger.accepted("A1", "1.2.3", "C") == []
    assert ledger.accepted(None, None, "A") == []
    assert ledger.accepted("1.2.3", "A1", "A") == []


def test_a_file_that_was_not_accepted_is_not_found(ledger: Ledger) -> None:
    sent, _ = delivered(ledger, "p", "A1", None)
    step(ledger, sent, FileEvent.CHANGE, accepted_at=None)
    assert ledger.accepted("A1", None, "A") == []


def test_delivered_means_committed(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    step(ledger, bundle, BundleEvent.COMPLETE, access_number="A1", study_uid="1.2.3")
    assert not ledger.delivered("A1", "1.2.3")
    delivered(ledger, "p", "A1", "1.2.4")
    assert not ledger.delivered("A1", "1.2.3")  # another study, though it has the same accession number
    assert [one.study_uid for one in ledger.delivered(None, "1.2.4")] == ["1.2.4"]
    assert [one.study_uid for one in ledger.delivered("A1", None)] == ["1.2.4"]
    assert not ledger.delivered(None, "1.2.3")
    assert not ledger.delivered(None, None)


def test_what_was_delivered_of_a_study_is_found_by_its_numbers_the_last_one_last(ledger: Ledger) -> None:
    late = sending(ledger, "c", "A1", "1.2.3", committed_at=9.0)
    first = sending(ledger, "a", "A1", "1.2.3", committed_at=5.0)
    nameless = sending(ledger, "b", "A1", None, committed_at=7.0)
    renumbered = sending(ledger, "d", "A2", "1.2.3", committed_at=11.0)
    other = sending(ledger, "e", "A1", "1.2.9", committed_at=8.0)

    def found(number: str | None, study: str | None) -> list[int]:
        return [one.id for one in ledger.delivered(number, study)]

    assert found("A1", "1.2.3") == [first.id, nameless.id, late.id]
    assert found("A2", "1.2.3") == [renumbered.id]
    assert found("A1", None) == [first.id, nameless.id, other.id, late.id]
    assert found(None, "1.2.3") == [first.id, late.id, renumbered.id]


def sending(
    ledger: Ledger, key: str, access_number: str | None, study_uid: str | None, committed_at: float | None = None
) -> BundleRecord:
    """A bundle that is being sent, or was committed."""
    bundle = ledger.open_bundle("ct", key, key, 1.0)
    for event in (BundleEvent.COMPLETE, BundleEvent.SEND):
        bundle = step(ledger, bundle, event, access_number=access_number, study_uid=study_uid)
    if committed_at is not None:
        bundle = step(ledger, bundle, BundleEvent.COMMIT, committed_at=committed_at, posted="ab" * 32)
    return bundle


def test_a_commit_counts_only_if_nobody_else_has_committed_the_study_meanwhile(ledger: Ledger) -> None:
    one, two = (sending(ledger, key, "A1", "1.2.3") for key in ("one", "two"))
    (file,) = assign(ledger, two, sight(ledger, "two/1"))
    settled = step(ledger, file, FileEvent.SETTLE, role="image", series="1.2.3.1", digest="cd" * 32)
    commit = [bundle_step(bundle, BundleEvent.COMMIT, 9.0, committed_at=9.0) for bundle in (one, two)]
    accept = file_step(settled, FileEvent.ACCEPT, 9.0, accepted_at=9.0)
    assert ledger.commit([commit[0]], [])
    assert not ledger.commit([accept, commit[1]], [])
    assert ledger.bundle(two.id) == two
    assert ledger.files_of(two.id) == [settled]
    assert ledger.commit([accept, commit[1]], [one.id])
    assert ledger.bundle(two.id) == commit[1].after
    assert ledger.files_of(two.id) == [accept.after]
    assert not ledger.commit([commit[1]], [])


def test_a_commit_that_has_moved_on_is_stale(ledger: Ledger) -> None:
    bundle = sending(ledger, "one", "A1", "1.2.3")
    commit = bundle_step(bundle, BundleEvent.COMMIT, 9.0, committed_at=9.0)
    step(ledger, bundle, BundleEvent.HOLD)
    with pytest.raises(StaleState):
        ledger.commit([commit], [])


def test_of_many_that_commit_a_study_at_once_each_learns_of_the_others(ledger: Ledger) -> None:
    bundles = [sending(ledger, str(number), "A1", "1.2.3" if number % 2 else None) for number in range(6)]
    tries = []

    def commit(bundle: BundleRecord) -> None:
        transition = bundle_step(bundle, BundleEvent.COMMIT, 9.0, committed_at=9.0)
        while True:
            known = [one.id for one in ledger.delivered(bundle.access_number, bundle.study_uid)]
            tries.append(bundle.id)
            if ledger.commit([transition], known):
                seen[bundle.id] = known
                return

    seen: dict[int, list[int]] = {}
    threads = [threading.Thread(target=commit, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, seen.values())) == list(range(6))


def test_a_place_on_a_shelf_belongs_to_one_bundle(ledger: Ledger) -> None:
    first, second = (
        step(ledger, ledger.open_bundle("ct", key, key, 1.0), BundleEvent.REFUSE) for key in ("one", "two")
    )
    assert not ledger.target_is_taken("/failed/x")
    step(ledger, first, BundleEvent.AIM, target="/failed/x")
    assert ledger.target_is_taken("/failed/x")
    with pytest.raises(StaleState):
        step(ledger, second, BundleEvent.AIM, target="/failed/x")
    step(ledger, second, BundleEvent.AIM, target="/failed/x (2)")


# --- looking things up ------------------------------------------------------------------------------------------------


def test_files_of_come_by_path_in_code_point_order(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    paths = ["b", "a", "B", "é", "检查/1", "_", "a b", "a/b", "😀", "10", "9"]
    assign(ledger, bundle, sight(ledger, *paths))
    assert [file.path for file in ledger.files_of(bundle.id)] == sorted(paths)
    assert ledger.files_of(99) == []


def test_bundles_are_found_by_whatever_people_call_them(ledger: Ledger) -> None:
    one = ledger.open_bundle("ct", "k1", "张三 CT", 1.0)
    one = step(
        ledger, one, BundleEvent.REFUSE, access_number="A'1", study_id="S%1", target="D:\\failed\\d\\张三 CT (2)"
    )
    two = step(ledger, ledger.open_bundle("ct", "k2", "A'1", 2.0), BundleEvent.REFUSE, target="/failed/d/A1 (3)")
    for name in ("张三 CT", "S%1", "张三 CT (2)", str(one.id)):
        assert ledger.find_bundles(name) == [one], name
    assert ledger.find_bundles("A1 (3)") == [two]
    assert ledger.find_bundles("A'1") == [two, one]  # newest first
    assert ledger.find_bundles("A'1", limit=1) == [two]


@pytest.mark.parametrize(
    "name", ["", "S%", "張", "\0", "a\0b", "\ud800", "²", "٣", "9" * 18, "9" * 19, "9" * 5000, "-1", "' OR 1=1 --"]
)
def test_no_name_is_too_odd_to_be_looked_for(ledger: Ledger, name: str) -> None:
    ledger.open_bundle("ct", "k", "k", 1.0)
    assert ledger.find_bundles(name) == []
    assert ledger.recall("never told") is None


def test_latest_bundles_are_those_that_changed_last(ledger: Ledger) -> None:
    one, two, three = (ledger.open_bundle("ct", str(at), "x", at) for at in (1.0, 2.0, 3.0))
    one = step(ledger, one, BundleEvent.WITHDRAW, at=10.0, is_open=False)
    assert ledger.latest_bundles() == [one, three, two]
    assert ledger.latest_bundles(2) == [one, three]


def test_tallies_of_an_empty_ledger(ledger: Ledger) -> None:
    assert ledger.tallies() == Tallies({}, {}, None, 0)


def test_tallies_count_open_and_closed(ledger: Ledger) -> None:
    shelving = step(ledger, ledger.open_bundle("ct", "1", "x", 1.0), BundleEvent.REFUSE)
    step(ledger, ledger.open_bundle("ct", "2", "x", 2.0), BundleEvent.WITHDRAW, is_open=False)
    ledger.open_bundle("ct", "3", "x", 4.0)
    ledger.open_bundle("ct", "4", "x", 3.0)
    kinds = dict(zip("abcdef", FileKind, strict=False)) | {"u": FileKind.UNKNOWN}
    files = ledger.sight("ct", seen(*"abcdefuvwx"), kinds, 1.0)
    assign(ledger, shelving, files[-1:])
    step(ledger, files[-2], FileEvent.VANISH)
    ledger.amend([replace(files[-3], is_open=False)])
    assert ledger.tallies() == Tallies(
        bundles={"REFUSED": 1, "WITHDRAWN": 1, "GATHERING": 2},
        files={"SEEN": 9, "VANISHED": 1},
        oldest_open_at=3.0,
        unassigned=3,  # a DICOM, a PDF, and one that nobody has looked into; not the sidecar, the marker, the junk
    )


def test_notes_are_remembered_until_they_are_forgotten(ledger: Ledger) -> None:
    assert ledger.recall("gate") is None
    ledger.remember("gate", '{"shut": "前置机"}')
    ledger.remember("other", "")
    ledger.remember("gate", "open")
    assert ledger.recall("gate") == "open"
    assert ledger.recall("other") == ""
    ledger.remember("gate", None)
    ledger.remember("gate", None)
    assert ledger.recall("gate") is None


# --- endurance --------------------------------------------------------------------------------------------------------


def test_no_value_is_too_long(ledger: Ledger) -> None:
    # Random, because PostgreSQL compresses: its indexes take 2,700 bytes of what is left.
    long = random.Random(1).randbytes(9_000).hex() + "检查"
    bundle = ledger.open_bundle("ct", long, long, 1.0)
    ledger.open_bundle("ct", long + "x", "other", 1.0)
    sight(ledger, long, long + "x")
    bundle = step(ledger, bundle, BundleEvent.COMPLETE, access_number=long + "a", study_id=long + "s", study_uid=long)
    for name in (long, long + "a", long + "s"):
        assert ledger.find_bundles(name) == [bundle]
    with pytest.raises(StaleState):
        sight(ledger, long)


def test_what_strangers_wrote_cannot_break_the_ledger(ledger: Ledger) -> None:
    bundle = ledger.open_bundle("ct", "k", "k", 1.0)
    odd = problem("FA-FIELD-INVALID", None, {"value": "\ud800\0x"}, field="a\0b", expected="\udfff")
    step(ledger, bundle, BundleEvent.REFUSE, answer="\0\ud800", access_number="\ud800", reasons=(odd,))
    assert ledger.open_bundles()[0].reasons == (odd.masked(),)


def test_many_threads_lose_nothing(ledger: Ledger) -> None:
    def work(number: int) -> None:
        bundle = ledger.open_bundle("ct", f"k{number}", "x", 1.0)
        for round_ in range(5):
            for file in assign(ledger, bundle, sight(ledger, *(f"{number}/{round_}/{n}" for n in range(5)))):
                step(ledger, file, FileEvent.SETTLE)
            assert len(ledger.open_bundles()) <= 6

    assert at_once(*(lambda n=n: work(n) for n in range(6))) == [None] * 6  # type: ignore[misc]
    assert ledger.tallies() == Tallies({"GATHERING": 6}, {"SETTLED": 150}, 1.0, 0)
    assert all(len(ledger.history(bundle.id)) == 51 for bundle in ledger.open_bundles())


def test_everything_is_still_there_after_reopening(opener: Callable[[], Ledger]) -> None:
    ledger = opener()
    delivered(ledger, "p", "A1", "1.2.3")
    waiting = ledger.open_bundle("ct", "k", "k", 9.0)
    ledger.remember("gate", "shut")
    sight(ledger, "later")

    def everything(of: Ledger) -> list[object]:
        lists = [of.latest_bundles(), of.open_files("ct"), of.history(1), of.history(waiting.id), of.files_of(1)]
        return [*lists, of.tallies(), of.recall("gate"), of.open_bundles(), of.accepted("A1", None, "A")]

    before = everything(ledger)
    ledger.close()
    ledger.close()  # twice does no harm
    again = opener()
    assert everything(again) == before
    assert again.open_bundle("ct", "k2", "k2", 10.0).id > waiting.id


def test_the_tests_transitions_are_lawful() -> None:
    """`step` goes through the lifecycle's own table; nothing here writes a state of its own."""
    bundle = BundleRecord(1, "ct", "k", "k", BundleState.DONE, 1.0, 1.0)
    with pytest.raises(NotAllowed):
        step(FakeLedger(), bundle, BundleEvent.SEND)


# --- by day -----------------------------------------------------------------------------------------------------------


def drop_rows(ledger: Ledger, *tallies: DayTally) -> None:
    """Let the ledger hold what a compaction leaves of rows."""
    if isinstance(ledger, FakeLedger):
        ledger._rows.dropped.update({(one.day, one.drop, one.subject, one.state): one.total for one in tallies})
        return
    assert isinstance(ledger, PeeweeLedger)
    rows = [dict(zip(("day", "drop_name", "subject", "state", "total"), astuple(one), strict=True)) for one in tallies]
    with ledger._session.writing():
        ledger._tables.tally.insert_many(rows).execute()


def test_bundles_are_told_by_when_they_were_created(ledger: Ledger) -> None:
    made = [ledger.open_bundle("ct", f"{n}/", f"{n}", at) for n, at in enumerate((10.0, 20.0, 20.0, 30.0, 5.0))]
    assert ledger.bundles_between(10.0, 30.0) == made[:3]
    assert ledger.bundles_between(10.0, 30.0, after=made[0].id, limit=1) == [made[1]]
    assert ledger.bundles_between(10.0, 30.0, after=made[2].id) == []
    assert ledger.bundles_between(0.0, float("inf")) == made
    step(ledger, made[1], BundleEvent.REFUSE, at=99.0)
    assert [one.state for one in ledger.bundles_between(20.0, 21.0)] == [BundleState.REFUSED, BundleState.GATHERING]


def test_files_are_counted_by_quarters_of_an_hour_drops_and_states(ledger: Ledger) -> None:
    base = 1_769_824_800.0  # a whole hour
    sight(ledger, "a", "b", at=base)
    (late,) = sight(ledger, "c", at=base + 899.9)
    (next_one,) = sight(ledger, "d", at=base + 900.0)
    sight(ledger, "e", drop="mr", at=base)
    step(ledger, late, FileEvent.SETTLE, kind=FileKind.PDF)
    step(ledger, next_one, FileEvent.VANISH, is_open=False)
    assert sorted(map(astuple, ledger.files_between(0.0, 1e12))) == [
        (base, "ct", "SEEN", "UNKNOWN", True, 2),
        (base, "ct", "SETTLED", "PDF", True, 1),
        (base, "mr", "SEEN", "UNKNOWN", True, 1),
        (base + 900.0, "ct", "VANISHED", "UNKNOWN", False, 1),
    ]
    assert [one.total for one in ledger.files_between(base + 900.0, base + 901.0)] == [1]
    assert ledger.files_between(0.0, base) == []


def test_tallies_of_days_are_told_in_order(ledger: Ledger) -> None:
    assert ledger.day_tallies("0000-00-00", "9999-12-31") == []
    tallies = [
        DayTally("2026-01-30", "ct", "bundle", "DONE", 7),
        DayTally("2026-01-31", "ct", "bundle", "DONE", 5),
        DayTally("2026-01-31", "ct", "file", "SENT", 2**40),
        DayTally("2026-01-31", "mr", "bundle", "FAILED", 1),
        DayTally("2026-02-01", "ct", "bundle", "DONE", 9),
    ]
    drop_rows(ledger, *reversed(tallies))
    assert ledger.day_tallies("2026-01-31", "2026-01-31") == tallies[1:4]
    assert ledger.day_tallies("2026-01-01", "2026-12-31") == tallies


# --- compaction -------------------------------------------------------------------------------------------------------

LATER = 1_000.0


def day_of(at: float) -> str:
    """Days of 900 seconds, which is what they are multiples of everywhere."""
    return f"2026-01-{int(at // 900) + 1:02d}"


def compact_all(ledger: Ledger, before: float = LATER, drop: str = "ct") -> int:
    total = 0
    while done := ledger.compact(drop, before, day_of):
        total += done
    return total


def ended(ledger: Ledger, name: str, at: float = 1.0, until: float = 5.0, study: str | None = None) -> BundleRecord:
    """A bundle of one file that came at `at` and was delivered at `until`."""
    bundle = ledger.open_bundle("ct", name, name, at)
    (file,) = assign(ledger, bundle, sight(ledger, f"{name}/1", at=at))
    step(ledger, step(ledger, file, FileEvent.SETTLE), FileEvent.ACCEPT, destination="A", accepted_at=until)
    exam = {"access_number": f"A{study or name}", "study_uid": f"1.2.{study or name}"}
    for event in (BundleEvent.COMPLETE, BundleEvent.SEND):
        bundle = step(ledger, bundle, event, **exam)
    bundle = step(ledger, bundle, BundleEvent.COMMIT, committed_at=until)
    return step(ledger, bundle, BundleEvent.SHELVE, at=until, is_open=False)  # type: ignore[no-any-return]


def newest(ledger: Ledger, name: str = "newest") -> None:
    """Rows that have the highest numbers, so that the others may go."""
    assign(ledger, ledger.open_bundle("ct", name, name, 9.0), sight(ledger, f"{name}/1"))


def test_what_was_delivered_long_ago_becomes_a_count_of_its_day(ledger: Ledger) -> None:
    old = ended(ledger, "old")
    kept = ended(ledger, "kept", until=LATER)
    newest(ledger)
    before = ledger.tallies()
    assert compact_all(ledger) == 1
    assert compact_all(ledger) == 0
    assert (ledger.bundle(old.id), ledger.files_of(old.id), ledger.history(old.id)) == (None, [], [])
    assert ledger.delivered("Aold", "1.2.old") == []
    assert ledger.bundle(kept.id) == kept
    assert len(ledger.files_of(kept.id)) == 1
    assert ledger.tallies() == before
    assert [astuple(one) for one in ledger.day_tallies("0", "9")] == [
        ("2026-01-01", "ct", "bundle", "DONE", 1),
        ("2026-01-01", "ct", "file", "SENT", 1),
    ]


def test_what_was_delivered_of_one_study_is_kept_until_the_last_of_it_may_go(ledger: Ledger) -> None:
    old = [ended(ledger, name, study="study") for name in ("one", "two")]
    late = ended(ledger, "late", until=LATER, study="study")
    newest(ledger)
    assert compact_all(ledger) == 0
    assert [one.id for one in ledger.delivered("Astudy", "1.2.study")] == [*(one.id for one in old), late.id]
    assert compact_all(ledger, before=LATER + 1) == 3
    again = ended(ledger, "again", study="study")
    waits = ledger.open_bundle("ct", "waits", "waits", 1.0)
    step(ledger, waits, BundleEvent.COMPLETE, access_number="Astudy")
    newest(ledger, "newer")
    assert compact_all(ledger) == 0
    assert ledger.bundle(again.id) == again


def test_counts_of_a_day_add_up(ledger: Ledger) -> None:
    for number in range(3):
        ended(ledger, f"n{number}", at=1.0 + 900.0 * (number == 2))
        newest(ledger, f"newest {number}")
        assert compact_all(ledger) == 1
    assert [(one.day, one.total) for one in ledger.day_tallies("0", "9") if one.subject == "bundle"] == [
        ("2026-01-01", 2),
        ("2026-01-02", 1),
    ]


def test_nothing_that_is_open_or_failed_or_of_another_drop_is_compacted(ledger: Ledger) -> None:
    failed = step(ledger, ledger.open_bundle("ct", "f/", "f", 1.0), BundleEvent.REFUSE)
    step(ledger, failed, BundleEvent.SHELVE, is_open=False)
    ledger.open_bundle("ct", "w/", "w", 1.0)
    sight(ledger, "loose", at=1.0)
    other = ended(ledger, "other")
    newest(ledger)
    assert compact_all(ledger, drop="mr") == 0
    assert compact_all(ledger, before=5.0) == 0
    assert len(ledger.latest_bundles()) == 4
    assert ledger.bundle(other.id) == other


def test_numbers_are_not_given_twice_after_a_compaction(ledger: Ledger) -> None:
    last = ended(ledger, "last")
    compact_all(ledger)
    assert ledger.open_bundle("ct", "k", "k", 9.0).id > last.id
    (file,) = sight(ledger, "later")
    assert file.id > max([one.id for one in ledger.files_of(last.id)], default=1)
    assert compact_all(ledger) == 1


def test_withdrawn_bundles_and_files_that_vanished_alone_are_compacted_too(ledger: Ledger) -> None:
    step(ledger, ledger.open_bundle("ct", "1", "x", 1.0), BundleEvent.WITHDRAW, is_open=False)
    step(ledger, sight(ledger, "gone", at=1.0)[0], FileEvent.VANISH)
    young = step(ledger, sight(ledger, "just gone", at=LATER)[0], FileEvent.VANISH)
    newest(ledger)
    before = ledger.tallies()
    assert compact_all(ledger) == 2
    assert ledger.tallies() == before
    assert young.state == FileState.VANISHED
    assert {(one.subject, one.state, one.total) for one in ledger.day_tallies("0", "9")} == {
        ("bundle", "WITHDRAWN", 1),
        ("file", "VANISHED", 1),
    }


def test_a_place_on_a_shelf_tells_its_bundle(ledger: Ledger) -> None:
    bundle = step(ledger, ledger.open_bundle("ct", "1", "x", 1.0), BundleEvent.REFUSE, target="/failed/x")
    assert ledger.bundle_at("/failed/x") == bundle
    assert ledger.bundle_at("/failed/y") is None
