"""The kill matrix, continued by seeded samples: rarer scenarios, and a second kill while the agent recovers."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest

from tests.crash import tally
from tests.crash.conftest import Matrix
from tests.crash.plan import SEED, moments, points, some
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.test_killed_anywhere import kill_at_all_points

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork; Windows has its own suite"),
]
Record = Callable[[str, object], None]
FIRST, SECOND = 6, 3  # first kills of a scenario, and second kills after each


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if not s.in_full], ids=lambda scenario: scenario.name)
def test_killed_at_a_seeded_sample_of_moments_and_started_again_loses_and_doubles_nothing(
    scenario: Scenario, matrix: Matrix, record_property: Record
) -> None:
    kill_at_all_points(scenario, matrix, record_property)


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.in_full], ids=lambda scenario: scenario.name)
def test_killed_again_at_a_seeded_sample_of_moments_of_the_recovery_loses_and_doubles_nothing(
    scenario: Scenario, matrix: Matrix, record_property: Record
) -> None:
    draw = random.Random(f"{SEED} again {scenario.name}")
    first = some(points(scenario, matrix.recordings), FIRST, draw)
    recoveries = matrix.play([(scenario, point, None) for point in first])
    twice = [
        (point, draw.choice(group))
        for point, life in zip(first, recoveries, strict=True)
        for group in some(moments(life.next_steps), SECOND, draw)
    ]
    outcomes = matrix.play([(scenario, point, again) for point, again in twice])
    lives = [*zip([(p, "") for p in first], recoveries, strict=True), *zip(twice, outcomes, strict=True)]
    wrong = [f"{point} then {again}: {w}" for (point, again), one in lives for w in one.wrong]
    killed, second = sum(bool(one.died) for _, one in lives), sum(one.died == 2 for one in outcomes)
    tally.note(
        record_property,
        killed=killed,
        second_kills=second,
        survived=sum(one.died for _, one in lives if not one.wrong),
    )
    assert not wrong, "\n".join(wrong)
    assert second > 0.8 * len(twice)
