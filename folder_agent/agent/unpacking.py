"""Unpack: hand the archives of drop folders to a thread of its own, one at a time, and hear what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from folder_agent.agent.desk import Desk
from folder_agent.agent.workers import Workers
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.ports import Clock, Publisher
from folder_agent.core.records import Stamp
from folder_agent.core.unpacking import is_final

AGAIN_S = 30.0  # before what failed on our side is tried again


@dataclass(frozen=True, slots=True)
class Job:
    """One archive to unpack, or (without a path) what an earlier process left to be finished."""

    desk: Desk
    path: str | None = None
    stamp: Stamp | None = None
    bundle_id: int = 0


class Unpacking:
    """The archives of all drop folders. Called from the agent's thread only."""

    def __init__(self, clock: Clock, publisher: Publisher, done: Callable[[], None]) -> None:
        self._clock, self._publisher = clock, publisher
        self._workers: Workers[Job, Problem | None] = Workers(1, self._run, done)
        self._finish_at: dict[str, float] = {}  # monotonic, by drop folder; infinity: all is in order

    def in_hand(self) -> int:
        """Whether something is being unpacked, or its outcome not heard yet."""
        return self._workers.in_hand()

    def take(self) -> None:
        """Hear what came of it."""
        for job, trouble in self._workers.results():
            bundles = job.desk.bundles
            if job.path is None:
                self._finish_at[job.desk.name] = float("inf") if trouble is None else self._clock.monotonic() + AGAIN_S
            else:
                assert job.stamp is not None
                bundles.busy.discard(job.bundle_id)
                bundles.unpacked(job.path, job.stamp, trouble, self._clock.monotonic() + AGAIN_S)
                if trouble is not None and not is_final(trouble):
                    self._finish_at[job.desk.name] = self._clock.monotonic() + AGAIN_S
            job.desk.hinted.set()

    def dispatch(self, desks: Iterable[Desk]) -> None:
        """Give the thread its next job, if it has none."""
        for desk in desks:
            if desk.setup.unpacker is None or desk.intake.outage is not None or not desk.intake.has_looked:
                continue
            job = self._next(desk)
            if job is not None and self._workers.room() > 0:
                if job.path is not None:
                    desk.bundles.busy.add(job.bundle_id)
                self._workers.submit(job)

    def finish(self) -> None:
        """Wait for what is in hand, and forget what came of it."""
        self._workers.finish()

    def stop(self, grace_s: float) -> None:
        """Let it finish, for at most so many seconds; what is broken off is undone by the next start."""
        self._workers.stop(grace_s)

    def _next(self, desk: Desk) -> Job | None:
        now = self._clock.monotonic()
        if self._finish_at.get(desk.name, 0.0) <= now:
            return Job(desk)
        found = desk.bundles.next_archive(now)
        return None if found is None else Job(desk, found[1].path, found[1].watched.stamp, found[0].id)

    def _run(self, job: Job) -> Problem | None:
        unpacker = job.desk.setup.unpacker
        assert unpacker is not None
        try:
            if job.path is None:
                unpacker.finish()
            elif job.stamp is not None:
                unpacker.unpack(job.path, job.stamp)
        except AgentError as error:
            return error.problem
        except Exception as raw:  # noqa: BLE001  a file's boundary: one that breaks us must not stop the others
            self._publisher.fault(raw)
            return failure(problem("FA-INTERNAL", detail=type(raw).__name__)).problem
        return None
