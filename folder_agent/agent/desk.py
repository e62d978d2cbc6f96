"""One drop folder in the loop's hands: its edges, its rules, what is known of it, and when to look at it next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from folder_agent.agent.bundles import Bundles
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.intake import Intake
from folder_agent.agent.journal import Journal
from folder_agent.agent.pasts import Pasts
from folder_agent.agent.shelf import Note, Shelf
from folder_agent.agent.templates import Templates
from folder_agent.core.bundling import BundleRules
from folder_agent.core.errors import AgentError, Problem
from folder_agent.core.grouping import Layout, group
from folder_agent.core.lifecycle import SENDABLE, BundleState
from folder_agent.core.ports import Clock, DropFolder, Ledger, Shelves, StatusArea, Unpacker
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.retrying import RetryRules

LOOK_SPACING_S = 0.2  # the least time between two looks, however many hints come
LOOK_SHARE = 10.0  # and at least so many times what the last look took: looking never takes the machine over
SUPERVISE_S = 0.5
LOOK_AGAIN_S = 5.0  # how soon a drop folder that is out of reach is asked again

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
    write_status: Callable[[bytes], None] | None = None  # replaces the note in the drop folder; None: there is none
    unpacker: Unpacker | None = None  # None: archives are left as they are
    looked: Callable[[float], None] = lambda _: None  # told how long each look took, in seconds
    depth: int | None = None  # each folder so many levels below the drop folder is a bundle
    status_area: StatusArea | None = None  # where templates for sidecars go; None: nowhere


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all drop folders."""

    owner: str
    workers: int
    retry: RetryRules
    permit_field: str
    today: Callable[[], str]  # the day by the wall clock of this place, YYYY-MM-DD
    local: Callable[[float], str] = str  # an epoch time by that clock, as people write it


class Desk:
    """What the agent has of one drop folder; made anew from the ledger after a start or a failure of the ledger."""

    def __init__(self, setup: DropSetup, rules: Rules, ledger: Ledger, clock: Clock, journal: Journal) -> None:
        self.setup = setup
        self.intake = Intake(setup.drop, ledger, clock, setup.rules.settle_s)
        sort = partial(
            group,
            layout=setup.layout,
            depth=setup.depth,
            unzip=setup.unpacker is not None,
            by_headers=setup.rules.by_headers,
        )
        area = setup.status_area
        self.templates = Templates(area, setup.drop.name, ledger) if area is not None else None
        self.pasts = Pasts(ledger)
        self.bundles = Bundles(
            *(self.intake, ledger, clock, journal, setup.rules, sort, rules.permit_field, self.pasts),
            setup.shelves,
            self.templates,
        )
        self.shelf = Shelf(setup.drop, setup.shelves, ledger, clock, journal)
        self.hinted = threading.Event()
        self.look_at = 0.0  # monotonic
        self.not_before = 0.0  # monotonic: no hint brings a look before this
        self._supervise_at = 0.0  # monotonic
        self._clock = clock

    @property
    def name(self) -> str:
        return self.setup.drop.name

    def look(self) -> bool:
        """Look, if a look is due or was asked for; whether it was."""
        now = self._clock.monotonic()
        due = now >= self.look_at or self.hinted.is_set()
        if not due or now < self.not_before:
            return False
        self.hinted.clear()
        self.bundles.fresh = self.bundles.fresh or self.intake.outage is not None  # it may be over
        reached = self.intake.look(self.bundles.pinned())
        took = self._clock.monotonic() - now
        self.setup.looked(took)
        self.shelf.emptied.tidy()
        self.not_before = now + took + max(LOOK_SPACING_S, LOOK_SHARE * took)
        self.look_at = now + (self.setup.scan_s if reached else min(self.setup.scan_s, LOOK_AGAIN_S))
        return True

    def is_to_be_supervised(self) -> bool:
        """Whether it is time to ask how the watcher is."""
        now = self._clock.monotonic()
        if now < self._supervise_at:
            return False
        self._supervise_at = now + SUPERVISE_S
        return True

    def next_due(self) -> float:
        """The monotonic time at which the next look, file or verdict is due."""
        look_at = self.not_before if self.hinted.is_set() else max(self.look_at, self.not_before)
        return min(look_at, self.intake.next_due(), self.bundles.next_due())

    def may_move_soon(self, now: float) -> bool:
        """Whether settling or quiet alone, without new files, may still move something."""
        if self.intake.outage is not None:
            return False
        patience = max(self.setup.rules.settle_s, self.setup.rules.quiet_s) + 1.0
        is_moving = self.intake.is_settling(self.bundles.pinned()) or self.intake.stale or self.intake.changed
        return is_moving or self.bundles.next_due() <= now + patience

    def in_hand(self) -> list[BundleRecord]:
        """The bundles that a worker has."""
        return [self.bundles.open[bundle_id] for bundle_id in self.bundles.busy if bundle_id in self.bundles.open]

    def refresh(self, current: BundleRecord | None, files: Sequence[FileRecord]) -> None:
        """A worker gave a bundle back: what the ledger says now is what is true of it and its files."""
        if current is not None:
            self.bundles.keep(current)
            if current.state not in SENDABLE:
                self.bundles.dossiers.pop(current.id, None)
            if current.state is BundleState.GATHERING:
                self.bundles.reconsider(current)
        self.intake.refresh(files)
        self.hinted.set()

    def refresh_ahead(
        self, bundle_id: int, files: Sequence[FileRecord], error: AgentError | None, pause: Callable[[int], float]
    ) -> None:
        """A worker is done with what it sent ahead of a bundle."""
        self.intake.accepted(files)
        self.bundles.sent_ahead(bundle_id, error, pause)
        self.hinted.set()  # what changed meanwhile was passed over
