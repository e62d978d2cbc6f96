"""What comes later of a study that was delivered: only what is new is sent, and the counts are those of all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import FileState
from tests.agent.conftest import NewWorld
from tests.fakes import PDF, World, an_image, sidecar

SIGNED = PDF.replace(b"endobj", b"signed endobj")
COUNTS = ("imageCnt", "reportCnt", "pdfCnt", "seriesCnt")
STUDY = {"studyUid": "1.2.1"}


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(quiet_s=10.0)


def counts(world: World, post: int = -1) -> list[Any]:
    return [world.gateway.exams[post][name] for name in COUNTS]


def series(world: World, folder: str, numbers: range, uid: str = "1.2.1.2", **changes: Any) -> None:
    """A folder with images of a series, and a sidecar that counts them."""
    for number in numbers:
        world.drop.put(f"{folder}/{number}.dcm", an_image(1, number, series=uid))
    world.drop.put(f"{folder}/x.json", sidecar(1, **{"imageCnt": len(numbers), **STUDY, **changes}))


def test_a_series_more_is_sent_alone_and_counted_with_what_was_there(world: World) -> None:
    world.drop_exam(images=3)
    world.run(20.0)
    sent = list(world.gateway.image_line.names)
    series(world, "LATER", range(10, 12), patientName="改名")
    world.run(30.0)
    assert world.states() == {"CT1": "DONE", "LATER": "DONE"}
    assert world.gateway.image_line.names == [*sent, "1.2.1.1.10", "1.2.1.1.11"]
    assert (counts(world, 0), counts(world)) == ([3, 0, 0, 1], [5, 0, 0, 2])
    assert world.gateway.exams[-1]["patientName"] == "改名"
    assert [one.counts.images for one in (world.bundle("CT1"), world.bundle("LATER"))] == [3, 5]


@pytest.mark.parametrize("declared", [2, 5])
def test_the_counts_may_be_the_bundles_or_the_studys(world: World, declared: int) -> None:
    world.drop_exam(images=3)
    world.run(20.0)
    series(world, "LATER", range(10, 12), imageCnt=declared)
    world.run(40.0)
    assert world.states()["LATER"] == "DONE"
    assert counts(world) == [5, 0, 0, 2]


def test_everything_again_with_a_series_more_sends_the_series(world: World) -> None:
    world.drop_exam(images=3)
    world.run(20.0)
    for number in range(1, 4):
        world.drop.put(f"AGAIN/{number}.dcm", an_image(1, number))
    series(world, "AGAIN", range(10, 12), imageCnt=5)
    world.run(30.0)
    assert world.gateway.image_line.names[3:] == ["1.2.1.1.10", "1.2.1.1.11"]
    assert counts(world) == [5, 0, 0, 2]
    assert {file.state for file in world.ledger.files_of(2)} == {FileState.SENT}


def test_the_signed_report_of_the_next_day(world: World) -> None:
    world.drop.put("CT1/report.pdf", PDF)
    world.drop_exam(images=3, pdfCnt=1)
    world.run(20.0)
    world.drop.put("CT1/signed.pdf", SIGNED)
    world.drop.put("CT1/x.json", sidecar(1, imageCnt=3, pdfCnt=1, status="final"))
    world.run(40.0)
    assert sorted(world.shelved()) == ["CT1", "CT1 (2)"]
    assert len(world.gateway.report_line.received) == 2
    assert counts(world) == [3, 0, 2, 1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_several_at_once_or_in_any_order_end_in_the_same_counts(world: World, order: tuple[int, ...]) -> None:
    world.drop_exam(images=3)
    world.run(20.0)
    for number in order:
        series(world, f"L{number}", range(10 * number + 10, 10 * number + 12), uid=f"1.2.1.{number + 2}")
    world.run(60.0)
    assert counts(world) == [9, 0, 0, 4]
    assert len(world.gateway.image_line.names) == len(set(world.gateway.image_line.names)) == 9


def test_two_drop_folders_that_deliver_one_study_at_the_same_time_end_with_the_sum(new_world: NewWorld) -> None:
    """The second learns at its commit that the first was faster, and tells the gateway of both."""
    world = new_world(drops=("ct", "mr"), workers=2, quiet_s=10.0)
    for drop, number in (("ct", 1), ("mr", 2)):
        world.drops[drop].put("CT1/1.dcm", an_image(1, number, series=f"1.2.1.{number}"))
        world.drops[drop].put("CT1/x.json", sidecar(1, **STUDY))
    asked = []
    world.ledger.commit, commit = lambda steps, known: asked.append(known) or commit(steps, known), world.ledger.commit
    posts: list[int] = []

    def meanwhile() -> None:
        """The other drop folder's bundle is committed while the first post of this one is on its way."""
        posts.append(1)
        other = next(one for one in world.ledger.open_bundles() if one.drop == "mr")
        if len(posts) == 1:
            from folder_agent.core.lifecycle import BundleEvent, bundle_step

            for event in (BundleEvent.SEND,) if other.state == "COMPLETE" else ():
                world.ledger.apply([bundle_step(other, event, 1.0)])
                other = world.ledger.bundle(other.id) or other
            if other.state == "SENDING":
                world.ledger.apply([bundle_step(other, BundleEvent.COMMIT, 1.0, committed_at=1.0)])

    world.gateway.line.on_way = meanwhile
    world.run(60.0)
    assert counts(world) == [2, 0, 0, 2]
    assert len(asked) > len({bundle.id for bundle in world.ledger.latest_bundles()}) - 1


