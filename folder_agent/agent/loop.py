"""The agent: look, settle, bundle, send, commit, shelve, again and again. One thread decides, a few workers carry out.

Hints, results of workers and the clock all do the same: they wake the loop, which then looks at what is true.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from folder_agent.agent.bundles import Bundles
from folder_agent.agent.concerns import Concerns
from folder_agent.agent.delivery import Delivery
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.gatekeeper import Gatekeeper
from folder_agent.agent.intake import Intake
from folder_agent.agent.journal import Journal
from folder_agent.agent.shelf import Note, Shelf
from folder_agent.agent.workers import Workers
from folder_agent.core.bundling import BundleRules
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, StaleState, problem
from folder_agent.core.grouping import Layout
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, SENDABLE, BundleState
from folder_agent.core.planning import Action, in_order, next_action
from folder_agent.core.ports import Clock, DropFolder, Gateway, Ledger, Publisher, Shelves
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.retrying import RetryRules, delay

LEASE_S = 900.0  # a worker's claim on a bundle; longer than any single exchange with the gateway
LOOK_SPACING_S = 0.2  # the least time between two looks, however many hints come
LOOK_SHARE = 5.0  # and at least so many times what the last look took: looking never takes the machine over
KNOCK_S = 1.0  # how often the ledger is asked whether an operator wants something
LONGEST_WAIT_S = 5.0
NAP_S = 0.5
MOST_FAILURES = 4  # of the ledger in a row, after which `--once` gives up
LONGEST_PAUSE_S = 60.0

NoteMaker = Callable[[Dossier | None, Sequence[Problem] | None], Note]


@dataclass(frozen=True, slots=True)
class DropSetup:
    """One drop folder with its edges and rules."""

    drop: DropFolder
    shelves: Shelves
    rules: BundleRules
    layout: Layout
    scan_s: float
    note: NoteMaker
    supervise: Callable[[], Problem | None]  # keeps the watcher alive; a problem while it cannot


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all drop folders."""

    owner: str
    workers: int
    retry: RetryRules
    permit_field: str
    today: Callable[[], str]  # the day by the wall clock of this place, YYYY-MM-DD


