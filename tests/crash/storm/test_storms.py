"""Random storms over the whole agent on simulated folders, clock and gateway: after every step the promise holds.

More: `FOLDER_AGENT_STORIES=20000 pytest tests/crash/storm`; a failing story shrinks to a few acts and is printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.crash import tally
from tests.crash.storm.story import ACTS, Act, acts, random_story, tell

STORIES = int(os.environ.get("FOLDER_AGENT_STORIES", "24"))
ACTS_A_STORY = 40
SEEDED = STORIES // 2  # and as many that are longer, from numbered dice

_quietly = settings(
    max_examples=STORIES // 2,  # and as many with `eager`
    deadline=None,
    derandomize=os.environ.get("FOLDER_AGENT_CI") == "1",
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
)
Tell = Callable[[str, object], None]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("is_eager", [False, True], ids=["", "eager"])
@pytest.mark.parametrize("layout", ["folder", "flat"])
def test_no_random_story_breaks_the_promise(layout: str, is_eager: bool, record_property: Tell) -> None:
    told: list[int] = []

    @_quietly
    @given(st.lists(acts, min_size=5, max_size=ACTS_A_STORY))
    def storm(story: list[Act]) -> None:
        told.append(tell(layout, story, is_eager=is_eager))

    storm()
    tally.note(record_property, storms_survived=len(told), steps_of_theirs=sum(told))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("is_eager", [False, True], ids=["", "eager"])
@pytest.mark.parametrize("layout", ["folder", "flat"])
def test_no_long_story_breaks_the_promise(layout: str, is_eager: bool, record_property: Tell) -> None:
    steps = 0
    for seed in range(SEEDED):
        story = random_story(seed, 2 * ACTS_A_STORY)
        try:
            steps += tell(layout, story, is_eager=is_eager)
        except AssertionError as broken:
            raise AssertionError(
                f"story {seed}, {layout}, {is_eager}: {broken}; shrink it by tests/crash/storm"
            ) from broken
    tally.note(record_property, storms_survived=SEEDED, steps_of_theirs=steps)


def test_the_stories_reach_everything_that_can_happen() -> None:
    """A storm in which nothing is delivered, refused or interrupted proves nothing."""
    names = {act.name for seed in range(20) for act in random_story(seed, 2 * ACTS_A_STORY)}
    assert names == set(ACTS)


def test_an_exam_without_any_trouble_is_delivered() -> None:
    story = [Act("image"), Act("sidecar", number=4), Act("wait", number=2)]
    assert tell("folder", story) > 0
