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
from folder_agent.core.ports import QUARTER_S
from folder_agent.core.records import BundleRecord, Deed
from folder_agent.edges.ledger import codec
from folder_agent.edges.ledger.queries import Queries

MOST_FOUND = 1000  # bundles that a search considers
MOST_OF_A_DAY = 20_000
_NAME_START = 'lower(substr("name", 1, 60))'  # as the index has it

Sort = Literal["changed", "created"]


class Place(NamedTuple):
    """Where a page ended: the time and number of the bundle beyond which the next one begins."""

    at: float
    number: int


class _Light(NamedTuple):
    """As much of a bundle as it takes to choose."""

    id: int
    drop_name: str
    state: str
    created_at: float
    changed_at: float


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
            return self._chosen(self._search(wanted.text), wanted)
        if wanted.since is not None or wanted.until is not None:
            return self._chosen(self._of_time(wanted), wanted)
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
            mine = self._in_any_state(drop) & (bundle.changed_at >= since)
            query = bundle.select(bundle.state, fn.count(bundle.id)).where(mine).group_by(bundle.state)
            with self._session.reading():
                rows = self._session.engine.fetch(query)
            found |= {(drop, str(state)): 0 for state in BundleState}
            found |= {(drop, state): total for state, total in rows}
        return found

    def first_seen(self, since: float, until: float) -> list[tuple[float, str, str, int]]:
        """How many bundles were first seen in [since, until), for each quarter of an hour (the epoch time of its
        begin), drop folder and state they are in now."""
        bundle, engine = self._tables.bundle, self._session.engine
        found: list[tuple[float, str, str, int]] = []
        for drop in self.drop_names():
            quarter = engine.whole(bundle.created_at / QUARTER_S).alias("quarter")
            mine = self._in_any_state(drop) & (bundle.created_at >= since) & (bundle.created_at < until)
            query = bundle.select(bundle.state, quarter, fn.count(bundle.id)).where(mine)
            with self._session.reading():
                rows = engine.fetch(query.group_by(bundle.state, SQL("quarter")))
            found += [(float(int(at) * QUARTER_S), drop, state, total) for state, at, total in rows]
        return found

    def _in_any_state(self, drop: str) -> Any:
        """Bundles of a drop folder, said so that an index on folder, state and time is taken."""
        bundle = self._tables.bundle
        return (bundle.drop_name == drop) & bundle.state.in_([str(state) for state in BundleState])

    def open_counts(self) -> dict[tuple[str, str, bool], int]:
        """How many bundles are open, by drop folder, state, and whether they are overdue."""
        bundle, found = self._tables.bundle, dict[tuple[str, str, bool], int]()
        for drop in self.drop_names():
            query = bundle.select(bundle.state, bundle.overdue, fn.count(bundle.id)).where(self._open(drop))
            with self._session.reading():
                rows = self._session.engine.fetch(query.group_by(bundle.state, bundle.overdue))
            found |= {(drop, state, bool(late)): total for state, late, total in rows}
        return found

    def overdue(self, limit: int = 200) -> list[BundleRecord]:
        """Open bundles that are overdue, oldest first."""
        late = self._tables.bundle.overdue == True  # noqa: E712 - becomes SQL
        found = [one for drop in self.drop_names() for one in self._bundles(self._open(drop) & late)]
        return sorted(found, key=attrgetter("created_at", "id"))[:limit]

    def _open(self, drop: str) -> Any:
        """Open bundles of a drop folder, said so that the index of these is taken."""
        bundle = self._tables.bundle
        return (bundle.drop_name == drop) & (bundle.open_key > "")

    def left_behind(self, since: float, limit: int = 300) -> list[BundleRecord]:
        """What was refused or failed since then and was not dropped again under its name or accession number, newest
        first."""
        bundle = self._tables.bundle
        newest = (bundle.changed_at.desc(), bundle.id.desc())
        parts = [
            self._bundles(self._left_alone(drop, state, since), *newest, limit=limit)
            for drop in self.drop_names()
            for state in (BundleState.REFUSED, BundleState.FAILED)
        ]
        return _merged(parts, Wanted(limit=limit))

    def count_left_behind(self, since: float) -> dict[str, int]:
        """How many these are in all, by drop folder."""
        bundle, found = self._tables.bundle, dict[str, int]()
        for drop in self.drop_names():
            for state in (BundleState.REFUSED, BundleState.FAILED):
                query = bundle.select(fn.count(bundle.id)).where(self._left_alone(drop, state, since))
                with self._session.reading():
                    found[drop] = found.get(drop, 0) + query.scalar()
        return found

    def _left_alone(self, drop: str, state: BundleState, since: float) -> Any:
        bundle = self._tables.bundle
        later = bundle.alias("later")
        # As expressions, so that no database takes an index on these for the better way: name and number are.
        here = (fn.COALESCE(later.drop_name, "") == bundle.drop_name) & (later.id - bundle.id > 0)
        by_name = later.select(later.id).where((later.name == bundle.name) & here)
        by_number = later.select(later.id).where((later.access_number == bundle.access_number) & here)
        mine = (bundle.drop_name == drop) & (bundle.state == str(state)) & (bundle.changed_at >= since)
        return mine & ~fn.EXISTS(by_name) & ~fn.EXISTS(by_number)

    def oldest_waiting(self) -> float | None:
        """When the oldest bundle that is not shelved was first seen."""
        bundle = self._tables.bundle
        waits = bundle.open_key.is_null(False) & bundle.state.not_in([str(one) for one in ON_THE_WAY_TO_A_SHELF])
        with self._session.reading():
            found: float | None = bundle.select(fn.min(bundle.created_at + 0.0)).where(waits).scalar()
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

    def _search(self, text: str) -> list[_Light]:
        bundle, start = self._tables.bundle, text[:60].lower()
        if codec.clean(text) != text:
            return []  # the database cannot hold such a name, so it holds no such bundle
        columns = (bundle.name, bundle.access_number, bundle.study_id, bundle.study_uid, bundle.target_name)
        found = set[_Light]()
        for column in columns:
            found.update(self._light(column == text))
        if text.isascii() and text.isdecimal() and len(text) <= 18:  # as long as a BIGINT surely takes
            found.update(self._light(bundle.id == int(text)))
        as_indexed = _NAME_START + self._session.engine.ddl["exact"]
        name = SQL(as_indexed)
        found.update(self._light((name >= start) & (name < start + "\U0010ffff"), SQL(as_indexed)))
        return list(found)

    def _of_time(self, wanted: Wanted) -> list[_Light]:
        """What was first seen within the time, by the index on that."""
        created = self._tables.bundle.created_at
        where = (created >= (wanted.since or 0.0)) & (created < (wanted.until or float("inf")))
        return self._light(where, created, limit=MOST_OF_A_DAY)

    def _light(self, where: Any, *order: Any, limit: int = MOST_FOUND) -> list[_Light]:
        rows = self._rows(self._tables.bundle, _Light._fields, where, *order, limit=limit)
        return [_Light(*row) for row in rows]

    def _chosen(self, found: Iterable[_Light], wanted: Wanted) -> list[BundleRecord]:
        """The page out of a handful of rows: only what is shown is read whole."""
        states, drops = frozenset(map(str, wanted.states or tuple(BundleState))), wanted.drops
        mine = [
            one
            for one in found
            if one.state in states
            and (not drops or one.drop_name in drops)
            and (wanted.since is None or one.created_at >= wanted.since)
            and (wanted.until is None or one.created_at < wanted.until)
        ]
        key = _key(wanted)
        mine.sort(key=key, reverse=wanted.newest_first)
        if wanted.after is not None:
            place = tuple(wanted.after)
            mine = [one for one in mine if (key(one) < place if wanted.newest_first else key(one) > place)]
        numbers = [one.id for one in mine[: wanted.limit + 1]]
        records = {one.id: one for one in self._bundles(self._tables.bundle.id.in_(numbers))} if numbers else {}
        return [records[number] for number in numbers if number in records]


def _merged(parts: Sequence[Sequence[BundleRecord]], wanted: Wanted) -> list[BundleRecord]:
    return list(heapq.merge(*parts, key=_key(wanted), reverse=wanted.newest_first))[: wanted.limit + 1]


def _key(wanted: Wanted) -> Any:
    return attrgetter("changed_at" if wanted.sort == "changed" else "created_at", "id")
