"""Old rows become counts: what ended long ago is tallied by day, and its rows go. Touches the database.

Nothing that is open, refused or failed is ever touched. The newest row of a table stays, whatever its age: numbers go
on from it, and none is given twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from peewee import EXCLUDED, fn

from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.ports import QUARTER_S
from folder_agent.edges.ledger.queries import Queries

MOST_BUNDLES = 200  # in one transaction, in which nobody else can write
MOST_FILES = 5_000
_ENDED = (BundleState.DONE, BundleState.WITHDRAWN)

DayOf = Callable[[float], str]
Kind = tuple[str, str, str]  # day, subject, state


class Compacting(Queries):
    """The forgetting part of the Ledger port."""

    def compact(self, drop: str, before: float, day_of: DayOf) -> int:
        with self._session.writing():
            bundles = next(filter(None, (self._ended(drop, state, before) for state in _ENDED)), [])
            strays = self._strays(drop, before)
            if bundles or strays:
                self._tally(drop, self._counted(bundles, strays, before, day_of))
                self._forget([row[0] for row in bundles], strays)
            return len(bundles) + len(strays)

    def _ended(self, drop: str, state: BundleState, before: float) -> list[Any]:
        """Bundles to drop, oldest first, as an index has them: id, state, when created, how many files; no more than a
        short transaction bears."""
        bundle, file = self._tables.bundle, self._tables.file
        mine = file.bundle_id == bundle.id
        newest_file, newest_bundle = file.select(fn.max(file.id)), bundle.alias()
        keeps = file.select(file.id).where(mine & (file.open_key.is_null(False) | (file.id == newest_file)))
        size = file.select(fn.count(file.id)).where(mine)
        # What was delivered of one study is counted together: its rows go when the last of them may.
        other = bundle.alias()
        is_younger = (other.changed_at >= before) | other.open_key.is_null(False)
        same = other.study_uid == bundle.study_uid
        younger_study = other.select(other.id).where(same & is_younger)
        same = other.access_number == bundle.access_number
        younger_accession = other.select(other.id).where(same & is_younger)
        query = (
            bundle.select(bundle.id, bundle.state, bundle.created_at, size)
            .where((bundle.drop_name == drop) & (bundle.state == str(state)) & (bundle.changed_at < before))
            .where((bundle.id < newest_bundle.select(fn.max(newest_bundle.id))) & ~fn.EXISTS(keeps))
            .where(~fn.EXISTS(younger_study) & ~fn.EXISTS(younger_accession))
            .order_by(bundle.changed_at)
            .limit(MOST_BUNDLES)
        )
        found = self._session.engine.fetch(query)
        sums = list(accumulate(row[3] for row in found))
        return [row for row, total in zip(found, sums, strict=True) if total <= MOST_FILES or total == sums[0]]

    def _strays(self, drop: str, before: float) -> list[int]:
        """Files that vanished before they were of any bundle."""
        file = self._tables.file
        query = (
            file.select(file.id)
            .where((file.drop_name == drop) & (file.state == str(FileState.VANISHED)) & file.bundle_id.is_null())
            .where((file.seen_at < before) & (file.id < file.select(fn.max(file.id))))
            .order_by(file.id)
            .limit(MOST_FILES)
        )
        return [row[0] for row in self._session.engine.fetch(query)]

    def _counted(self, bundles: Sequence[Any], strays: Sequence[int], before: float, day_of: DayOf) -> Counter[Kind]:
        """How many there are of each day, subject and state."""
        file, engine = self._tables.file, self._session.engine
        found = Counter((day_of(created_at), "bundle", state) for _, state, created_at, _ in bundles)
        seen_at = fn.coalesce(file.seen_at, file.accepted_at, before)
        quarter = engine.whole(seen_at / QUARTER_S)
        mine = file.bundle_id.in_([row[0] for row in bundles]) | file.id.in_(strays)
        for at, state in engine.fetch(file.select(quarter, file.state).where(mine)):
            found[day_of(float(int(at) * QUARTER_S)), "file", state] += 1
        return found

    def _tally(self, drop: str, counted: Counter[Kind]) -> None:
        tally = self._tables.tally
        rows = [
            {"day": day, "drop_name": drop, "subject": subject, "state": state, "total": total}
            for (day, subject, state), total in sorted(counted.items())
        ]
        keys = [tally.day, tally.drop_name, tally.subject, tally.state]
        fresh = tally.insert_many(rows)
        fresh.on_conflict(conflict_target=keys, update={tally.total: tally.total + EXCLUDED.total}).execute()

    def _forget(self, bundles: Sequence[int], strays: Sequence[int]) -> None:
        bundle, file, history = self._tables.bundle, self._tables.file, self._tables.history
        mine = file.bundle_id.in_(bundles) | file.id.in_(strays)
        files = history.subject_id.in_(file.select(file.id).where(mine))
        history.delete().where((history.subject == "file") & files).execute()
        history.delete().where((history.subject == "bundle") & history.subject_id.in_(bundles)).execute()
        file.delete().where(mine).execute()
        bundle.delete().where(bundle.id.in_(bundles)).execute()
