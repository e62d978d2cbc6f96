"""What the agent's tests share: worlds that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes import World

NewWorld = Callable[..., World]


@pytest.fixture
def new_world() -> Iterator[NewWorld]:
    worlds: list[World] = []

    def make(**settings: object) -> World:
        worlds.append(World(**settings))  # type: ignore[arg-type]
        return worlds[-1]

    yield make
    for world in worlds:
        world.end()


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()
