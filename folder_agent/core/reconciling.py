"""What was dropped, sent, accepted and is missing, for each day and drop folder; and where ledger, disk and receipts
differ. Pure: three accounts of the same bundle come in, the differences come out as Problems of the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from folder_agent.core.catalogue import disposition
from folder_agent.core.errors import Disposition, Problem, problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.receipts import Receipt
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord
from folder_agent.core.shelving import places

_ACCEPTED = frozenset({BundleState.COMMITTED, BundleState.DONE})


_NEVER_SENT = frozenset({FileKind.MARKER, FileKind.JUNK, FileKind.FOREIGN, FileKind.TEMPORARY})


@dataclass(slots=True)
class Exams:
    """Bundles of one day and drop folder. A state of a file or bundle belongs to exactly one of the counts."""

    accepted: int = 0  # the gateway has all of it, the exam information included
    waiting: int = 0
    refused: int = 0
    failed: int = 0
    withdrawn: int = 0  # taken away by somebody else: not among those that were dropped

    @property
    def dropped(self) -> int:
        return self.accepted + self.waiting + self.refused + self.failed

    def add(self, state: str, total: int = 1) -> None:
        """Count bundles of that state."""
        name = _EXAM_COUNTS[BundleState(state)]
        setattr(self, name, getattr(self, name) + total)


_EXAM_COUNTS: dict[BundleState, str] = {
    **dict.fromkeys(BundleState, "waiting"),
    **dict.fromkeys(_ACCEPTED, "accepted"),
    BundleState.REFUSED: "refused",
    BundleState.FAILED: "failed",
    BundleState.WITHDRAWN: "withdrawn",
}


@dataclass(slots=True)
class Files:
    """Files of one day and drop folder."""

    sent: int = 0  # accepted by the gateway, byte for byte
    waiting: int = 0
    not_sent: int = 0  # shelved unsent with their bundle, or nothing that is ever sent: markers, notes of a system
    vanished: int = 0  # taken away by somebody else: not among those that were dropped

    @property
    def dropped(self) -> int:
        return self.sent + self.waiting + self.not_sent

    def add(self, state: str, total: int, *, is_open: bool = False, kind: str = "") -> None:
        """Count files of that state."""
        if state == FileState.VANISHED:
            self.vanished += total
        elif state == FileState.SENT:
            self.sent += total
        elif is_open and kind not in _NEVER_SENT:
            self.waiting += total
        else:
            self.not_sent += total


@dataclass(slots=True)
class Row:
    """One day of one drop folder."""

    day: str  # YYYY-MM-DD
    drop: str
    exams: Exams = field(default_factory=Exams)
    files: Files = field(default_factory=Files)
    not_looked_at: int = 0  # files that are there and that the ledger does not know yet
    missing: int = 0  # differences that somebody must look into

    @property
    def is_empty(self) -> bool:
        return replace(self, day="", drop="") == Row("", "")

    @property
    def waits(self) -> bool:
        return bool(self.exams.waiting or self.files.waiting or self.not_looked_at)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `bundle_id` and `name` are those of the bundle or folder that it is about, if it is about one."""

    day: str
    drop: str
    problem: Problem
    name: str
    bundle_id: int | None = None
    where: str | None = None
    count: int = 1  # files, where it is a remark about some that wait

    @property
    def is_missing(self) -> bool:
        """Whether somebody must look into it; else it is a remark."""
        return disposition(self.problem) is Disposition.HOLD

    @property
    def is_outage(self) -> bool:
        """Whether it keeps the account from being a whole one: nothing is known of what lies there."""
        return disposition(self.problem) is Disposition.RETRY


@dataclass(frozen=True, slots=True)
class Folder:
    """A bundle's folder on its shelf. `files` are the sizes (bytes) by path inside; `unlisted` are folders of which
    nothing is known; `digests` the SHA-256 of files, as far as they were read."""

    files: Mapping[str, int]
    receipt: Receipt | None = None
    has_receipt: bool = False  # a file of that name is there, whatever it holds
    unlisted: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)


def of_done(
    bundle: BundleRecord,
    files: Sequence[FileRecord],
    folder: Folder | None,
    is_followup: Callable[[], bool] = lambda: False,
) -> list[Problem]:
    """Where ledger, folder (None: it is not there) and receipt of a DONE bundle differ. `is_followup` is asked whether
    its exam was delivered before: then its counts may be of more files than its own."""
    if bundle.purged_at is not None and (folder is None or folder.receipt is None):
        return []
    shelved = [file for file in files if file.state is not FileState.VANISHED]
    if folder is None:
        return [problem("FA-REC-FOLDER", total=len(shelved))]
    found = [] if bundle.purged_at is not None else _on_disk(shelved, files, folder)
    if folder.receipt is None:
        return [*found, problem("FA-REC-BAD-RECEIPT" if folder.has_receipt else "FA-REC-NO-RECEIPT")]
    return [*found, *_accepted(files, folder.receipt), *_counts(bundle, folder.receipt, is_followup)]


