"""The agent: look, settle, bundle, send, commit, shelve, again and again. One thread decides, a few workers carry out.

Hints, results of workers and the clock all do the same: they wake the loop, which then looks at what is true.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from folder_agent.agent.concerns import Concerns
from folder_agent.agent.correcting import Correcting
from folder_agent.agent.desk import Desk, DropSetup, Rules
from folder_agent.agent.errands import LEASE_S, Errands, Job, Outcome
from folder_agent.agent.gatekeeper import Gatekeeper
from folder_agent.agent.journal import Journal
from folder_agent.agent.lineup import Lineup
from folder_agent.agent.notices import Notices
from folder_agent.agent.templates import Templating
from folder_agent.agent.unpacking import Unpacking
from folder_agent.agent.workers import Workers
from folder_agent.core.errors import AgentError, Disposition, Problem, StaleState
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, SENDABLE
from folder_agent.core.planning import Action, is_due_to_outage
from folder_agent.core.ports import Clock, Gateway, Ledger, Publisher
from folder_agent.core.records import BundleRecord
from folder_agent.core.retrying import delay

READY = 4  # small bundles that lie ready for each worker: as many as it takes on while the loop looks or judges
SMALL_BYTES = 1024 * 1024  # of each of them: whatever comes in between hardly has to wait for them
KNOCK_S = 1.0  # how often the ledger is asked whether an operator wants something
LONGEST_WAIT_S = 5.0
NAP_S = 0.5
MOST_FAILURES = 4  # of the ledger in a row, after which `--once` gives up
LONGEST_PAUSE_S = 60.0
SILENT_S = 120.0  # a loop that has not gone round for so long hangs, or looks at a share that does


class Agent:
    """Runs until stopped, or once until nothing can move without new files or a later time."""

    def __init__(
        self,
        drops: Sequence[DropSetup],
        ledger: Ledger,
        gateway: Gateway,
        clock: Clock,
        publisher: Publisher,
        rules: Rules,
        jitter: Callable[[], float] = random.random,  # noqa: S311  spreads retries, guards nothing
    ) -> None:
        self._ledger, self._clock, self._publisher, self._rules = ledger, clock, publisher, rules
        self._journal = Journal(ledger, clock, publisher)
        self._desks = {setup.drop.name: Desk(setup, rules, ledger, clock, self._journal) for setup in drops}
        self._concerns = Concerns(ledger, publisher)
        self._gate = Gatekeeper(ledger, publisher, clock, rules.retry, jitter)
        self._wake = threading.Event()
        self._went_round_at = clock.monotonic()
        self._stop = False
        self._failures = 0  # cycles in a row that the ledger broke off
        self._trouble: Problem | None = None  # what was told of them
        self._resume_at = 0.0  # monotonic: no hint shortens the pause after a failure
        self._errands = Errands(
            *(ledger, gateway, clock, self._journal, publisher, rules, jitter),
            contact=self._gate.contact,
            is_stopping=lambda: self._stop,
            is_open=lambda: self._gate.is_open,
        )
        self._workers: Workers[Job, Outcome] = Workers(rules.workers, self._errands.run, self._wake.set)
        self._notices = Notices(ledger, clock, self._concerns, rules.today, rules.local, self._wake.set)
        self._lineup, self._jitter = Lineup(rules.retry.max_s), jitter
        self._unpacking = Unpacking(clock, publisher, self._wake.set)
        self._correcting = Correcting(ledger, clock, publisher, self._wake.set)
        self._templating = Templating(clock, self._concerns, self._wake.set)
        self._knock = ledger.recall("knock")
        self._knock_at = 0.0

    def hint(self, drop: str) -> None:
        """Something may have happened in that drop folder. Called from any thread."""
        self._desks[drop].hinted.set()
        self._wake.set()

    def stop(self) -> None:
        """Finish the step in hand and end. Called from any thread, or from a signal handler: so it takes no lock."""
        self._stop = True

    @property
    def has_outage(self) -> bool:
        """Whether some drop folder could not be reached at the last look."""
        return any(desk.intake.outage is not None for desk in self._desks.values())

    def is_alive(self) -> bool:
        """Whether the loop has gone round lately, or ends as it was told to. Called from any thread."""
        return self._stop or self._clock.monotonic() - self._went_round_at < SILENT_S

    @property
    def is_stopping(self) -> bool:
        return self._stop

    def run(
        self,
        *,
        until_idle: Callable[[], bool] = lambda: False,
        beat: Callable[[], None] = lambda: None,
        grace_s: float = 9.0,
    ) -> None:
        """Work until `stop`, or, as soon as `until_idle()` says so, until nothing can move without new files or a
        later time. Workers get `grace_s` seconds to finish what they have in hand. Each round begins with a `beat`."""
        try:
            while not self._stop:
                beat()
                self._wake.clear()
                wait_s = self._cycle_or_recover(may_give_up=until_idle())
                if until_idle() and not self._failures and self._is_idle():
                    break
                self._rest(wait_s)
            self._notices.tell(self._desks.values(), self._gate.reason, at_once=True)
        finally:
            self._stop = True
            self._workers.stop(grace_s)
            self._unpacking.stop(grace_s)
            self._correcting.stop(grace_s)
            self._templating.stop(grace_s)
            self._take_results()
            self._notices.stop(grace_s)

    def step(self) -> float:
        """One cycle and all that the workers make of it, for whoever drives the agent by hand; how long nothing else
        is due, in seconds."""
        wait_s = self._cycle_or_recover()
        parts = (self._workers, self._unpacking, self._correcting, self._templating, self._notices)
        while any(part.in_hand() for part in parts) and not self._failures:
            wait_s = 0.0
            self._wake.wait(NAP_S)
            self._wake.clear()  # before the results are taken: a later one wakes us again
            self._cycle_or_recover()
        return wait_s

    def _rest(self, wait_s: float) -> None:
        """Wait to be woken, in short naps: a signal's handler only sets a flag."""
        end = self._clock.monotonic() + wait_s
        while not self._stop and (left := end - self._clock.monotonic()) > 0:
            if self._wake.wait(min(left, NAP_S)):
                return

    def _cycle_or_recover(self, *, may_give_up: bool = False) -> float:
        """One cycle. If the ledger failed in the middle of it, what is in memory may differ from what it holds: begin
        anew from the ledger, as after a start, with growing pauses. Raises what is FATAL, or if it may give up."""
        self._went_round_at = self._clock.monotonic()
        if self._failures and (left_s := self._resume_at - self._clock.monotonic()) > 0:
            return left_s
        try:
            if self._failures:
                self._start_over()
            wait_s = self._cycle()
        except (AgentError, StaleState) as error:
            fatal = isinstance(error, AgentError) and error.disposition is Disposition.FATAL
            if fatal or (may_give_up and self._failures >= MOST_FAILURES):
                raise
            if self._trouble is None and isinstance(error, AgentError):
                self._trouble = error.problem.masked()
                self._publisher.notice(self._trouble)
            self._failures = min(self._failures + 1, MOST_FAILURES + 1)
            pause_s = min(float(2**self._failures), LONGEST_PAUSE_S)
            self._resume_at = self._clock.monotonic() + pause_s
            return pause_s
        self._failures = 0
        if self._trouble is not None:
            told, self._trouble = self._trouble, None
            self._publisher.notice(told, is_over=True)
        return wait_s

    def _start_over(self) -> None:
        """Let the workers finish, then forget everything but what the ledger says."""
        self._workers.finish()
        self._errands.forget()
        self._unpacking.finish()
        self._correcting.finish()
        self._templating.finish()
        self._desks = {
            name: Desk(desk.setup, self._rules, self._ledger, self._clock, self._journal)
            for name, desk in self._desks.items()
        }

    def _cycle(self) -> float:
        """One look, settle, bundle and dispatch over all drop folders; how long nothing else is due, in seconds."""
        self._take_results()
        self._unpacking.take()
        self._correcting.take()
        if self._gate.announce(self._waiting):
            self._resume()
        self._hear_operator()
        more = False
        for desk in self._desks.values():
            if desk.is_to_be_supervised():
                self._concerns.settle("watcher", desk.name, desk.setup.supervise())
            if desk.look():
                self._concerns.settle("outage", desk.name, desk.intake.outage)
                self._concerns.settle("unlisted", desk.name, desk.intake.unlisted())
            more = desk.intake.settle(desk.bundles.pinned()) or more
            if desk.intake.wants_look:
                desk.look_at = desk.not_before
            desk.bundles.carry_out(archives_rest=not self._unpacking.in_hand())
            desk.bundles.judge()
        self._dispatch()
        self._templating.tend(self._desks.values())
        self._notices.tell(self._desks.values(), self._gate.reason)
        return 0.0 if more else self._until_next()

    def _dispatch(self) -> None:
        if self._stop:
            return  # what is in hand is finished, nothing more begins
        self._unpacking.dispatch(self._desks.values())
        self._correcting.dispatch(self._desks.values())
        room, ready = self._workers.room(), READY * self._rules.workers
        if room + ready < self._rules.workers:
            return  # of thousands that are ready, none could begin: their order is of no interest yet
        now, desks, line = self._clock.now(), self._desks, self._lineup
        line.refresh(desks, now, self._clock.monotonic())
        chosen = line.take(desks, Action.SHELVE, now, room)
        in_hand = sum(b.state not in ON_THE_WAY_TO_A_SHELF for desk in desks.values() for b in desk.in_hand())
        most, left = self._gate.lets_through(now, in_hand), room - len(chosen)
        chosen += line.take(desks, Action.SEND, now, left if most is None else min(most, left))
        next_ones = list[BundleRecord]()
        if most is None:  # else one is let through, to see
            next_ones = line.take(desks, Action.SEND, now, room - len(chosen) + ready, self._is_small)
        if chosen or next_ones:
            self._hand_out(chosen, next_ones, now)
        if self._gate.is_open:
            self._send_ahead(now)

    def _is_small(self, bundle: BundleRecord) -> bool:
        """Whether it may lie ready for the next worker."""
        dossier = self._desks[bundle.drop].bundles.dossiers.get(bundle.id)
        return dossier is not None and sum(record.stamp.size for record in dossier.files) <= SMALL_BYTES

    def _send_ahead(self, now: float) -> None:
        """With the workers that nothing else keeps busy, but for one: whatever becomes complete begins at once."""
        desks = self._desks.values()
        under_way = sum(len(desk.bundles.ahead.in_hand) for desk in desks)
        room = min(self._workers.room(), max(1, self._rules.workers - 1) - under_way)
        if room <= 0:
            return
        for bundle in self._lineup.ahead(desks, self._clock.monotonic())[:room]:
            ahead = self._desks[bundle.drop].bundles.ahead
            if self._ledger.claim(bundle.id, self._rules.owner, now, LEASE_S) and (taken := ahead.take(bundle)):
                self._workers.submit(Job(self._desks[bundle.drop], bundle, taken))

    def _hand_out(self, bundles: Sequence[BundleRecord], next_ones: Sequence[BundleRecord], now: float) -> None:
        """`next_ones` lie ready, so that no worker stands idle while the loop is elsewhere."""
        claimed = set[int]()

        def claim() -> None:
            everyone = (*bundles, *next_ones)
            claimed.update(one.id for one in everyone if self._ledger.claim(one.id, self._rules.owner, now, LEASE_S))

        self._ledger.together(claim)
        for bundle, claimed_at in [*((one, None) for one in bundles), *((one, now) for one in next_ones)]:
            if bundle.id in claimed:
                desk = self._desks[bundle.drop]
                desk.bundles.busy.add(bundle.id)
                self._workers.submit(Job(desk, bundle, claimed_at=claimed_at))

    def _take_results(self) -> None:
        for job, outcome in self._workers.results():
            error = outcome.error
            if error is not None and error.disposition is Disposition.FATAL:
                raise error
            if error is not None:
                self._gate.failed(error)
                self._errands.heard(error)
            if job.ahead is not None:
                pause = partial(delay, rules=self._rules.retry, jitter=self._jitter())
                job.desk.refresh_ahead(job.bundle.id, outcome.files, error, pause)
                continue
            job.desk.bundles.busy.discard(job.bundle.id)
            if outcome.shelved is not None:
                job.desk.refresh(outcome.shelved, outcome.files)
            else:
                job.desk.refresh(self._ledger.bundle(job.bundle.id), self._ledger.files_of(job.bundle.id))

    def _waiting(self) -> int:
        """How many bundles would be sent if they might."""
        return sum(bundle.state in SENDABLE for desk in self._desks.values() for bundle in desk.bundles.open.values())

    def _resume(self) -> None:
        """The gateway is back: what was put off because it was away takes its place in the order at once."""
        for desk in self._desks.values():
            put_off = [bundle for bundle in desk.bundles.open.values() if is_due_to_outage(bundle)]
            resumed = [replace(bundle, due_at=None) for bundle in put_off if bundle.id not in desk.bundles.busy]
            if resumed:
                self._ledger.amend(resumed)
            for bundle in resumed:
                desk.bundles.keep(bundle)

    def _hear_operator(self) -> None:
        """`folder-agent retry` writes to the ledger and knocks; the knock makes us read what it wrote."""
        now = self._clock.monotonic()
        if now < self._knock_at:
            return
        self._knock_at = now + KNOCK_S
        knock = self._ledger.recall("knock")
        if knock != self._knock:
            self._knock = knock
            self._gate.knock()
            for bundle in self._ledger.open_bundles():
                desk = self._desks.get(bundle.drop)
                if desk is not None and bundle.id not in desk.bundles.busy:
                    desk.bundles.keep(bundle)
                    desk.hinted.set()
            orders = self._ledger.orders()
            for desk in self._desks.values():
                desk.bundles.hear(orders)

    def _until_next(self) -> float:
        now, wall = self._clock.monotonic(), self._clock.now()
        due = [LONGEST_WAIT_S, self._knock_at - now]
        for desk in self._desks.values():
            due.append(desk.next_due() - now)
            if (ahead_at := desk.bundles.ahead.next_due()) > now:
                due.append(ahead_at - now)
            due += [b.due_at - wall for b in desk.bundles.open.values() if b.due_at is not None and b.due_at > wall]
        if (probe_at := self._gate.probe_at()) is not None and probe_at > wall:
            due.append(probe_at - wall)
        return max(0.0, min(due))

    def _is_idle(self) -> bool:
        """Nothing is in hand or ready, and no file or verdict will move by settling or quiet alone."""
        if (
            self._workers.in_hand()
            or self._unpacking.in_hand()
            or self._correcting.in_hand()
            or self._templating.in_hand()
            or any(desk.hinted.is_set() for desk in self._desks.values())
        ):
            return False
        now, wall = self._clock.monotonic(), self._clock.now()
        if any(desk.may_move_soon(now) for desk in self._desks.values()):
            return False
        desks = self._desks.values()
        if self._lineup.ready(desks, Action.SHELVE, wall):
            return False
        if not self._gate.is_open:
            return True  # the next probe is a later time, however soon it is
        return not (self._lineup.ready(desks, Action.SEND, wall) or self._lineup.ahead(desks, now))
