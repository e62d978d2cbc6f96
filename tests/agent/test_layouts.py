"""The ways in which systems write into a drop folder, through the whole agent."""

from __future__ import annotations

import pytest

from tests.agent.conftest import NewWorld
from tests.fakes import DAY_S, PDF, World, an_image, sidecar


@pytest.mark.parametrize("depth", [None, 1], ids=["by header", "by depth"])
def test_sidecar_and_images_in_sibling_folders_are_delivered_as_one(new_world: NewWorld, depth: int | None) -> None:
    world = new_world(depth=depth)
    world.drop.put("ACC1/dicom/IM1", an_image(1, 1))
    world.drop.put("ACC1/dicom/IM2", an_image(1, 2))
    world.drop.put("ACC1/json/x.json", sidecar(1, imageCnt=2, studyUid="1.2.1"))
    world.run(20.0)
    assert world.states()["ACC1"] == "DONE"
    assert world.shelved() == {"ACC1": ["dicom/IM1", "dicom/IM2", "json/x.json", "receipt.json"]}
    assert world.shelf.tidied == ["ACC1/dicom", "ACC1/json", "ACC1"]


def test_with_a_depth_a_pdf_in_a_sibling_folder_belongs_too(new_world: NewWorld) -> None:
    world = new_world(depth=2)
    world.drop.put("2025/ACC1/json/x.json", sidecar(1, imageCnt=1, pdfCnt=1))
    world.drop.put("2025/ACC1/dicom/IM1", an_image(1, 1))
    world.run(20.0)
    assert world.codes("ACC1") == ["FA-WAIT-FILES"]
    world.drop.put("2025/ACC1/pdf/report.pdf", PDF)
    world.run(20.0)
    assert world.states() == {"ACC1": "DONE"}


def test_names_are_used_again_the_next_day(world: World) -> None:
    for day in ("07", "08"):
        world.drop.put(f"2025/03/{day}/ACC1/IM1", an_image(1, int(day)))
        world.drop.put(f"2025/03/{day}/ACC1/x.json", sidecar(1))
    world.run(20.0)
    assert sorted(world.shelved()) == ["ACC1", "ACC1 (2)"]
    assert world.drop.files == {}
    world.drop.put("2025/03/07/ACC1/IM1", an_image(1, 9))
    world.drop.put("2025/03/07/ACC1/x.json", sidecar(1, examDept="CT"))
    world.run(20.0)
    assert len(world.shelved()) == 3


def test_exams_without_sidecar_in_one_day_folder_do_not_share_a_deadline(new_world: NewWorld) -> None:
    world = new_world(deadline_s=3600.0, fail_when_overdue=True)
    world.drop.put("2025/03/07/ACC1/IM1", an_image(1, 1))
    world.run(3000.0)
    world.drop.put("2025/03/07/ACC2/IM1", an_image(2, 1))
    world.run(1000.0)
    assert world.states() == {"ACC1": "FAILED", "ACC2": "GATHERING"}


def test_several_systems_write_into_one_folder_each_in_its_own_way(world: World) -> None:
    world.drop.put("a/ACC1/json/x.json", sidecar(1, studyUid="1.2.1"))
    world.drop.put("a/ACC1/dicom/IM1", an_image(1, 1))
    world.drop.put("b/B2.json", sidecar(2))
    world.drop.put("b/B2_1.dcm", an_image(2, 1))
    world.drop.put("b/B3.json", sidecar(3))
    world.drop.put("b/B3_1.dcm", an_image(3, 1))
    world.drop_exam(4)
    world.run(30.0)
    states = {name: state for name, state in world.states().items() if state != "WITHDRAWN"}
    assert states == {"ACC1": "DONE", "B2": "DONE", "B3": "DONE", "CT4": "DONE"}


def test_a_folder_that_systems_share_is_not_taken_from_under_them(world: World) -> None:
    world.drop.put("b/B2.json", sidecar(2))
    world.drop.put("b/B2_1.dcm", an_image(2, 1))
    world.drop.put("b/B3.json", sidecar(3, imageCnt=2))
    world.run(20.0)
    assert world.states()["B2"] == "DONE"
    assert world.shelf.tidied == []
    world.run(6 * DAY_S)
    assert world.shelf.tidied == []
    world.run(1.1 * DAY_S)  # if it is empty by then; if not, nothing comes of it
    assert world.shelf.tidied == ["b"]
    world.run(DAY_S)
    assert world.shelf.tidied == ["b"]


def test_five_thousand_images_of_one_exam_are_delivered_whole(world: World) -> None:
    world.drop_exam(1, images=5000)
    world.run(120.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.exams[0]["imageCnt"] == 5000


def test_deleting_half_of_an_exam_makes_it_wait_for_that_half(world: World) -> None:
    world.drop_exam(1, images=4, pdfCnt=1)
    world.run(10.0)
    assert world.codes("CT1") == ["FA-WAIT-FILES"]
    for number in (1, 2):
        del world.drop.files[f"CT1/{number}.dcm"]
    world.drop.put("CT1/report.pdf", PDF)
    world.run(20.0)
    assert dict(world.bundle("CT1").reasons[0].values)["en"] == "2 of 4 images"
    for number in (1, 2):
        world.drop.put(f"CT1/{number}.dcm", an_image(1, number))
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_renamed_folder_is_the_same_exam_under_its_new_name(world: World) -> None:
    world.drop_exam(1, images=2, pdfCnt=1)
    world.run(10.0)
    for path in list(world.drop.files):
        world.drop.files[path.replace("CT1/", "CT1 Li/")] = world.drop.files.pop(path)
    world.run(20.0)
    assert (world.states(), world.codes("CT1 Li")) == ({"CT1": "WITHDRAWN", "CT1 Li": "GATHERING"}, ["FA-WAIT-FILES"])
    world.drop.put("CT1 Li/report.pdf", PDF)
    world.run(20.0)
    assert world.states()["CT1 Li"] == "DONE"
    assert world.gateway.posted == ["ACC1"]


def test_what_is_pasted_over_is_judged_anew(world: World) -> None:
    world.drop_exam(1, images=2, imageCnt=3)
    world.run(10.0)
    world.drop.put("CT1/2.dcm", an_image(1, 2, patient="P9"))
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2))
    world.run(20.0)
    assert world.codes("CT1") == ["FA-MISMATCH"]
    assert list(world.shelved("failed")) == ["CT1"]


def test_looks_that_find_nothing_new_open_nothing(world: World) -> None:
    for number in range(500):
        world.drop.put(f"A{number}.json", sidecar(number, imageCnt=9))
    world.run(20.0)
    assert len(world.drop.inspected) == 500
    world.run(60.0)
    assert len(world.drop.inspected) == 500
