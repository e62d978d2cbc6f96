"""Faults that last for hours and days, on a clock that the test moves: bounded, growing tries, and nothing is given up
for what is nobody's fault."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.retrying import RetryRules
from tests.fakes import DAY_S, Counting, World

HOUR_S = 3600.0
SITE = RetryRules(first_s=5.0, max_s=600.0, for_s=72 * HOUR_S)  # as the settings have it by default


@pytest.fixture
def new_world() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**settings: object) -> World:
        worlds.append(World(retry=SITE, scan_s=600.0, **settings))  # type: ignore[arg-type]
        return worlds[-1]

    yield make
    for world in worlds:
        world.end()


def sends(world: World, bundle_id: int = 1) -> list[float]:
    """When a bundle was sent, epoch seconds."""
    history = world.ledger.history(bundle_id)
    return [entry.at for entry in history if (entry.subject, entry.event) == ("bundle", "send")]


def test_http_500_for_a_day_is_tried_in_growing_bounded_pauses_and_then_goes(new_world: Callable[..., World]) -> None:
    world = new_world()
    world.gateway.line.down = failure(problem("FA-GW-HTTP", status=500))
    world.drop_exam()
    world.run(DAY_S)
    tried = sends(world)
    assert DAY_S / SITE.max_s - 10 < len(tried) < DAY_S / SITE.max_s + 20
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert all(gap <= SITE.max_s + 10 for gap in gaps)
    assert [round(gap) for gap in gaps[:5]] == pytest.approx([5, 10, 20, 40, 80], abs=2)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-GW-HTTP"])
    world.gateway.line.down = None
    world.run(SITE.max_s + 10)
    assert (world.states(), world.gateway.image_line.names) == ({"CT1": "DONE"}, ["1.2.1.1.1"])


@pytest.mark.parametrize(
    "error",
    [
        failure(problem("FA-GW-UNREACHABLE", detail="connection refused")),
        failure(problem("FA-GW-TIMEOUT", seconds=30)),
        failure(problem("FA-GW-BROKEN", detail="connection reset")),
        failure(problem("FA-GW-AUTH", status=401)),
        failure(problem("FA-GW-TLS", detail="certificate expired")),
    ],
    ids=lambda error: error.problem.code,
)
def test_no_outage_and_no_hold_of_a_week_gives_an_exam_up(new_world: Callable[..., World], error: AgentError) -> None:
    world = new_world()
    world.gateway.line.down = error
    world.gateway.image_line.down = error
    for number in (1, 2, 3):
        world.drop_exam(number)
    world.run(60.0)
    for _ in range(14):  # half a day each, of which the agent sees the end
        world.clock.advance(DAY_S / 2)
        world.run(120.0)
    assert not {"FAILED", "REFUSED"} & set(world.states().values())
    assert world.shelved("failed") == {}
    world.gateway.line.down = world.gateway.image_line.down = None
    world.run(2 * SITE.max_s)
    assert set(world.states().values()) == {"DONE"}


def test_a_file_that_the_pacs_holds_for_an_hour_waits_alone_and_goes_when_it_is_let_go(
    new_world: Callable[..., World],
) -> None:
    world = new_world()
    world.drop.unreadable["CT1/1.dcm"] = problem("FA-FILE-LOCKED", "CT1/1.dcm")
    world.drop_exam(1)
    world.drop_exam(2)
    world.run(HOUR_S)
    assert world.states() == {"CT1": "GATHERING", "CT2": "DONE"}
    assert world.codes("CT1") == ["FA-FILE-LOCKED"]
    world.drop.unreadable.clear()
    world.run(20.0)
    assert world.states() == {"CT1": "DONE", "CT2": "DONE"}


def test_a_file_that_is_held_from_the_moment_of_sending_is_tried_in_growing_pauses(
    new_world: Callable[..., World],
) -> None:
    world = new_world()
    held = failure(problem("FA-FILE-LOCKED", "CT1/1.dcm"))

    def hold() -> None:
        raise held

    world.gateway.image_line.on_way = hold
    world.drop_exam()
    world.run(HOUR_S)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-FILE-LOCKED"])
    assert len(sends(world)) < 20
    for _ in range(4):
        world.clock.advance(DAY_S)
        world.run(60.0)
    assert world.states() == {"CT1": "WAITING"}
    world.gateway.image_line.on_way = lambda: None
    world.run(SITE.max_s + 10)
    assert world.states() == {"CT1": "DONE"}


def test_a_drop_folder_that_is_lost_at_every_attempt_for_a_week_fails_nothing(new_world: Callable[..., World]) -> None:
    found: list[Counting] = []

    def wrap(kind: str, port: object) -> object:
        if kind != "drop":
            return port
        found.append(Counting(port))
        return found[-1]

    world = new_world(wrap=wrap)
    world.start()

    def lose(*_: object) -> None:
        raise failure(problem("FA-DROP-GONE", detail="EIO"))

    found[0].before["below"] = lose
    world.drop_exam()
    world.run(60.0)
    for _ in range(14):
        world.clock.advance(DAY_S / 2)
        world.run(60.0)
    assert (world.states(), world.codes("CT1")) == ({"CT1": "WAITING"}, ["FA-DROP-GONE"])
    found[0].before.clear()
    world.run(2 * SITE.max_s)
    assert (world.states(), world.gateway.image_line.names) == ({"CT1": "DONE"}, ["1.2.1.1.1"])
