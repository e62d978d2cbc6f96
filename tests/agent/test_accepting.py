"""What was refused for more files than declared is accepted by an operator: it comes back, and goes as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.records import Act, Deed
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, World, an_image, sidecar


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(quiet_s=10.0)


def too_many(world: World, **changes: object) -> int:
    """An exam of three images and a PDF that declares one image ends in failed/; its number."""
    for number in (1, 2, 3):
        world.drop.put(f"CT1/{number}.dcm", an_image(1, number))
    world.drop.put("CT1/report.pdf", PDF)
    world.drop.put("CT1/exam.json", sidecar(1, **{"imageCnt": 1, "pdfCnt": 1, **changes}))
    world.run(30.0)
    assert (world.states(), world.drop.files) == ({"CT1": "REFUSED"}, {})
    return world.bundle("CT1").id


def accept(world: World, number: int) -> None:
    """As the console writes it."""
    world.ledger.keep_deed(Deed(world.clock.now(), "anna", Act.ACCEPT, number, "all are of this exam", "10.0.0.1"))
    world.ledger.remember("knock", f"{number}")


def put_back(world: World) -> None:
    """By hand."""
    target = world.bundle("CT1").target or ""
    world.shelf.put_back(target, "CT1")


def test_it_is_brought_back_and_sent_with_its_actual_counts(world: World) -> None:
    number = too_many(world)
    accept(world, number)
    world.run(30.0)
    done = world.bundle("CT1")
    assert (world.states(), world.shelved("failed"), world.drop.files) == ({"CT1": "DONE"}, {}, {})
    assert done.id > number
    (exam,) = world.gateway.exams
    assert (exam["imageCnt"], exam["pdfCnt"]) == (3, 1)
    (order,) = world.ledger.deeds_of(done.id)
    assert (order.who, order.act, order.reason) == ("anna", Act.ACCEPT, "all are of this exam")


def test_a_flat_exam_comes_back_in_a_folder(world: World) -> None:
    for number in (1, 2):
        world.drop.put(f"A1_{number}.dcm", an_image(1, number))
    world.drop.put("A1.json", sidecar(1, imageCnt=1))
    world.run(30.0)
    assert world.states() == {"A1": "REFUSED"}
    accept(world, world.bundle("A1").id)
    world.run(30.0)
    assert (world.states(), world.shelved("failed"), world.drop.files) == ({"A1": "DONE"}, {}, {})
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2]


def test_under_a_name_that_is_taken_meanwhile(world: World) -> None:
    number = too_many(world)
    world.drop.put("CT1/exam.json", sidecar(7, imageCnt=4))  # of another exam, and waiting
    world.run(1.0)
    accept(world, number)
    world.run(30.0)
    assert world.states()["CT1 (2)"] == "DONE"
    assert world.bundle("CT1").access_number == "ACC7"


def test_two_of_one_exam_are_not_taken_for_each_other(world: World) -> None:
    """The first is accepted; what was dropped since under its name, with one image more, is not."""
    number = too_many(world)
    world.drop.put("CT1/4.dcm", an_image(1, 4))
    second = too_many(world)
    assert world.codes("CT1") == ["FA-TOO-MANY"]
    accept(world, number)
    world.run(30.0)
    assert world.states() == {"CT1": "DONE"}
    refused = world.ledger.bundle(second)
    assert refused is not None
    assert (str(refused.state), list(world.shelved("failed"))) == ("REFUSED", ["CT1 (2)"])
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [3]


def test_it_does_not_wait_for_silence_as_what_is_refused_does(world: World) -> None:
    accept(world, too_many(world))
    world.run(6.0)
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("wrong", [{"patientId": None}, {"accessNumber": "OTHER"}], ids=str)
def test_anything_else_that_is_wrong_is_never_accepted(world: World, wrong: dict[str, object]) -> None:
    number = too_many(world, **wrong)
    assert {"FA-TOO-MANY"} < set(world.codes("CT1"))
    accept(world, number)
    world.run(60.0)
    assert (world.states(), world.bundle("CT1").id) == ({"CT1": "REFUSED"}, number)
    assert list(world.shelved("failed")) == ["CT1"]
    put_back(world)
    world.run(60.0)
    assert (world.states(), world.gateway.exams) == ({"CT1": "REFUSED"}, [])


@pytest.mark.parametrize(
    "meddle",
    [
        lambda world: world.drop.put("CT1/4.dcm", an_image(1, 4)),
        lambda world: world.drop.put("CT1/3.dcm", an_image(1, 9)),
        lambda world: world.drop.put("CT1/report.pdf", PDF.replace(b"1.4", b"1.5")),
        lambda world: world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2, pdfCnt=1)),
        lambda world: world.drop.put("CT1/exam.json", sidecar(1, imageCnt=1, pdfCnt=1, studyId="S9")),
        lambda world: world.drop.put("CT1/3.dcm", an_image(2, 3)),
        lambda world: world.drop.put("CT1/3.dcm", an_image(1, 3)[:-10]),
    ],
    ids=[
        "one more",
        "another image",
        "another PDF",
        "another number",
        "another exam",
        "a foreign image",
        "a damaged one",
    ],
)
def test_the_order_holds_for_these_very_files(world: World, meddle: Callable[[World], None]) -> None:
    number = too_many(world)
    world.ledger.keep_deed(Deed(1.0, "anna", Act.ACCEPT, number, "as it is"))
    put_back(world)
    meddle(world)
    world.run(60.0)
    assert (world.states(), world.gateway.exams) == ({"CT1": "REFUSED"}, [])
    assert world.ledger.recall(f"accepted:{number}") is None


def test_the_order_is_used_once(world: World) -> None:
    number = too_many(world)
    accept(world, number)
    world.run(30.0)
    assert world.states() == {"CT1": "DONE"}
    again = too_many(world)
    assert again > number
    assert world.codes("CT1") == ["FA-TOO-MANY"]


def test_an_order_outlives_a_restart_at_every_step(world: World) -> None:
    number = too_many(world)
    world.end()
    world.ledger.keep_deed(Deed(1.0, "anna", Act.ACCEPT, number, "as it is"))
    for _ in range(12):  # of its steps, each a process of its own
        world.start().step()
        world.end()
        world.clock.advance(1.0)
    world.start()
    world.run(30.0)
    assert (world.states(), world.shelved("failed"), len(world.gateway.exams)) == ({"CT1": "DONE"}, {}, 1)


def test_what_cannot_be_brought_back_is_told_once_and_tried_again(world: World) -> None:
    number = too_many(world)
    good = world.shelf.put_back

    def bad(*_: object) -> str:
        raise failure(problem("FA-SHELF", detail="busy"))

    world.shelf.put_back = bad  # type: ignore[method-assign,assignment]
    accept(world, number)
    world.run(100.0)
    assert [code for code, _ in world.publisher.notices] == ["FA-SHELF"]
    assert world.states() == {"CT1": "REFUSED"}
    world.shelf.put_back = good  # type: ignore[method-assign]
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}


def test_what_somebody_has_taken_from_failed_stays_with_him(world: World) -> None:
    number = too_many(world)
    target = world.bundle("CT1").target or ""
    world.shelf.put_back(target, "CT1")
    world.drop.files.clear()
    accept(world, number)
    world.run(30.0)
    assert (world.states(), world.drop.files, world.gateway.exams) == ({"CT1": "REFUSED"}, {}, [])
