"""Only a corrected sidecar is dropped for what lies in failed/: both go together and are tried again."""

from __future__ import annotations

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, TODAY, World, an_image, sidecar

WRONG = sidecar(1, imageCnt=2, pdfCnt=1, patientId=None)
RIGHT = sidecar(1, imageCnt=2, pdfCnt=1)


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(quiet_s=10.0)


def refused(world: World, wrong: bytes = WRONG, folder: str = "CT1") -> None:
    """A folder that ended in failed/."""
    for number in (1, 2):
        world.drop.put(f"{folder}/{number}.dcm", an_image(1, number))
    world.drop.put(f"{folder}/report.pdf", PDF)
    world.drop.put(f"{folder}/exam.json", wrong)
    world.run(30.0)
    assert world.states() == {folder: "REFUSED"}
    assert world.drop.files == {}


def test_a_corrected_sidecar_in_a_folder_of_the_name(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", RIGHT)
    world.run(5.0)
    assert world.codes("CT1") == ["FA-CORRECTS"]
    world.run(40.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.shelved("failed") == {}
    assert world.shelved() == {
        "CT1": ["1.dcm", "2.dcm", "WHY (earlier).txt", "exam.json", "exam.json.replaced", "receipt.json", "report.pdf"]
    }
    (exam,) = world.gateway.exams
    assert (exam["patientId"], exam["imageCnt"], exam["pdfCnt"]) == ("P7001", 2, 1)
    assert world.drop.files == {}


def test_a_corrected_sidecar_of_a_flat_exam(world: World) -> None:
    world.drop.put("A1_1.dcm", an_image(1, 1))
    world.drop.put("elsewhere.dcm", an_image(1, 2))
    world.drop.put("A1.pdf", PDF)
    world.drop.put("A1.json", WRONG)
    world.run(30.0)
    assert world.states() == {"A1": "REFUSED"}
    world.drop.put("A1.json", RIGHT)
    world.run(60.0)
    assert (world.states(), world.gateway.posted, world.drop.files) == ({"A1": "DONE"}, ["ACC1"], {})
    assert "A1.json.replaced" in world.shelved()["A1"]
    codes = [
        [reason.code for reason in one.reasons] for one in world.ledger.latest_bundles() if one.state == "WITHDRAWN"
    ]
    assert codes == [["FA-CORRECTED"]]


def test_under_another_name_of_its_own_and_with_a_broken_old_one(world: World) -> None:
    """What the old one said is not known then, but the images say which exam it is."""
    refused(world, b'{"patientId": "P7001", ')
    world.drop.put("CT1/corrected.json", RIGHT)
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert {"corrected.json", "exam.json.replaced"} < set(world.shelved()["CT1"])


@pytest.mark.parametrize("name", ["CT1", "CT1 (2)"])
def test_the_newest_of_the_name_whatever_it_is_called_in_failed(world: World, name: str) -> None:
    refused(world)
    world.drop.put("CT1/3.dcm", an_image(1, 3))
    world.drop.put("CT1/exam.json", sidecar(1, patientId=None))
    world.run(30.0)
    assert sorted(world.shelved("failed")) == ["CT1", "CT1 (2)"]
    world.drop.put(f"{name}/exam.json", sidecar(1))
    world.run(60.0)
    assert sorted(world.shelved("failed")) == ["CT1"]
    assert world.gateway.image_line.names == ["1.2.1.1.3"]


def test_a_correction_that_is_still_wrong_and_another_one(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2, pdfCnt=1, patientSex=None))
    world.run(60.0)
    assert list(world.shelved("failed")) == ["CT1 (2)"]  # the ledger keeps the first one's place
    assert world.codes("CT1") == ["FA-FIELD-MISSING"]
    world.drop.put("CT1/exam.json", b"{")
    world.run(60.0)  # of a broken one nobody knows whose it is: it is refused alone
    assert sorted(world.shelved("failed")) == ["CT1 (2)", "CT1 (3)"]
    world.drop.put("CT1/exam.json", RIGHT)
    world.run(60.0)
    assert world.states()["CT1"] == "DONE"
    assert world.shelved("failed") == {"CT1 (3)": ["WHY.txt", "exam.json"]}


def test_what_the_gateway_refused_is_corrected_likewise(world: World) -> None:
    world.gateway.line.coming.append(100001)
    world.drop_exam(images=2)
    world.run(30.0)
    assert world.states() == {"CT1": "FAILED"}
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2, patientName="改名"))
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.exams[-1]["patientName"] == "改名"
    assert len(world.gateway.image_line.names) == 2


