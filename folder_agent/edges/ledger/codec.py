"""Records to rows and back. Problems become masked JSON here, and nowhere is there another way in.

Touches nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import BundleState, FileState, Transition
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord, HistoryEntry, Stamp

Values = tuple[Any, ...]

_FILE_STATES = {str(state): state for state in FileState}
_FILE_KINDS = {str(kind): kind for kind in FileKind}
_SHELVED = frozenset({BundleState.DONE, BundleState.WITHDRAWN})


def file_values(record: FileRecord) -> Values:
    """The columns of tables.FILE_COLUMNS."""
    return (
        record.drop,
        record.path,
        record.stamp.size,
        str(record.stamp.mtime_ns),
        str(record.stamp.identity),
        str(record.state),
        str(record.kind),
        record.bundle_id,
        clean(record.sop_instance),
        record.sha256,
        record.destination,
        record.accepted_at,
        clean(record.answer),
        pack(() if record.reason is None else (record.reason,)),
        record.is_open,
        _digest(record.path) if record.is_open and record.state != FileState.VANISHED else None,
        record.seen_at,
        record.role,
        clean(record.series),
        record.digest,
    )


def file_record(row: Values) -> FileRecord:
    """The record of a row of `id` and tables.FILE_COLUMNS (what follows is ignored)."""
    reasons = unpack(row[14])
    return FileRecord(
        id=row[0],
        drop=row[1],
        path=row[2],
        stamp=Stamp(row[3], int(row[4]), int(row[5])),
        state=_FILE_STATES[row[6]],
        kind=_FILE_KINDS[row[7]],
        bundle_id=row[8],
        sop_instance=row[9],
        sha256=row[10],
        destination=row[11],
        accepted_at=row[12],
        answer=row[13],
        reason=reasons[0] if reasons else None,
        is_open=bool(row[15]),
        seen_at=row[17],
        role=row[18],
        series=row[19],
        digest=row[20],
    )


def bundle_values(record: BundleRecord) -> Values:
    """The columns of tables.BUNDLE_COLUMNS: all but the claim, which only `claim` and `release` may write."""
    return (
        record.drop,
        record.key,
        record.name,
        str(record.state),
        record.created_at,
        record.changed_at,
        clean(record.study_uid),
        clean(record.access_number),
        clean(record.study_id),
        record.emergency,
        _counts(record.counts),
        pack(record.reasons),
        record.overdue,
        record.attempts,
        record.first_failed_at,
        record.due_at,
        clean(record.answer),
        record.committed_at,
        record.target,
        record.is_open,
        _digest(record.key) if record.is_open and record.state not in _SHELVED else None,
        None if record.target is None else record.target.replace("\\", "/").rstrip("/").rpartition("/")[2],
        record.purged_at,
        record.posted,
    )


def bundle_record(row: Values) -> BundleRecord:
    """The record of a row of `id`, tables.BUNDLE_COLUMNS, `owner` and `lease_until`."""
    return BundleRecord(
        id=row[0],
        drop=row[1],
        key=row[2],
        name=row[3],
        state=BundleState(row[4]),
        created_at=row[5],
        changed_at=row[6],
        study_uid=row[7],
        access_number=row[8],
        study_id=row[9],
        emergency=bool(row[10]),
        counts=Counts(*json.loads(row[11])),
        reasons=unpack(row[12]),
        overdue=bool(row[13]),
        attempts=row[14],
        first_failed_at=row[15],
        due_at=row[16],
        answer=row[17],
        committed_at=row[18],
        target=row[19],
        is_open=bool(row[20]),
        purged_at=row[23],
        posted=row[24],
        owner=row[25],
        lease_until=row[26],
    )


def history_values(step: Transition[FileRecord] | Transition[BundleRecord]) -> Values:
    """The columns of tables.HISTORY_COLUMNS for a transition."""
    after = step.after
    subject = "bundle" if isinstance(after, BundleRecord) else "file"
    return (step.at, subject, after.id, str(step.before.state), str(step.event), str(after.state), pack(reasons(after)))


def birth_values(record: FileRecord | BundleRecord, at: float) -> Values:
    """The columns of tables.HISTORY_COLUMNS for a new record."""
    subject, event = ("bundle", "open") if isinstance(record, BundleRecord) else ("file", "see")
    return (at, subject, record.id, "", event, str(record.state), None)


def history_entry(row: Values) -> HistoryEntry:
    """The entry of a row of tables.HISTORY_COLUMNS."""
    at, subject, subject_id, was, event, became, packed = row
    return HistoryEntry(at, subject, subject_id, was, event, became, unpack(packed))


def reasons(record: FileRecord | BundleRecord) -> tuple[Problem, ...]:
    """Why the record is as it is."""
    if isinstance(record, BundleRecord):
        return record.reasons
    return () if record.reason is None else (record.reason,)


def pack(problems: Iterable[Problem]) -> str | None:
    """Problems as JSON, masked, in ASCII: whatever a broken file put into a value, the database can hold it."""
    packed = [[p.code, p.path, p.values, p.private] for p in (problem.masked() for problem in problems)]
    return json.dumps(packed) if packed else None


def unpack(text: str | None) -> tuple[Problem, ...]:
    """The problems of `pack`."""
    if text is None:
        return ()
    return tuple(
        Problem(code, path, tuple((name, value) for name, value in values), tuple((n, v) for n, v in private))
        for code, path, values, private in json.loads(text)
    )


def clean(text: str | None) -> str | None:
    """Text of foreign origin without what PostgreSQL or UTF-8 cannot hold (NUL, lone surrogates)."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _counts(counts: Counts) -> str:
    return json.dumps((counts.images, counts.reports, counts.pdfs, counts.series))


def _digest(text: str) -> str:
    """A digest instead of the text, because an index of PostgreSQL holds no more than 2,700 bytes an entry."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
