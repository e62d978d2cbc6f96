"""What the ledger can be asked. Touches the database, reading only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from operator import attrgetter, or_
from typing import Any, TypeVar

from peewee import SQL, Expression, Model, fn

from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState
from folder_agent.core.ports import QUARTER_S, DayTally, FileCount, Tallies
from folder_agent.core.records import ORDERS, Act, BundleRecord, Deed, FileKind, FileRecord, HistoryEntry
from folder_agent.edges.ledger import codec, tables
from folder_agent.edges.ledger.engine import names
from folder_agent.edges.ledger.failures import damaged
from folder_agent.edges.ledger.session import Session

_T = TypeVar("_T")
_BUNDLE = ("id", *tables.BUNDLE_COLUMNS, "owner", "lease_until")
_FILE = ("id", *tables.FILE_COLUMNS)
_ASSIGNABLE = [str(kind) for kind in (FileKind.DICOM, FileKind.PDF, FileKind.UNKNOWN)]


class Queries:
    """The reading half of the Ledger port."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tables = tables.bind(session.engine)

    def open_bundles(self) -> list[BundleRecord]:
        bundle = self._tables.bundle
        # Sorted here: asked for an order, SQLite walks through the times of all bundles, however few are open.
        found = self._bundles(bundle.open_key.is_null(False))
        return sorted(found, key=attrgetter("created_at", "id"))

    def bundle(self, bundle_id: int) -> BundleRecord | None:
        found = _decoded(codec.bundle_record, self._hot(tables.Bundle, _BUNDLE, '"id" = ?', bundle_id))
        return found[0] if found else None

    def open_files(self, drop: str) -> list[FileRecord]:
        file = self._tables.file
        return self._files((file.drop_name == drop) & file.open_key.is_null(False), file.id)

    def files_of(self, bundle_id: int) -> list[FileRecord]:
        rows = self._hot(tables.File, _FILE, '"bundle_id" = ? ORDER BY "path", "id"', bundle_id)
        return _decoded(codec.file_record, rows)

    def accepted(
        self, access_number: str | None, study_uid: str | None, destination: str, instances: Collection[str] = ()
    ) -> list[FileRecord]:
        known = [("access_number", access_number), ("study_uid", study_uid)]
        exam = {column: codec.clean(value) for column, value in known if value is not None}
        if not exam:
            return []
        mine = " OR ".join(f'"{column}" = ?' for column in exam)
        bundles = f'SELECT "id" FROM "{tables.TABLE_NAMES[tables.Bundle]}" WHERE {mine}'  # noqa: S608 - our names
        named = f'AND "sop_instance" IN ({", ".join("?" * len(instances))})' if instances else ""
        where = f'"bundle_id" IN ({bundles}) AND "destination" = ? AND "accepted_at" IS NOT NULL {named} ORDER BY "id"'
        values = (*exam.values(), destination, *map(codec.clean, instances))
        return _decoded(codec.file_record, self._hot(tables.File, _FILE, where, *values))

    def delivered(self, access_number: str | None, study_uid: str | None) -> list[BundleRecord]:
        where, values = self._delivered(access_number, study_uid)
        rows = self._hot(tables.Bundle, _BUNDLE, f'{where} ORDER BY "committed_at", "id"', *values) if values else []
        return _decoded(codec.bundle_record, rows)

    def target_is_taken(self, target: str) -> bool:
        return bool(self._hot(tables.Bundle, ("id",), '"target" = ?', target))

    def bundle_at(self, target: str) -> BundleRecord | None:
        found = self._bundles(self._tables.bundle.target == target)
        return found[0] if found else None

    def history(self, bundle_id: int) -> list[HistoryEntry]:
        history, file = self._tables.history, self._tables.file
        files = file.select(file.id).where(file.bundle_id == bundle_id)
        mine = (history.subject == "bundle") & (history.subject_id == bundle_id)
        its_files = (history.subject == "file") & history.subject_id.in_(files)
        rows = self._rows(history, tables.HISTORY_COLUMNS, mine | its_files, history.id)
        return _decoded(codec.history_entry, rows)

    def deeds_of(self, bundle_id: int) -> list[Deed]:
        deed = self._tables.deed
        return self._deeds(deed.bundle_id == bundle_id, deed.id)

    def orders(self) -> list[Deed]:
        deed, bundle = self._tables.deed, self._tables.bundle
        is_refused = (bundle.state == str(BundleState.REFUSED)) & (deed.act == str(Act.ACCEPT))
        in_force = (bundle.id == deed.bundle_id) & (bundle.open_key.is_null(False) | is_refused)
        its = fn.EXISTS(bundle.select(bundle.id).where(in_force))  # by the orders, which are few
        return self._deeds(deed.act.in_([str(act) for act in ORDERS]) & its, deed.id)

    def find_bundles(self, name: str, limit: int = 50) -> list[BundleRecord]:
        if codec.clean(name) != name:
            return []  # the database cannot hold such a name, so it holds no such bundle
        bundle = self._tables.bundle
        texts = (bundle.name, bundle.access_number, bundle.study_id, bundle.target_name)
        found = reduce(or_, [column == name for column in texts])
        if name.isascii() and name.isdecimal() and len(name) <= 18:  # as long as a BIGINT surely takes
            found |= bundle.id == int(name)
        return self._bundles(found, bundle.created_at.desc(), bundle.id.desc(), limit=limit)

    def latest_bundles(self, limit: int = 50) -> list[BundleRecord]:
        bundle = self._tables.bundle
        return self._bundles(None, bundle.changed_at.desc(), bundle.id.desc(), limit=limit)

    def tallies(self) -> Tallies:
        bundle, file = self._tables.bundle, self._tables.file
        leaving = [str(state) for state in ON_THE_WAY_TO_A_SHELF]
        waits = bundle.open_key.is_null(False) & bundle.state.not_in(leaving)
        strays = file.open_key.is_null(False) & file.bundle_id.is_null() & file.kind.in_(_ASSIGNABLE)
        with self._session.reading():
            return Tallies(
                bundles=self._count_bundles() + self._dropped("bundle"),
                files=_count(file) + self._dropped("file"),
                oldest_open_at=bundle.select(fn.min(bundle.created_at + 0.0)).where(waits).scalar(),  # by what is open
                unassigned=file.select().where(strays).count(),
            )

    def bundles_between(self, since: float, until: float, after: int = 0, limit: int = 1000) -> list[BundleRecord]:
        bundle = self._tables.bundle
        between = (bundle.created_at >= since) & (bundle.created_at < until)
        return self._bundles(between & (bundle.id > after), bundle.id, limit=limit)

    def files_between(self, since: float, until: float) -> list[FileCount]:
        file, engine = self._tables.file, self._session.engine
        quarter = engine.whole(file.seen_at / QUARTER_S).alias("quarter")
        kind = (file.drop_name, file.state, file.kind, file.is_open)
        between = (file.seen_at >= since) & (file.seen_at < until)
        # By its alias: to PostgreSQL, the same expression with a parameter of its own is another one.
        query = file.select(quarter, *kind, fn.count(file.id)).where(between).group_by(SQL("quarter"), *kind)
        with self._session.reading():
            rows = engine.fetch(query)
        return _decoded(_file_count, rows)

    def day_tallies(self, first_day: str, last_day: str) -> list[DayTally]:
        tally = self._tables.tally
        columns = ("day", "drop_name", "subject", "state", "total")
        rows = self._rows(tally, columns, tally.day.between(first_day, last_day), *map(tally._meta.fields.get, columns))
        return _decoded(lambda row: DayTally(*row), rows)

    def recall(self, name: str) -> str | None:
        rows = self._hot(tables.Note, ("content",), '"name" = ?', name)
        return rows[0][0] if rows else None

    def _deeds(self, where: Expression | None, *order: Any, limit: int | None = None) -> list[Deed]:
        rows = self._rows(self._tables.deed, ("id", *tables.DEED_COLUMNS), where, *order, limit=limit)
        return [
            Deed(at, who, act, bundle_id, reason, place, number)
            for number, at, who, act, bundle_id, reason, place in rows
        ]

    def _count_bundles(self) -> Counter[str]:
        """How many there are in each state, counted in the order of an index."""
        bundle, found = self._tables.bundle, Counter[str]()
        query = bundle.select(bundle.drop_name, bundle.state, fn.count(bundle.id))
        for _, state, total in self._session.engine.fetch(query.group_by(bundle.drop_name, bundle.state)):
            found[state] += total
        return found

    def _dropped(self, subject: str) -> Counter[str]:
        """How many of each state are no rows any more."""
        tally = self._tables.tally
        mine = tally.select(tally.state, fn.sum(tally.total)).where(tally.subject == subject).group_by(tally.state)
        return Counter({state: int(total) for state, total in self._session.engine.fetch(mine)})

    def _delivered(self, access_number: str | None, study_uid: str | None) -> tuple[str, tuple[str | None, ...]]:
        """Committed bundles of that study (delivered.is_of_study), as a condition and its values; none for no study."""
        number, study = codec.clean(access_number), codec.clean(study_uid)
        if number is None or study is None:
            column = '"access_number"' if study is None else '"study_uid"'
            given = tuple(value for value in (number, study) if value is not None)
            return f'{column} = ? AND "committed_at" IS NOT NULL', given
        by_number = '"access_number" = ? AND ("study_uid" = ? OR "study_uid" IS NULL)'
        by_study = '"study_uid" = ? AND "access_number" IS NULL'
        return f'({by_number} OR {by_study}) AND "committed_at" IS NOT NULL', (number, study, study)

    def _bundles(self, where: Expression | None, *order: Any, limit: int | None = None) -> list[BundleRecord]:
        return _decoded(codec.bundle_record, self._rows(self._tables.bundle, _BUNDLE, where, *order, limit=limit))

    def _files(self, where: Expression, *order: Any) -> list[FileRecord]:
        return _decoded(codec.file_record, self._rows(self._tables.file, _FILE, where, *order))

    def _rows(
        self, model: type[Model], columns: tuple[str, ...], where: Any, *order: Any, limit: int | None = None
    ) -> list[Any]:
        query = model.select(*[getattr(model, column) for column in columns]).order_by(*order).limit(limit)
        with self._session.call():
            return self._session.engine.fetch(query if where is None else query.where(where))

    def _hot(self, model: type[Model], columns: tuple[str, ...], where: str, *values: object) -> list[Any]:
        """What is asked for every exam, as SQL (`?` for the values): peewee would make it anew each time, which takes
        longer than the database does."""
        sql = f'SELECT {names(columns)} FROM "{tables.TABLE_NAMES[model]}" WHERE {where}'  # noqa: S608 - our names
        with self._session.call():
            return list(self._session.engine.run(sql.replace("?", self._session.engine.param), values).fetchall())


def _decoded(decode: Callable[[Any], _T], rows: Sequence[Any]) -> list[_T]:
    """The records of the rows. What no record of ours turned into was damaged where no checksum tells."""
    try:
        return [decode(row) for row in rows]
    except (ValueError, KeyError, TypeError, IndexError):
        raise damaged("a row cannot be read") from None  # not chained: it may quote what it stumbled over


def _file_count(row: Any) -> FileCount:
    quarter, drop, state, kind, is_open, total = row
    return FileCount(float(int(quarter) * QUARTER_S), drop, state, kind, bool(is_open), total)


def _count(model: Any) -> Counter[str]:
    return Counter(dict(model.select(model.state, fn.count(model.id)).group_by(model.state).tuples()))
