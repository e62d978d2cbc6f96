"""Templates in a status area: which exams need one, and keeping the files there in step with that.

A file is replaced or removed only while it is, to the byte, one that we wrote: what a person has typed into it stays.
What was written is remembered in the ledger, before it is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from folder_agent.agent.concerns import Concerns
from folder_agent.agent.workers import Workers
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.ports import Clock, Ledger, StatusArea
from folder_agent.core.records import SidecarReading
from folder_agent.core.template import file_name, target_of, template

if TYPE_CHECKING:
    from folder_agent.agent.desk import Desk

AGAIN_S = 60.0  # before a failed chore is tried again
_MOST_KEPT = 3  # versions of one file that still count as ours


@dataclass(slots=True)
class _File:
    """One file of ours. `written` are the digests of what we wrote there, the newest last; `wanted` is what is to lie
    there (None: nothing)."""

    key: str
    written: list[str] = field(default_factory=list)
    wanted: bytes | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Chore:
    """A file to be written (or removed, without content), unless it has become somebody else's."""

    name: str
    content: bytes | None
    ours: frozenset[str]


class Templates:
    """The templates of one drop folder. Called from the agent's thread only."""

    def __init__(self, area: StatusArea, drop: str, ledger: Ledger) -> None:
        self.area = area
        self._note, self._ledger = f"templates:{drop}", ledger
        known = json.loads(ledger.recall(self._note) or "{}")
        self._files = {name: _File(of["key"], of["sha256"]) for name, of in known.items()}
        self._unsure = set(self._files)  # nothing is known of their exams yet

    def want(self, key: str, name: str, base: str, certain: SidecarReading) -> Problem:
        """The exam of that key needs one; the words that say where it lies."""
        file = next((one for one, of in self._files.items() if of.key == key), None)
        if file is None:
            file = file_name(name, self._files)
            self._files[file] = _File(key)
        target = target_of(base, name)
        content = template(certain, target)
        entry = self._files[file]
        self._unsure.discard(file)
        if entry.wanted != content:
            entry.wanted, entry.is_done = content, False
        return problem("FA-TEMPLATE", where=f"{self.area.label}/{file}", target=target)

    def unwant(self, key: str) -> None:
        """It needs none, or none any more."""
        for name, of in self._files.items():
            if of.key == key and (of.wanted is not None or name in self._unsure):
                of.wanted, of.is_done = None, False
                self._unsure.discard(name)

    def unwant_all_but(self, keys: Iterable[str]) -> None:
        """Nothing else has come to light: what an earlier process wrote for others is of no use."""
        there = set(keys)
        for key in {self._files[name].key for name in self._unsure} - there:
            self.unwant(key)

    def next_chore(self) -> Chore | None:
        """What is to be done now, already remembered."""
        for name, of in self._files.items():
            if of.is_done or name in self._unsure:
                continue
            if of.wanted is not None and (digest := _digest(of.wanted)) not in of.written[-1:]:
                of.written = [*of.written, digest][-_MOST_KEPT:]
                self._remember()
            return Chore(name, of.wanted, frozenset(of.written))
        return None

    def did(self, chore: Chore) -> None:
        """It is done, or is no more ours to do."""
        of = self._files.get(chore.name)
        if of is None or of.wanted != chore.content:
            return
        of.is_done = True
        if chore.content is None:
            del self._files[chore.name]
            self._remember()

    def _remember(self) -> None:
        known = {name: {"key": of.key, "sha256": of.written} for name, of in self._files.items() if of.written}
        self._ledger.remember(self._note, json.dumps(known, ensure_ascii=False) if known else None)


class Templating:
    """Carries the chores of all drop folders out, in a thread of its own: a share that hangs keeps nobody waiting."""

    def __init__(self, clock: Clock, concerns: Concerns, done: Callable[[], None]) -> None:
        self._clock, self._concerns = clock, concerns
        self._workers: Workers[tuple[Desk, Chore], Problem | None] = Workers(1, _carry_out, done)
        self._not_before: dict[str, float] = {}  # monotonic, by drop folder

    def tend(self, desks: Iterable[Desk]) -> None:
        """Hear what came of the last chore, and hand out the next."""
        for (desk, chore), trouble in self._workers.results():
            self._concerns.settle("area", desk.name, trouble)
            if trouble is not None:
                self._not_before[desk.name] = self._clock.monotonic() + AGAIN_S
            elif desk.templates is not None:
                desk.templates.did(chore)
        for desk in desks:
            due = self._next(desk) if self._workers.room() > 0 else None
            if due is not None:
                self._workers.submit((desk, due))

    def in_hand(self) -> int:
        """Chores that are being carried out, or whose outcome was not heard yet."""
        return self._workers.in_hand()

    def finish(self) -> None:
        """Wait for what is in hand, and forget what came of it."""
        self._workers.finish()

    def stop(self, grace_s: float) -> None:
        """Let it finish, for at most so many seconds."""
        self._workers.stop(grace_s)

    def _next(self, desk: Desk) -> Chore | None:
        is_due = self._clock.monotonic() >= self._not_before.get(desk.name, 0.0)
        if desk.templates is None or desk.intake.outage is not None or not desk.intake.has_looked or not is_due:
            return None
        return desk.templates.next_chore()


def _carry_out(job: tuple[Desk, Chore]) -> Problem | None:
    desk, chore = job
    assert desk.templates is not None
    area = desk.templates.area
    try:
        if chore.content is None:
            area.remove(chore.name, chore.ours)
        else:
            area.write(chore.name, chore.content, chore.ours)
    except AgentError as error:
        return error.problem
    except Exception as raw:  # noqa: BLE001  whatever keeps a template from being written must not stop an exam
        return failure(problem("FA-STATUS-AREA", where=area.label, detail=type(raw).__name__)).problem
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