def of_failed(files: Sequence[FileRecord], folder: Folder | None) -> list[Problem]:
    """The same for a bundle that ended in failed/. Whoever mends it there may well change its files."""
    if folder is None or not folder.files:
        return [problem("FA-REC-FAILED")]
    return _accepted(files, folder.receipt) if folder.receipt is not None else []


def of_unknown(shelf: str, folder: Folder) -> Problem | None:
    """A folder on a shelf ("done" or "failed") that the ledger does not know; None if nothing lies in it."""
    if not folder.files:
        return None
    if shelf == "done" and folder.receipt is None:
        return problem("FA-REC-STRAY")
    return problem("FA-REC-UNKNOWN", shelf=shelf)


def exit_code(rows: Iterable[Row], differences: Iterable[Difference]) -> int:
    """1: something could not be looked at, 4: something is missing, 3: something still waits, 0: all is there."""
    differences = list(differences)
    if any(one.is_outage for one in differences):
        return 1
    if any(one.is_missing for one in differences):
        return 4
    return 3 if any(row.waits for row in rows) else 0


def _on_disk(shelved: Sequence[FileRecord], files: Sequence[FileRecord], folder: Folder) -> list[Problem]:
    expected = _expected(shelved, files, folder.receipt)
    missing = [path for path in expected if path not in folder.files and not _is_below(path, folder.unlisted)]
    found = []
    if missing:
        found.append(problem("FA-REC-FILES", missing=len(missing), total=len(expected), first=missing[0]))
    sizes = [
        (path, size, folder.files[path])
        for path, size in expected.items()
        if size is not None and folder.files.get(path, size) != size
    ]
    if sizes:
        path, declared, there = sizes[0]
        found.append(problem("FA-REC-SIZE", count=len(sizes), first=path, declared=declared, found=there))
    sent = folder.receipt.sent if folder.receipt is not None else ()
    other = [one.path for one in sent if folder.digests.get(one.path, one.sha256) != one.sha256]
    if other:
        found.append(problem("FA-REC-DIGEST", count=len(other), first=other[0]))
    return found


def _expected(
    shelved: Sequence[FileRecord], files: Sequence[FileRecord], receipt: Receipt | None
) -> dict[str, int | None]:
    """What must lie in the folder, with its size where that is known: as the receipt lists it, else by the ledger.

    What vanished right before its move is in the receipt, which is written first, but was never shelved.
    """
    if receipt is None:
        inside = places([file.path for file in shelved])
        return {inside[file.path]: file.stamp.size for file in shelved}
    vanished = [file.path for file in files if file.state is FileState.VANISHED]
    listed: dict[str, int | None] = {one.path: one.size for one in (*receipt.unsent, *receipt.sent)}
    return {path: size for path, size in listed.items() if not any(_ends_with(gone, path) for gone in vanished)}


def _accepted(files: Sequence[FileRecord], receipt: Receipt) -> list[Problem]:
    """Both accounts must tell of the same bytes."""
    ledger = Counter(file.sha256 for file in files if file.accepted_at is not None and file.sha256 is not None)
    told = Counter(one.sha256 for one in receipt.sent if one.sha256 is not None)
    found = []
    if only_ledger := ledger - told:
        first = next(file.path for file in files if file.sha256 in only_ledger)
        found.append(problem("FA-REC-NOT-RECEIPTED", count=only_ledger.total(), first=first))
    if only_receipt := told - ledger:
        first = next(one.path for one in receipt.sent if one.sha256 in only_receipt)
        found.append(problem("FA-REC-NOT-LEDGERED", count=only_receipt.total(), first=first))
    return found


def _counts(bundle: BundleRecord, receipt: Receipt, is_followup: Callable[[], bool]) -> list[Problem]:
    """The counts that were posted are those that the ledger kept, and the receipt's own files amount to them.

    DICOM objects may be more than images and reports: presentation states and the like are neither.
    """
    posted = receipt.counts
    if bundle.counts != Counts() and posted not in (bundle.counts, Counts()):
        return [problem("FA-REC-COUNTS", posted=_shown(posted), found=_shown(bundle.counts))]
    every = (*receipt.sent, *receipt.unsent)
    objects = {one.sop_instance or one.path for one in every if one.kind is FileKind.DICOM}
    pdfs = sum(one.kind is FileKind.PDF for one in every)
    unclear = any(one.kind is FileKind.UNKNOWN for one in receipt.unsent)
    too_few = len(objects) < (posted.images or 0) + (posted.reports or 0) or pdfs < (posted.pdfs or 0)
    if not too_few or unclear or is_followup():
        return []
    return [problem("FA-REC-COUNTS", posted=_shown(posted), found=_shown(Counts(images=len(objects), pdfs=pdfs)))]


def _shown(counts: Counts) -> str:
    values = (counts.images, counts.reports, counts.pdfs, counts.series)
    return "/".join("-" if value is None else str(value) for value in values)


def _ends_with(path: str, inside: str) -> bool:
    return path == inside or path.endswith(f"/{inside}")


def _is_below(path: str, folders: frozenset[str]) -> bool:
    return any(not folder or path.startswith(f"{folder}/") for folder in folders)