class _Desk:
    """One drop folder in the loop's hands, and when to look at it next."""

    def __init__(self, setup: DropSetup, rules: Rules, ledger: Ledger, clock: Clock, journal: Journal) -> None:
        self.setup = setup
        self.intake = Intake(setup.drop, ledger, clock, setup.rules.settle_s)
        self.bundles = Bundles(self.intake, ledger, clock, journal, setup.rules, setup.layout, rules.permit_field)
        self.shelf = Shelf(setup.drop, setup.shelves, ledger, clock, journal)
        self.hinted = threading.Event()
        self.look_at = 0.0
        self.not_before = 0.0


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
        self._ledger, self._gateway, self._clock, self._publisher = ledger, gateway, clock, publisher
        self._rules, self._jitter = rules, jitter
        self._journal = Journal(ledger, clock, publisher)
        self._desks = {setup.drop.name: _Desk(setup, rules, ledger, clock, self._journal) for setup in drops}
        self._concerns = Concerns(ledger, publisher)
        self._gate = Gatekeeper(ledger, publisher, clock, rules.retry, jitter)
        self._wake = threading.Event()
        self._stop = False
        self._failures = 0  # cycles in a row that the ledger broke off
        self._trouble: Problem | None = None  # what was told of them
        self._resume_at = 0.0  # monotonic: no hint shortens the pause after a failure
        self._workers: Workers[tuple[str, BundleRecord], AgentError | None] = Workers(
            rules.workers, self._work, self._wake.set
        )
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

    @property
    def is_stopping(self) -> bool:
        return self._stop

    def run(self, *, until_idle: Callable[[], bool] = lambda: False, grace_s: float = 9.0) -> None:
        """Work until `stop`, or, as soon as `until_idle()` says so, until nothing can move without new files or a
        later time. Workers get `grace_s` seconds to finish what they have in hand."""
        try:
            while not self._stop:
                self._wake.clear()
                wait_s = self._cycle_or_recover(may_give_up=until_idle())
                if until_idle() and not self._failures and self._is_idle():
                    break
                self._rest(wait_s)
        finally:
            self._stop = True
            self._workers.stop(grace_s)
            self._take_results()

    def step(self) -> float:
        """One cycle and all that the workers make of it, for whoever drives the agent by hand; how long nothing else
        is due, in seconds."""
        wait_s = self._cycle_or_recover()
        while self._workers.in_hand() and not self._failures:
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
        self._desks = {
            name: _Desk(desk.setup, self._rules, self._ledger, self._clock, self._journal)
            for name, desk in self._desks.items()
        }

    def _cycle(self) -> float:
        """One look, settle, bundle and dispatch over all drop folders; how long nothing else is due, in seconds."""
        self._take_results()
        self._hear_operator()
        more = False
        for desk in self._desks.values():
            self._concerns.settle("watcher", desk.setup.drop.name, desk.setup.supervise())
            self._look_if_due(desk)
            more = desk.intake.settle() or more
            if desk.intake.wants_look:
                desk.look_at = desk.not_before
            desk.bundles.judge()
        self._dispatch()
        return 0.0 if more else self._until_next()

    def _look_if_due(self, desk: _Desk) -> None:
        now = self._clock.monotonic()
        due = now >= desk.look_at or desk.hinted.is_set()
        if not due or now < desk.not_before:
            return
        desk.hinted.clear()
        reached = desk.intake.look(desk.bundles.pinned())
        self._concerns.settle("outage", desk.setup.drop.name, desk.intake.outage)
        self._concerns.settle("unlisted", desk.setup.drop.name, desk.intake.unlisted())
        took = self._clock.monotonic() - now
        desk.not_before = now + took + max(LOOK_SPACING_S, LOOK_SHARE * took)
        desk.look_at = now + (desk.setup.scan_s if reached else min(desk.setup.scan_s, 5.0))

    def _dispatch(self) -> None:
        if self._stop:
            return  # what is in hand is finished, nothing more begins
        now = self._clock.now()
        for bundle in self._ready(Action.SHELVE, now):
            self._hand_out(bundle, now)
        in_hand = sum(b.state not in ON_THE_WAY_TO_A_SHELF for d in self._desks.values() for b in self._busy_of(d))
        room = self._gate.lets_through(now, in_hand)
        for bundle in self._ready(Action.SEND, now)[: room if room is not None else None]:
            self._hand_out(bundle, now)

    def _busy_of(self, desk: _Desk) -> list[BundleRecord]:
        return [desk.bundles.open[bundle_id] for bundle_id in desk.bundles.busy if bundle_id in desk.bundles.open]

    def _ready(self, action: Action, now: float) -> list[BundleRecord]:
        found = []
        longest = self._rules.retry.max_s
        for desk in self._desks.values():
            if desk.intake.outage is not None:
                continue
            for bundle in desk.bundles.open.values():
                # A time further away than any delay is one from before somebody set the clock back: it is due.
                at = now if bundle.due_at is None or bundle.due_at - now <= longest else bundle.due_at
                if bundle.id in desk.bundles.busy or next_action(bundle, at) is not action:
                    continue
                if action is Action.SHELVE or bundle.id in desk.bundles.dossiers:
                    found.append(bundle)
        return in_order(found)

    def _hand_out(self, bundle: BundleRecord, now: float) -> None:
        if self._workers.room() > 0 and self._ledger.claim(bundle.id, self._rules.owner, now, LEASE_S):
            self._desks[bundle.drop].bundles.busy.add(bundle.id)
            self._workers.submit((bundle.drop, bundle))

    # --- in a worker's thread ----------------------------------------------------------------------------------------

    def _work(self, job: tuple[str, BundleRecord]) -> AgentError | None:
        """Carry one bundle as far as it goes now. The error that ended it is for the gate."""
        desk, bundle = self._desks[job[0]], job[1]
        try:
            if bundle.state in ON_THE_WAY_TO_A_SHELF:
                return self._shelve(desk, bundle)
            return self._deliver(desk, bundle)
        except StaleState:
            return None  # somebody else (an operator's command) moved it in the meantime: look again
        except Exception as raw:  # noqa: BLE001  a bundle's boundary, for what no state has been found for
            error = self._as_error(raw)
            with suppress(AgentError, StaleState):  # a ledger that refuses this, too, is the loop's to notice
                self._put_off(bundle.id, error)
            return error
        finally:
            with suppress(AgentError, StaleState):  # a claim that is left is our own, and ends by itself
                self._ledger.release(bundle.id, self._rules.owner)

    def _deliver(self, desk: _Desk, bundle: BundleRecord) -> AgentError | None:
        dossier = desk.bundles.dossiers[bundle.id].with_records(self._ledger.files_of(bundle.id))
        drop, journal = desk.setup.drop, self._journal
        delivery = Delivery(drop, self._ledger, self._gateway, self._clock, journal, self._publisher, dossier)
        try:
            committed = delivery.run(bundle)
        except StaleState:
            raise
        except Exception as raw:  # noqa: BLE001  a bundle's boundary: whatever breaks one must not stop the others
            error = self._as_error(raw)
            if not self._stop:  # stopping is no failure: SENDING is what the next start goes on from
                delivery.after(bundle, error, self._rules.retry, self._jitter())
            return error
        self._gate.contact()
        self._shelve(desk, committed, dossier)
        return None

    def _shelve(self, desk: _Desk, bundle: BundleRecord, dossier: Dossier | None = None) -> AgentError | None:
        note = desk.setup.note(dossier, desk.bundles.verdicts.get(bundle.id))
        try:
            desk.shelf.run(bundle, self._rules.today(), note)
        except Exception as raw:  # noqa: BLE001  a bundle's boundary, as above
            self._put_off(bundle.id, self._as_error(raw))
        return None

    def _as_error(self, raw: Exception) -> AgentError:
        """Our own errors as they are; anything else is a fault of ours, told to the publisher, and tried again."""
        if isinstance(raw, AgentError):
            return raw
        self._publisher.fault(raw)
        return failure(problem("FA-INTERNAL", detail=type(raw).__name__))

    def _put_off(self, bundle_id: int, error: AgentError) -> None:
        """What failed is tried again later; the bundle's state already says what is left, such as only the move."""
        current = self._ledger.bundle(bundle_id)
        if current is None or not current.is_open:
            return
        attempts = current.attempts + 1
        due = self._clock.now() + delay(attempts, self._rules.retry, self._jitter())
        reasons = (*(r for r in current.reasons if r.code != error.problem.code), error.problem.masked())
        if current.state is BundleState.COMMITTED:
            reasons = (error.problem.masked(),)
        self._ledger.amend([replace(current, attempts=attempts, due_at=due, reasons=reasons)])
        if error.problem.code not in {reason.code for reason in current.reasons}:  # said once, not at every try
            self._publisher.notice(error.problem.masked())

    # --- back in the agent's own thread ------------------------------------------------------------------------------

    def _take_results(self) -> None:
        for (drop, bundle), error in self._workers.results():
            desk = self._desks[drop]
            desk.bundles.busy.discard(bundle.id)
            if error is not None and error.disposition is Disposition.FATAL:
                raise error
            if error is not None:
                self._gate.failed(error)
            self._refresh(desk, bundle)
            desk.hinted.set()

    def _refresh(self, desk: _Desk, bundle: BundleRecord) -> None:
        """What the ledger says now is what is true of the bundle and its files."""
        current = self._ledger.bundle(bundle.id)
        files: list[FileRecord] = self._ledger.files_of(bundle.id)
        if current is not None:
            desk.bundles.keep(current)
            if current.state not in SENDABLE:
                desk.bundles.dossiers.pop(bundle.id, None)
            if current.state is BundleState.GATHERING:
                desk.bundles.reconsider(current)
        desk.intake.refresh(files)

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

    def _until_next(self) -> float:
        now, wall = self._clock.monotonic(), self._clock.now()
        due = [LONGEST_WAIT_S, self._knock_at - now]
        for desk in self._desks.values():
            look_at = desk.not_before if desk.hinted.is_set() else max(desk.look_at, desk.not_before)
            due += [look_at - now, desk.intake.next_due() - now, desk.bundles.next_due() - now]
            due += [b.due_at - wall for b in desk.bundles.open.values() if b.due_at is not None and b.due_at > wall]
        if (probe_at := self._gate.probe_at()) is not None and probe_at > wall:
            due.append(probe_at - wall)
        return max(0.0, min(due))

    def _is_idle(self) -> bool:
        """Nothing is in hand or ready, and no file or verdict will move by settling or quiet alone."""
        if self._workers.in_hand() or any(desk.hinted.is_set() for desk in self._desks.values()):
            return False
        now, wall = self._clock.monotonic(), self._clock.now()
        for desk in self._desks.values():
            if desk.intake.outage is not None:
                continue
            patience = max(desk.setup.rules.settle_s, desk.setup.rules.quiet_s) + 1.0
            if desk.intake.is_settling() or desk.bundles.next_due() <= now + patience:
                return False
        if self._ready(Action.SHELVE, wall):
            return False
        # While the gate is shut, the next probe is a later time, however soon it is.
        return not (self._ready(Action.SEND, wall) and self._gate.is_open)
