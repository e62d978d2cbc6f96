"""The agent's one way through the ledger's door: make a transition, persist it, and then tell whoever listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleEvent, Transition, bundle_step
from folder_agent.core.ports import Clock, Ledger, Publisher
from folder_agent.core.records import BundleRecord, FileRecord


class Journal:
    """Persist first, publish afterwards: nobody is told of what may still be undone."""

    def __init__(self, ledger: Ledger, clock: Clock, publisher: Publisher) -> None:
        self._ledger = ledger
        self._clock = clock
        self._publisher = publisher

    def step(self, bundle: BundleRecord, event: BundleEvent, **changes: Any) -> BundleRecord:
        """One lawful transition of a bundle; its new record."""
        return self.apply(bundle_step(bundle, event, self._clock.now(), **changes))

    def apply(self, transition: Transition[BundleRecord], files: Sequence[Transition[FileRecord]] = ()) -> BundleRecord:
        """A bundle's transition, and those of files that must become true in the same instant."""
        self._ledger.apply([*files, transition])
        self._publisher.transition(transition.after, str(transition.before.state), str(transition.event))
        return transition.after

    def opened(self, bundle: BundleRecord) -> None:
        """A new bundle is in the ledger."""
        self._publisher.transition(bundle, "", "open")

    def overdue(self, bundle: BundleRecord) -> None:
        """A bundle has been incomplete for longer than its drop folder allows."""
        hours = round((self._clock.now() - bundle.created_at) / 3600)
        self._publisher.notice(problem("FA-OVERDUE", f"{bundle.drop}#{bundle.id}", hours=hours))
