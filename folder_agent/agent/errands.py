"""What a worker does with one bundle: carry it as far as it goes now. Runs in the workers' threads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from folder_agent.agent.delivery import Delivery
from folder_agent.agent.desk import Desk, Rules
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.journal import Journal
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, StaleState, problem
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState
from folder_agent.core.ports import Clock, Gateway, Ledger, Publisher
from folder_agent.core.records import BundleRecord
from folder_agent.core.retrying import delay


class Errands:
    """Delivers and shelves. `contact` is told when the gateway has accepted an exam; `is_stopping` is asked when an
    attempt failed: what a stop broke off is no failure."""

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
    ) -> None:
        self._ledger, self._gateway, self._clock = ledger, gateway, clock
        self._journal, self._publisher = journal, publisher
        self._rules, self._jitter = rules, jitter
        self._contact, self._is_stopping = contact, is_stopping

    def run(self, job: tuple[Desk, BundleRecord]) -> AgentError | None:
        """Carry one bundle as far as it goes now. The error that ended it is for the gate."""
        desk, bundle = job
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

    def _deliver(self, desk: Desk, bundle: BundleRecord) -> AgentError | None:
        dossier = desk.bundles.dossiers[bundle.id].with_records(self._ledger.files_of(bundle.id))
        drop, journal = desk.setup.drop, self._journal
        delivery = Delivery(drop, self._ledger, self._gateway, self._clock, journal, self._publisher, dossier)
        try:
            committed = delivery.run(bundle)
        except StaleState:
            raise
        except Exception as raw:  # noqa: BLE001  a bundle's boundary: whatever breaks one must not stop the others
            error = self._as_error(raw)
            if not self._is_stopping():  # stopping is no failure: SENDING is what the next start goes on from
                delivery.after(bundle, error, self._rules.retry, self._jitter())
            return error
        self._contact()
        self._shelve(desk, committed, dossier)
        return None

    def _shelve(self, desk: Desk, bundle: BundleRecord, dossier: Dossier | None = None) -> AgentError | None:
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
