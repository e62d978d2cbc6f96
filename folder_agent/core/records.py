"""The values that travel through the agent: what was seen, what a file is, and the ledger's two kinds of record.

All frozen. Times named `*_at` are seconds since the Unix epoch (UTC); times named `since` or `*_mono` are seconds on
this process's own monotonic clock and are never stored. Paths are relative to the drop folder, with `/` between parts.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import BundleState, FileState


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one content of a path from the next without reading it."""

    size: int  # bytes
    mtime_ns: int
    identity: int  # inode or file index; 0 where the platform does not say


@dataclass(frozen=True, slots=True)
class Sighting:
    """One file as one look at a drop folder found it."""

    path: str
    stamp: Stamp
    is_link: bool = False


class FileKind(StrEnum):
    """What a file is, told by content (names decide only for sidecars, markers, junk and temporary files)."""

    DICOM = "DICOM"
    PDF = "PDF"
    SIDECAR = "SIDECAR"
    MARKER = "MARKER"
    JUNK = "JUNK"  # Thumbs.db, DICOMDIR, our own notes: never sent, moved along with its bundle
    TEMPORARY = "TEMPORARY"  # *.part and the like: somebody is still writing it; left alone
    FOREIGN = "FOREIGN"  # readable, but nothing that an exam is made of: never sent, moved along
    UNKNOWN = "UNKNOWN"  # not looked into yet, or claims to be an exam's file and cannot be read


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """The header values that decide where a DICOM file belongs (DICOM PS3.3 C.12.1, C.7.1.1, C.7.2.1)."""

    sop_class: str
    sop_instance: str
    study: str
    series: str
    transfer_syntax: str
    patient_id: str | None
    accession: str | None
    is_image: bool
    is_report: bool  # a structured report (SR)
    said: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)  # see filling.Said: in memory only
    data_at: int | None = None  # where the data set begins in a file that has not the Part 10 form; None: it has


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One entry of a sidecar's own `files` list."""

    path: str  # relative to the sidecar's folder, already jailed
    size: int | None = None
    sha256: str | None = None  # lower-case hex


@dataclass(frozen=True, slots=True)
class Counts:
    """The four reconciliation counts; None where a sidecar does not declare one."""

    images: int | None = None
    reports: int | None = None
    pdfs: int | None = None
    series: int | None = None


class Origin(StrEnum):
    """Where a field's value comes from."""

    KEY = "key"  # of the sidecar
    DEFAULT = "default"  # of the site's mapping, because the sidecar gives nothing
    CONSTANT = "constant"  # of the site's mapping, whatever the sidecar gives
    HEADER = "DICOM header"  # of the bundle's own files, because the sidecar gives nothing
    EARLIER = "earlier delivery"  # of the same study, because this bundle gives nothing


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of one of the gateway's fields was taken from."""

    field: str
    origin: Origin
    key: str | None = None  # as written in the file, a nested one as a path; the DICOM keyword; the earlier bundle
    written: str | None = dataclasses.field(
        default=None, repr=False
    )  # the site's own value, where the mapping translates it


