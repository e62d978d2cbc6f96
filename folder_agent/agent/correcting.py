"""Correct: where only a corrected sidecar was dropped for what lies in failed/, bring both together, and back. What an
operator has accepted as it lies there comes back by the same way.

The corrected one is taken into the bundle's folder in failed/, and the whole goes back as an operator's `retry` would
put it: at no moment does a part of it lie in the drop folder. What is under way stands in the ledger, so that the next
start goes on with it. One thread of its own, one correction at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from folder_agent.agent.acceptances import Acceptances
from folder_agent.agent.desk import Desk
from folder_agent.agent.workers import Workers
from folder_agent.core.catalogue import failure
from folder_agent.core.corrections import Correction
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.folders import left_by
from folder_agent.core.ports import Clock, Ledger, Publisher
from folder_agent.core.records import BundleRecord, Stamp

AGAIN_S = 30.0  # before what failed is tried again
_CHANGED = "FA-CHANGED"


@dataclass(frozen=True, slots=True)
class Job:
    """One correction, or what was accepted in failed/; neither: whatever an earlier process left to be finished."""

    desk: Desk
    correction: Correction | None = None
    bundle_id: int = 0
    accepted: BundleRecord | None = None  # by an operator, as it lies in failed/


class Correcting:
    """The corrections of all drop folders. Called from the agent's thread only."""

    def __init__(self, ledger: Ledger, clock: Clock, publisher: Publisher, done: Callable[[], None]) -> None:
        self._ledger, self._clock, self._publisher = ledger, clock, publisher
        self._workers: Workers[Job, Problem | None] = Workers(1, self._run, done)
        self._finish_at: dict[str, float] = {}  # monotonic, by drop folder; infinity: nothing is under way

    def in_hand(self) -> int:
        """Whether something is being corrected, or its outcome not heard yet."""
        return self._workers.in_hand()

    def take(self) -> None:
        """Hear what came of it."""
        for job, trouble in self._workers.results():
            again_at = float("inf") if trouble is None else self._clock.monotonic() + AGAIN_S
            job.desk.hinted.set()
            if job.accepted is not None:
                self._came_back(job.desk.bundles.acceptances, job.accepted.id, trouble, again_at)
                continue
            self._finish_at[job.desk.name] = again_at
            if job.correction is not None:
                job.desk.bundles.busy.discard(job.bundle_id)
                job.desk.bundles.corrected(job.correction, trouble)

    def _came_back(self, orders: Acceptances, bundle_id: int, trouble: Problem | None, again_at: float) -> None:
        if trouble is None:
            orders.returned(bundle_id)
        elif orders.put_off(bundle_id, again_at):
            self._publisher.notice(trouble.masked())

    def dispatch(self, desks: Iterable[Desk]) -> None:
        """Give the thread its next job, if it has none. What is under way is finished first."""
        now = self._clock.monotonic()
        for desk in desks:
            if self._workers.room() < 1:
                return
            if desk.intake.outage is not None or not desk.intake.has_looked:
                continue
            finish_at = self._finish_at.get(desk.name, 0.0)
            if finish_at <= now:
                self._workers.submit(Job(desk))
            elif finish_at < float("inf"):
                continue
            elif (accepted := desk.bundles.acceptances.next_return(now)) is not None:
                self._workers.submit(Job(desk, accepted=accepted))
            elif (found := desk.bundles.next_correction(now)) is not None:
                bundle_id, correction = found
                desk.bundles.busy.add(bundle_id)
                self._workers.submit(Job(desk, correction, bundle_id))

    def finish(self) -> None:
        """Wait for what is in hand, and forget what came of it."""
        self._workers.finish()

    def stop(self, grace_s: float) -> None:
        """Let it finish, for at most so many seconds; the next start goes on with what is broken off."""
        self._workers.stop(grace_s)

    def _run(self, job: Job) -> Problem | None:
        try:
            if job.accepted is not None:
                _put_back(job.desk, job.accepted.target or "", job.accepted.name)
                return None
            under_way = _read(self._ledger.recall(_name(job.desk)))
            if under_way is not None:
                self._carry_out(job.desk, *under_way)
            elif job.correction is not None:
                self._carry_out(job.desk, job.correction, is_taken=False)
        except AgentError as error:
            return error.problem
        except Exception as raw:  # noqa: BLE001  one bundle's boundary: what breaks us must not stop the others
            self._publisher.fault(raw)
            return failure(problem("FA-INTERNAL", detail=type(raw).__name__)).problem
        return None

    def _carry_out(self, desk: Desk, correction: Correction, is_taken: bool) -> None:
        name, shelves = _name(desk), desk.setup.shelves
        if not is_taken:
            self._ledger.remember(name, _written(correction, is_taken=False))
            if not self._take(desk, correction):
                self._ledger.remember(name, None)
                return
            self._ledger.remember(name, _written(correction, is_taken=True))
        own, _ = left_by([correction.path], correction.key)
        shelves.tidy(own)
        _put_back(desk, correction.target, correction.name, correction.into)
        self._ledger.remember(name, None)

    def _take(self, desk: Desk, correction: Correction) -> bool:
        """Whether the corrected one is where the old one was. If somebody took it away, or rewrote it, it is not."""
        try:
            is_there = not desk.setup.shelves.is_free(correction.target)
            return is_there and desk.setup.shelves.correct(correction.target, correction.path, correction.stamp)
        except AgentError as error:
            if error.problem.code != _CHANGED:
                raise
            return False


def _put_back(desk: Desk, target: str, name: str, into: str = "") -> None:
    shelves = desk.setup.shelves
    if not shelves.is_free(target):  # else an interrupted try has put it back
        shelves.put_back(target, name, into)


def _name(desk: Desk) -> str:
    return f"correction:{desk.name}"


def _written(correction: Correction, *, is_taken: bool) -> str:
    stamp = correction.stamp
    return json.dumps(
        {
            "target": correction.target,
            "key": correction.key,
            "path": correction.path,
            "stamp": [stamp.size, stamp.mtime_ns, stamp.identity],
            "into": correction.into,
            "name": correction.name,
            "taken": is_taken,
        }
    )


def _read(text: str | None) -> tuple[Correction, bool] | None:
    if text is None:
        return None
    found = json.loads(text)
    stamp = Stamp(*found["stamp"])
    kept = (found["target"], found["key"], found["path"], stamp, found["into"], found["name"])
    return Correction(*kept), found["taken"]
