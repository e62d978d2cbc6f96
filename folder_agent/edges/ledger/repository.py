"""The Ledger port itself: the one place where a state is written. Touches the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from folder_agent.core.errors import StaleState
from folder_agent.core.lifecycle import BundleState, FileState, Transition
from folder_agent.core.records import BundleRecord, Deed, FileKind, FileRecord, Sighting
from folder_agent.edges.ledger import codec, tables
from folder_agent.edges.ledger.browsing import Browsing
from folder_agent.edges.ledger.compacting import Compacting
from folder_agent.edges.ledger.engine import Change
from folder_agent.edges.ledger.tables import BUNDLE_COLUMNS, DEED_COLUMNS, FILE_COLUMNS, HISTORY_COLUMNS

_CHUNK = 5_000  # rows a statement: enough to be fast, few enough to hold in memory
_T = TypeVar("_T")


class PeeweeLedger(Compacting, Browsing):
    """The Ledger port on a database; its promises stand there. Safe for any number of threads and processes."""

    def together(self, action: Callable[[], None]) -> None:
        with self._session.writing():
            action()

    def sight(
        self, drop: str, sightings: Iterable[Sighting], kinds: Mapping[str, FileKind], at: float
    ) -> list[FileRecord]:
        records: list[FileRecord] = []
        with self._session.writing():
            for chunk in _chunks(sightings):
                records += self._sight(drop, chunk, kinds, at)
        return records

    def open_bundle(self, drop: str, key: str, name: str, at: float) -> BundleRecord:
        engine, bundle = self._session.engine, self._tables.bundle
        with self._session.writing():
            (number,) = engine.next_ids(bundle, 1)
            record = BundleRecord(number, drop, key, name, BundleState.GATHERING, created_at=at, changed_at=at)
            engine.insert_rows(bundle, ("id", *BUNDLE_COLUMNS), [(number, *codec.bundle_values(record))])
            self._tell([codec.birth_values(record, at)])
        return record

    def apply(self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]]) -> None:
        with self._session.writing():
            self._apply(transitions)

    def commit(
        self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]], known: Sequence[int]
    ) -> bool:
        after = transitions[-1].after
        assert isinstance(after, BundleRecord)
        names = {"study": after.study_uid, "accession": after.access_number}
        where, values = self._delivered(after.access_number, after.study_uid)
        with self._session.writing():
            self._session.engine.lock_words(f"{kind} {name}" for kind, name in names.items() if name is not None)
            found = self._hot(tables.Bundle, ("id",), where, *values) if values else []
            if {row[0] for row in found} != set(known):
                return False
            self._apply(transitions)
        return True

    def _apply(self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]]) -> None:
        for chunk in _chunks(transitions):
            self._change([(step.before.state, step.after) for step in chunk])
            self._tell([codec.history_values(step) for step in chunk])
            self._close_files([step.after.id for step in chunk if _closes(step.after)])

    def amend(self, records: Sequence[FileRecord | BundleRecord]) -> None:
        with self._session.writing():
            for chunk in _chunks(records):
                self._change([(record.state, record) for record in chunk])

    def claim(self, bundle_id: int, owner: str, now: float, lease_s: float) -> bool:
        return self._update_claim(
            'SET "owner" = ?, "lease_until" = ? WHERE "id" = ? AND "open_key" IS NOT NULL '
            'AND ("owner" IS NULL OR "lease_until" < ? OR "owner" = ?)',
            (owner, now + lease_s, bundle_id, now, owner),
        )

    def release(self, bundle_id: int, owner: str) -> None:
        self._update_claim(
            'SET "owner" = NULL, "lease_until" = NULL WHERE "id" = ? AND "owner" = ?', (bundle_id, owner)
        )

    def remember(self, name: str, value: str | None) -> None:
        note = self._tables.note
        with self._session.writing():
            if value is None:
                note.delete().where(note.name == name).execute()
            else:
                fresh = note.insert(name=name, content=codec.clean(value))
                fresh.on_conflict(conflict_target=[note.name], preserve=[note.content]).execute()

    def swap_note(self, name: str, expected: str | None, new: str | None) -> bool:
        """Replace one small named text by compare-and-set (None: there is none); false if it was another one."""
        note = self._tables.note
        mine = (note.name == name) & (note.content == expected)
        with self._session.writing():
            if expected is None:
                if new is None:
                    return True
                return bool(note.insert(name=name, content=new).on_conflict_ignore().as_rowcount().execute() == 1)
            query = note.delete() if new is None else note.update(content=new)
            return bool(query.where(mine).execute() == 1)

    def keep_deed(self, deed: Deed) -> None:
        values = (deed.at, deed.who, str(deed.act), deed.bundle_id, deed.reason, deed.place)
        cleaned = [codec.clean(value) if isinstance(value, str) else value for value in values]
        with self._session.writing():
            self._tables.deed.insert(**dict(zip(DEED_COLUMNS, cleaned, strict=True))).execute()

    def close(self) -> None:
        self._session.close()

    def _sight(
        self, drop: str, sightings: Sequence[Sighting], kinds: Mapping[str, FileKind], at: float
    ) -> list[FileRecord]:
        engine, file = self._session.engine, self._tables.file
        records = [
            FileRecord(
                number, drop, seen.path, seen.stamp, FileState.SEEN, kinds.get(seen.path, FileKind.UNKNOWN), seen_at=at
            )
            for number, seen in zip(engine.next_ids(file, len(sightings)), sightings, strict=True)
        ]
        engine.insert_rows(file, ("id", *FILE_COLUMNS), [(r.id, *codec.file_values(r)) for r in records])
        self._tell([codec.birth_values(record, at) for record in records])
        return records

    def _change(self, changes: Sequence[tuple[str, FileRecord | BundleRecord]]) -> None:
        """Write each record over its row, if the row is still in the given state, else undo everything."""
        engine, files, bundles = self._session.engine, list[Change](), list[Change]()
        for state, record in changes:
            if isinstance(record, FileRecord):
                files.append((record.id, str(state), codec.file_values(record)))
            else:
                bundles.append((record.id, str(state), codec.bundle_values(record)))
        changed = engine.update_rows(self._tables.file, FILE_COLUMNS, files) if files else 0
        changed += engine.update_rows(self._tables.bundle, BUNDLE_COLUMNS, bundles) if bundles else 0
        if changed != len(changes):
            raise StaleState(f"{len(changes) - changed} of {len(changes)} rows had moved on")

    def _close_files(self, bundle_ids: Sequence[int]) -> None:
        """What is on a shelf is open no longer: its path in the drop folder is free for a newcomer, and nobody has a
        claim on it."""
        for bundle_id in bundle_ids:
            self._run('UPDATE "files" SET "is_open" = ?, "open_key" = NULL WHERE "bundle_id" = ?', (False, bundle_id))
            self._run('UPDATE "bundles" SET "owner" = NULL, "lease_until" = NULL WHERE "id" = ?', (bundle_id,))

    def _update_claim(self, change: str, values: Sequence[object]) -> bool:
        with self._session.writing():
            return bool(self._run(f'UPDATE "bundles" {change}', values).rowcount == 1)

    def _run(self, sql: str, values: Sequence[object]) -> Any:
        engine = self._session.engine
        return engine.run(sql.replace("?", engine.param), values)

    def _tell(self, rows: Sequence[codec.Values]) -> None:
        self._session.engine.insert_rows(self._tables.history, HISTORY_COLUMNS, rows)


def _closes(record: FileRecord | BundleRecord) -> bool:
    return isinstance(record, BundleRecord) and not record.is_open


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
