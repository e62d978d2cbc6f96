"""The note in the drop folder: when it is written, what it tells, and that nothing waits for it."""

from __future__ import annotations

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, World, an_image, sidecar


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(notes=True)


def last(world: World) -> str:
    return world.notes[-1].decode("utf-8-sig")


def test_it_tells_of_what_lies_there(world: World) -> None:
    world.drop_exam(1, images=2, imageCnt=3)
    world.drop_exam(2, patientId=None)
    world.drop.put("letter.docx", b"word")
    world.drop.put("CT1.lnk", b"link")
    world.drop.put("loose.pdf", PDF)
    world.run(120.0)
    told = last(world)
    for part in (
        "CT1: waiting for 1 of 3 images",
        "failed/2026-01-31/CT2",
        "FA-NOT-EXAM",
        "FA-SHORTCUT",
        "FA-NO-OWNER",
    ):
        assert part in told


def test_it_is_written_on_a_change_and_at_least_every_minute_but_not_all_the_time(world: World) -> None:
    world.run(5.0)
    assert len(world.notes) == 1
    world.run(600.0)
    assert 9 <= len(world.notes) <= 12
    before = len(world.notes)
    world.drop_exam(1, images=1, imageCnt=2)
    world.run(40.0)
    assert "CT1" in last(world)
    for number in range(60):
        world.drop.put(f"CT1/{number}.tmp", b"x")
        world.run(1.0)
    assert len(world.notes) - before <= 12


def test_none_is_written_where_nobody_asked_for_one(new_world: NewWorld) -> None:
    world = new_world()
    world.drop_exam(1)
    world.run(120.0)
    assert world.notes == []


def test_one_that_cannot_be_written_keeps_nothing_waiting_and_is_told_once(world: World) -> None:
    def refuse(_: bytes) -> None:
        raise failure(problem("FA-STATUS-NOTE", detail="EACCES"))

    world.write_note = refuse
    world.drop_exam(1)
    world.run(300.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.publisher.notices == [("FA-STATUS-NOTE", False)]
    world.write_note = world.notes.append
    world.run(120.0)
    assert world.publisher.notices[1:] == [("FA-STATUS-NOTE", True)]


def test_it_is_not_written_while_the_share_is_away(world: World) -> None:
    world.run(30.0)
    count = len(world.notes)
    world.drop.go_away()
    world.run(300.0)
    assert len(world.notes) <= count + 1
    world.drop.outage = None
    world.run(120.0)
    assert len(world.notes) > count + 1


def test_what_is_dropped_again_is_no_failure_any_more(world: World) -> None:
    world.drop_exam(1, patientId=None)
    world.run(90.0)
    assert "failed/2026-01-31/CT1" in last(world)
    world.drop_exam(1)
    world.run(90.0)
    assert "failed/2026-01-31/CT1" not in last(world)


def test_it_says_why_nothing_is_sent(world: World) -> None:
    world.gateway.go_down(failure(problem("FA-GW-UNREACHABLE", detail="refused")))
    world.drop.put("CT1/exam.json", sidecar(1))
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.run(90.0)
    assert "FA-GW-UNREACHABLE" in last(world)
