"""Gathers what `reconcile` compares: the ledger's rows, what lies in done/, failed/ and the drop folders, receipts.

Reads only, beside a running agent: what moves meanwhile is looked at a second time before it is called a difference.
A day at a time; done/ of other days is not touched but for bundles of the days asked for.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from folder_agent.assembly import local_day
from folder_agent.checkup.drop_accounts import DropAccount
from folder_agent.checkup.shelf_accounts import ShelfAccount, shelves_of_all
from folder_agent.core.errors import Problem, problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import DayTally, FileCount
from folder_agent.core.reconciling import Difference, Row, of_done, of_failed
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.settings import Settings

CHUNK = 500  # bundles in memory at one time
AGAIN_S = 2.0  # seconds until a difference in the drop folder is looked at a second time


class Reads(Protocol):
    """What is asked of the ledger."""

    def bundle(self, bundle_id: int) -> BundleRecord | None: ...
    def files_of(self, bundle_id: int) -> list[FileRecord]: ...
    def open_files(self, drop: str) -> list[FileRecord]: ...
    def open_bundles(self) -> list[BundleRecord]: ...
    def latest_bundles(self, limit: int = 50) -> list[BundleRecord]: ...
    def find_bundles(self, name: str, limit: int = 50) -> list[BundleRecord]: ...
    def target_is_taken(self, target: str) -> bool: ...
    def recall(self, name: str) -> str | None: ...
    def bundles_between(self, since: float, until: float, after: int = 0, limit: int = 1000) -> list[BundleRecord]: ...
    def files_between(self, since: float, until: float) -> list[FileCount]: ...
    def day_tallies(self, first_day: str, last_day: str) -> list[DayTally]: ...


class NoLedger:
    """The agent has not made one yet: it knows nothing."""

    def bundle(self, bundle_id: int) -> BundleRecord | None:
        return None

    def target_is_taken(self, target: str) -> bool:
        return False

    def recall(self, name: str) -> str | None:
        return None

    def _nothing(self, *_: object, **__: object) -> list:  # type: ignore[type-arg]
        return []

    files_of = open_files = open_bundles = latest_bundles = find_bundles = _nothing
    bundles_between = files_between = day_tallies = _nothing


@dataclass(slots=True)
class Day:
    """The account of one day: a row for each drop folder, and every difference."""

    day: str
    rows: dict[str, Row] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def row(self, drop: str) -> Row:
        """The row of a drop folder; also of one that is not in the settings any more."""
        return self.rows.setdefault(drop, Row(self.day, drop))

    def tell(self, difference: Difference) -> None:
        """Add a difference."""
        self.differences.append(difference)
        row = self.row(difference.drop)
        if difference.is_missing:
            row.missing += 1
        elif not difference.is_outage:
            row.not_looked_at += difference.count


class Accounts:
    """One reconciliation. `verify` reads every delivered file and compares its SHA-256 with the receipt."""

    def __init__(
        self,
        settings: Settings,
        ledger: Reads,
        *,
        verify: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._ledger, self._pause = settings, ledger, pause
        self._shelves = shelves_of_all(settings, ledger, verify=verify)
        self._drops = [DropAccount(drop, ledger) for drop in settings.drops]
        self._of_target = ShelfAccount.reader(settings, verify=verify)

    def first_day(self) -> date | None:
        """The first day of which anything is known; None if nothing is."""
        days = [local_day(one.quarter_at) for one in self._ledger.files_between(0.0, float("inf"))]
        days += [local_day(one.created_at) for one in self._ledger.bundles_between(0.0, float("inf"), limit=1)]
        days += [one.day for one in self._ledger.day_tallies("0000-00-00", "9999-12-31")[:1]]
        days += [day for shelf in self._shelves for day in shelf.days()]
        return min(map(date.fromisoformat, days), default=None)

    def days(self, first: date, last: date) -> Iterator[Day]:
        """The account of each day from the first to the last. Raises AgentError where the ledger fails."""
        since, until = begin_of(first), begin_of(last + timedelta(days=1))
        files = self._files(since, until)
        loose = self._loose(first, last)
        for number in range((last - first).days + 1):
            day = (first + timedelta(days=number)).isoformat()
            account = Day(day)
            for drop in self._settings.drops:
                account.row(drop.name)
            self._count(account, files.pop(day, []))
            self._bundles(account, date.fromisoformat(day))
            for shelf in self._shelves:
                for difference in shelf.unknown(day):
                    account.tell(difference)
            for difference in loose.pop(day, []):
                account.tell(difference)
            yield account

    def _files(self, since: float, until: float) -> dict[str, list[FileCount]]:
        found = defaultdict(list)
        for one in self._ledger.files_between(since, until):
            found[local_day(one.quarter_at)].append(one)
        return found

    def _count(self, account: Day, files: list[FileCount]) -> None:
        for one in files:
            account.row(one.drop).files.add(one.state, one.total, is_open=one.is_open, kind=one.kind)
        for tally in self._ledger.day_tallies(account.day, account.day):
            row = account.row(tally.drop)
            if tally.subject == "bundle":
                row.exams.add(tally.state, tally.total)
            else:
                row.files.add(tally.state, tally.total)

    def _bundles(self, account: Day, day: date) -> None:
        since, until, after = begin_of(day), begin_of(day + timedelta(days=1)), 0
        while bundles := self._ledger.bundles_between(since, until, after, CHUNK):
            after = bundles[-1].id
            for bundle in bundles:
                account.row(bundle.drop).exams.add(bundle.state)
                for found in self._differences(bundle):
                    account.tell(_of_bundle(account.day, bundle, found))

    def _differences(self, bundle: BundleRecord) -> list[Problem]:
        """What is wrong with one bundle, at the second look as at the first."""
        first = self._compare(bundle)
        if not first:
            return []
        again = self._ledger.bundle(bundle.id)
        second = self._compare(again) if again is not None else []
        codes = {one.code for one in first}
        return [one for one in second if one.code in codes]

    def _compare(self, bundle: BundleRecord) -> list[Problem]:
        if bundle.is_open or bundle.target is None or bundle.state is BundleState.WITHDRAWN:
            return []
        if any(shelf.is_away(bundle.target) for shelf in self._shelves):
            return []  # said once, for the shelf
        folder = self._of_target(bundle.target)
        if isinstance(folder, Problem):
            return [folder]
        files = self._ledger.files_of(bundle.id)
        if bundle.state is BundleState.DONE:
            return of_done(bundle, files, folder, lambda: self._is_followup(bundle))
        told = of_failed(files, folder)
        return [] if told == [problem("FA-REC-FAILED")] and self._came_again(bundle) else told

    def _is_followup(self, bundle: BundleRecord) -> bool:
        return any(other.id < bundle.id and other.committed_at is not None for other in self._of_the_exam(bundle))

    def _of_the_exam(self, bundle: BundleRecord) -> list[BundleRecord]:
        number = bundle.access_number
        found = [] if number is None else self._ledger.find_bundles(number)
        return [other for other in found if other.access_number == number]

    def _came_again(self, bundle: BundleRecord) -> bool:
        """Whether what lay in failed/ was dropped again: a later bundle of its name or exam, or files of that name."""
        namesakes = [other for other in self._ledger.find_bundles(bundle.name) if other.name == bundle.name]
        others = (*namesakes, *self._of_the_exam(bundle))
        if any(other.id > bundle.id and other.drop == bundle.drop for other in others):
            return True
        return any(drop.name == bundle.drop and drop.has_new(bundle.name) for drop in self._drops)

    def _loose(self, first: date, last: date) -> dict[str, list[Difference]]:
        """The differences of the drop folders themselves, by day; outages belong to the last one."""
        found: dict[str, list[Difference]] = defaultdict(list)
        differ = [drop.look() for drop in self._drops]
        if any(differ):
            self._pause(AGAIN_S)
            for drop in self._drops:
                drop.look_again()
        every = [one for drop in self._drops for one in drop.differences(last.isoformat())]
        every += [one for shelf in self._shelves for one in shelf.outages(last.isoformat())]
        for difference in every:
            if first.isoformat() <= difference.day <= last.isoformat():
                found[difference.day].append(difference)
        return found


def begin_of(day: date) -> float:
    """When a day begins at this place, in epoch seconds."""
    return datetime(day.year, day.month, day.day).timestamp()  # noqa: DTZ001 - the wall time of the place


def _of_bundle(day: str, bundle: BundleRecord, found: Problem) -> Difference:
    return Difference(day, bundle.drop, found, bundle.name, bundle.id, bundle.target)
