"""Images that come later, without a sidecar, of a study that was delivered: they go with what was posted then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.conftest import NewWorld
from tests.fakes import TODAY, World, an_image, sidecar

STUDY = {"studyUid": "1.2.1", "patientName": "测试甲", "examDept": "放射科"}
RECEIPT = f"/shelves/done/{TODAY}/CT1"


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(quiet_s=10.0)


def delivered(world: World, **changes: Any) -> None:
    world.drop_exam(images=2, **{**STUDY, **changes})
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}


def late(world: World, *numbers: int, **changes: Any) -> None:
    for number in numbers:
        world.drop.put(f"LATE/{number}.dcm", an_image(1, number, **{"series": "1.2.1.2", **changes}))


def test_they_are_sent_and_the_exam_is_posted_as_it_was_with_all_counts(world: World) -> None:
    delivered(world)
    late(world, 10, 11)
    world.run(40.0)
    assert world.states() == {"CT1": "DONE", "LATE": "DONE"}
    first, second = world.gateway.exams
    assert (second["imageCnt"], second["seriesCnt"]) == (4, 2)
    assert {**second, "imageCnt": 2, "seriesCnt": 1} == first
    assert world.gateway.image_line.names[2:] == ["1.2.1.1.10", "1.2.1.1.11"]
    assert world.drop.files == {}


def test_they_wait_for_quiet(world: World) -> None:
    delivered(world)
    late(world, 10)
    world.run(8.0)
    assert world.codes("LATE") == ["FA-WAIT-QUIET"]
    late(world, 11)
    world.run(40.0)
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2, 4]


def test_and_again_from_what_was_posted_last(world: World) -> None:
    delivered(world)
    late(world, 10)
    world.run(40.0)
    world.drop.put("UPDATE/x.json", sidecar(1, imageCnt=3, **{**STUDY, "patientName": "改名"}))
    world.run(40.0)
    late(world, 11)
    world.run(40.0)
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2, 3, 3, 4]
    assert world.gateway.exams[-1]["patientName"] == "改名"


def test_what_was_delivered_already_is_a_repeat(world: World) -> None:
    delivered(world)
    world.drop.put("LATE/1.dcm", an_image(1, 1))
    world.run(40.0)
    assert world.codes("LATE") == ["FA-REPEAT"]
    assert len(world.gateway.exams) == 1


@pytest.mark.parametrize("changes", [{"study": "1.2.99"}, {"accession": "ACC9"}])
def test_images_of_another_study_or_order_wait_for_their_sidecar(world: World, changes: dict[str, Any]) -> None:
    delivered(world)
    late(world, 10, **changes)
    world.run(60.0)
    assert world.codes("LATE") == ["FA-NO-SIDECAR"]


def test_images_that_name_another_patient_wait_and_say_why(world: World) -> None:
    delivered(world)
    late(world, 10, patient="P-OTHER")
    world.run(60.0)
    assert world.codes("LATE") == ["FA-NO-SIDECAR", "FA-NO-EARLIER"]
    assert len(world.gateway.image_line.names) == 2
    world.drop.put("LATE/x.json", sidecar(1, patientId="P-OTHER", imageCnt=1))
    world.run(60.0)
    assert world.states()["LATE"] == "DONE"


@pytest.mark.parametrize("content", [None, b"{}", b"no receipt"])
def test_without_a_receipt_that_can_be_read_they_wait_and_say_why(world: World, content: bytes | None) -> None:
    delivered(world)
    held = world.shelf.shelved[RECEIPT].pop("receipt.json")
    if content is not None:
        world.shelf.shelved[RECEIPT]["receipt.json"] = type(held)(content)
    late(world, 10)
    world.run(60.0)
    assert world.codes("LATE") == ["FA-NO-SIDECAR", "FA-NO-EARLIER"]
    assert "receipt" in dict(world.bundle("LATE").reasons[1].values)["en"]
    world.shelf.shelved[RECEIPT]["receipt.json"] = held
    world.run(100.0)
    assert world.states()["LATE"] == "DONE"


def test_of_two_orders_with_one_study_the_header_says_which(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0)
    delivered(world)
    world.drop.put("B/1.dcm", an_image(1, 5, accession="ACC2"))
    world.drop.put("B/x.json", sidecar(2, imageCnt=1, studyUid="1.2.1"))
    world.run(30.0)
    late(world, 10, accession="ACC2")
    world.run(40.0)
    assert (world.gateway.posted[-1], world.gateway.exams[-1]["imageCnt"]) == ("ACC2", 2)
    world.drop.put("NONE/1.dcm", an_image(1, 20, accession=None))
    world.run(60.0)
    assert world.codes("NONE") == ["FA-NO-SIDECAR"]


def test_images_that_came_before_their_study_was_delivered_go_afterwards(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0)
    late(world, 10)
    world.run(30.0)
    assert world.codes("LATE") == ["FA-NO-SIDECAR"]
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT1/x.json", sidecar(1, files=[{"path": "1.dcm"}], **STUDY))  # it takes nothing from elsewhere
    world.run(120.0)
    assert world.states() == {"CT1": "DONE", "LATE": "DONE"}
    assert world.gateway.exams[-1]["imageCnt"] == 2


def test_a_marker_is_not_asked_of_them(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0, marker="*.ok")
    delivered(world)
    late(world, 10)
    world.run(40.0)
    assert world.states()["LATE"] == "DONE"


def test_where_exams_need_no_sidecar_what_was_posted_goes_before_the_headers(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0, by_headers=True)
    delivered(world)
    late(world, 10)
    world.run(60.0)
    assert world.gateway.exams[-1]["examDept"] == "放射科"
    assert world.gateway.exams[-1]["imageCnt"] == 3


def test_loose_images_go_by_their_study(world: World) -> None:
    delivered(world)
    for number in (10, 11):
        world.drop.put(f"IM{number}.dcm", an_image(1, number, series="1.2.1.2"))
    world.drop.put("stranger.dcm", an_image(7, 1))
    world.run(40.0)
    assert world.states() == {"CT1": "DONE", "ACC1": "DONE"}
    assert world.gateway.exams[-1]["imageCnt"] == 4
    assert list(world.drop.files) == ["stranger.dcm"]
    world.drop.put("s.json", sidecar(7, imageCnt=1))
    world.run(40.0)
    assert world.drop.files == {}


def test_loose_images_whose_study_is_delivered_from_elsewhere_meanwhile(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0, drops=("ct", "mr"))
    world.drops["ct"].put("IM10.dcm", an_image(1, 10))
    world.run(30.0)
    world.drop_exam(1, drop="mr", **STUDY)
    world.shelves["ct"].shelved = world.shelves["mr"].shelved  # a place on a shelf is known whoever asks
    world.run(150.0)
    assert world.states() == {"CT1": "DONE", "ACC1": "DONE"}
    assert world.gateway.exams[-1]["imageCnt"] == 2
