"""Trying again: with growing delays, for as long as the settings allow, whatever somebody does to the clock."""

from __future__ import annotations

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState
from tests.agent.conftest import NewWorld
from tests.fakes import DAY_S, RETRIES, Lost, World

AGAIN, REFUSED = 100002, 10005


def attempts(world: World) -> list[float]:
    """When the first bundle was sent, in seconds since the first time."""
    at = [entry.at for entry in world.ledger.history(1) if (entry.subject, entry.event) == ("bundle", "send")]
    return [round(one - at[0], 1) for one in at]


def test_it_is_tried_again_with_growing_delays(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.extend([AGAIN] * 5)
    world.run(250.0)
    assert world.states() == {"CT1": "DONE"}
    gaps = [later - earlier for earlier, later in zip(attempts(world), attempts(world)[1:], strict=False)]
    assert gaps == pytest.approx([8, 16, 32, 60, 60], abs=1.0)
    assert world.gateway.image_line.names == ["1.2.1.1.1"]  # what was accepted is not sent again


def test_no_bundle_is_tried_before_its_time_and_others_are_not_kept_waiting(world: World) -> None:
    world.drop_exam(1)
    world.gateway.line.coming.append(AGAIN)
    world.run(4.0)
    world.drop_exam(2)
    world.run(11.0)
    assert world.gateway.posted in (["ACC2", "ACC1"], ["ACC1", "ACC2"])
    assert world.publisher.notices == []


def test_exhausted_retries_end_in_failed_and_say_so(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.extend([AGAIN] * 200)
    world.run(RETRIES.for_s + 2 * RETRIES.max_s)
    assert world.states() == {"CT1": "FAILED"}
    assert world.codes("CT1") == ["FA-EXHAUSTED", "FA-GW-AGAIN"]
    assert world.shelved("failed") == {"CT1": ["1.dcm", "WHY.txt", "exam.json"]}
    assert world.drop.files == {}


def test_the_gateways_verdict_is_final(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.append(REFUSED)
    world.run(10.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "FAILED"}, ["FA-GW-REFUSED"])
    assert world.shelved("failed") == {"CT1": ["1.dcm", "WHY.txt", "exam.json"]}


def test_a_commit_whose_answer_was_lost_is_repeated_and_duplicate_is_success(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.extend([Lost(), 10004])
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}
    assert world.gateway.posted == ["ACC1", "ACC1"]
    assert world.gateway.image_line.names == ["1.2.1.1.1"]


def test_a_bundle_that_waits_survives_a_restart(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.append(AGAIN)
    world.run(4.0)
    world.end()
    world.start()
    world.run(4.0)
    assert world.states() == {"CT1": "WAITING"}
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_wall_clock_that_is_set_back_does_not_put_a_retry_off_for_days(world: World, restarts: bool) -> None:
    world.drop_exam()
    world.gateway.line.coming.append(AGAIN)
    world.run(4.0)
    assert world.states() == {"CT1": "WAITING"}
    world.clock.jump(-3 * DAY_S)
    if restarts:
        world.end()
        world.start()
    world.run(2 * RETRIES.max_s)
    assert world.states() == {"CT1": "DONE"}


def test_a_wall_clock_that_is_set_back_does_not_keep_the_gate_shut_for_days(world: World) -> None:
    world.drop_exam()
    world.gateway.go_down()
    world.run(30.0)
    world.clock.jump(-3 * DAY_S)
    world.gateway.come_back()
    world.run(3 * RETRIES.max_s)
    assert world.states() == {"CT1": "DONE"}


def test_a_wall_clock_that_is_set_back_does_not_keep_a_move_waiting_for_days(world: World) -> None:
    world.drop_exam()
    world.shelf.failing.append(failure(problem("FA-SHELF", shelf="done", detail="EBUSY")))
    world.run(4.0)
    assert world.states() == {"CT1": "COMMITTED"}
    world.clock.jump(-3 * DAY_S)
    world.run(2 * RETRIES.max_s)
    assert world.states() == {"CT1": "DONE"}


def test_a_wall_clock_that_is_set_forward_brings_a_retry_earlier(world: World) -> None:
    world.drop_exam()
    world.gateway.line.coming.append(AGAIN)
    world.run(4.0)
    world.clock.jump(3 * DAY_S)
    world.run(5.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_wall_clock_that_is_set_forward_alone_gives_nothing_up(world: World) -> None:
    """The bound on retrying is kept in wall-clock time, which alone survives a restart; so it takes tries as well."""
    world.drop_exam()
    world.gateway.line.coming.extend([AGAIN, AGAIN])
    world.run(4.0)
    world.clock.jump(3 * DAY_S)
    world.run(5.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-GW-AGAIN"])
    world.run(60.0)
    assert world.states() == {"CT1": "DONE"}


@pytest.mark.parametrize("jump_s", [-3 * DAY_S, 3 * DAY_S])
def test_setting_the_wall_clock_fails_no_bundle_that_waits_for_files(new_world: NewWorld, jump_s: float) -> None:
    world = new_world(deadline_s=DAY_S)
    world.drop_exam(imageCnt=2)
    world.run(10.0)
    world.clock.jump(jump_s)
    world.run(60.0)
    assert world.states() == {"CT1": "GATHERING"}
    world.drop_exam(images=2)
    world.run(20.0)
    assert world.states() == {"CT1": "DONE"}


def test_a_bundle_that_goes_on_after_it_was_overdue_is_overdue_no_more(new_world: NewWorld) -> None:
    world = new_world(deadline_s=60.0)
    world.drop_exam(imageCnt=2)
    world.run(90.0)
    assert world.bundle("CT1").overdue
    assert world.publisher.notices == [("FA-OVERDUE", False)]
    world.drop_exam(images=2)
    world.run(20.0)
    assert (world.bundle("CT1").state, world.bundle("CT1").overdue) == (BundleState.DONE, False)


def test_past_the_deadline_a_bundle_fails_where_that_is_set(new_world: NewWorld) -> None:
    world = new_world(deadline_s=60.0, fail_when_overdue=True)
    world.drop_exam(imageCnt=2)
    world.run(90.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "FAILED"}, ["FA-OVERDUE", "FA-WAIT-FILES"])
    assert world.shelved("failed") == {"CT1": ["1.dcm", "WHY.txt", "exam.json"]}