def test_a_late_bundle_that_was_refused_is_corrected_and_not_taken_for_an_update(world: World) -> None:
    world.drop_exam(images=2)
    world.run(30.0)
    world.drop.put("CT1/9.dcm", an_image(1, 9))
    world.drop.put("CT1/exam.json", sidecar(1, patientId=None))
    world.run(30.0)
    world.drop.put("CT1/exam.json", sidecar(1))
    world.run(60.0)
    assert world.gateway.exams[-1]["imageCnt"] == 3
    assert len(world.gateway.exams) == 2
    assert world.shelved("failed") == {}


def test_the_whole_exam_dropped_again_is_no_correction(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", RIGHT)
    world.run(5.0)
    for number in (1, 2):
        world.drop.put(f"CT1/{number}.dcm", an_image(1, number))
    world.drop.put("CT1/report.pdf", PDF)
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert list(world.shelved("failed")) == ["CT1"]


def test_another_exam_of_the_same_name_is_no_correction(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", sidecar(2, imageCnt=1))
    world.run(60.0)
    assert world.codes("CT1") == ["FA-WAIT-FILES"]
    world.drop.put("CT1/1.dcm", an_image(2, 1))
    world.run(30.0)
    assert world.states() == {"CT1": "DONE"}
    assert list(world.shelved("failed")) == ["CT1"]


def test_what_has_been_delivered_since_is_not_corrected_any_more(world: World) -> None:
    refused(world)
    for number in (1, 2):
        world.drop.put(f"OTHER/{number}.dcm", an_image(1, number))
    world.drop.put("OTHER/report.pdf", PDF)
    world.drop.put("OTHER/exam.json", RIGHT)
    world.run(30.0)
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2, pdfCnt=1, patientName="改名"))
    world.run(60.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "改名"]
    assert list(world.shelved("failed")) == ["CT1"]


def test_a_shelf_in_trouble_delays_a_correction(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", RIGHT)
    world.shelf.failing.extend(failure(problem("FA-SHELF", shelf="failed", detail="EBUSY")) for _ in range(2))
    world.run(200.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.ledger.recall("correction:ct") is None


def test_a_corrected_sidecar_that_is_taken_away_again_changes_nothing(world: World) -> None:
    refused(world)
    world.drop.put("CT1/exam.json", RIGHT)
    world.run(5.0)
    before = dict(world.shelf.shelved[f"/shelves/failed/{TODAY}/CT1"])
    world.drop.files.clear()
    world.run(60.0)
    assert world.shelf.shelved[f"/shelves/failed/{TODAY}/CT1"] == before
    assert world.states() == {"CT1": "WITHDRAWN"}


def test_sibling_folders_keep_their_form(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0)
    world.drop.put("ACC1/dicom/IM1", an_image(1, 1))
    world.drop.put("ACC1/json/x.json", sidecar(1, patientId=None))
    world.run(30.0)
    assert world.shelved("failed") == {"ACC1": ["WHY.txt", "dicom/IM1", "json/x.json"]}
    world.drop.put("ACC1/json/x.json", sidecar(1))
    world.run(60.0)
    assert world.states() == {"ACC1": "DONE"}
    assert {"dicom/IM1", "json/x.json", "json/x.json.replaced"} < set(world.shelved()["ACC1"])
