"""The promise, tried the hard way: the real agent is killed (SIGKILL) at every step that changes anything, and started
again.

Afterwards every byte that was dropped is in exactly one place, the gateway holds each instance once and its last word
on each exam is right, the ledger agrees with the disk, and nothing that was known to be accepted was sent again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.crash import enumeration, tally
from tests.crash.conftest import Matrix
from tests.crash.declared import CHANGES_NOTHING, UNREACHED
from tests.crash.plan import first_met_in, points, subject_of
from tests.crash.scenarios import SCENARIOS, Scenario

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork; Windows has its own suite"),
]
Record = Callable[[str, object], None]


def test_every_step_that_changes_something_is_reached_or_declared_with_a_reason(
    matrix: Matrix, record_property: Record
) -> None:
    reached = {subject_of(step) for lives in matrix.recordings.values() for steps in lives for step in steps}
    missed = set(enumeration.steps()) - reached - UNREACHED.keys()
    assert not missed, "write a scenario that comes to them, or say in declared.py why none does"
    assert not UNREACHED.keys() & reached, "declared as unreached, and reached"
    tally.note(record_property, calls_and_transitions=len(enumeration.steps()), unreached=len(UNREACHED))


def test_what_is_declared_is_there() -> None:
    there = {one.step for one in enumeration.functions()}
    assert there >= CHANGES_NOTHING
    assert {*enumeration.steps()} >= UNREACHED.keys()
    assert all(UNREACHED.values())


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.in_full], ids=lambda scenario: scenario.name)
def test_killed_at_every_moment_and_started_again_loses_and_doubles_nothing(
    scenario: Scenario, matrix: Matrix, record_property: Record
) -> None:
    kill_at_all_points(scenario, matrix, record_property)


def kill_at_all_points(scenario: Scenario, matrix: Matrix, record_property: Record) -> None:
    """Play the scenario once for each point, and look for what is wrong afterwards."""
    chosen = points(scenario, matrix.recordings)
    outcomes = matrix.play([(scenario, point, None) for point in chosen])
    wrong = [f"stage {s} {step}: {w}" for (s, step), one in zip(chosen, outcomes, strict=True) for w in one.wrong]
    killed = sum(one.died for one in outcomes)
    tally.note(
        record_property,
        steps_of_their_lives=sum(map(len, matrix.recordings[scenario.name])),
        killed=killed,
        second_kills=0,
        survived=sum(one.died and not one.wrong for one in outcomes),
    )
    assert not wrong, "\n".join(wrong)
    missed = {point for point, one in zip(chosen, outcomes, strict=True) if not one.died}
    assert not missed & {*first_met_in(scenario, matrix.recordings)}, "every step is died at once, whatever its number"
    assert len(missed) < 0.1 * len(chosen)  # some numbers depend on timing and are not met again
