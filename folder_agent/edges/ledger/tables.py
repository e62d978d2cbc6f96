"""The ledger's tables as peewee models, bound to a database at run time: several ledgers may live in one process.

Touches nothing. The tables themselves are made by migrations.py, in SQL that never changes once released; a test
compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from peewee import BigAutoField, BigIntegerField, BooleanField, CompositeKey, Database, DoubleField, Model, TextField


class Bundle(Model):
    """One BundleRecord. `open_key` and `target_name` are derived from the others, for the indexes."""

    id = BigAutoField()
    drop_name = TextField()  # `drop` is a word of SQL
    key = TextField()
    name = TextField()
    state = TextField()
    created_at = DoubleField()
    changed_at = DoubleField()
    study_uid = TextField(null=True)
    access_number = TextField(null=True)
    study_id = TextField(null=True)
    emergency = BooleanField()
    counts = TextField()  # JSON: images, reports, PDFs, series
    reasons = TextField(null=True)  # JSON, masked
    overdue = BooleanField()
    attempts = BigIntegerField()
    first_failed_at = DoubleField(null=True)
    due_at = DoubleField(null=True)
    answer = TextField(null=True)
    committed_at = DoubleField(null=True)
    target = TextField(null=True)
    is_open = BooleanField()
    open_key = TextField(null=True)  # unique within the drop; NULL once the bundle is closed
    target_name = TextField(null=True)  # the target's last part
    owner = TextField(null=True)  # these two are written by claim and release only
    lease_until = DoubleField(null=True)
    purged_at = DoubleField(null=True)  # when its files were deleted from done/, as the settings ask
    posted = TextField(null=True)


class File(Model):
    """One FileRecord. `open_key` is derived from the others, for the index."""

    id = BigAutoField()
    drop_name = TextField()
    path = TextField()
    size = BigIntegerField()
    mtime_ns = TextField()  # text, because some file systems' times and identities need more than 63 bits
    identity = TextField()
    state = TextField()
    kind = TextField()
    bundle_id = BigIntegerField(null=True)
    sop_instance = TextField(null=True)
    sha256 = TextField(null=True)
    destination = TextField(null=True)
    accepted_at = DoubleField(null=True)
    answer = TextField(null=True)
    reason = TextField(null=True)  # JSON, masked
    is_open = BooleanField()
    open_key = TextField(null=True)  # unique within the drop; NULL once the file is closed or vanished
    seen_at = DoubleField(null=True)
    role = TextField(null=True)
    series = TextField(null=True)
    digest = TextField(null=True)


class History(Model):
    """One HistoryEntry; the id gives the order, because clocks may be set back."""

    id = BigAutoField()
    at = DoubleField()
    subject = TextField()
    subject_id = BigIntegerField()
    was = TextField()
    event = TextField()
    became = TextField()
    reasons = TextField(null=True)


class Note(Model):
    """One small named text."""

    name = TextField(primary_key=True)
    content = TextField()


class Tally(Model):
    """How many bundles or files of one day and drop folder ended in a state and are no rows any more."""

    day = TextField()  # YYYY-MM-DD, the wall time of the place
    drop_name = TextField()
    subject = TextField()  # "bundle" or "file"
    state = TextField()
    total = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("day", "drop_name", "subject", "state")


class DeedRow(Model):
    """One Deed."""

    id = BigAutoField()
    at = DoubleField()
    who = TextField()
    act = TextField()
    bundle_id = BigIntegerField(null=True)
    reason = TextField(null=True)
    place = TextField(null=True)


TABLE_NAMES: dict[type[Model], str] = {
    Bundle: "bundles",
    File: "files",
    History: "history",
    Note: "notes",
    Tally: "tallies",
    DeedRow: "deeds",
}
BUNDLE_COLUMNS = tuple(name for name in Bundle._meta.sorted_field_names if name not in {"id", "owner", "lease_until"})
FILE_COLUMNS = tuple(name for name in File._meta.sorted_field_names if name != "id")
HISTORY_COLUMNS = tuple(name for name in History._meta.sorted_field_names if name != "id")
DEED_COLUMNS = tuple(name for name in DeedRow._meta.sorted_field_names if name != "id")

_M = TypeVar("_M", bound=Model)


@dataclass(frozen=True, slots=True)
class Tables:
    """The models, bound to one database."""

    bundle: type[Bundle]
    file: type[File]
    history: type[History]
    note: type[Note]
    tally: type[Tally]
    deed: type[DeedRow]


def bind(database: Database) -> Tables:
    """Models of their own for this database."""
    return Tables(
        bundle=_bound(Bundle, database),
        file=_bound(File, database),
        history=_bound(History, database),
        note=_bound(Note, database),
        tally=_bound(Tally, database),
        deed=_bound(DeedRow, database),
    )


def _bound(model: type[_M], database: Database) -> type[_M]:
    meta = type("Meta", (), {"database": database, "table_name": TABLE_NAMES[model]})
    return type(model.__name__, (model,), {"Meta": meta})
