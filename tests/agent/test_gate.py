"""The gate: an outage or a hold is met once, by one bundle at a time, and everything goes on by itself afterwards."""

from __future__ import annotations

import itertools

from folder_agent.agent import gatekeeper
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from tests.agent.conftest import NewWorld
from tests.fakes import RETRIES, World

DENIED = failure(problem("FA-GW-AUTH", status=401))


def sends(world: World) -> list[tuple[int, float]]:
    """Every attempt: its bundle and when."""
    found = []
    for bundle in world.ledger.latest_bundles():
        history = world.ledger.history(bundle.id)
        found += [(bundle.id, e.at) for e in history if (e.subject, e.event) == ("bundle", "send")]
    return sorted(found, key=lambda one: one[1])


def test_during_an_outage_one_bundle_at_a_time_probes(new_world: NewWorld) -> None:
    world = new_world(workers=4)
    world.gateway.go_down()
    for number in range(1, 11):
        world.drop_exam(number)
    world.run(120.0)
    times = [at for _, at in sends(world)][4:]  # the first four set out together and find out
    assert len(times) >= 3
    assert times[0] - sends(world)[0][1] <= RETRIES.first_s + 1  # however many workers found out at once
    assert all(later - earlier >= RETRIES.first_s / 2 for earlier, later in itertools.pairwise(times))
    assert world.publisher.notices == [("FA-GW-UNREACHABLE", False)]
    world.gateway.come_back()
    world.run(3 * RETRIES.max_s)
    assert set(world.states().values()) == {"DONE"}
    assert world.publisher.notices == [("FA-GW-UNREACHABLE", False), ("FA-GW-UNREACHABLE", True)]
    assert sorted(world.gateway.posted) == sorted(f"ACC{number}" for number in range(1, 11))


def test_the_gate_is_in_the_ledger_while_it_is_shut(world: World) -> None:
    world.gateway.go_down()
    world.drop_exam()
    world.run(10.0)
    assert "FA-GW-UNREACHABLE" in (world.ledger.recall("gate") or "")
    world.gateway.come_back()
    world.run(120.0)
    assert world.ledger.recall("gate") is None


def test_a_hold_lasts_as_long_as_it_must_and_fails_nothing(world: World) -> None:
    world.gateway.go_down(DENIED)
    world.drop_exam()
    world.run(10.0)
    for _ in range(5):
        world.clock.advance(RETRIES.for_s)
        world.run(10.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "HELD"}, ["FA-GW-AUTH"])
    world.gateway.come_back()
    world.run(2 * RETRIES.max_s)
    assert world.states() == {"CT1": "DONE"}
    assert world.publisher.notices == [*[("FA-GW-AUTH", False)] * 6, ("FA-GW-AUTH", True)]  # once, then hourly


def test_what_lasts_is_said_with_how_long_and_how_many_and_again_only_from_time_to_time(new_world: NewWorld) -> None:
    world = new_world(workers=4)
    world.gateway.go_down()
    for number in range(1, 11):
        world.drop_exam(number)
    world.run(30.0)
    began = world.clock.now()
    (first,) = world.publisher.lasting
    assert first is not None and first.waiting == 10
    world.run(3 * gatekeeper.REMIND_S)
    assert len(world.publisher.notices) == 4  # hundreds of probes later
    world.gateway.come_back()
    world.run(3 * RETRIES.max_s)
    last = world.publisher.lasting[-1]
    assert last is not None and last.since == first.since <= began
    assert last.until - last.since >= 3 * gatekeeper.REMIND_S


def test_a_start_remembers_that_the_gate_is_shut_and_asks_once(new_world: NewWorld) -> None:
    world = new_world(workers=4)
    world.gateway.go_down(DENIED)
    for number in range(1, 7):
        world.drop_exam(number)
    world.run(20.0)
    tried = len(sends(world))
    world.end()
    world.start()
    world.run(3.0)
    assert len(sends(world)) == tried + 1
    assert world.publisher.notices[-1] == ("FA-GW-AUTH", False)
    assert world.publisher.lasting[-1].since == world.publisher.lasting[0].since  # type: ignore[union-attr]


