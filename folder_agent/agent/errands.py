"""What a worker does with one bundle: carry it as far as it goes now. Runs in the workers' threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from folder_agent.agent.delivery import Delivery, Sending
from folder_agent.agent.desk import Desk, Rules
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.journal import Journal
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, StaleState, problem
from folder_agent.core.gate import shuts
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState
from folder_agent.core.ports import Clock, Gateway, Ledger, Publisher
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.retrying import delay

LEASE_S = 900.0  # a worker's claim on a bundle; longer than any single exchange with the gateway


@dataclass(frozen=True, slots=True)
class Job:
    """An errand: the bundle, of which only these images are to be sent ahead, if there are any. `claimed_at` (epoch
    seconds) is given where it was handed out before a worker was free: things may have changed by the time one is."""

    desk: Desk
    bundle: BundleRecord
    ahead: Dossier | None = None
    claimed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one errand: the error that ended it, for the gate; or the bundle as it was closed, with the files
    that were shelved with it. Neither: the ledger knows how far it came. Of what was sent ahead, the files as they are
    now."""

    error: AgentError | None = None
    shelved: BundleRecord | None = None
    files: Sequence[FileRecord] = ()


class Errands:
    """Delivers and shelves. `contact` is told when the gateway has accepted an exam; `is_stopping` is asked when an
    attempt failed: what a stop broke off is no failure; `is_open` is asked whether anything may be sent at all."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: Gateway,
        clock: Clock,
        journal: Journal,
        publisher: Publisher,
        rules: Rules,
        jitter: Callable[[], float],
        contact: Callable[[], None],
        is_stopping: Callable[[], bool],
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ledger, self._gateway, self._clock = ledger, gateway, clock
        self._journal, self._publisher = journal, publisher
        self._rules, self._jitter = rules, jitter
        self._contact, self._is_stopping = contact, is_stopping
        self._is_open = is_open
        self._untold = deque[AgentError]()  # failures that shut the gate, as soon as the loop hears of them

    def run(self, job: Job) -> Outcome:
        """Carry one bundle as far as it goes now."""
        desk, bundle = job.desk, job.bundle
        if job.claimed_at is not None and not self._may_begin(job, job.claimed_at):
            outcome = Outcome()
        else:
            outcome = self._run(desk, bundle) if job.ahead is None else self._send_ahead(desk, bundle, job.ahead)
        if outcome.error is not None and shuts(outcome.error):
            self._untold.append(outcome.error)  # before this worker takes up anything else
        if outcome.shelved is None:  # else the claim ended with it
            with suppress(AgentError, StaleState):  # a claim that is left is our own, and ends by itself
                self._ledger.release(bundle.id, self._rules.owner)
        return outcome

    def heard(self, error: AgentError) -> None:
        """The loop has taken the outcome with that error. Called from its thread."""
        if shuts(error):
            self._untold.popleft()

    def forget(self) -> None:
        """The loop begins anew, and takes no outcome of before."""
        self._untold.clear()

    def _may_begin(self, job: Job, claimed_at: float) -> bool:
        """Whether what lay ready is still to be begun, and is ours: its claim may be about to end."""
        if self._untold or not self._is_open() or self._is_stopping():
            return False
        now = self._clock.now()
        try:
            is_fresh = 0.0 <= now - claimed_at < LEASE_S / 3
            return is_fresh or self._ledger.claim(job.bundle.id, self._rules.owner, now, LEASE_S)
        except (AgentError, StaleState):
            return False  # the loop notices, too

    def _run(self, desk: Desk, bundle: BundleRecord) -> Outcome:
        try:
            if bundle.state in ON_THE_WAY_TO_A_SHELF:
                return self._shelve(desk, bundle)
            return self._deliver(desk, bundle)
        except StaleState:
            return Outcome()  # somebody else (an operator's command) moved it in the meantime: look again
        except Exception as raw:  # noqa: BLE001  a bundle's boundary, for what no state has been found for
            error = self._as_error(raw)
            with suppress(AgentError, StaleState):  # a ledger that refuses this, too, is the loop's to notice
                self._put_off(bundle.id, error)
            return Outcome(error)

    def _send_ahead(self, desk: Desk, bundle: BundleRecord, dossier: Dossier) -> Outcome:
        delivery, error = self._delivery(desk, dossier), None
        try:
            delivery.ahead(bundle)
        except StaleState:
            return Outcome(files=self._ledger.files_of(bundle.id))
        except Exception as raw:  # noqa: BLE001  a bundle's boundary, as below
            error = self._as_error(raw)
        return Outcome(error, files=delivery.files)

    def _delivery(self, desk: Desk, dossier: Dossier) -> Delivery:
        drop, journal = desk.setup.drop, self._journal
        sending = Sending(desk.setup.rules.replaces, self._rules.local)
        parts = (drop, self._ledger, self._gateway, self._clock, journal, self._publisher, dossier)
        return Delivery(*parts, desk.pasts, sending, lambda bundle: desk.shelf.place_for(bundle, self._rules.today()))

    def _deliver(self, desk: Desk, bundle: BundleRecord) -> Outcome:
        dossier = desk.bundles.dossiers[bundle.id].with_records(self._ledger.files_of(bundle.id))
        delivery = self._delivery(desk, dossier)
        try:
            committed = delivery.run(bundle)
        except StaleState:
            raise
        except Exception as raw:  # noqa: BLE001  a bundle's boundary: whatever breaks one must not stop the others
            error = self._as_error(raw)
            if not self._is_stopping():  # stopping is no failure: SENDING is what the next start goes on from
                delivery.after(bundle, error, self._rules.retry, self._jitter())
            return Outcome(error)
        if delivery.has_posted:
            self._contact()
        return self._shelve(desk, committed, dossier)

    def _shelve(self, desk: Desk, bundle: BundleRecord, dossier: Dossier | None = None) -> Outcome:
        note = desk.setup.note(dossier, desk.bundles.verdicts.get(bundle.id))
        try:
            shelved, files = desk.shelf.run(bundle, self._rules.today(), note)
        except Exception as raw:  # noqa: BLE001  a bundle's boundary, as above
            self._put_off(bundle.id, self._as_error(raw))
            return Outcome()
        return Outcome(None, shelved, files)

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
            repeat = (reason for reason in current.reasons if reason.code == "FA-REPEAT")
            reasons = (*repeat, error.problem.masked())
        self._ledger.amend([replace(current, attempts=attempts, due_at=due, reasons=reasons)])
        if error.problem.code not in {reason.code for reason in current.reasons}:  # said once, not at every try
            self._publisher.notice(error.problem.masked())
