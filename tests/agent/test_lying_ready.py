"""Small exams are handed out before a worker is free for them, so that none stands idle; nothing else changes by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from folder_agent.agent import bundles, loop
from folder_agent.agent.errands import LEASE_S
from tests.agent.conftest import NewWorld
from tests.fakes import Counting, World, sidecar


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Callable[[NewWorld], tuple[World, Counting]]:
    """A world with one worker, and its ledger's calls."""
    ports: dict[str, Counting] = {}

    def wrap(kind: str, port: object) -> object:
        return ports.setdefault(kind, Counting(port)) if kind == "ledger" else port

    def make(new_world: NewWorld) -> tuple[World, Counting]:
        world = new_world(workers=1, wrap=wrap)
        assert world.agent
        return world, ports["ledger"]

    return make


Claims = Callable[[NewWorld], tuple[World, Counting]]


def begun(world: World) -> list[int]:
    """The bundles of which sending was begun, in order."""
    events = [(at, one) for at, (one, _, event, _) in enumerate(world.publisher.transitions) if event == "send"]
    return [one for _, one in sorted(events)]


def test_a_few_lie_ready_for_each_worker_and_are_claimed_together(new_world: NewWorld, claims: Claims) -> None:
    world, ledger = claims(new_world)
    for number in range(1, loop.READY + 5):
        world.drop_exam(number)
    claimed: list[int] = []
    world.gateway.image_line.on_way = lambda: claimed.append(ledger.calls["claim"])
    world.run(10.0)
    assert set(world.states().values()) == {"DONE"}
    assert claimed[0] == 1 + loop.READY  # the one that is being sent, and the next
    assert world.gateway.posted == [f"ACC{number}" for number in range(1, loop.READY + 5)]


def test_large_ones_wait_where_others_can_still_pass_them(
    new_world: NewWorld, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SMALL_BYTES", 10)
    world, ledger = claims(new_world)
    world.drop_exam(1)
    world.drop_exam(2)
    claimed: list[int] = []
    world.gateway.image_line.on_way = lambda: claimed.append(ledger.calls["claim"])
    world.run(10.0)
    assert claimed == [1, 2]


def test_what_lies_ready_is_not_begun_when_the_one_before_shows_that_nothing_can_be_sent(new_world: NewWorld) -> None:
    world = new_world(workers=1)
    for number in range(1, 4):
        world.drop_exam(number)
    world.gateway.go_down()
    world.run(5.0)
    assert len(begun(world)) == 1
    world.gateway.come_back()
    world.run(300.0)
    assert set(world.states().values()) == {"DONE"}


def test_what_lies_ready_is_not_begun_when_the_agent_stops(new_world: NewWorld) -> None:
    world = new_world(workers=1)
    for number in range(1, 4):
        world.drop_exam(number)
    world.gateway.image_line.on_way = world.agent.stop
    world.run(5.0)
    world.end()
    assert len(begun(world)) == 1
    world.gateway.image_line.on_way = lambda: None
    world.start()
    world.run(10.0)
    assert set(world.states().values()) == {"DONE"}


def test_what_has_lain_for_long_is_claimed_anew_or_left_to_whoever_has_it(new_world: NewWorld, claims: Claims) -> None:
    world, ledger = claims(new_world)
    world.drop_exam(1)
    world.drop_exam(2)

    def takes_long() -> None:
        world.gateway.image_line.on_way = lambda: None
        world.clock.advance(LEASE_S + 1)
        second = next(one for one in world.ledger.open_bundles() if one.name == "CT2")
        assert world.ledger.claim(second.id, "another", world.clock.now(), LEASE_S)

    world.gateway.image_line.on_way = takes_long
    world.run(5.0)
    assert world.states() == {"CT1": "DONE", "CT2": "COMPLETE"}
    assert ledger.calls["claim"] >= 3
    world.run(2 * LEASE_S)
    assert world.states()["CT2"] == "DONE"


def test_while_hundreds_are_judged_the_first_ones_are_on_their_way(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_AT_ONCE", 2)
    world = new_world(workers=1)
    for number in range(1, 10):
        world.drop_exam(number)
    waiting: list[int] = []
    world.gateway.image_line.on_way = lambda: waiting.append(list(world.states().values()).count("GATHERING"))
    world.run(10.0)
    assert set(world.states().values()) == {"DONE"}
    assert waiting[0] > 0


def test_however_many_are_to_be_judged_what_could_leave_is_among_the_first(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete exams that wait for the gateway, and one that is sent ahead, beside others that are incomplete."""
    world = new_world(workers=1, eager=True)
    world.gateway.go_down()
    for number in range(1, 10):
        world.drop_exam(number, **({} if number in (3, 7) else {"imageCnt": 2, "files": None}))
    world.drop.put("CT9/exam.json", sidecar(9, imageCnt=2, accessNumber="ACC1"))  # of it, nothing may go
    world.run(10.0)
    monkeypatch.setattr(bundles, "_AT_ONCE", 1)
    known = world.agent._desks["ct"].bundles
    for judged in known._agenda:
        known._agenda.put(judged, 0.0)
    due = [judged.group.name for judged in known._due(1.0)]
    could_leave = {known.open[one].name for one in known.open if one in known.dossiers or known.ahead.has(one)}
    assert {"CT3", "CT7", "CT1"} <= could_leave != set(world.states())
    assert could_leave == set(due[:-1])
    assert due[-1] not in could_leave
