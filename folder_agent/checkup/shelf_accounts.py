"""What lies in done/ and failed/, for `reconcile` and for rebuilding a ledger: day folders, bundles' folders, receipts.

Touches the shelves, reading only. A shelf that cannot be listed is an outage: nothing is concluded from it.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from folder_agent.assembly import shelves_of
from folder_agent.checkup.drop_accounts import anchor_of
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.receipts import parse
from folder_agent.core.reconciling import Difference, Folder, of_unknown
from folder_agent.core.shelving import RECEIPT
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.drop_folder.scanning import scan
from folder_agent.edges.paths import as_text, is_gone, is_inside, is_link, normal, openable
from folder_agent.edges.shelves import RealShelves
from folder_agent.edges.shelves.places import below, shelf_failure, target_path, target_text
from folder_agent.settings import Settings

if TYPE_CHECKING:
    from folder_agent.checkup.accounts import Reads

Reader = Callable[[str], Folder | Problem | None]  # a target's folder; None: it is not there; Problem: an outage
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_BADLY = (str(BundleState.FAILED), str(BundleState.REFUSED))


@dataclass(frozen=True, slots=True)
class Found:
    """A bundle's folder as a listing of its day tells it."""

    target: str  # as the ledger writes it
    name: str
    day: str


def shelves_of_all(settings: Settings, ledger: Reads, *, verify: bool = False) -> list[ShelfAccount]:
    """Every done/ and failed/, each once, however many drop folders share it."""
    drops: dict[tuple[str, str], list[str]] = defaultdict(list)
    places: dict[str, Path] = {}
    for drop in settings.drops:
        for shelf, place in (("done", drop.done_dir), ("failed", drop.failed_dir)):
            places.setdefault(normal(place), place)
            drops[shelf, normal(place)].append(drop.name)
    reader = ShelfAccount.reader(settings, verify=verify)
    return [
        ShelfAccount(
            shelf, places[key], names, ledger, reader, is_made_later=_is_in_reach(places[key], settings, ledger)
        )
        for (shelf, key), names in drops.items()
    ]


def _is_in_reach(place: Path, settings: Settings, ledger: Reads) -> bool:
    """Whether the shelf lies in a drop folder that is there itself."""
    around = [drop for drop in settings.drops if is_inside(normal(place), frozenset({normal(drop.path)}))]
    return any(anchor_of(drop, ledger).is_home() for drop in around)


