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
        self._personal: dict[int, tuple[str, ...]] = {}

    def know(self, bundle_id: int, personal: tuple[str, ...]) -> None:
        """The patient's values of a bundle, so that whoever is told of it can leave them out."""
        self._personal[bundle_id] = personal

    def step(self, bundle: BundleRecord, event: BundleEvent, **changes: Any) -> BundleRecord:
        """One lawful transition of a bundle; its new record."""
        return self.apply(bundle_step(bundle, event, self._clock.now(), **changes))

    def apply(self, transition: Transition[BundleRecord], files: Sequence[Transition[FileRecord]] = ()) -> BundleRecord:
        """A bundle's transition, and those of files that must become true in the same instant."""
        self._ledger.apply([*files, transition])
        after = transition.after
        self._publisher.transition(
            after, str(transition.before.state), str(transition.event), self._personal.get(after.id)
        )
        if not after.is_open:
            self._personal.pop(after.id, None)
        return after

    def opened(self, bundle: BundleRecord) -> None:
        """A new bundle is in the ledger."""
        self._publisher.transition(bundle, "", "open", self._personal.get(bundle.id))

    def waits(self, bundle: BundleRecord) -> None:
        """What a bundle waits for has changed, and the ledger knows."""
        self._publisher.waits(bundle, self._personal.get(bundle.id))

    def overdue(self, bundle: BundleRecord) -> None:
        """A bundle has been incomplete for longer than its drop folder allows."""
        hours = round((self._clock.now() - bundle.created_at) / 3600)
        self._publisher.notice(problem("FA-OVERDUE", f"{bundle.drop}#{bundle.id}", hours=hours))