def test_an_exact_repeat_is_neither_sent_nor_posted_and_says_so(world: World) -> None:
    world.drop_exam(images=2)
    world.run(20.0)
    world.drop_exam(images=2)
    world.run(20.0)
    assert (len(world.gateway.exams), len(world.gateway.image_line.names)) == (1, 2)
    assert sorted(world.shelved()) == ["CT1", "CT1 (2)"]
    first, second = (world.ledger.bundle(number) for number in (1, 2))
    assert first is not None
    assert second is not None
    assert [reason.code for reason in second.reasons] == ["FA-REPEAT"]
    assert dict(second.reasons[0].values) == {"at": str(first.committed_at), "name": "CT1"}
    assert (second.committed_at, second.posted, second.counts) == (first.committed_at, first.posted, first.counts)
    assert world.publisher.events(2)[-2:] == ["repeat", "shelve"]
    world.drop_exam(images=2)
    world.run(20.0)
    third = world.ledger.bundle(3)
    assert third is not None
    assert dict(third.reasons[0].values)["at"] == str(first.committed_at)
    assert len(world.gateway.exams) == 1


def test_a_repeat_of_a_part_or_of_the_sidecar_alone_is_none_of_our_business(world: World) -> None:
    world.drop_exam(images=2)
    world.run(20.0)
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2))
    world.run(30.0)
    world.drop.put("CT2/exam.json", sidecar(1, imageCnt=2))
    world.run(30.0)
    assert len(world.gateway.exams) == 1
    assert world.drop.files == {}