def test_what_was_put_off_by_an_outage_takes_its_place_in_the_order_when_it_is_over(world: World) -> None:
    world.drop_exam(1, studyCategory="emergency")
    world.gateway.go_down()
    world.run(120.0)  # by now its own next try is far away
    for number in (2, 3, 4):
        world.drop_exam(number)
    world.run(5.0)
    world.gateway.come_back()
    world.ledger.remember("knock", "1")
    world.run(15.0)
    assert set(world.states().values()) == {"DONE"}
    assert world.gateway.posted.index("ACC1") <= 1  # the probe may be another's


def test_an_operators_knock_probes_at_once(world: World) -> None:
    world.gateway.go_down(DENIED)
    world.drop_exam()
    world.run(40.0)
    world.gateway.come_back()
    world.ledger.remember("knock", "1")
    world.run(2.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_refusal_of_one_exam_proves_the_gateway_alive(world: World) -> None:
    world.gateway.go_down()
    for number in (1, 2, 3):
        world.drop_exam(number)
    world.run(10.0)
    world.gateway.come_back()
    world.gateway.line.coming.append(10005)
    world.run(3 * RETRIES.max_s)
    assert sorted(world.states().values()) == ["DONE", "DONE", "FAILED"]


def test_emergencies_go_first_then_the_oldest(world: World) -> None:
    world.gateway.go_down()
    for number in (1, 2, 3):
        world.drop_exam(number)
        world.run(5.0)
    world.drop_exam(4, studyCategory="emergency")
    world.run(5.0)
    world.gateway.come_back()
    world.run(6 * RETRIES.max_s)
    assert world.gateway.posted[0] == "ACC4"
    assert set(world.states().values()) == {"DONE"}


def test_an_outage_of_one_drop_folder_does_not_stop_the_other(new_world: NewWorld) -> None:
    world = new_world(drops=("ct", "mr"))
    world.drop_exam(1, drop="ct", imageCnt=2)
    world.run(10.0)
    world.drops["ct"].go_away()
    world.drop_exam(2, drop="mr")
    world.run(30.0)
    assert world.states() == {"CT1": "GATHERING", "CT2": "DONE"}
    assert world.publisher.notices == [("FA-DROP-GONE", False)]
    world.drops["ct"].outage = None
    world.drop_exam(1, images=2, drop="ct")
    world.run(30.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}
    assert world.publisher.notices == [("FA-DROP-GONE", False), ("FA-DROP-GONE", True)]


def test_an_outage_at_the_start_takes_nothing_for_gone(world: World) -> None:
    world.drop_exam(imageCnt=2)
    world.run(10.0)
    world.end()
    world.drop.go_away()
    world.start()
    world.run(30.0)
    assert world.states() == {"CT1": "GATHERING"}
    world.drop.outage = None
    world.drop_exam(images=2)
    world.run(30.0)
    assert world.states() == {"CT1": "DONE"}


def test_an_outage_of_the_drop_folder_while_it_is_sent_loses_nothing(world: World) -> None:
    world.drop_exam()
    world.gateway.line.on_way = world.drop.go_away
    world.run(20.0)
    world.gateway.line.on_way = lambda: None
    world.drop.outage = None
    world.run(120.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.names == ["1.2.1.1.1"]


def test_a_folder_that_cannot_be_listed_counts_as_unchanged(world: World) -> None:
    world.drop_exam(imageCnt=2)
    world.run(10.0)
    world.drop.hidden.add("CT1")
    world.run(30.0)
    assert (world.states(), world.publisher.notices) == ({"CT1": "GATHERING"}, [("FA-FOLDER-UNLISTED", False)])
    world.drop.hidden.clear()
    world.drop.put("CT1/2.dcm", b"")
    world.drop_exam(images=2)
    world.run(30.0)
    assert world.states() == {"CT1": "DONE"}
