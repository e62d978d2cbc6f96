"""From what lies on the shelves back to the ledger's records. Pure.

Delivered bundles come back with all that keeps them from being sent twice; failed ones so that `retry` finds them. What
an interrupted move left in the drop folder comes back as still on its way. History, warnings and reasons do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.notes import is_our_note
from folder_agent.core.receipts import Receipt, ReceiptFile
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, Stamp
from folder_agent.core.shelving import WHY

_CODE = re.compile(rb"\[(FA-[A-Z-]+)\]\s*$", re.MULTILINE)  # as WHY.txt ends each reason
_GIVEN_UP = frozenset({"FA-EXHAUSTED", "FA-OVERDUE"})  # besides the gateway's own verdicts
_NOWHERE = Stamp(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Remains:
    """One bundle's folder on a shelf. `files` are the stamps by path inside; `left` those of files that the receipt
    lists and that still lie in the drop folder, by the same path; `told_at` is when its note was written (epoch)."""

    shelf: str  # "done" or "failed"
    drop: str
    name: str
    target: str
    files: Mapping[str, Stamp]
    told_at: float
    receipt: Receipt | None = None
    why: bytes | None = None
    left: Mapping[str, Stamp] = field(default_factory=dict)


Rebuilt = tuple[BundleRecord, list[FileRecord]]


def rebuild(remains: Remains) -> Rebuilt | None:
    """The bundle and its files, numbered 0; None for a folder that proves nothing: done/ without a receipt."""
    if remains.shelf == "done":
        return _delivered(remains) if _is_of(remains, delivered=True) else None
    return _not_delivered(remains)


def receipt_of(remains: Remains) -> Receipt | None:
    """The receipt, if it is one for this shelf: a person may have moved folders about."""
    return remains.receipt if _is_of(remains, delivered=remains.shelf == "done") else None


def is_failure(why: bytes) -> bool:
    """Whether WHY.txt tells of the gateway's verdict or of giving up, and not of the content."""
    codes = [code.decode() for code in _CODE.findall(why)]
    return any(code.startswith("FA-GW-") or code in _GIVEN_UP for code in codes)


def missing_from(receipt: Receipt, files: Mapping[str, Stamp]) -> list[str]:
    """What the receipt lists and is not on the shelf."""
    return [path for path in receipt.paths() if path not in files]


def _is_of(remains: Remains, *, delivered: bool) -> bool:
    return remains.receipt is not None and remains.receipt.is_delivered is delivered


def _delivered(remains: Remains) -> Rebuilt:
    receipt = remains.receipt
    assert receipt is not None
    bundle = replace(
        _bundle(remains, BundleState.DONE),
        counts=receipt.counts,
        answer=receipt.answer,
        committed_at=receipt.committed_at or receipt.delivered_at or remains.told_at,
        emergency=receipt.emergency,
        posted=receipt.posted,
        reasons=() if receipt.repeats is None else (receipt.repeats,),
    )
    if receipt.repeats is not None:  # what it tells is when that was delivered first
        bundle = replace(bundle, changed_at=remains.told_at)
    return _reopened(bundle, remains, BundleState.COMMITTED), _listed(remains, receipt)


def _not_delivered(remains: Remains) -> Rebuilt:
    state = BundleState.FAILED if is_failure(remains.why or b"") else BundleState.REFUSED
    bundle = replace(_bundle(remains, state), reasons=(problem("FA-REBUILT"),))
    receipt = receipt_of(remains)
    if receipt is not None:
        return _reopened(bundle, remains, state), _listed(remains, receipt)
    is_ours = remains.why is not None and is_our_note(WHY, remains.why)
    entries = [ReceiptFile(path, FileKind.UNKNOWN) for path in sorted(remains.files) if not (is_ours and path == WHY)]
    return bundle, _files(remains, entries, f"{remains.name}/", bundle.created_at)


def _bundle(remains: Remains, state: BundleState) -> BundleRecord:
    receipt = receipt_of(remains)
    at = remains.told_at
    blank = BundleRecord(0, remains.drop, f"{remains.name}/", remains.name, state, at, at, target=remains.target)
    blank = replace(blank, is_open=False)
    if receipt is None:
        return blank
    accepted = [one.accepted_at for one in receipt.sent if one.accepted_at is not None]
    first = receipt.first_seen_at or min([*accepted, receipt.committed_at or at])
    return replace(
        blank,
        key=receipt.key or blank.key,
        name=receipt.bundle,
        created_at=first,
        changed_at=receipt.delivered_at or at,
        access_number=receipt.access_number,
        study_uid=receipt.study_uid,
        study_id=receipt.study_id,
    )


def _reopened(bundle: BundleRecord, remains: Remains, state: BundleState) -> BundleRecord:
    """Closed, unless some of it has not been moved yet: then the agent finishes the move."""
    return replace(bundle, state=state, is_open=True) if remains.left else bundle


def _listed(remains: Remains, receipt: Receipt) -> list[FileRecord]:
    folder = receipt.folder if receipt.folder is not None else f"{remains.name}/"
    return _files(remains, (*receipt.sent, *receipt.unsent), folder, _bundle(remains, BundleState.DONE).created_at)


def _files(remains: Remains, entries: Sequence[ReceiptFile], folder: str, seen_at: float) -> list[FileRecord]:
    return [_file(remains, entry, folder, seen_at) for entry in entries]


def _file(remains: Remains, entry: ReceiptFile, folder: str, seen_at: float) -> FileRecord:
    """What was sent keeps the receipt's size, whatever became of the file since: `reconcile` tells of that."""
    stamp = remains.files.get(entry.path) or remains.left.get(entry.path) or _NOWHERE
    return FileRecord(
        id=0,
        drop=remains.drop,
        path=folder + entry.path,
        stamp=stamp if entry.size is None else replace(stamp, size=entry.size),
        state=FileState.SENT if entry.is_sent else FileState.SETTLED,
        kind=entry.kind,
        sop_instance=entry.sop_instance,
        sha256=entry.sha256 if entry.is_sent else None,
        destination=entry.destination,
        accepted_at=entry.accepted_at,
        answer=entry.answer,
        is_open=bool(remains.left),
        seen_at=seen_at,
        role=entry.role,
        series=entry.series,
        digest=entry.sha256 if entry.kind is FileKind.PDF else None,
    )