class ShelfAccount:
    """One shelf. `drops` are the names of the drop folders that it serves; `is_made_later`: if it is not there,
    the agent has not made it yet."""

    def __init__(
        self, shelf: str, place: Path, drops: Sequence[str], ledger: Reads, reader: Reader, *, is_made_later: bool
    ) -> None:
        self.shelf, self.place, self.drops = shelf, place.absolute(), drops
        self._ledger, self._reader = ledger, reader
        self._explained: dict[tuple[str, str], int] = defaultdict(int)  # tallied bundles whose folders were met
        self._outage = self._probe(is_made_later)

    def _probe(self, is_made_later: bool) -> Problem | None:
        """What keeps the shelf from being listed. One that is not in its drop folder, though that is there, is empty;
        elsewhere it may be on a volume that is not mounted now, and proves nothing once the ledger was in use."""
        try:
            with os.scandir(openable(self.place)):
                return None
        except OSError as error:
            if is_gone(error) and (is_made_later or not self._ledger.latest_bundles(1)):
                return None
            return shelf_failure(error, self.shelf).problem

    @staticmethod
    def reader(settings: Settings, *, verify: bool = False) -> Reader:
        """Reads bundles' folders by their targets."""
        shelves = shelves_of(settings.drops[0])  # a target is a whole path: any shelf's reading will do
        return lambda target: read_folder(shelves, target, verify=verify)

    def is_away(self, target: str) -> bool:
        """Whether the place is on this shelf, and nothing can be said of it."""
        if self._outage is not None:
            with suppress(OSError):
                return is_inside(normal(target_path(target)), frozenset({normal(self.place)}))
        return False

    def outages(self, day: str) -> Iterator[Difference]:
        """The shelf's outage, if there is one."""
        if self._outage is not None:
            for drop in self.drops:
                yield Difference(day, drop, self._outage, self.shelf, where=str(self.place))

    def days(self) -> list[str]:
        """The days that have a folder on the shelf."""
        try:
            with os.scandir(openable(self.place)) as entries:
                names = [entry.name for entry in entries if _DAY.fullmatch(entry.name)]
        except OSError:
            return []
        return sorted(filter(_is_day, names))

    def folders(self, day: str) -> Iterator[Found]:
        """The bundles' folders of one day. Raises AgentError on an outage."""
        try:
            with os.scandir(openable(self.place / day)) as entries:
                names = sorted(entry.name for entry in entries if _is_folder(entry))
        except OSError as error:
            if is_gone(error):
                return
            raise shelf_failure(error, self.shelf) from None
        for name in names:
            yield Found(target_text(self.place / day / name), as_text(name), day)

    def unknown(self, day: str) -> Iterator[Difference]:
        """The folders of one day that the ledger does not know, and that are not bundles which it has dropped since."""
        if self._outage is not None:
            return
        for found in self.folders(day):
            if self._ledger.target_is_taken(found.target):
                continue
            folder = self._reader(found.target)
            if folder is None or self._ledger.target_is_taken(found.target):
                continue
            told = folder if isinstance(folder, Problem) else of_unknown(self.shelf, folder)
            if told is None or (isinstance(folder, Folder) and self._is_tallied(found, folder)):
                continue
            yield Difference(day, self.drop_of(folder), told, found.name, where=found.target)

    def drop_of(self, folder: Folder | Problem) -> str:
        """The drop folder that it came from: the receipt says, where several share a shelf."""
        receipt = folder.receipt if isinstance(folder, Folder) else None
        return receipt.drop if receipt is not None and receipt.drop in self.drops else self.drops[0]

    def _is_tallied(self, found: Found, folder: Folder) -> bool:
        """Whether the ledger counts, among what is no row any more, one bundle more than were met so far."""
        receipt, drop = folder.receipt, self.drop_of(folder)
        states = ("DONE",) if self.shelf == "done" else _BADLY
        if self.shelf == "done" and receipt is None:
            return False
        first, last = "0000-00-00", found.day  # the day that it came is not known, but it was not later
        if receipt is not None and receipt.first_seen_at is not None:
            first = last = date.fromtimestamp(receipt.first_seen_at).isoformat()  # noqa: DTZ012 - of the place
        tallies = self._ledger.day_tallies(first, last)
        total = sum(t.total for t in tallies if (t.drop, t.subject) == (drop, "bundle") and t.state in states)
        if self._explained[drop, last] >= total:
            return False
        self._explained[drop, last] += 1
        return True


def read_folder(shelves: RealShelves, target: str, *, verify: bool = False) -> Folder | Problem | None:
    """What lies in a bundle's folder; None if it is not there; a Problem (RETRY) if nobody can tell."""
    try:
        place = target_path(target)
        look = scan(os.fspath(place), frozenset())
    except OSError as error:
        return None if is_gone(error) else problem("FA-SHELF", shelf=target, detail=name_of(error))
    files = {sighting.path: sighting.stamp.size for sighting in look.sightings}
    try:
        content = shelves.read(target, RECEIPT) if RECEIPT in files else None
    except AgentError as error:
        return error.problem
    receipt = None if content is None else parse(content)
    folder = Folder(files, receipt, RECEIPT in files, frozenset(look.unlisted))
    return replace(folder, digests=_digests(place, folder)) if verify else folder


def _digests(place: Path, folder: Folder) -> dict[str, str]:
    found = {}
    for one in folder.receipt.sent if folder.receipt is not None else ():
        if one.path in folder.files:
            try:
                found[one.path] = durable.digest_of(below(place, one.path))
            except OSError:
                found[one.path] = ""  # it cannot be read: nothing proves it
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and not is_link(entry.stat(follow_symlinks=False))
    except OSError as error:
        if is_gone(error):
            return False
        raise


def _is_day(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True