@dataclass(frozen=True, slots=True)
class SidecarReading:
    """A sidecar, decoded, or what stands for one. `fields` are in the gateway's names and form; `problems` keep it from
    being sent, `warnings` do not."""

    fields: tuple[tuple[str, str], ...] = ()  # every text field that is present and understood
    declared: Counts = Counts()
    listed: tuple[ListedFile, ...] | None = None
    encoding: str | None = "utf-8"  # None: there is no sidecar
    unknown_keys: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()  # of every field and count that is given, in the gateway's order
    absent: tuple[str, ...] = ()  # the gateway's text fields (class A and B) that it says nothing of
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def get(self, name: str) -> str | None:
        """The value of one gateway field, or None."""
        return dict(self.fields).get(name)


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking into a settled file found. A `problem` means that it cannot be used as it is now."""

    kind: FileKind
    dicom: DicomFacts | None = None
    sidecar: SidecarReading | None = None
    problem: Problem | None = None
    digest: str | None = None  # of a PDF: SHA-256 of its bytes, which is what tells one report from another
    study: str | None = None  # the StudyInstanceUID that a DICOM file still names though it is cut short
    is_text: bool = False  # it cannot be read as what its name says, and looks like text


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The ledger's row of one file. `open` until its bundle is shelved or the file is gone for good."""

    id: int
    drop: str
    path: str
    stamp: Stamp
    state: FileState
    kind: FileKind = FileKind.UNKNOWN
    bundle_id: int | None = None
    sop_instance: str | None = None
    # What was accepted last: of these very bytes if it is SENT, else of those that lay at this path before.
    sha256: str | None = None  # set with the acceptance: the digest of the very bytes that were sent
    destination: str | None = None  # the address that accepted it
    accepted_at: float | None = None
    answer: str | None = None  # what the receiver said of it, shortened
    reason: Problem | None = None
    is_open: bool = True
    seen_at: float | None = None
    # What it is counted by (delivered.py); None in rows of older versions, and of what is not an exam's.
    role: str | None = None
    series: str | None = None  # of DICOM: SeriesInstanceUID
    digest: str | None = None  # of a PDF: SHA-256 of its bytes when it was looked into


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """The ledger's row of one bundle. `key` is unique among a drop's open bundles; it closes when it is shelved."""

    id: int
    drop: str
    key: str  # folder layout: "CT1/"; flat layout: the sidecar's path "A1.json"
    name: str  # what people call it: "CT1", "A1"
    state: BundleState
    created_at: float
    changed_at: float
    study_uid: str | None = None
    access_number: str | None = None
    study_id: str | None = None
    emergency: bool = False
    counts: Counts = Counts()  # as counted when it was found complete, and as posted
    reasons: tuple[Problem, ...] = ()  # why it waits, is held or ends in failed/ (masked)
    overdue: bool = False
    attempts: int = 0  # failed tries since the last success
    first_failed_at: float | None = None
    due_at: float | None = None  # when WAITING: the next try
    answer: str | None = None  # the gateway's answer to study/add, as it came (shortened)
    committed_at: float | None = None
    target: str | None = None  # absolute path on the shelf, written before the first move
    owner: str | None = None  # who works on it now, and until when that claim holds
    lease_until: float | None = None
    is_open: bool = True
    purged_at: float | None = None  # when its files were deleted from done/, as the settings ask
    posted: str | None = None  # what tells the exam information that was posted from another (delivered.fingerprint)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transition, as the ledger keeps it."""

    at: float
    subject: str  # "bundle" or "file"
    subject_id: int
    before: str
    event: str
    after: str
    reasons: tuple[Problem, ...] = ()


class Act(StrEnum):
    """What an operator can do, as the ledger keeps it."""

    RETRY = "retry"
    REFUSE = "refuse"  # an order: the agent's own thread carries it out
    ACCEPT = "accept"  # an order: the counts are to be those of the files that are there
    REVEAL = "reveal"  # a patient's name was shown
    LOGIN = "login"
    LOGIN_FAILED = "login failed"
    LOGOUT = "logout"
    CHECK = "check"  # doctor or reconcile was asked for


ORDERS = frozenset({Act.REFUSE, Act.ACCEPT})


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did at the console, and why. Kept for ever; an order is in force while its bundle is open."""

    at: float
    who: str
    act: str
    bundle_id: int | None = None
    reason: str | None = None  # as the operator wrote it: shown to operators only, never logged
    place: str | None = None  # the address that it came from
    id: int = 0  # the ledger's number


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file on its way out."""

    file_id: int
    path: str  # as in the ledger, for messages
    location: Path  # where its bytes are now
    stamp: Stamp
    kind: FileKind
    sop_class: str | None = None
    sop_instance: str | None = None
    transfer_syntax: str | None = None
    study: str | None = None
    data_at: int | None = None  # see DicomFacts
    # What travels around its bytes, where they are made part of a DICOM object. May name the patient.
    lead: bytes = dataclasses.field(default=b"", repr=False)
    tail: bytes = dataclasses.field(default=b"", repr=False)
    skip: int = 0  # bytes at the file's start that do not travel; its digest is of all of it nevertheless

    @property
    def length(self) -> int:
        """Bytes that travel."""
        return len(self.lead) + self.stamp.size - self.skip + len(self.tail)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The receiver has this file, whole."""

    file_id: int
    sha256: str
    destination: str
    answer: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The receiver is said to have this file."""

    file: Outgoing
    sha256: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The gateway's answer to study/add that counts as success."""

    code: int
    message: str
    duplicate: bool = False
