"""receipt.json, read back: what was delivered, as the bundle's own folder says (notes.receipt writes it).

Pure. Whoever may write to done/ may have changed it: nothing is taken over that is not of the form that we write, and
of the exam only what identifies it and its counts, nothing of the patient (but for `exam_fields`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from folder_agent.core.delivered import Role, fingerprint
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import PERMIT, PERMIT_MAINLAND, TEXT_FIELDS
from folder_agent.core.notes import NOT_DELIVERED
from folder_agent.core.records import Counts, FileKind

_COUNTS = ("imageCnt", "reportCnt", "pdfCnt", "seriesCnt")  # in the order of Counts
_NO_COUNTS = Counts()
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ReceiptFile:
    """One file of a receipt. `path` is beside the receipt. Of what was not sent, `sha256` is told of a PDF only."""

    path: str
    kind: FileKind
    size: int | None = None  # bytes; None where an older version did not say
    sha256: str | None = None
    sop_instance: str | None = None
    destination: str | None = None
    accepted_at: float | None = None
    answer: str | None = None
    is_sent: bool = False
    role: str | None = None  # what it counts as (delivered.Role); older versions did not say
    series: str | None = None  # SeriesInstanceUID


@dataclass(frozen=True, slots=True)
class Receipt:
    """A whole receipt. Times are epoch seconds; None where it does not say."""

    bundle: str
    drop: str
    is_delivered: bool
    sent: tuple[ReceiptFile, ...]
    unsent: tuple[ReceiptFile, ...]
    first_seen_at: float | None = None
    delivered_at: float | None = None
    committed_at: float | None = None
    answer: str | None = None  # the gateway's, as the ledger keeps it
    access_number: str | None = None
    study_uid: str | None = None
    study_id: str | None = None
    emergency: bool = False
    counts: Counts = _NO_COUNTS
    key: str | None = None
    posted: str | None = None  # delivered.fingerprint of the exam information
    repeats: Problem | None = None  # by what it says that all of it had been delivered before
    folder: str | None = None  # where the files were in the drop folder, with its slash; None: not known
    filled: tuple[tuple[str, str], ...] = ()  # fields that neither sidecar nor mapping gave, and where they came from

    def paths(self) -> list[str]:
        """Every file that lay beside the receipt when it was written."""
        return [file.path for file in (*self.sent, *self.unsent)]


class _Malformed(Exception):
    """Not a receipt of ours."""


def parse(content: bytes) -> Receipt | None:
    """The receipt, or None if that is none: damaged, cut short, or somebody else's file of that name."""
    try:
        return _receipt(_table(json.loads(content)))
    except (ValueError, RecursionError, _Malformed):  # ValueError: not JSON, or not UTF-8
        return None


def _receipt(table: Mapping[str, Any]) -> Receipt:
    if table.get("receipt") != 1:
        raise _Malformed
    gateway, exam = _table(table.get("gateway")), _table(table.get("exam"))
    folder = _text(table, "folder")
    return Receipt(
        bundle=_required(table, "bundle"),
        drop=_required(table, "drop"),
        is_delivered=table.get("outcome") != NOT_DELIVERED,  # the first version wrote receipts of nothing else
        sent=tuple(_sent(_table(entry)) for entry in _list(table, "files")),
        unsent=tuple(_unsent(_table(entry)) for entry in _list(table, "notSent")),
        first_seen_at=_moment(table, "first_seen_at"),
        delivered_at=_moment(table, "delivered_at"),
        committed_at=_moment(gateway, "committed_at"),
        answer=_answer(gateway.get("answer")),
        access_number=_text(exam, "accessNumber"),
        study_uid=_text(exam, "studyUid"),
        study_id=_text(exam, "studyId"),
        emergency=exam.get("studyCategory") == "emergency",
        counts=Counts(*(_count(exam, name) for name in _COUNTS)),
        key=_text(table, "key"),
        posted=_posted(exam),
        repeats=_repeats(table.get("note")),
        filled=_pairs(table.get("filled")),
        folder=folder if folder is None or folder == "" or _is_jailed(folder.removesuffix("/")) else None,
    )


