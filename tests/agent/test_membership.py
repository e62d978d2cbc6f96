"""To which bundle a file belongs, while sidecars and files come, change and go: nobody's file travels with another."""

from __future__ import annotations

from typing import Any

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import FileState
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, World, an_image, sidecar


def owner_of(world: World, path: str) -> int | None:
    """The bundle of the open file at that path, as the ledger has it."""
    return next(file.bundle_id for file in world.ledger.open_files("ct") if file.path == path)


def test_a_file_that_left_its_group_is_not_shelved_with_it(world: World) -> None:
    world.drop.put("A1.json", sidecar(1, imageCnt=2, studyUid="1.2.1"))
    world.drop.put("IM1", an_image(1, 1))
    world.run(10.0)
    assert owner_of(world, "IM1") == 1
    world.drop.put("A1.json", sidecar(1, imageCnt=1, studyUid="1.2.9", accessNumber="ACC9"))  # it was the wrong study
    world.drop.put("A1_1.dcm", an_image(9, 1))
    world.run(30.0)
    assert world.states() == {"A1": "DONE"}
    assert world.shelved() == {"A1": ["A1.json", "A1_1.dcm", "receipt.json"]}
    assert list(world.drop.files) == ["IM1"]
    assert owner_of(world, "IM1") is None


def test_a_withdrawn_bundle_does_not_close_what_is_still_there(world: World) -> None:
    world.drop.put("A1.json", sidecar(1, imageCnt=2, studyUid="1.2.1"))
    world.drop.put("IM1", an_image(1, 1))
    world.run(10.0)
    del world.drop.files["A1.json"]
    world.run(20.0)
    assert world.states() == {"A1": "WITHDRAWN"}
    assert owner_of(world, "IM1") is None
    world.drop.put("B1.json", sidecar(1, imageCnt=1, studyUid="1.2.1"))
    world.run(20.0)
    assert world.states()["B1"] == "DONE"
    assert world.drop.files == {}


def test_a_growing_temporary_file_does_not_keep_a_whole_exam_waiting(world: World) -> None:
    world.drop_exam(images=1)
    for second in range(30):
        world.drop.put("CT1/next.part", b"x" * second)
        world.run(1.0)
    assert world.states() == {"CT1": "DONE"}
    assert list(world.drop.files) == ["CT1/next.part"]


@pytest.mark.parametrize("patient", [{}, {"patientId": None}], ids=["delivered", "refused"])
def test_a_temporary_file_stays_where_it_is_and_becomes_a_file_of_its_own(
    world: World, patient: dict[str, Any]
) -> None:
    world.drop_exam(images=1, **patient)
    world.drop.put("CT1/2.dcm.part", an_image(1, 2))
    world.run(120.0)
    assert world.states() == {"CT1": "REFUSED" if patient else "DONE"}
    assert list(world.drop.files) == ["CT1/2.dcm.part"]
    assert owner_of(world, "CT1/2.dcm.part") is None
    world.drop.files["CT1/2.dcm"] = world.drop.files.pop("CT1/2.dcm.part")
    world.run(20.0)
    assert world.codes("CT1") == ["FA-NO-SIDECAR"]


def test_a_report_that_is_written_slowly_does_not_tear_its_exam(new_world: NewWorld) -> None:
    world = new_world(quiet_s=60.0)
    world.drop_exam(images=1, pdfCnt=1)
    world.drop.put("CT1/report.pdf", PDF[:-8])
    world.run(20.0)  # far longer than it takes to settle
    assert world.states() == {"CT1": "GATHERING"}
    world.drop.put("CT1/report.pdf", PDF)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.posted == ["ACC1"]


def test_a_report_that_stays_cut_short_is_refused_when_all_is_quiet(new_world: NewWorld) -> None:
    world = new_world(quiet_s=60.0)
    world.drop_exam(images=1, pdfCnt=1)
    world.drop.put("CT1/report.pdf", PDF[:-8])
    world.run(90.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "REFUSED"}, ["FA-FILE-TRUNCATED"])


def test_a_file_of_that_name_which_comes_while_its_bundle_is_shelved_is_a_new_file(world: World) -> None:
    world.drop_exam(images=1)
    world.gateway.line.on_way = lambda: world.drop.put("CT1/2.dcm", an_image(1, 2)) and None
    world.run(30.0)
    assert world.shelved()["CT1"] == ["1.dcm", "exam.json", "receipt.json"]
    late = next(file for file in world.ledger.open_files("ct") if file.path == "CT1/2.dcm")
    assert (late.state, world.drop.files.keys()) == (FileState.SETTLED, {"CT1/2.dcm"})


def test_a_newer_version_of_what_was_refused_is_on_the_shelf_as_the_ledger_says(world: World) -> None:
    world.shelf.failing.extend([failure(problem("FA-DISK-FULL", where="failed"))] * 2)
    world.drop_exam(images=1, patientId=None)
    world.run(5.0)
    newer = sidecar(1, patientId=None, studyDesc="longer than before")
    world.drop.put("CT1/exam.json", newer)
    world.run(120.0)
    assert world.states() == {"CT1": "REFUSED"}
    kept = next(file for file in world.ledger.files_of(1) if file.path == "CT1/exam.json")
    assert kept.stamp.size == len(newer)
    assert newer in [held.content for held in world.shelf.shelved["/shelves/failed/2026-01-31/CT1"].values()]


def test_files_that_cannot_be_looked_into_while_the_share_is_away_do_not_make_the_agent_run_hot(world: World) -> None:
    world.drop_exam(images=2)
    world.run(0.5)
    world.drop.go_away()
    world.run(600.0)  # `run` itself fails if it runs hot
    world.drop.outage = None
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_file_that_changes_stays_with_its_exam_until_it_is_known_again(new_world: NewWorld) -> None:
    world = new_world(quiet_s=60.0)
    world.drop.put("A1.json", sidecar(1, imageCnt=None))
    world.drop.put("IM1", an_image(1, 1))
    world.drop.put("IM2", an_image(1, 2))
    newer = [("IM1", an_image(1, 1, pixels="newer"))]
    world.gateway.image_line.on_way = lambda: [world.drop.put(*one) for one in newer] and newer.clear()
    world.run(180.0)
    assert world.states() == {"A1": "DONE"}
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2]
    assert world.drop.files == {}


def test_silence_is_not_trusted_while_a_file_that_may_belong_is_still_arriving(new_world: NewWorld) -> None:
    world = new_world(quiet_s=60.0, scan_s=1.0)
    world.drop.put("A1.json", sidecar(1, imageCnt=None))
    world.drop.put("IM1", an_image(1, 1))
    world.run(58.0)
    for length in (10, 20, 30, 40):
        world.drop.put("IM2", an_image(1, 2)[:length])
        world.run(1.0)
    world.drop.put("IM2", an_image(1, 2))
    world.run(90.0)
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [2]


def test_in_a_folder_that_is_never_still_an_exam_is_not_kept_waiting_for_ever(new_world: NewWorld) -> None:
    world = new_world(quiet_s=60.0, scan_s=1.0)
    world.drop.put("A1.json", sidecar(1, imageCnt=None))
    world.drop.put("IM1", an_image(1, 1))
    for second in range(180):
        world.drop.put("other.bin", b"x" * second)
        world.run(1.0)
    assert world.states() == {"A1": "DONE"}
