"""`eager`: images go ahead while their exam still gathers; the exam information waits for all of it, whatever comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from folder_agent.core.lifecycle import FileState
from tests.contracts.fake_drop_folder import image
from tests.fakes import PDF, Lost, World, an_image, sidecar, told


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def made(**rules: Any) -> World:
        worlds.append(World(**{"settle_s": 2.0, "eager": True, "scan_s": 1.0, "workers": 2, **rules}))
        return worlds[-1]

    yield made
    for world in worlds:
        world.end()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


def begin(world: World, images: int = 2, **changes: Any) -> None:
    """An exam of four images of which some are there."""
    world.drop.put("CT1/exam.json", sidecar(1, **{"imageCnt": 4, **changes}))
    for one in range(1, images + 1):
        world.drop.put(f"CT1/{one}.dcm", an_image(1, one))


def finish(world: World, first: int = 3, last: int = 4) -> None:
    for one in range(first, last + 1):
        world.drop.put(f"CT1/{one}.dcm", an_image(1, one))


def test_what_is_there_goes_ahead_and_the_exam_waits_for_the_rest(world: World) -> None:
    begin(world)
    world.run(10.0)
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]
    assert world.bundle("CT1").state == "GATHERING"
    assert world.gateway.posted == []
    finish(world)
    world.run(10.0)
    assert sorted(world.gateway.image_line.names) == [f"1.2.1.1.{one}" for one in (1, 2, 3, 4)]  # each once
    assert world.gateway.posted == ["ACC1"]
    assert world.states() == {"CT1": "DONE"}


def test_nothing_goes_ahead_unless_it_is_asked_for(make: Callable[..., World]) -> None:
    world = make(eager=False)
    begin(world)
    world.run(10.0)
    assert world.gateway.image_line.names == []


def test_nothing_goes_without_the_sidecar_or_with_one_that_is_wrong(world: World) -> None:
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT2/exam.json", sidecar(2, imageCnt=4, patientId=None))
    world.drop.put("CT2/1.dcm", an_image(2, 1))
    world.run(10.0)
    assert world.gateway.image_line.names == []
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2))
    world.run(10.0)
    assert world.gateway.image_line.names == ["1.2.1.1.1"]


def test_a_contradiction_holds_back_all_that_has_not_gone(world: World) -> None:
    begin(world)
    world.run(10.0)
    world.drop.put("CT1/3.dcm", an_image(1, 3, accession="OTHER"))
    world.drop.put("CT1/4.dcm", an_image(1, 4))
    world.run(100.0)
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]
    assert world.gateway.posted == []
    assert world.states() == {"CT1": "REFUSED"}
    files = world.ledger.files_of(world.bundle("CT1").id)
    assert sum(file.state is FileState.SENT for file in files) == 2  # what receipt.json in failed/ is made from


def test_an_image_that_nothing_but_its_place_says_is_of_the_exam_waits(world: World) -> None:
    begin(world, images=0)
    world.drop.put("CT1/1.dcm", image("1.9.1", study="1.9", series="1.9.1", accession=None))
    world.drop.put("CT1/2.pdf", PDF)
    world.run(10.0)
    assert world.gateway.image_line.names == []
    assert world.gateway.report_line.received == []


def test_a_file_that_changes_after_it_went_is_sent_again(world: World) -> None:
    begin(world)
    world.run(10.0)
    world.drop.put("CT1/2.dcm", an_image(1, 2, pixels="more"))
    world.run(10.0)
    assert world.gateway.image_line.names.count("1.2.1.1.2") == 2
    assert world.gateway.posted == []
    finish(world)
    world.run(10.0)
    assert world.gateway.posted == ["ACC1"]
    assert world.gateway.image_line.names.count("1.2.1.1.1") == 1


def test_what_went_before_it_was_replaced_is_known_when_it_comes_back(world: World) -> None:
    begin(world, images=1)
    world.run(10.0)
    assert world.gateway.image_line.names == ["1.2.1.1.1"]
    world.drop.put("CT1/1.dcm", an_image(1, 1, pixels="longer, and never sent"))
    world.drop.put("CT1/x.dcm", an_image(1, 9, patient="P-OTHER"))
    world.run(100.0)
    assert world.states() == {"CT1": "REFUSED"}
    begin(world, images=1, imageCnt=1)
    world.run(100.0)
    assert world.gateway.posted == ["ACC1"]
    assert world.gateway.image_line.names == ["1.2.1.1.1"], "the gateway has had it since"


def test_an_exam_that_is_taken_away_says_what_the_gateway_holds(world: World) -> None:
    begin(world)
    world.run(10.0)
    world.drop.files.clear()
    world.run(10.0)
    assert world.states() == {"CT1": "WITHDRAWN"}
    assert [dict(one.values) for one in world.bundle("CT1").reasons if one.code == "FA-SENT-AHEAD"] == [{"count": 2}]
    assert world.gateway.posted == []
    world.drop_exam(1, images=2)
    world.run(10.0)
    assert world.gateway.posted == ["ACC1"]
    assert len(world.gateway.image_line.names) == 2  # none was sent twice


def test_a_file_that_goes_over_to_another_exam_is_that_ones_and_is_not_sent_twice(make: Callable[..., World]) -> None:
    """A folder of what seemed to be one exam turns out to hold two of the same study."""
    world = make(layout="flat")
    world.drop.put("A1.json", sidecar(1, imageCnt=3))
    world.drop.put("x/1.dcm", an_image(1, 1))
    world.drop.put("A1_2.dcm", an_image(1, 2))
    world.run(10.0)
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]
    world.drop.put("x/exam.json", sidecar(1, imageCnt=2))
    world.drop.files.pop("A1.json")
    world.run(10.0)
    assert world.gateway.posted == ["ACC1"]
    assert len(world.gateway.image_line.names) == 2
    (done,) = [name for name, state in world.states().items() if state == "DONE"]
    paths = [file.path for file in world.ledger.files_of(world.bundle(done).id)]
    assert paths == ["A1_2.dcm", "x/1.dcm", "x/exam.json"]


def test_what_went_ahead_and_is_nobodys_any_more_is_told(make: Callable[..., World]) -> None:
    world = make(layout="flat")
    world.drop.put("A1.json", sidecar(1, imageCnt=3))
    world.drop.put("x.dcm", an_image(1, 1))
    world.run(10.0)
    assert world.gateway.image_line.names == ["1.2.1.1.1"]
    world.drop.put("A1.json", sidecar(7, imageCnt=3))  # the sidecar was of another exam, after all
    world.run(10.0)
    assert ("FA-SENT-AHEAD", False) in world.publisher.notices
    (file,) = [one for one in world.ledger.open_files("ct") if one.path == "x.dcm"]
    assert (file.state, file.bundle_id) == (FileState.SENT, None)
    world.drop.put("A2.json", sidecar(1, imageCnt=1))
    world.run(10.0)
    assert world.gateway.posted == ["ACC1"]
    assert world.gateway.image_line.names == ["1.2.1.1.1"]


def test_a_dead_gateway_shuts_the_gate_for_what_goes_ahead_too(world: World) -> None:
    world.gateway.go_down()
    begin(world)
    world.run(60.0)
    assert world.gateway.image_line.names == []
    assert world.publisher.notices.count(("FA-GW-UNREACHABLE", False)) == 1
    assert world.bundle("CT1").state == "GATHERING"
    world.gateway.come_back()
    finish(world)
    world.run(200.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_lost_answer_or_a_busy_gateway_costs_a_pause_and_nothing_more(world: World) -> None:
    world.gateway.image_line.coming.extend([told(1), None, told(1)])
    begin(world)
    world.run(120.0)
    assert sorted(set(world.gateway.image_line.names)) == ["1.2.1.1.1", "1.2.1.1.2"]
    assert world.bundle("CT1").state == "GATHERING"
    world.gateway.image_line.coming.append(Lost(told(1)))
    finish(world)
    world.run(200.0)
    assert world.gateway.posted == ["ACC1"]


def test_what_the_gateway_refuses_is_not_tried_again_until_the_exam_is_whole(world: World) -> None:
    world.gateway.image_line.coming.append(100001)
    begin(world, images=1)
    world.run(300.0)
    assert world.gateway.image_line.names == []
    assert world.bundle("CT1").state == "GATHERING"
    finish(world, 2)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}


def test_complete_exams_and_emergencies_go_before_what_goes_ahead(make: Callable[..., World]) -> None:
    world = make(workers=1)
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=9))
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT3/exam.json", sidecar(3, imageCnt=9, studyCategory="emergency"))
    world.drop.put("CT3/1.dcm", an_image(3, 1))
    world.drop_exam(2)
    world.run(10.0)
    assert world.gateway.image_line.names == ["1.2.2.1.1", "1.2.3.1.1", "1.2.1.1.1"]


def test_a_start_goes_on_where_a_crash_left_off(world: World) -> None:
    begin(world)
    world.run(10.0)
    world.end()
    world.start()
    world.run(10.0)
    assert len(world.gateway.image_line.names) == 2
    finish(world)
    world.run(10.0)
    assert len(world.gateway.image_line.names) == 4
    assert world.states() == {"CT1": "DONE"}


def test_a_listed_digest_is_checked_before_an_image_goes_ahead(world: World) -> None:
    files = [{"path": "1.dcm", "sha256": "0" * 64}, {"path": "2.dcm"}]
    begin(world, images=1, imageCnt=None, files=files)
    world.run(10.0)
    assert world.gateway.image_line.names == []


def test_two_files_of_one_instance_go_once_and_not_at_all_if_they_differ(world: World) -> None:
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=4))
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT1/copy.dcm", an_image(1, 1))
    world.drop.put("CT2/exam.json", sidecar(2, imageCnt=4))
    world.drop.put("CT2/1.dcm", an_image(2, 1))
    world.drop.put("CT2/other.dcm", an_image(2, 1, pixels="other"))
    world.run(10.0)
    assert world.gateway.image_line.names == ["1.2.1.1.1"]
    states = {file.path: file.state for file in world.ledger.files_of(world.bundle("CT1").id)}
    assert states["CT1/1.dcm"] is states["CT1/copy.dcm"] is FileState.SENT
