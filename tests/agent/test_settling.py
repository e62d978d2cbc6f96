"""When a file counts as whole: by our own clock alone, whatever time stamps and the wall clock say."""

from __future__ import annotations

from pathlib import Path

import pytest

from folder_agent.agent.intake import AGAIN_S, Intake
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import FileState
from tests.agent.conftest import NewWorld
from tests.fakes import DAY_S, PDF, RETRIES, FakeClock, FakeDropFolder, FakeLedger, World, an_image, sidecar


def test_a_file_settles_after_settle_s_on_our_own_clock(new_world: NewWorld) -> None:
    world = new_world(settle_s=30.0)
    world.drop_exam()
    world.run(29.0)
    assert (world.drop.inspected, world.gateway.posted) == ([], [])
    world.run(2.0)
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("mtime_ns", [0, 1, 10**9, 4 * 10**18])
def test_a_time_stamp_in_the_past_or_future_settles_nothing(new_world: NewWorld, mtime_ns: int) -> None:
    world = new_world(settle_s=30.0)
    world.drop.put("CT1/1.dcm", an_image(1, 1), mtime_ns)
    world.drop.put("CT1/exam.json", sidecar(1), mtime_ns)
    world.run(29.0)
    assert world.gateway.posted == []
    world.run(2.0)
    assert world.gateway.posted == ["ACC1"]


@pytest.mark.parametrize("jump_s", [-3 * DAY_S, 3 * DAY_S])
def test_setting_the_wall_clock_neither_settles_nor_delays_a_file(new_world: NewWorld, jump_s: float) -> None:
    world = new_world(settle_s=30.0)
    world.drop_exam()
    world.run(15.0)
    world.clock.jump(jump_s)
    world.run(14.0)
    assert world.gateway.posted == []
    world.run(2.0)
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("jump_s", [-3 * DAY_S, 3 * DAY_S])
def test_setting_the_wall_clock_does_not_shift_the_quiet_time(new_world: NewWorld, jump_s: float) -> None:
    world = new_world(quiet_s=60.0)
    world.drop_exam(imageCnt=None)
    world.run(30.0)
    world.clock.jump(jump_s)
    world.run(29.0)
    assert world.gateway.posted == []
    world.run(2.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_growing_file_is_left_alone_until_it_is_still(new_world: NewWorld) -> None:
    world = new_world(settle_s=4.0, scan_s=1.0)
    world.drop.put("CT1/exam.json", sidecar(imageCnt=None, pdfCnt=1))
    for length in range(1, 21):
        world.drop.put("CT1/report.pdf", PDF[:length])
        world.run(2.0)
    assert "CT1/report.pdf" not in world.drop.inspected
    world.drop.put("CT1/report.pdf", PDF)
    world.run(6.0)
    assert world.drop.inspected.count("CT1/report.pdf") == 1
    assert world.states() == {"CT1": "DONE"}


def test_a_file_that_grows_without_notice_is_never_sent_half(new_world: NewWorld) -> None:
    world = new_world(scan_s=3600.0)  # no look happens by itself in between
    world.drop.put("CT1/exam.json", sidecar())
    world.drop.put("CT1/1.dcm", an_image(1, 1)[:40])
    world.agent.step()
    world.drop.put("CT1/1.dcm", an_image(1, 1))
    world.run(10.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.image_line.names == ["1.2.1.1.1"]


def test_a_file_that_another_program_holds_is_tried_again(world: World) -> None:
    world.drop_exam()
    world.drop.unreadable["CT1/1.dcm"] = problem("FA-FILE-LOCKED", "CT1/1.dcm")
    world.run(20.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "GATHERING"}, ["FA-FILE-LOCKED"])
    world.drop.unreadable.clear()
    world.run(6.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_file_that_is_held_just_when_it_is_sent_is_not_forgotten_and_not_hammered(world: World) -> None:
    world.drop_exam()
    held = failure(problem("FA-FILE-LOCKED", "CT1/1.dcm"))
    world.gateway.image_line.coming.extend([held] * 3)
    world.run(2.5)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-FILE-LOCKED"])
    world.run(RETRIES.first_s * (1 + 2 + 4))
    assert world.states() == {"CT1": "DONE"}
    sends = [entry for entry in world.ledger.history(1) if (entry.subject, entry.event) == ("bundle", "send")]
    assert len(sends) == 4


@pytest.mark.parametrize("order", [("exam.json", "1.dcm", "2.dcm"), ("1.dcm", "2.dcm", "exam.json")])
def test_the_sidecar_may_come_first_or_last(world: World, order: tuple[str, ...]) -> None:
    content = {"exam.json": sidecar(imageCnt=2), "1.dcm": an_image(1, 1), "2.dcm": an_image(1, 2)}
    for name in order:
        assert world.gateway.posted == []
        world.drop.put(f"CT1/{name}", content[name])
        world.run(20.0)
    assert world.states() == {"CT1": "DONE"}
    assert len(world.ledger.latest_bundles()) == 1


def test_of_a_sidecar_that_is_written_again_the_last_version_counts(world: World) -> None:
    world.drop_exam(imageCnt=2, patientName="旧名")
    world.run(10.0)
    assert world.states() == {"CT1": "GATHERING"}
    world.drop.put("CT1/exam.json", sidecar(imageCnt=1, patientName="新名"))
    world.run(15.0)
    assert world.states() == {"CT1": "DONE"}
    assert [exam["patientName"] for exam in world.gateway.exams] == ["新名"]


def test_a_sidecar_that_is_rewritten_while_it_settles_is_read_once(new_world: NewWorld) -> None:
    world = new_world(settle_s=5.0, scan_s=1.0)
    world.drop_exam(patientName="旧名")
    world.run(3.0)
    world.drop.put("CT1/exam.json", sidecar(patientName="新名"))
    world.run(12.0)
    assert [exam["patientName"] for exam in world.gateway.exams] == ["新名"]
    assert world.drop.inspected.count("CT1/exam.json") == 1


def test_files_in_a_workers_hands_are_not_settled_meanwhile() -> None:
    """An overdue bundle may go to failed/ with files that never settled: what its worker closes must stay closed."""
    drop, ledger, clock = FakeDropFolder("ct", Path("/drops/ct")), FakeLedger(), FakeClock()
    intake = Intake(drop, ledger, clock, settle_s=2.0)
    drop.put("CT1/1.dcm", an_image(1, 1))
    intake.look(frozenset())
    bundle = ledger.open_bundle("ct", "CT1/", "CT1", clock.now())
    intake.assign(["CT1/1.dcm"], bundle.id)
    in_hand = frozenset({bundle.id})
    clock.advance(3.0)
    assert intake.settle(in_hand) is False
    assert ([file.state for file in ledger.open_files("ct")], intake.is_settling(in_hand)) == ([FileState.SEEN], False)
    assert intake.next_due() > clock.monotonic(), "the loop would run hot"
    clock.advance(AGAIN_S)
    intake.settle(frozenset())
    assert [file.state for file in ledger.open_files("ct")] == [FileState.SETTLED]