def _sent(entry: Mapping[str, Any]) -> ReceiptFile:
    digest = _required(entry, "sha256")
    size = _count(entry, "size")
    if not _is_digest(digest) or size is None:
        raise _Malformed
    return ReceiptFile(
        path=_path(entry),
        kind=_kind(entry),
        size=size,
        sha256=digest,
        sop_instance=_text(entry, "sopInstanceUid"),
        destination=_text(entry, "sentTo"),
        accepted_at=_moment(entry, "acceptedAt"),
        answer=_text(entry, "answer"),
        is_sent=True,
        role=_role(entry),
        series=_text(entry, "seriesInstanceUid"),
    )


def _unsent(entry: Mapping[str, Any]) -> ReceiptFile:
    digest = _text(entry, "sha256")
    if digest is not None and not _is_digest(digest):
        raise _Malformed
    return ReceiptFile(
        _path(entry),
        _kind(entry),
        _count(entry, "size"),
        sha256=digest,
        sop_instance=_text(entry, "sopInstanceUid"),
        role=_role(entry),
        series=_text(entry, "seriesInstanceUid"),
    )


def _role(entry: Mapping[str, Any]) -> str | None:
    role = _text(entry, "role")
    return role if role in set(Role) else None


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= _HEX


def _posted(exam: Mapping[str, Any]) -> str | None:
    said = {name: value for name, value in exam.items() if isinstance(value, str | int)}
    return fingerprint(said) if said else None


def _repeats(note: object) -> Problem | None:
    """The reason of a bundle that was delivered before, as its receipt tells it."""
    if not isinstance(note, dict) or note.get("code") != "FA-REPEAT":
        return None
    return problem("FA-REPEAT", at=_text(note, "at") or "?", name=_text(note, "name") or "?")


def exam_fields(content: bytes) -> dict[str, str] | None:
    """The exam information that was posted, by its text fields; None if it is no receipt of ours of a delivery. All of
    the patient is in it: for whoever goes on from what was delivered, and for nobody else."""
    found = parse(content)
    if found is None or not found.is_delivered:
        return None
    exam = _table(json.loads(content)["exam"])
    named = {PERMIT if name == PERMIT_MAINLAND else name: value for name, value in exam.items()}
    return {name: value for name, value in named.items() if name in TEXT_FIELDS and isinstance(value, str)}


def _path(entry: Mapping[str, Any]) -> str:
    path = _required(entry, "path")
    if not _is_jailed(path):
        raise _Malformed
    return path


def _is_jailed(path: str) -> bool:
    return not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


def _kind(entry: Mapping[str, Any]) -> FileKind:
    try:
        return FileKind(str(entry.get("kind")))
    except ValueError:
        return FileKind.UNKNOWN


def _answer(value: object) -> str | None:
    table = value if isinstance(value, dict) else {}
    code, message = table.get("code"), table.get("message")
    if isinstance(code, int) and isinstance(message, str):
        return json.dumps({"code": code, "message": message}, ensure_ascii=False)
    return message if isinstance(message, str) else None


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Texts by name; the first version wrote none."""
    table = value if isinstance(value, dict) else {}
    return tuple((name, where) for name, where in table.items() if isinstance(where, str))


def _moment(table: Mapping[str, Any], name: str) -> float | None:
    text = _text(table, name)
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise _Malformed
    try:
        return moment.timestamp()
    except OverflowError:
        raise _Malformed from None


def _count(table: Mapping[str, Any], name: str) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**63:
        raise _Malformed
    return value


def _required(table: Mapping[str, Any], name: str) -> str:
    text = _text(table, name)
    if text is None:
        raise _Malformed
    return text


def _text(table: Mapping[str, Any], name: str) -> str | None:
    value = table.get(name)
    if value is not None and not isinstance(value, str):
        raise _Malformed
    # As a ledger can hold it: what a receipt says may be anybody's.
    return None if value is None else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _list(table: Mapping[str, Any], name: str) -> list[Any]:
    value = table.get(name)
    if not isinstance(value, list):
        raise _Malformed
    return value


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed
    return value