def test_a_repeat_that_says_something_else_is_an_update(world: World) -> None:
    world.drop_exam(images=2)
    world.run(20.0)
    world.drop_exam(images=2, patientName="改名")
    world.run(20.0)
    world.drop_exam(images=2)  # and back to what it was at first: not what was posted last
    world.run(20.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["测试甲", "改名", "测试甲"]
    assert len(world.gateway.image_line.names) == 2
    assert counts(world) == [2, 0, 0, 1]


def test_a_repeat_needs_no_gateway_and_is_no_sign_of_life(world: World) -> None:
    world.drop_exam()
    world.run(20.0)
    world.gateway.go_down()
    world.drop_exam()
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    world.drop_exam(number=2)
    world.run(5.0)
    world.drop_exam()
    world.run(300.0)
    assert world.states()["CT2"] == "WAITING"
    assert ("FA-GW-UNREACHABLE", True) not in world.publisher.notices


def test_a_repeat_whose_move_fails_once_still_says_what_it_is(world: World) -> None:
    world.drop_exam()
    world.run(20.0)
    world.drop_exam()
    world.shelf.failing.append(failure(problem("FA-SHELF", shelf="done", detail="EBUSY")))
    world.run(60.0)
    assert world.codes("CT1") == ["FA-REPEAT"]
    assert world.states() == {"CT1": "DONE"}


def test_an_instance_with_other_bytes_than_delivered_is_refused_before_anything_is_sent(world: World) -> None:
    world.drop_exam(images=2)
    world.run(20.0)
    world.drop.put("NEW/a.dcm", an_image(1, 7))
    world.drop.put("NEW/b.dcm", an_image(1, 1, pixels="other"))
    world.drop.put("NEW/x.json", sidecar(1, imageCnt=2, **STUDY))
    world.run(30.0)
    assert world.states() == {"CT1": "DONE", "NEW": "REFUSED"}
    (why,) = world.bundle("NEW").reasons
    assert (why.code, why.path) == ("FA-INSTANCE-CHANGED", "NEW/b.dcm")
    told = dict(why.values)
    assert told["other"] == "CT1/1.dcm"
    assert float(told["at"]) < float(told["seen"])
    assert len(world.gateway.image_line.names) == 2
    assert len(world.gateway.exams) == 1


def test_or_it_is_replaced_if_the_newest_is_to_count(new_world: NewWorld) -> None:
    world = new_world(quiet_s=10.0, replaces=True)
    for pixels in ("", "newer", "", ""):
        world.drop.put("CT1/1.dcm", an_image(1, 1, pixels=pixels))
        world.drop.put("CT1/x.json", sidecar(1, **STUDY))
        world.run(30.0)
    assert [bundle.state for bundle in world.ledger.latest_bundles()] == ["DONE"] * 4
    assert len(world.gateway.image_line.received) == 3  # the last one was there already
    assert [exam["imageCnt"] for exam in world.gateway.exams] == [1, 1, 1]
    assert world.codes("CT1") == ["FA-REPEAT"]


def test_what_was_never_delivered_may_come_with_other_bytes(world: World) -> None:
    """It was accepted, and then the exam was refused: what is exported anew is no contradiction."""
    world.gateway.line.coming.append(100001)
    world.drop_exam()
    world.run(20.0)
    assert world.states() == {"CT1": "FAILED"}
    world.drop.put("CT1/1.dcm", an_image(1, 1, pixels="mended"))
    world.drop.put("CT1/x.json", sidecar(1, **STUDY))
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert len(world.gateway.image_line.received) == 2


def test_of_an_accession_number_with_two_studies_each_is_counted_alone(world: World) -> None:
    world.drop_exam(images=2, studyUid="1.2.1")
    for number in (1, 2, 3):
        world.drop.put(f"OTHER/{number}.dcm", an_image(5, number, accession="ACC1"))
    world.drop.put("OTHER/x.json", sidecar(1, imageCnt=3, studyUid="1.2.5"))
    world.run(30.0)
    assert sorted(exam["imageCnt"] for exam in world.gateway.exams) == [2, 3]


@pytest.mark.parametrize("after", range(3))
def test_the_last_settled_sidecar_counts_whenever_it_is_rewritten(world: World, after: int) -> None:
    """While images arrive, while they are sent, and while the exam information is on its way after a failed try."""
    world.drop.put("CT1/exam.json", sidecar(1, imageCnt=2, patientName="旧"))
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    newest = sidecar(1, imageCnt=2, patientName="新")
    if after == 0:
        world.run(5.0)
        world.drop.put("CT1/exam.json", newest)
    if after == 1:
        todo = [1]
        world.gateway.image_line.on_way = lambda: todo and todo.pop() and world.drop.put("CT1/exam.json", newest)
    if after == 2:
        world.gateway.line.coming.append(1)
    world.drop.put("CT1/2.dcm", an_image(1, 2))
    world.run(6.0)
    if after == 2:
        world.drop.put("CT1/exam.json", newest)
    world.run(100.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["新"]
    assert sorted(world.gateway.image_line.names) == ["1.2.1.1.1", "1.2.1.1.2"]
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("place", ["first", "among", "last"])
def test_the_sidecar_may_come_before_among_or_after_the_files(world: World, place: str) -> None:
    names = ["1.dcm", "2.dcm"]
    names.insert({"first": 0, "among": 1, "last": 2}[place], "exam.json")
    for name in names:
        content = sidecar(1, imageCnt=2) if name == "exam.json" else an_image(1, int(name[0]))
        world.drop.put(f"CT1/{name}", content)
        world.run(15.0)
    world.run(10.0)
    assert world.states() == {"CT1": "DONE"}
    assert json.loads(sidecar(1, imageCnt=2))["accessNumber"] == world.gateway.posted[0]
