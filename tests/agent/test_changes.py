"""What changes while a bundle is on its way: nothing is half-sent, nothing is lost, and the newest content counts."""

from __future__ import annotations

import hashlib

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import FileState
from tests.agent.conftest import NewWorld
from tests.fakes import World, an_image, sidecar


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_that_arrives_between_complete_and_commit_reopens_the_bundle(world: World) -> None:
    world.drop_exam(imageCnt=None, pdfCnt=None, studyUid="1.2.1")
    arriving = [("CT1/2.dcm", an_image(1, 2))]
    world.gateway.image_line.on_way = lambda: [world.drop.put(*one) for one in arriving] and arriving.clear()
    world.run(200.0)
    assert world.publisher.events(1).count("reopen") == 1
    assert world.states() == {"CT1": "DONE"}
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2]
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]


def test_more_than_declared_that_arrives_before_the_commit_is_never_committed(world: World) -> None:
    world.drop_exam(imageCnt=1)
    arriving = [("CT1/2.dcm", an_image(1, 2))]
    world.gateway.image_line.on_way = lambda: [world.drop.put(*one) for one in arriving] and arriving.clear()
    world.run(200.0)
    assert (world.gateway.posted, world.states()) == ([], {"CT1": "REFUSED"})
    assert world.codes("CT1") == ["FA-TOO-MANY"]
    assert world.shelved("failed") == {"CT1": ["1.dcm", "2.dcm", "WHY.txt", "exam.json"]}


def test_a_file_that_changed_after_it_was_sent_is_sent_anew(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.extend([1, None])  # the first commit fails, so that there is time to change it
    world.run(4.0)
    assert world.states() == {"CT1": "WAITING"}
    newer = an_image(1, 1, pixels="newer")
    world.drop.put("CT1/1.dcm", newer)
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.received == [
        ("1.2.1.1.1", digest(an_image(1, 1))),
        ("1.2.1.1.1", digest(newer)),
    ]
    sent = next(file for file in world.ledger.files_of(1) if file.path == "CT1/1.dcm")
    assert (sent.state, sent.sha256) == (FileState.SENT, digest(newer))


def test_a_file_that_is_saved_once_more_as_it_was_is_not_sent_again(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.extend([1, None])
    world.run(4.0)
    assert world.states() == {"CT1": "WAITING"}
    before = world.drop.files["CT1/1.dcm"].stamp
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    assert world.drop.files["CT1/1.dcm"].stamp != before
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.received == [("1.2.1.1.1", digest(an_image(1, 1)))]
    assert "recognise" in [entry.event for entry in world.ledger.history(1)]


def test_a_file_that_changes_during_the_commit_is_no_part_of_it(world: World) -> None:
    world.drop_exam()
    newer = an_image(1, 1, pixels="newer")
    world.gateway.line.on_way = lambda: world.drop.put("CT1/1.dcm", newer) and None
    world.run(30.0)
    assert world.gateway.posted == ["ACC1"]
    everything = [held.content for files in world.shelf.shelved.values() for held in files.values()]
    assert newer in [*everything, *(held.content for held in world.drop.files.values())]


def test_a_file_that_is_taken_away_before_the_commit_is_waited_for(world: World) -> None:
    world.drop_exam(images=2)
    world.gateway.line.coming.append(1)
    world.run(4.0)
    taken = world.drop.files.pop("CT1/2.dcm")
    world.run(60.0)
    assert (world.states(), world.gateway.posted) == ({"CT1": "GATHERING"}, [])
    world.drop.files["CT1/2.dcm"] = taken
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_bundle_that_is_taken_away_is_withdrawn(world: World) -> None:
    world.drop_exam(imageCnt=2)
    world.run(10.0)
    world.drop.files.clear()
    world.run(30.0)
    assert world.states() == {"CT1": "WITHDRAWN"}
    assert world.ledger.open_bundles() == []


def test_what_is_dropped_again_under_the_same_name_is_a_bundle_of_its_own(world: World) -> None:
    world.drop_exam()
    world.run(10.0)
    world.drop_exam(patientName="另一次")
    world.run(20.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "另一次"]
    assert sorted(world.shelved()) == ["CT1", "CT1 (2)"]
    assert world.gateway.image_line.names == ["1.2.1.1.1"]  # the same bytes were recognised
    assert world.drop.files == {}


def test_what_is_dropped_again_after_a_restart_is_a_bundle_of_its_own(world: World) -> None:
    """The new process found the first one committed, and only moved it."""
    world.drop_exam()
    world.shelf.failing.append(failure(problem("FA-SHELF", shelf="done", detail="EBUSY")))
    world.run(4.0)
    assert world.states() == {"CT1": "COMMITTED"}
    world.end()
    world.start()
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert {file.state for file in world.ledger.files_of(1)} == {FileState.SENT}
    world.drop_exam(patientName="另一次")
    world.run(30.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "另一次"]
    assert world.drop.files == {}


def test_an_update_of_a_delivered_exam_needs_no_images(world: World) -> None:
    world.drop_exam(imageCnt=None)
    world.run(80.0)
    world.drop.put("CT9/exam.json", sidecar(1, imageCnt=None, patientName="改名"))
    world.run(80.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "改名"]


def test_a_sidecar_that_waits_alone_notices_that_its_exam_was_delivered_from_elsewhere(new_world: NewWorld) -> None:
    world = new_world(drops=("ct", "mr"))
    world.drop.put("A1.json", sidecar(1, imageCnt=1, patientName="改名"))
    world.run(100.0)
    world.drop_exam(1, drop="mr")
    world.run(90.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "改名"]
    assert world.states() == {"A1": "DONE", "CT1": "DONE"}


@pytest.mark.parametrize("layout", ["folder", "flat"])
def test_a_newcomer_that_belongs_to_nobody_delays_nobody(new_world: NewWorld, layout: str) -> None:
    world = new_world(layout=layout)
    world.drop_exam()
    world.drop.put("stray.dcm", an_image(77, 1))
    world.run(20.0)
    assert world.states()["CT1" if layout == "folder" else "exam"] == "DONE"
    assert list(world.drop.files) == ["stray.dcm"]
