"""Exams without a sidecar, built from what their headers say, through the whole agent."""

from __future__ import annotations

import json

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, World, an_image, sidecar


def said(number: int = 1, **changes: str) -> dict[str, str]:
    """What the headers of exam `number` say; an empty value is not said."""
    known = {"patientName": "测试甲", "patientSex": "M", "studyId": f"S{number}", "accessNumber": f"ACC{number}"}
    told = {**known, "modality": "CT", "studyUid": f"1.2.{number}", **changes}
    return {name: value for name, value in told.items() if value}


def put(world: World, path: str, number: int = 1, one: int = 1, patient: str = "P7001", **changes: str) -> None:
    world.drop.put(path, image_of(number, one, patient=patient, **changes))


def image_of(number: int = 1, one: int = 1, patient: str = "P7001", **changes: str) -> bytes:
    told = said(number, **changes)
    return an_image(number, one, patient=patient, **{"accession": told.get("accessNumber"), **told})


def filled_in(world: World, name: str, **values: str) -> bytes:
    """The template of that name, as a person fills it in."""
    assert world.area is not None
    content = json.loads(world.area.files[f"{name}.json.template"].decode("utf-8-sig"))
    return json.dumps({**content, **values}).encode("utf-8-sig")


def delivered(world: World) -> list[str]:
    return sorted(world.gateway.posted)


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(by_headers=True, quiet_s=10.0, templates=True)


def test_a_folder_of_images_that_say_everything_needs_no_sidecar(world: World) -> None:
    put(world, "CD1/IM1")
    put(world, "CD1/IM2", one=2)
    world.run(60.0)
    assert (world.states(), delivered(world)) == ({"CD1": "DONE"}, ["ACC1"])
    assert world.drop.files == {}
    assert world.shelf.tidied == ["CD1"]


def test_the_rest_of_a_cd_stays_and_is_no_exam_now_nor_after_a_new_start(world: World) -> None:
    for number in (1, 2, 3):
        put(world, f"CD1/DICOM/ST{number}/IM1", number)
    for path in ("CD1/AUTORUN.INF", "CD1/VIEWER/v.exe", "CD1/VIEWER/README", "CD1/logo.jpg"):
        world.drop.put(path, b"\0")
    world.drop.put("CD1/VIEWER/settings.json", b'{"status": "final"}')
    world.drop.put("CD1/DICOMDIR", b"")
    rest = {path for path in world.drop.files if "/ST" not in path}
    world.run(60.0)
    assert (sorted(world.states()), delivered(world)) == (
        ["CD1 ACC1", "CD1 ACC2", "CD1 ACC3"],
        ["ACC1", "ACC2", "ACC3"],
    )
    assert set(world.states().values()) == {"DONE"}
    assert set(world.drop.files) == rest
    assert world.ledger.tallies().unassigned == 0
    world.drop.inspected.clear()
    world.run(300.0)
    assert world.drop.inspected == []
    world.start()
    world.run(300.0)
    assert not set(world.drop.inspected) & {"CD1/AUTORUN.INF", "CD1/VIEWER/v.exe", "CD1/logo.jpg"}
    assert (len(world.states()), world.ledger.tallies().unassigned) == (3, 0)


def test_a_study_that_comes_after_the_first_was_sent_is_an_exam_of_its_own(world: World) -> None:
    put(world, "CD1/a/IM1")
    world.run(60.0)
    put(world, "CD1/b/IM1", 2)
    world.run(60.0)
    assert (sorted(world.shelved()), delivered(world)) == (["CD1", "CD1 (2)"], ["ACC1", "ACC2"])


def test_a_cd_that_is_dropped_again_sends_no_image_twice(world: World) -> None:
    for _ in range(2):
        put(world, "CD1/IM1")
        world.run(60.0)
    assert len(world.gateway.image_line.received) == 1
    assert sorted(world.shelved()) == ["CD1", "CD1 (2)"]


def test_the_same_folder_name_the_next_day_is_another_exam(world: World) -> None:
    put(world, "CD1/IM1", accessNumber="")
    world.run(60.0)
    put(world, "CD1/IM2", 2)
    world.run(60.0)
    assert world.states() == {"CD1 #1": "GATHERING", "CD1 ACC2": "DONE"}
    assert delivered(world) == ["ACC2"]
    assert world.area is not None
    assert list(world.area.files) == ["CD1.json.template"]  # where somebody may have it open


def test_a_study_that_others_join_gets_a_name_of_its_own(new_world: NewWorld) -> None:
    world = new_world(by_headers=True, quiet_s=30.0)
    put(world, "CD1/a/IM1")
    world.run(15.0)
    assert list(world.states()) == ["CD1"]
    put(world, "CD1/b/IM1", 2)
    world.run(10.0)
    assert sorted(world.states()) == ["CD1 ACC1", "CD1 ACC2"]
    world.run(60.0)
    assert sorted(world.shelved()) == ["CD1 ACC1", "CD1 ACC2"]


