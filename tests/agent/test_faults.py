"""Faults of every port: one bundle's are its own, the ledger's are survived, and what was true stays true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, StaleState, problem
from tests.agent.conftest import NewWorld
from tests.fakes import RETRIES, Counting, World

LOCKED = failure(problem("FA-LEDGER", detail="locked"), Disposition.RETRY)
FULL = failure(problem("FA-DISK-FULL", where="ledger"))
CORRUPT = failure(problem("FA-LEDGER", detail="corrupt"))


def watched(new_world: NewWorld, kind: str, **settings: Any) -> tuple[World, Counting]:
    """A world, and the one of its ports that is to be counted or to fail."""
    found: list[Counting] = []

    def wrap(name: str, port: Any) -> Any:
        if name != kind:
            return port
        found.append(Counting(port))
        return found[-1]

    world = new_world(wrap=wrap, **settings)
    world.start()
    return world, found[0]


def raising(error: Exception, times: int = 1, when: Callable[..., bool] = lambda *_: True) -> Callable[..., None]:
    """Raises so many times, when the arguments are the right ones."""
    left = [error] * times

    def raise_one(*arguments: Any, **_: Any) -> None:
        if left and when(*arguments):
            raise left.pop()

    return raise_one


@pytest.mark.parametrize("kind", ["gateway", "shelves", "drop"])
def test_an_unexpected_exception_puts_off_that_bundle_alone(new_world: NewWorld, kind: str) -> None:
    world, port = watched(new_world, kind)
    fault = RuntimeError("a fault of ours")
    if kind == "gateway":
        world.gateway.line.coming.append(fault)
    else:
        method = {"shelves": "move", "drop": "below"}[kind]
        port.before[method] = raising(fault, 1, lambda path, *_: path.startswith("CT1"))
    world.drop_exam(1)
    world.drop_exam(2)
    world.run(4.0)
    assert world.states()["CT2"] == "DONE"
    assert (world.states()["CT1"], world.codes("CT1")) == (
        "COMMITTED" if kind == "shelves" else "WAITING",
        ["FA-INTERNAL"],
    )
    assert [type(fault) for fault in world.publisher.faults] == [RuntimeError]
    world.run(20.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}


def test_an_exception_before_the_first_byte_puts_off_that_bundle_alone(new_world: NewWorld) -> None:
    world, gateway = watched(new_world, "gateway")
    gateway.before["for_exam"] = raising(RuntimeError("a fault of ours"), 3, lambda exam, _: exam["studyId"] == "S1")
    world.drop_exam(1)
    world.drop_exam(2)
    world.run(4.0)
    assert world.states() == {"CT1": "COMPLETE", "CT2": "DONE"}
    assert gateway.calls["for_exam"] == 2  # it is not hammered
    world.run(120.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}


@pytest.mark.parametrize("event", ["send", "accept", "shelve"])
@pytest.mark.parametrize("error", [StaleState("moved on"), LOCKED, RuntimeError("a fault of ours")], ids=str)
def test_a_worker_that_the_ledger_refuses_wedges_nothing(new_world: NewWorld, event: str, error: Exception) -> None:
    world, ledger = watched(new_world, "ledger")
    ledger.before["apply"] = raising(error, 1, lambda steps: any(step.event == event for step in steps))
    world.drop_exam(1)
    world.drop_exam(2)
    world.run(120.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}
    assert sorted(set(world.gateway.image_line.names)) == ["1.2.1.1.1", "1.2.2.1.1"]
    assert world.drop.files == {}


@pytest.mark.parametrize("error", [StaleState("moved on"), LOCKED, RuntimeError("a fault of ours")], ids=str)
def test_a_worker_that_cannot_note_a_commit_wedges_nothing(new_world: NewWorld, error: Exception) -> None:
    world, ledger = watched(new_world, "ledger")
    ledger.before["commit"] = raising(error, 2)
    world.drop_exam(1)
    world.drop_exam(2)
    world.run(120.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}
    assert sorted(set(world.gateway.image_line.names)) == ["1.2.1.1.1", "1.2.2.1.1"]
    assert world.drop.files == {}


@pytest.mark.parametrize("error", [StaleState("moved on"), LOCKED, RuntimeError("a fault of ours")], ids=str)
def test_a_worker_that_cannot_note_where_a_refused_bundle_goes_wedges_nothing(
    new_world: NewWorld, error: Exception
) -> None:
    world, ledger = watched(new_world, "ledger")
    ledger.before["apply"] = raising(error, 1, lambda steps: any(step.event == "aim" for step in steps))
    world.drop_exam(1, accessNumber=None)
    world.run(120.0)
    assert world.states() == {"CT1": "REFUSED"}
    assert world.drop.files == {}


def test_a_place_that_is_taken_in_the_moment_of_the_commit_costs_another_place_only(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    taken = StaleState("another worker has just taken that name")
    ledger.before["commit"] = raising(taken, 1, lambda steps, _: steps[-1].after.target is not None)
    world.drop_exam(1)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert len(world.gateway.posted) == 1
    assert world.publisher.events(1)[-3:] == ["commit", "aim", "shelve"]


def test_a_shelf_out_of_reach_keeps_nothing_from_being_committed(new_world: NewWorld) -> None:
    world, shelves = watched(new_world, "shelves")
    shelves.before["is_free"] = raising(failure(problem("FA-SHELF", shelf="done", detail="EIO")), 1)
    world.drop_exam(1)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert len(world.gateway.posted) == 1
    assert world.publisher.events(1)[-3:] == ["commit", "aim", "shelve"]


def test_no_shelf_is_asked_between_the_gateways_answer_and_its_note(new_world: NewWorld) -> None:
    """A share that hangs there would leave an accepted exam without its note, to be posted once more after a kill."""
    world, shelves = watched(new_world, "shelves")
    posted: list[int] = []
    shelves.before["is_free"] = lambda *_: posted.append(len(world.gateway.posted))
    world.drop_exam(1)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert posted == [0]


METHODS = [
    "apply",
    "amend",
    "sight",
    "open_bundle",
    "claim",
    "release",
    "recall",
    "files_of",
    "bundle",
    "accepted",
    "target_is_taken",
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [LOCKED, FULL, StaleState("moved on")], ids=["locked", "full", "stale"])
@pytest.mark.parametrize("skipped", range(4))
def test_a_passing_trouble_of_the_ledger_is_survived(
    new_world: NewWorld, method: str, error: Exception, skipped: int
) -> None:
    world, ledger = watched(new_world, "ledger")
    left = [*range(skipped), None, None, None]  # then three in a row
    ledger.before[method] = lambda *_, **__: _raise(error) if left and left.pop(0) is None else None
    world.drop_exam(1, images=2)
    world.drop_exam(2)
    world.run(240.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}
    assert sorted(set(world.gateway.image_line.names)) == ["1.2.1.1.1", "1.2.1.1.2", "1.2.2.1.1"]
    assert world.drop.files == {}
    assert {str(f.state) for n in (1, 2) for f in world.ledger.files_of(n)} == {"SENT"}


def _raise(error: Exception) -> None:
    raise error


def test_a_ledger_that_is_locked_for_long_is_told_once_and_not_hammered(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    world.drop_exam(1)
    for method in ("apply", "amend", "sight", "recall", "remember"):
        ledger.before[method] = lambda *_, **__: _raise(LOCKED)
    world.run(300.0)
    assert world.publisher.notices == [("FA-LEDGER", False)]
    assert sum(ledger.calls.values()) < 200
    ledger.before.clear()
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.publisher.notices == [("FA-LEDGER", False), ("FA-LEDGER", True)]


@pytest.mark.parametrize("method", ["apply", "sight", "files_of", "claim"])
def test_a_ledger_that_is_broken_stops_the_agent(new_world: NewWorld, method: str) -> None:
    world, ledger = watched(new_world, "ledger")
    ledger.before[method] = lambda *_, **__: _raise(CORRUPT)
    world.drop_exam()
    with pytest.raises(AgentError) as told:
        world.run(60.0)
    assert told.value is CORRUPT


def test_a_ledger_that_breaks_in_a_workers_hands_stops_the_agent(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    ledger.before["commit"] = lambda *_, **__: _raise(CORRUPT)
    world.drop_exam()
    with pytest.raises(AgentError) as told:
        world.run(60.0)
    assert (told.value.problem, told.value.disposition) == (CORRUPT.problem, Disposition.FATAL)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("method", ["prepare", "write_note", "move", "sync", "read"])
@pytest.mark.parametrize("code", ["FA-SHELF", "FA-DISK-FULL"])
def test_a_shelf_in_trouble_is_tried_again_and_nothing_is_sent_again(
    new_world: NewWorld, code: str, method: str, times: int
) -> None:
    world, shelves = watched(new_world, "shelves")
    values = {"shelf": "done", "detail": "EIO"} if code == "FA-SHELF" else {"where": "done"}
    shelves.before[method] = raising(failure(problem(code, None, None, **values)), times)
    world.drop_exam()
    world.run(4.0)
    bundle = world.bundle("CT1")
    assert (bundle.state, world.codes("CT1")) == ("COMMITTED", [code])
    assert bundle.due_at is not None
    world.run(RETRIES.first_s * 2**times + 10)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "DONE"}, [])
    assert world.publisher.notices == [(code, False)]
    assert world.shelved() == {"CT1": ["1.dcm", "exam.json", "receipt.json"]}
    assert (world.gateway.posted, world.gateway.image_line.names) == (["ACC1"], ["1.2.1.1.1"])


def test_a_full_disk_for_days_keeps_what_was_committed(new_world: NewWorld) -> None:
    world, shelves = watched(new_world, "shelves")
    shelves.before["prepare"] = lambda *_: _raise(failure(problem("FA-DISK-FULL", where="done")))
    world.drop_exam()
    world.run(10.0)
    for _ in range(3):
        world.clock.advance(RETRIES.for_s)
        world.run(10.0)
    assert (world.states(), world.gateway.posted) == ({"CT1": "COMMITTED"}, ["ACC1"])
    assert sorted(world.drop.files) == ["CT1/1.dcm", "CT1/exam.json"]
    shelves.before.clear()
    world.run(2 * RETRIES.max_s)
    assert world.states() == {"CT1": "DONE"}


def test_a_refused_bundle_keeps_its_reason_while_the_shelf_is_in_trouble(new_world: NewWorld) -> None:
    world, shelves = watched(new_world, "shelves")
    shelves.before["move"] = raising(failure(problem("FA-DISK-FULL", where="failed")), 2)
    world.drop_exam(patientId=None)
    world.run(120.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "REFUSED"}, ["FA-FIELD-MISSING"])
    assert world.shelved("failed") == {"CT1": ["1.dcm", "WHY.txt", "exam.json"]}
