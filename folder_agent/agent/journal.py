"""The agent's one way through the ledger's door: make a transition, persist it, and then tell whoever listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleEvent, Transition, bundle_step
from folder_agent.core.ports import Clock, Ledger, Publisher
from folder_agent.core.records import BundleRecord, FileRecord


class _Held(threading.local):
    """What is to be told once the transaction that a thread is in has ended."""

    tellings: list[Callable[[], None]] | None = None


class Journal:
    """Persist first, publish afterwards: nobody is told of what may still be undone."""

    def __init__(self, ledger: Ledger, clock: Clock, publisher: Publisher) -> None:
        self._ledger = ledger
        self._clock = clock
        self._publisher = publisher
        self._personal: dict[int, tuple[str, ...]] = {}
        self._held = _Held()

    def together(self, action: Callable[[], None]) -> None:
        """Persist all that `action` does in one transaction, and tell of it afterwards."""
        self._held.tellings = tellings = list[Callable[[], None]]()
        try:
            self._ledger.together(action)
        finally:
            self._held.tellings = None
        for tell in tellings:
            tell()

    def know(self, bundle_id: int, personal: tuple[str, ...]) -> None:
        """The patient's values of a bundle, so that whoever is told of it can leave them out."""
        self._personal[bundle_id] = personal

    def step(self, bundle: BundleRecord, event: BundleEvent, **changes: Any) -> BundleRecord:
        """One lawful transition of a bundle; its new record."""
        return self.apply(bundle_step(bundle, event, self._clock.now(), **changes))

    def apply(self, transition: Transition[BundleRecord], files: Sequence[Transition[FileRecord]] = ()) -> BundleRecord:
        """A bundle's transition, and those of files that must become true in the same instant."""
        self._ledger.apply([*files, transition])
        return self._told(transition)

    def commit(
        self,
        transition: Transition[BundleRecord],
        files: Sequence[Transition[FileRecord]],
        known: Sequence[int],
    ) -> BundleRecord | None:
        """The same for a commit; None, and nothing has changed, if its study was committed by others than `known`."""
        return self._told(transition) if self._ledger.commit([*files, transition], known) else None

    def _told(self, transition: Transition[BundleRecord]) -> BundleRecord:
        after = transition.after
        self._tell(after, str(transition.before.state), str(transition.event))
        return after

    def opened(self, bundle: BundleRecord) -> None:
        """A new bundle is in the ledger."""
        self._tell(bundle, "", "open")

    def waits(self, bundle: BundleRecord) -> None:
        """What a bundle waits for has changed, and the ledger knows."""
        self._when_true(partial(self._publisher.waits, bundle, self._personal.get(bundle.id)))

    def left_alone(self, sent: int) -> None:
        """So many files that the gateway holds belong to no bundle any more."""
        self._when_true(partial(self._publisher.notice, problem("FA-SENT-AHEAD", count=sent)))

    def overdue(self, bundle: BundleRecord) -> None:
        """A bundle has been incomplete for longer than its drop folder allows."""
        hours = round((self._clock.now() - bundle.created_at) / 3600)
        told = problem("FA-OVERDUE", f"{bundle.drop}#{bundle.id}", hours=hours)
        self._when_true(partial(self._publisher.notice, told))

    def _tell(self, bundle: BundleRecord, before: str, event: str) -> None:
        self._when_true(partial(self._publisher.transition, bundle, before, event, self._personal.get(bundle.id)))
        if not bundle.is_open:
            self._personal.pop(bundle.id, None)

    def _when_true(self, tell: Callable[[], None]) -> None:
        if self._held.tellings is None:
            tell()
        else:
            self._held.tellings.append(tell)