def test_one_study_on_two_cds_is_posted_once_with_all_of_its_images(world: World) -> None:
    put(world, "CD1/IM1")
    put(world, "CD2/IM1", one=2)
    world.run(60.0)
    assert (delivered(world), world.shelved()) == (["ACC1"], {"CD1": ["CD1/IM1", "CD2/IM1", "receipt.json"]})
    assert world.bundle("CD1").counts.images == 2


def test_a_study_of_two_patients_is_refused_and_the_others_go(world: World) -> None:
    put(world, "CD1/a/IM1")
    put(world, "CD1/a/IM2", one=2, patient="P9")
    put(world, "CD1/b/IM1", 2)
    world.run(60.0)
    assert world.states() == {"CD1 ACC1": "REFUSED", "CD1 ACC2": "DONE"}
    assert world.codes("CD1 ACC1") == ["FA-MIXED"]
    assert sorted(world.shelved("failed")["CD1 ACC1"]) == ["IM1", "IM2", "WHY.txt"]
    for path in ("IM1", "IM2", "WHY.txt"):  # somebody takes the stray away, and drops the rest back
        if path != "IM2":
            content = world.shelf.shelved["/shelves/failed/2026-01-31/CD1 ACC1"][path].content
            world.drop.put(f"CD1 ACC1/{path}", content)
    world.run(60.0)
    assert delivered(world) == ["ACC1", "ACC2"]
    assert world.drop.files == {}


@pytest.mark.parametrize("place", ["CD1/exam.json", "CD1/IM1.json", "exam.json", "a/b/exam.json"])
def test_a_sidecar_that_comes_while_it_is_quiet_wins(new_world: NewWorld, place: str) -> None:
    world = new_world(by_headers=True, quiet_s=20.0)
    put(world, "CD1/IM1")
    world.run(8.0)
    world.drop.put(place, sidecar(1, studyUid="1.2.1", patientName="钱石"))
    world.run(60.0)
    assert delivered(world) == ["ACC1"]
    (done,) = [bundle for bundle in world.ledger.latest_bundles() if str(bundle.state) == "DONE"]
    assert done.key != "CD1/#1.2.1"


def test_a_sidecar_of_one_of_several_studies_takes_it_and_the_others_go_by_their_headers(world: World) -> None:
    put(world, "CD1/a/IM1")
    put(world, "CD1/b/IM1", 2, accessNumber="")
    world.drop.put("CD1/exam.json", sidecar(2, studyUid="1.2.2"))
    world.run(60.0)
    assert (world.states(), delivered(world)) == ({"CD1 ACC1": "DONE", "exam": "DONE"}, ["ACC1", "ACC2"])


def test_a_sidecar_that_comes_later_is_an_update(world: World) -> None:
    put(world, "CD1/IM1")
    world.run(60.0)
    world.drop.put("exam.json", sidecar(1, studyUid="1.2.1", imageCnt=None, examDept="CT"))
    world.run(90.0)
    assert world.gateway.posted == ["ACC1", "ACC1"]


def test_while_another_bundle_of_the_study_is_on_its_way_it_waits(world: World) -> None:
    world.shelf.failing.extend(failure(problem("FA-DISK-FULL", shelf="done")) for _ in range(20))
    world.drop.put("A1/exam.json", sidecar(1, studyUid="1.2.1"))
    put(world, "A1/IM1")
    world.run(20.0)
    put(world, "CD1/IM2", one=2)
    world.run(20.0)
    assert (world.states(), world.codes("CD1")) == ({"A1": "COMMITTED", "CD1": "GATHERING"}, ["FA-WAIT-STUDY"])
    world.shelf.failing.clear()
    world.run(200.0)
    assert world.states() == {"A1": "DONE", "CD1": "DONE"}


@pytest.mark.parametrize("late", ["CD1/IM2", "CD1/deep/IM2", "CD1/viewer/IM2"])
def test_what_comes_into_the_folder_in_the_last_moment_is_looked_at_before_it_is_posted(
    new_world: NewWorld, late: str
) -> None:
    world = new_world(by_headers=True, quiet_s=10.0)
    put(world, "CD1/IM1")
    world.gateway.image_line.on_way = lambda: late in world.drop.files or put(world, late, one=2)
    world.run(60.0)
    assert world.bundle("CD1").counts.images == 2
    assert world.gateway.posted == ["ACC1"]


def test_pdfs_are_never_sent_without_a_sidecar(world: World) -> None:
    put(world, "CD1/IM1")
    world.drop.put("CD1/report.pdf", PDF)
    world.run(60.0)
    assert (delivered(world), world.bundle("CD1").counts.pdfs) == (["ACC1"], 0)
    assert list(world.drop.files) == ["CD1/report.pdf"]
    assert world.ledger.tallies().unassigned == 1


# --- templates --------------------------------------------------------------------------------------------------------


