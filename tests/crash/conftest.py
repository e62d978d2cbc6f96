"""What the tests of the kill matrix share: a nursery for each file, and what happens when nobody dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery
from tests.crash.plan import Point, Recording
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.trial import Job, Outcome
from tests.crash.yard import make_materials

Play = Callable[[list[tuple[Scenario, Point | None, str | None]]], list[Outcome]]


@dataclass(frozen=True)
class Matrix:
    """Plays trials, and knows which steps the scenarios come to."""

    play: Play
    record: Callable[[Scenario, Sequence[Point | None]], list[Outcome]]  # the same, and tell what is done to the disk
    recordings: dict[str, Recording] = field(repr=False)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """Everything happens in /dev/shm, where syncing costs nothing; the other volume is that of the temporary files."""
    folder = tmp_path_factory.mktemp("matrix")
    fast = Path("/dev/shm") / f"folder-agent-{os.getpid()}"
    if not fast.parent.is_dir() or fast.parent.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is no second volume at /dev/shm")
    try:
        make_materials(folder / "materials")
        with Nursery(folder / "nursery") as nursery:
            yield _matrix(nursery, folder, fast)
    finally:
        shutil.rmtree(fast, ignore_errors=True)


def _matrix(nursery: Nursery, folder: Path, fast: Path) -> Matrix:
    def play(wanted: list[tuple[Scenario, Point | None, str | None]]) -> list[Outcome]:
        return nursery.play([job_of(*one, folder, fast) for one in wanted])

    def record(scenario: Scenario, deaths: Sequence[Point | None]) -> list[Outcome]:
        jobs = [job_of(scenario, point, None, folder, fast) for point in deaths]
        return nursery.play([replace(job, record=True) for job in jobs])

    lives = play([(scenario, None, None) for scenario in SCENARIOS])
    wrong = [f"{s.name}: {one}" for s, life in zip(SCENARIOS, lives, strict=True) for one in life.wrong]
    assert not wrong, "\n".join(wrong)
    return Matrix(play, record, {s.name: life.steps for s, life in zip(SCENARIOS, lives, strict=True)})


def job_of(scenario: Scenario, point: Point | None, again: str | None, folder: Path, fast: Path) -> Job:
    """Die at the point, and once more at the step `again` of the life that follows."""
    stage, step = point or (0, None)
    deaths = tuple(one for one in (step, again) if one is not None)
    return Job(0, scenario.name, str(fast / "trial"), str(folder / "materials"), str(folder / "other"), stage, deaths)
