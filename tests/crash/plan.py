"""Where to kill: the steps that a scenario's lives come to, without those between which nothing can change."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tests.crash.scenarios import SCENARIOS, Scenario

SEED = 20260131
EVERYWHERE = os.environ.get("FOLDER_AGENT_KILLS") == "all"
# They open a file for writing themselves, before any step of another call.
_ACTS_ITSELF = frozenset({"before durable._write_part", "before durable.write_whole"})

T = TypeVar("T")
Point = tuple[int, str]  # a stage and a numbered step
Recording = Sequence[Sequence[str]]  # the numbered steps of a life in which nobody dies, by stage


def name_of(step: str) -> str:
    """The step without its number."""
    return step.rpartition(" #")[0]


def subject_of(step: str) -> str:
    """What is stepped: the name without before or after."""
    return name_of(step).removeprefix("before ").removeprefix("after ")


def moments(steps: Sequence[str]) -> list[list[str]]:
    """The steps in groups: dying at one of a group is the same as dying at any other of it. Between two steps that
    follow each other something can only have changed if the first is before a call and the second after it, or if a
    request is on its way."""
    groups: list[list[str]] = []
    last = ""
    for step in steps:
        is_call = name_of(last).startswith("before ") and subject_of(last) == subject_of(step)
        is_free = name_of(step).startswith(("before ", "after ")) and name_of(last).startswith(("before ", "after "))
        if not groups or is_call or not is_free or name_of(last) in _ACTS_ITSELF:
            groups.append([])
        groups[-1].append(step)
        last = step
    return groups


def points(scenario: Scenario, recordings: Mapping[str, Recording]) -> list[Point]:
    """Where a scenario is killed: in the stages that are played in full at one step of every moment, in the others of
    `scenario.kills` moments, by a seeded draw; and at every step by name that no scenario before it comes to. With
    FOLDER_AGENT_KILLS=all, every stage is played in full."""
    draw = random.Random(f"{SEED} {scenario.name}")
    found: list[Point] = []
    rest: list[Point] = []
    for stage, steps in enumerate(recordings[scenario.name]):
        of_stage = [(stage, draw.choice(group)) for group in moments(steps)]
        (found if EVERYWHERE or stage in scenario.in_full else rest).extend(of_stage)
    return list(dict.fromkeys([*found, *some(rest, scenario.kills, draw), *first_met_in(scenario, recordings)]))


def some(found: Sequence[T], most: int, draw: random.Random) -> list[T]:
    """A sample of so many, or all if there are no more."""
    return draw.sample(found, min(most, len(found)))


def first_met_in(scenario: Scenario, recordings: Mapping[str, Recording]) -> list[Point]:
    """The steps, one for each name, that no scenario before this one comes to."""
    seen: set[str] = set()
    for one in SCENARIOS:
        new = [(n, step) for n, steps in enumerate(recordings[one.name]) for step in steps if name_of(step) not in seen]
        if one.name == scenario.name:
            return list({name_of(step): (stage, step) for stage, step in reversed(new)}.values())
        seen.update(name_of(step) for _, step in new)
    raise AssertionError("no scenario of ours")
