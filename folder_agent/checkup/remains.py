"""Finds what a ledger can be rebuilt from: every bundle's folder in done/ and failed/, with its notes. Reads only.

One bundle at a time. Whatever cannot be read for a reason that may pass (a share that is away, rights) stops it: a
ledger that silently lacks what was delivered would have it sent again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from folder_agent.assembly import local_day, shelves_of
from folder_agent.checkup.accounts import NoLedger, begin_of
from folder_agent.checkup.shelf_accounts import Found, ShelfAccount, shelves_of_all
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.rebuilding import Remains, missing_from, receipt_of
from folder_agent.core.receipts import parse
from folder_agent.core.records import Stamp
from folder_agent.core.shelving import RECEIPT, WHY
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.drop_folder.scanning import scan
from folder_agent.edges.paths import is_gone
from folder_agent.edges.shelves.places import shelf_failure, target_path
from folder_agent.settings import Settings


def remains(settings: Settings) -> Iterator[Remains]:
    """Every bundle's folder that holds any file, by day. Raises AgentError if something is out of reach."""
    _require_reach(settings)
    finder = _Finder(settings)
    shelves = shelves_of_all(settings, NoLedger())
    for day in sorted({day for shelf in shelves for day in shelf.days()}):
        for shelf in sorted(shelves, key=lambda shelf: shelf.shelf):
            for found in shelf.folders(day):
                one = finder.read(shelf, found)
                if one is not None:
                    yield one


def _require_reach(settings: Settings) -> None:
    for drop in settings.drops:
        outside = [place for place in (drop.done_dir, drop.failed_dir) if not place.is_relative_to(drop.path)]
        for place in (drop.path, *outside):
            try:
                with os.scandir(place):
                    pass
            except OSError as error:
                reason = problem("FA-DROP-GONE", str(place), detail=name_of(error))
                raise failure(reason, Disposition.FATAL) from None
        if not drop.done_dir.is_dir() and not drop.failed_dir.is_dir():
            # An agent makes both where it works: this is the empty folder that an unmounted volume leaves.
            raise failure(problem("FA-DROP-GONE", str(drop.path), detail="neither done/ nor failed/ is there"))


class _Finder:
    def __init__(self, settings: Settings) -> None:
        self._shelves = shelves_of(settings.drops[0])  # a target is a whole path: any shelf's reading will do
        self._drops = {
            drop.name: RealDropFolder(drop.name, drop.path, drop.own_dirs, drop.marker) for drop in settings.drops
        }

    def read(self, shelf: ShelfAccount, found: Found) -> Remains | None:
        """One folder; None if it is empty, or gone by now."""
        try:
            place = target_path(found.target)
            look = scan(os.fspath(place), frozenset())
        except OSError as error:
            if is_gone(error):
                return None
            raise shelf_failure(error, shelf.shelf) from None
        if look.unlisted:
            raise failure(problem("FA-SHELF", found.target, shelf=shelf.shelf, detail="EACCES"))
        files = {sighting.path: sighting.stamp for sighting in look.sightings}
        if not files:
            return None
        content = self._shelves.read(found.target, RECEIPT) if RECEIPT in files else None
        receipt = None if content is None else parse(content)
        drop = receipt.drop if receipt is not None and receipt.drop in shelf.drops else shelf.drops[0]
        why = self._shelves.read(found.target, WHY) if WHY in files else None
        told_at = _told_at(place, found.day, WHY if shelf.shelf == "failed" else RECEIPT)
        one = Remains(shelf.shelf, drop, found.name, found.target, files, told_at, receipt, why)
        return self._with_left(one)

    def _with_left(self, one: Remains) -> Remains:
        """With what an interrupted move has left in the drop folder. A file of another size there is a newcomer."""
        receipt = receipt_of(one)
        if receipt is None or receipt.folder is None:
            return one
        sizes = {entry.path: entry.size for entry in (*receipt.sent, *receipt.unsent)}
        left = {}
        for path in missing_from(receipt, one.files):
            stamp = self._stamp(one.drop, receipt.folder + path)
            if stamp is not None and stamp.size == sizes[path]:
                left[path] = stamp
        return Remains(one.shelf, one.drop, one.name, one.target, one.files, one.told_at, receipt, one.why, left)

    def _stamp(self, drop: str, path: str) -> Stamp | None:
        try:
            return self._drops[drop].stamp(path)
        except AgentError as error:
            if error.disposition is Disposition.REFUSE:
                return None  # a path that no file of a drop folder ever had
            raise


def _told_at(place: Path, day: str, note: str) -> float:
    """When the note was written, if that was on the shelf's day; else noon of that day: somebody has touched it."""
    try:
        at = (place / note).lstat().st_mtime
    except OSError:
        at = 0.0
    if at > 0 and local_day(at) == day:
        return at
    return begin_of(date.fromisoformat(day)) + timedelta(hours=12).total_seconds()
