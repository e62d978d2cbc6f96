"""Shelve one bundle: done/ with its receipt or failed/ with the reason. Runs in a worker's thread; can be repeated.

Order: choose the place, write it down (a commit has done so already), make the folder, write the note, move every file,
make it durable, close.
Interrupted anywhere, the same steps run again and find what is already done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from folder_agent.agent.emptied import Emptied
from folder_agent.agent.journal import Journal
from folder_agent.core.errors import AgentError, StaleState
from folder_agent.core.folders import left_by
from folder_agent.core.grouping import folder_of
from folder_agent.core.lifecycle import BundleEvent, BundleState, FileEvent, Transition, bundle_step, file_step
from folder_agent.core.ports import Clock, DropFolder, Ledger, Shelves
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.shelving import places

MOST_NAMES = 10_000  # "CT1 (2)", "CT1 (3)" …: beyond this somebody has to clean up
# What may have delayed a move and is over once it is made.
PASSING = frozenset({"FA-SHELF", "FA-DISK-FULL", "FA-DROP-GONE", "FA-CHANGED", "FA-INTERNAL", "FA-LEDGER"})

Note = Callable[[BundleRecord, Sequence[FileRecord]], Sequence[tuple[str, bytes]]]  # names and contents


class Shelf:
    """Moves bundles of one drop folder to where they end."""

    def __init__(self, drop: DropFolder, shelves: Shelves, ledger: Ledger, clock: Clock, journal: Journal) -> None:
        self._drop, self._shelves, self._ledger = drop, shelves, ledger
        self._clock, self._journal = clock, journal
        self.emptied = Emptied(drop.name, shelves, ledger, clock)

    def run(self, bundle: BundleRecord, day: str, note: Note) -> tuple[BundleRecord, list[FileRecord]]:
        """Shelve the bundle, which closes with the files that it took along; AgentError where that must be tried again
        later."""
        bundle = self._aim(bundle, day)
        target = bundle.target or ""
        files = [file for file in self._ledger.files_of(bundle.id) if file.is_open]
        self._shelves.prepare(target)
        for name, content in note(bundle, files):
            if self._shelves.read(target, name) is None:
                self._shelves.write_note(target, name, content)
        lost = self._move(bundle, files, target)
        paths = [file.path for file in files]
        own, shared = left_by(paths, bundle.key)
        self._shelves.sync(target, sorted({folder_of(path) for path in paths}))
        self._shelves.tidy(own)
        self.emptied.note(shared)
        why = tuple(reason for reason in bundle.reasons if reason.code not in PASSING)
        done = bundle_step(bundle, BundleEvent.SHELVE, self._clock.now(), is_open=False, due_at=None, reasons=why)
        return self._journal.apply(done, lost), [replace(file, is_open=False) for file in files]

    def _aim(self, bundle: BundleRecord, day: str) -> BundleRecord:
        if bundle.target is not None:
            return bundle
        for target in self._free(bundle, "done" if bundle.state is BundleState.COMMITTED else "failed", day):
            with suppress(StaleState):  # another worker has just taken that name
                return self._journal.step(bundle, BundleEvent.AIM, target=target)
        raise StaleState(f"no free name on the shelf for bundle {bundle.id}")

    def place_for(self, bundle: BundleRecord, day: str) -> str | None:
        """Where a bundle that is about to be committed may go then; None if that cannot be told now."""
        if bundle.target is not None:
            return bundle.target
        with suppress(AgentError):  # a shelf out of reach keeps nothing from being committed
            return next(self._free(bundle, "done", day), None)
        return None

    def _free(self, bundle: BundleRecord, shelf: str, day: str) -> Iterator[str]:
        """Places that nobody has taken, one after the other."""
        for attempt in range(1, MOST_NAMES):
            target = self._shelves.choose(shelf, day, bundle.name, attempt)
            if self._shelves.is_free(target) and not self._ledger.target_is_taken(target):
                yield target

    def _move(self, bundle: BundleRecord, files: Sequence[FileRecord], target: str) -> list[Transition[FileRecord]]:
        """Move every file; the transitions of those that somebody else took away or replaced in the meantime."""
        inside = places([file.path for file in files])
        gone = []
        for file in files:
            if not self._moved(bundle, file, target, inside[file.path]):
                self._drop.stamp(file.path)  # raises if the folder is out of reach: then nothing is lost, only hidden
                gone.append(file_step(file, FileEvent.VANISH, self._clock.now(), is_open=False))
        return gone

    def _moved(self, bundle: BundleRecord, file: FileRecord, target: str, inside: str) -> bool:
        try:
            return self._shelves.move(file.path, target, inside, file.stamp)
        except AgentError as error:
            if error.problem.code != "FA-CHANGED":
                raise
        if bundle.state is BundleState.COMMITTED:
            return False  # what was sent has been replaced: the newcomer is another matter, and stays
        now = self._drop.stamp(file.path)  # of what was refused, any version goes to failed/ with the rest
        if now is None:
            return False
        self._ledger.amend([replace(file, stamp=now)])  # before the move: what lies there is what the ledger says
        return self._shelves.move(file.path, target, inside, now)
