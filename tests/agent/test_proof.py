"""Promises of the proof at the far end: nothing is posted before the gateway has said that it has the images."""

from __future__ import annotations

from folder_agent.core.errors import AgentError
from tests.agent.conftest import NewWorld
from tests.fakes import RETRIES, World, an_image, sidecar

HOUR_S = 3600.0


def answers(world: World, name: str = "CT1") -> dict[str, str | None]:
    files = world.ledger.files_of(world.bundle(name).id)
    return {file.path.rpartition("/")[2]: file.answer for file in files if file.path.endswith(".dcm")}


def test_what_is_there_is_noted_and_the_exam_posted(new_world: NewWorld) -> None:
    world = new_world()
    world.gateway.prove()
    world.drop_exam(1, images=2)
    world.run()
    assert world.states() == {"CT1": "DONE"}
    assert set(answers(world).values()) == {"code 0, found by a fake"}


def test_what_is_lost_is_sent_once_more_before_the_exam_is_posted(new_world: NewWorld) -> None:
    world = new_world()
    world.gateway.prove().loses = ["1.2.1.1.2"]
    sent: list[str] = []
    world.gateway.line.on_way = lambda: sent.extend(world.gateway.image_line.names)
    world.drop_exam(1, images=3)
    world.run()
    assert world.states() == {"CT1": "DONE"}
    assert sorted(sent) == ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"]
    assert [entry.event for entry in world.ledger.history(world.bundle("CT1").id)].count("miss") == 1


def test_what_is_lost_for_good_waits_and_is_tried_again(new_world: NewWorld) -> None:
    world = new_world()
    proof = world.gateway.prove()
    proof.loses = ["1.2.1.1.2"] * 3
    world.drop_exam(1, images=3)
    world.run(5.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-GW-MISSING"])
    assert not world.gateway.exams
    assert dict(world.bundle("CT1").reasons[0].values) == {"count": 1, "total": 3}
    world.run(120.0)
    assert world.states() == {"CT1": "DONE"}
    assert not proof.loses
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"]


def test_a_gateway_that_never_says_keeps_the_exam_waiting_and_fails_nothing(new_world: NewWorld) -> None:
    world = new_world()
    proof = world.gateway.prove()
    proof.says_nothing = True
    world.drop_exam(1)
    world.run(RETRIES.for_s + 3 * HOUR_S)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-GW-UNPROVEN"])
    assert world.gateway.image_line.names == ["1.2.1.1.1"]  # it is not sent again for that
    proof.says_nothing = False
    world.run(120.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_gateway_that_loses_for_ever_fails_the_exam_in_the_end(new_world: NewWorld) -> None:
    world = new_world()
    world.gateway.prove().loses = ["1.2.1.1.1"] * 10_000
    world.drop_exam(1)
    world.run(RETRIES.for_s + HOUR_S)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "FAILED"}, ["FA-EXHAUSTED", "FA-GW-MISSING"])


def test_what_an_earlier_delivery_left_is_not_believed_once_it_is_lost(new_world: NewWorld) -> None:
    world = new_world()
    world.drop_exam(1, images=2)
    world.run()
    world.gateway.image_line.received = []
    world.gateway.prove()
    world.drop_exam(1, images=2)
    world.run()
    assert world.states() == {"CT1": "DONE"}
    assert len(world.gateway.posted) == 2
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]


def test_copies_of_a_lost_image_go_once(new_world: NewWorld) -> None:
    world = new_world()
    world.gateway.prove().loses = ["1.2.1.1.1"]
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT1/copy.dcm", an_image(1, 1))
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=1))
    world.run()
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.names == ["1.2.1.1.1"]
    assert set(answers(world).values()) == {"code 0, found by a fake"}


def test_an_outage_while_asking_is_one(new_world: NewWorld) -> None:
    world = new_world()
    proof = world.gateway.prove()
    world.gateway.line.on_way = lambda: None
    world.gateway.go_down()
    error = world.gateway.line.down
    world.gateway.come_back()
    assert isinstance(error, AgentError)
    proof.down = error
    world.drop_exam(1)
    world.run(5.0)
    assert (world.states(), world.agent._gate.is_open) == ({"CT1": "WAITING"}, False)
    proof.down = None
    world.run(120.0)
    assert world.states() == {"CT1": "DONE"}
