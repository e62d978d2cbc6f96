"""What costs nothing: bundles that are done, and a drop folder in which nothing happens."""

from __future__ import annotations

import itertools
from typing import Any

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BUNDLE_TABLE, BundleEvent, BundleState
from tests.agent.conftest import NewWorld
from tests.agent.test_faults import watched
from tests.fakes import Counting, World

WRITES = {"apply", "amend", "sight", "open_bundle", "claim", "release", "remember"}


def calls_of_a_quiet_minute(world: World, ledger: Counting, drop: Any) -> dict[str, int]:
    ledger.calls.clear()
    drop.inspected.clear()
    world.run(60.0)
    assert drop.inspected == []
    return dict(ledger.calls)


def test_a_quiet_cycle_writes_nothing(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    world.drop_exam(1)
    world.drop_exam(2, imageCnt=5)
    world.run(30.0)
    assert world.states() == {"CT1": "DONE", "CT2": "GATHERING"}
    assert not WRITES & calls_of_a_quiet_minute(world, ledger, world.drop).keys()


def test_what_is_done_costs_nothing_any_more(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    costs = []
    for first in (1, 11, 31):
        for number in range(first, first + 10):
            world.drop_exam(number)
        world.run(30.0)
        costs.append(calls_of_a_quiet_minute(world, ledger, world.drop))
    assert costs[0] == costs[1] == costs[2]
    assert set(world.states().values()) == {"DONE"}


def test_a_delivery_costs_the_same_however_many_came_before(new_world: NewWorld) -> None:
    world, ledger = watched(new_world, "ledger")
    costs = []
    for number in range(1, 8):
        ledger.calls.clear()
        world.drop_exam(number)
        world.run(30.0)
        costs.append({name: count for name, count in ledger.calls.items() if name != "recall"})
    assert costs[1:] == [costs[1]] * 6


def test_the_publisher_sees_every_transition_once_and_in_lawful_order(new_world: NewWorld) -> None:
    world = new_world(workers=4)
    for number in range(1, 9):
        world.drop_exam(number, patientId=None if number == 3 else f"P{number}", imageCnt=2 if number == 5 else 1)
    world.gateway.line.coming.extend([1, 10005, 1, None, 1])
    world.run(200.0)
    for bundle in world.ledger.latest_bundles():
        seen = [one[1:] for one in world.publisher.transitions if one[0] == bundle.id]
        assert seen[0] == ("", "open", "GATHERING")
        for (_, _, earlier), (before, event, after) in itertools.pairwise(seen):
            assert before == earlier
            assert BUNDLE_TABLE[BundleState(before), BundleEvent(event)] == after
        told = [entry for entry in world.ledger.history(bundle.id) if entry.subject == "bundle"]
        assert seen == [(str(entry.before), str(entry.event), str(entry.after)) for entry in told]


def test_progress_never_runs_back_and_ends_at_the_whole(world: World) -> None:
    world.drop_exam(images=5)
    world.run(10.0)
    sent = [sent for _, sent, _ in world.publisher.progress]
    total = world.publisher.progress[0][2]
    assert sent == sorted(sent)
    assert (sent[0], sent[-1]) == (0, total)


def test_stopping_in_the_middle_is_no_failure_and_the_next_start_goes_on(world: World) -> None:
    world.drop_exam(images=2)
    world.gateway.image_line.coming.extend([None, failure(problem("FA-STOPPING"))])
    world.gateway.image_line.on_way = world.agent.stop
    world.run(10.0)
    world.end()
    assert (world.bundle("CT1").state, world.bundle("CT1").attempts) == ("SENDING", 0)
    world.gateway.image_line.on_way = lambda: None
    world.start()
    world.run(10.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.names == ["1.2.1.1.1", "1.2.1.1.2"]
