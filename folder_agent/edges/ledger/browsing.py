"""What the console asks of the ledger: a page of bundles at a time, however many there are. Reads only.

Every query ends with an index: for each drop folder and state that is asked for, the rows that come next, merged here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from peewee import SQL, fn

from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState
from folder_agent.core.records import BundleRecord, Deed
from folder_agent.edges.ledger.queries import Queries

MOST_FOUND = 2000  # bundles that a search considers
MOST_OF_A_DAY = 20_000
_NAME_START = 'lower(substr("name", 1, 60))'  # as the index has it

Sort = Literal["changed", "created"]


class Place(NamedTuple):
    """Where a page ended: the time and number of the bundle beyond which the next one begins."""

    at: float
    number: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bundles, and in which order. `since` and `until` bound the time at which a bundle was first seen."""

    text: str = ""  # number, name or its beginning, accession number, study id, study UID
    states: tuple[BundleState, ...] = ()  # none: every one
    drops: tuple[str, ...] = ()  # none: every one
    since: float | None = None
    until: float | None = None
    sort: Sort = "changed"
    newest_first: bool = True
    after: Place | None = None
    limit: int = 50


class Browsing(Queries):
    """The leafing part of the ledger."""

    def page(self, wanted: Wanted) -> list[BundleRecord]:
        """The bundles of one page; one more than `limit` if there are more."""
        if wanted.text:
            return _sorted(self._search(wanted.text), wanted)
        if wanted.since is not None and wanted.until is not None:
            return _sorted(self.bundles_between(wanted.since, wanted.until, limit=MOST_OF_A_DAY), wanted)
        bundle = self._tables.bundle
        if not wanted.states and not wanted.drops:
            return self._stretch(wanted, None)
        states = wanted.states or tuple(BundleState)
        drops = wanted.drops or tuple(self.drop_names())
        parts = [
            self._stretch(wanted, (bundle.drop_name == drop) & (bundle.state == str(state)))
            for drop in drops
            for state in states
        ]
        return _merged(parts, wanted)

    def drop_names(self) -> list[str]:
        """The drop folders of which there are bundles, found by leaping over the index."""
        bundle, found, last = self._tables.bundle, list[str](), ""
        with self._session.reading():
            while name := bundle.select(fn.min(bundle.drop_name)).where(bundle.drop_name > last).scalar():
                found.append(name)
                last = name
        return found

    def delivered_since(self, since: float, limit: int = 200_000) -> list[tuple[str, float, float, float | None]]:
        """Drop folder, time of the last step, time of the first sight and of the commit of what was delivered since."""
        bundle = self._tables.bundle
        columns = (bundle.drop_name, bundle.changed_at, bundle.created_at, bundle.committed_at)
        found: list[tuple[str, float, float, float | None]] = []
        for drop in self.drop_names():
            mine = (bundle.drop_name == drop) & (bundle.state == str(BundleState.DONE)) & (bundle.changed_at >= since)
            with self._session.reading():
                found += map(tuple, self._session.engine.fetch(bundle.select(*columns).where(mine).limit(limit)))
        return found

    def count_since(self, since: float) -> dict[tuple[str, str], int]:
        """How many bundles ended their last step since then, by drop folder and state."""
        bundle, found = self._tables.bundle, dict[tuple[str, str], int]()
        for drop in self.drop_names():
            for state in BundleState:
                mine = (bundle.drop_name == drop) & (bundle.state == str(state)) & (bundle.changed_at >= since)
                with self._session.reading():
                    found[drop, str(state)] = bundle.select(fn.count(bundle.id)).where(mine).scalar()
        return found

    def open_counts(self) -> dict[tuple[str, str, bool], int]:
        """How many bundles are open, by drop folder, state, and whether they are overdue."""
        bundle = self._tables.bundle
        kind = (bundle.drop_name, bundle.state, bundle.overdue)
        query = bundle.select(*kind, fn.count(bundle.id)).where(bundle.open_key.is_null(False)).group_by(*kind)
        with self._session.reading():
            return {(drop, state, bool(late)): n for drop, state, late, n in self._session.engine.fetch(query)}

    def overdue(self, limit: int = 200) -> list[BundleRecord]:
        """Open bundles that are overdue, oldest first."""
        bundle = self._tables.bundle
        late = bundle.open_key.is_null(False) & (bundle.overdue == True)  # noqa: E712 - becomes SQL
        return self._bundles(late, bundle.created_at, bundle.id, limit=limit)

    def left_behind(self, since: float, limit: int = 300) -> list[BundleRecord]:
        """What was refused or failed since then and was not dropped again under its name or accession number, newest
        first."""
        bundle = self._tables.bundle
        later = bundle.alias("later")
        here = (later.drop_name == bundle.drop_name) & (later.id > bundle.id)
        by_name = later.select(later.id).where((later.name == bundle.name) & here)
        by_number = later.select(later.id).where((later.access_number == bundle.access_number) & here)
        parts = []
        for drop in self.drop_names():
            for state in (BundleState.REFUSED, BundleState.FAILED):
                mine = (bundle.drop_name == drop) & (bundle.state == str(state)) & (bundle.changed_at >= since)
                alone = mine & ~fn.EXISTS(by_name) & ~fn.EXISTS(by_number)
                parts.append(self._bundles(alone, bundle.changed_at.desc(), bundle.id.desc(), limit=limit))
        return _merged(parts, Wanted(limit=limit))

    def oldest_waiting(self) -> float | None:
        """When the oldest bundle that is not shelved was first seen."""
        bundle = self._tables.bundle
        waits = bundle.open_key.is_null(False) & bundle.state.not_in([str(one) for one in ON_THE_WAY_TO_A_SHELF])
        with self._session.reading():
            found: float | None = bundle.select(fn.min(bundle.created_at)).where(waits).scalar()
        return found

    def newest_at(self) -> float | None:
        """When the newest bundle was first seen."""
        bundle = self._tables.bundle
        with self._session.reading():
            found: float | None = bundle.select(fn.max(bundle.created_at)).scalar()
        return found

    def deeds(self, before: int | None = None, limit: int = 100) -> list[Deed]:
        """What operators did, newest first: those with a smaller number than `before`."""
        deed = self._tables.deed
        return self._deeds(None if before is None else deed.id < before, deed.id.desc(), limit=limit)

    def _stretch(self, wanted: Wanted, where: Any) -> list[BundleRecord]:
        """The next rows of one part of an index."""
        bundle = self._tables.bundle
        column = bundle.changed_at if wanted.sort == "changed" else bundle.created_at
        if wanted.after is not None:
            at, number = wanted.after
            # The first term is what the index is asked; the second is what is meant.
            if wanted.newest_first:
                beyond = (column <= at) & ((column < at) | (bundle.id < number))
            else:
                beyond = (column >= at) & ((column > at) | (bundle.id > number))
            where = beyond if where is None else where & beyond
        order = (column.desc(), bundle.id.desc()) if wanted.newest_first else (column, bundle.id)
        return self._bundles(where, *order, limit=wanted.limit + 1)

    def _search(self, text: str) -> list[BundleRecord]:
        bundle, start = self._tables.bundle, text[:60].lower()
        found = {one.id: one for one in self.find_bundles(text, MOST_FOUND)}
        for one in self._bundles(bundle.study_uid == text, bundle.id.desc(), limit=MOST_FOUND):
            found[one.id] = one
        as_indexed = _NAME_START + self._session.engine.ddl["exact"]
        name = SQL(as_indexed)
        with_start = (name >= start) & (name < start + "\U0010ffff")
        for one in self._bundles(with_start, SQL(as_indexed), limit=MOST_FOUND):
            found[one.id] = one
        return list(found.values())


def _sorted(bundles: Iterable[BundleRecord], wanted: Wanted) -> list[BundleRecord]:
    """The page out of a handful of rows."""
    states, drops = wanted.states or tuple(BundleState), wanted.drops
    mine = [
        one
        for one in bundles
        if one.state in states
        and (not drops or one.drop in drops)
        and (wanted.since is None or one.created_at >= wanted.since)
        and (wanted.until is None or one.created_at < wanted.until)
    ]
    return _cut(sorted(mine, key=_key(wanted), reverse=wanted.newest_first), wanted)


def _merged(parts: Sequence[Sequence[BundleRecord]], wanted: Wanted) -> list[BundleRecord]:
    return list(heapq.merge(*parts, key=_key(wanted), reverse=wanted.newest_first))[: wanted.limit + 1]


def _cut(bundles: list[BundleRecord], wanted: Wanted) -> list[BundleRecord]:
    if wanted.after is not None:
        key, place = _key(wanted), tuple(wanted.after)
        bundles = [one for one in bundles if (key(one) < place if wanted.newest_first else key(one) > place)]
    return bundles[: wanted.limit + 1]


def _key(wanted: Wanted) -> Any:
    return attrgetter("changed_at" if wanted.sort == "changed" else "created_at", "id")