def test_what_the_headers_do_not_say_is_asked_for_by_a_template_that_goes_when_the_exam_does(world: World) -> None:
    put(world, "CD1/IM1", accessNumber="")
    world.run(60.0)
    assert world.codes("CD1") == ["FA-NEEDS-SIDECAR", "FA-TEMPLATE"]
    needs, where = world.bundle("CD1").reasons
    assert dict(needs.values)["fields"] == "accessNumber"
    assert dict(where.values) == {"where": "_STATUS/CD1.json.template", "target": "CD1/CD1.json"}
    assert world.area is not None
    assert list(world.area.files) == ["CD1.json.template"]
    world.drop.put("CD1/CD1.json", filled_in(world, "CD1", accessNumber="A9"))
    world.run(60.0)
    assert (delivered(world), world.states()["CD1"]) == (["A9"], "DONE")
    assert world.area.files == {}
    assert world.ledger.recall("templates:ct") is None


def test_each_study_of_a_cd_has_a_template_of_its_own(world: World) -> None:
    for number in (1, 2, 3):
        put(world, f"CD1/{number}/IM1", number, accessNumber="")
    world.run(60.0)
    assert world.area is not None
    assert list(world.area.files) == [f"CD1 #{number}.json.template" for number in (1, 2, 3)]
    for number in (3, 1):
        name = f"CD1 #{number}"
        world.drop.put(f"CD1/{name}.json", filled_in(world, name, accessNumber=f"A{number}"))
        world.run(60.0)
    assert delivered(world) == ["A1", "A3"]
    assert list(world.area.files) == ["CD1 #2.json.template"]


def test_a_template_follows_what_becomes_certain_and_what_a_person_has_typed_stays(world: World) -> None:
    put(world, "CD1/IM1", accessNumber="", patientSex="")
    world.run(60.0)
    assert world.area is not None
    name = "CD1.json.template"
    assert b'"patientSex": ""' in world.area.files[name]
    put(world, "CD1/IM2", one=2, accessNumber="")
    world.run(60.0)
    assert b'"patientSex": "M"' in world.area.files[name]
    world.area.files[name] = b"typed"
    put(world, "CD1/IM3", one=3, accessNumber="", patientSex="F")
    world.run(60.0)
    assert world.area.files == {name: b"typed"}
    for path in list(world.drop.files):
        del world.drop.files[path]
    world.run(60.0)
    assert world.area.files == {name: b"typed"}


def test_a_template_goes_when_its_exam_has_vanished_also_while_no_agent_ran(world: World) -> None:
    put(world, "CD1/IM1", accessNumber="")
    put(world, "CD2/IM1", 2, accessNumber="")
    world.run(60.0)
    assert world.area is not None
    assert len(world.area.files) == 2
    del world.drop.files["CD1/IM1"]
    world.run(60.0)
    assert list(world.area.files) == ["CD2.json.template"]
    del world.drop.files["CD2/IM1"]
    world.start()
    world.run(60.0)
    assert world.area.files == {}


def test_a_new_start_knows_its_templates_again(world: World) -> None:
    put(world, "CD1/IM1", accessNumber="")
    world.run(60.0)
    assert world.area is not None
    before = dict(world.area.files)
    world.start()
    world.run(60.0)
    assert world.area.files == before
    put(world, "x/CD1/IM1", 2, accessNumber="")
    world.drop.put("2026/03/07/CD1/IM1", image_of(3, accessNumber=""))
    world.run(60.0)
    assert sorted(world.area.files) == ["CD1 (2).json.template", "CD1.json.template", "x.json.template"]


def test_a_status_area_that_cannot_be_written_is_said_and_stops_no_exam(world: World) -> None:
    assert world.area is not None
    world.area.outage = failure(problem("FA-STATUS-AREA", where="_STATUS", detail="EACCES"))
    put(world, "CD1/IM1", accessNumber="")
    put(world, "CD2/IM1", 2)
    world.run(100.0)
    assert delivered(world) == ["ACC2"]
    assert ("FA-STATUS-AREA", False) in world.publisher.notices
    world.area.outage = None
    world.run(100.0)
    assert list(world.area.files) == ["CD1.json.template"]
    assert ("FA-STATUS-AREA", True) in world.publisher.notices


def test_where_a_sidecar_is_required_a_folder_gets_a_template_if_people_are_told_anything(new_world: NewWorld) -> None:
    world = new_world(drafts=True, quiet_s=30.0, templates=True)
    put(world, "CT1/IM1", accessNumber="")
    world.drop.put("CT2/report.pdf", PDF)
    world.run(20.0)
    assert world.area is not None
    assert (world.codes("CT1"), world.area.files) == (["FA-NO-SIDECAR"], {})
    world.run(30.0)
    assert world.codes("CT1") == ["FA-NO-SIDECAR", "FA-TEMPLATE"]
    assert sorted(world.area.files) == ["CT1.json.template", "CT2.json.template"]
    world.drop.put("CT1/CT1.json", filled_in(world, "CT1", accessNumber="A9"))
    world.run(60.0)
    assert (delivered(world), list(world.area.files)) == (["A9"], ["CT2.json.template"])
