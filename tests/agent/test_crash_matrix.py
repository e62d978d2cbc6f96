"""The promise in memory: the agent dies at every single call of a port, before or after its effect, and a new one goes
on. Everything ends DONE, nothing that was known to be accepted is sent again, nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from folder_agent.core.lifecycle import FileState
from tests.fakes import PDF, World, an_image, sidecar

SECONDS = 30.0
AGAIN_S = 120.0


class Died(BaseException):
    """The process is gone; nothing it calls afterwards has any effect."""


@dataclass
class Fate:
    """Counts all calls of all ports, and dies at one of them."""

    dies_at: int
    after: bool
    calls: int = 0
    is_dead: bool = False
    last: str = ""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()

    def wrap(self, kind: str, port: Any) -> Any:
        return _Mortal(self, kind, port)

    def live(self, name: str) -> bool:
        """Counts; whether this is the call to die at."""
        with self.lock:
            if self.is_dead:
                raise Died
            self.calls += 1
            self.last = name
            self.is_dead = self.calls == self.dies_at
            if self.is_dead and not self.after:
                raise Died
            return self.is_dead


class _Mortal:
    def __init__(self, fate: Fate, kind: str, port: Any) -> None:
        self._fate, self._kind, self._port = fate, kind, port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in ("images", "reports") and found is not None:
            return _Mortal(self._fate, name, found)
        if not callable(found):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            dies = self._fate.live(f"{self._kind}.{name}")
            result = found(*arguments, **more)
            if dies:
                raise Died
            return _Mortal(self._fate, self._kind, result) if name == "for_exam" else result

        return call


def dropped(world: World) -> Counter[bytes]:
    """A delivered folder, a flat exam with a report, and one that is refused."""
    world.drop_exam(1, images=2)
    world.drop.put("A2.json", sidecar(2, imageCnt=1, pdfCnt=1))
    world.drop.put("A2_1.dcm", an_image(2, 1))
    world.drop.put("A2.pdf", PDF)
    return Counter(held.content for held in world.drop.files.values())


def known_accepted(world: World) -> Counter[tuple[str | None, str | None]]:
    files = [file for number in (1, 2) for file in world.ledger.files_of(number)]
    names = ((file.sop_instance or file.path, file.sha256) for file in files if file.state is FileState.SENT)
    return Counter(names)


def lives(dies_at: int, after: bool) -> Fate:
    """One life that ends at that call, and the one that follows."""
    fate = Fate(dies_at, after)
    world = World(settle_s=2.0, wrap=fate.wrap)
    whole = dropped(world)
    try:
        world.run(SECONDS)
    except Died:
        pass
    finally:
        world.end()
    place = f"{fate.last} (call {dies_at}, {'after' if after else 'before'})"
    known = known_accepted(world)
    sent_before = len(world.gateway.image_line.received), len(world.gateway.report_line.received)
    exams_done = [one.access_number for one in world.ledger.latest_bundles() if one.committed_at is not None]
    posts_before = len(world.gateway.posted)
    world.wrap = lambda kind, port: port
    world.start()
    try:
        world.run(AGAIN_S)
    finally:
        world.end()
    assert world.states() == {"CT1": "DONE", "A2": "DONE"}, place
    resent = world.gateway.image_line.received[sent_before[0] :] + world.gateway.report_line.received[sent_before[1] :]
    assert not known & Counter(resent), place
    assert not set(exams_done) & set(world.gateway.posted[posts_before:]), place
    assert set(world.gateway.posted) == {"ACC1", "ACC2"}, place
    notes = ("receipt.json", "WHY.txt")
    shelved = [h.content for files in world.shelf.shelved.values() for n, h in files.items() if n not in notes]
    assert (Counter(shelved), world.drop.files) == (whole, {}), place
    assert sorted(world.shelved()) == ["A2", "CT1"], place
    states = {file.state for bundle in world.ledger.latest_bundles() for file in world.ledger.files_of(bundle.id)}
    assert states == {FileState.SENT}, place
    return fate


def steps() -> int:
    """How many calls a life makes until everything is done."""
    fate = Fate(0, False)
    world = World(settle_s=2.0, wrap=fate.wrap)
    dropped(world)
    while set(world.states().values()) != {"DONE"}:
        world.run(1.0)
    world.end()
    return fate.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_dying_at_any_call_and_starting_again_loses_and_doubles_nothing(after: bool) -> None:
    calls = steps()
    assert calls > 60
    died = [lives(number, after).is_dead for number in range(1, calls + 1)]
    assert all(died)
