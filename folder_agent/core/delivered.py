"""What was delivered of one study so far, what a later bundle adds to it, and what is counted of both together. Pure.

Everything is counted by identity, so that repeats change nothing: images, reports and series by their UIDs, PDFs by
their bytes. Ledgers of older versions do not say of every file what it counts as: there, what was counted then holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from folder_agent.core.exam import COUNT_FIELDS
from folder_agent.core.lifecycle import FileState
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord, Finding

_NONE = Counts(0, 0, 0, 0)


class Role(StrEnum):
    """What a file counts as."""

    IMAGE = "image"
    REPORT = "report"  # a structured report (SR)
    OBJECT = "object"  # DICOM, but neither: a presentation state and the like; only its series counts
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Content:
    """What the four counts count."""

    images: frozenset[str] = frozenset()  # SOPInstanceUIDs
    reports: frozenset[str] = frozenset()  # SOPInstanceUIDs
    objects: Mapping[str, str | None] = field(default_factory=dict)  # every SOPInstanceUID, with its series
    pdfs: frozenset[str] = frozenset()  # SHA-256

    def __or__(self, other: Content) -> Content:
        known = {sop: series for sop, series in other.objects.items() if series is not None or sop not in self.objects}
        return Content(
            self.images | other.images,
            self.reports | other.reports,
            {**self.objects, **known},
            self.pdfs | other.pdfs,
        )

    @property
    def series(self) -> frozenset[str]:
        """The distinct SeriesInstanceUIDs."""
        return frozenset(series for series in self.objects.values() if series is not None)

    @property
    def counts(self) -> Counts:
        """The four counts of this alone."""
        return Counts(len(self.images), len(self.reports), len(self.pdfs), len(self.series))


@dataclass(frozen=True, slots=True)
class Version:
    """The bytes of one instance that the gateway accepted last."""

    sha256: str
    accepted_at: float
    path: str  # as it was dropped
    bundle_id: int | None


@dataclass(frozen=True, slots=True)
class Past:
    """What was delivered of a study. `older` is what was counted of files whose role or series is not on record;
    `unroled` and `unplaced` are their SOPInstanceUIDs."""

    bundles: tuple[BundleRecord, ...]  # by which it was committed, the last one last
    content: Content
    older: Counts = _NONE
    unroled: frozenset[str] = frozenset()
    unplaced: frozenset[str] = frozenset()
    versions: Mapping[str, Version] = field(default_factory=dict)  # by SOPInstanceUID

    @property
    def last(self) -> BundleRecord:
        """The bundle by which it was committed last."""
        return self.bundles[-1]

    @property
    def ids(self) -> tuple[int, ...]:
        """The numbers of the bundles."""
        return tuple(bundle.id for bundle in self.bundles)


def is_of_study(bundle: BundleRecord, access_number: str | None, study_uid: str | None) -> bool:
    """Whether the bundle is of that study: accession number and StudyInstanceUID agree where both have them, and both
    have at least one of them. One order may be two studies, and one study may be of two orders."""
    pairs = ((bundle.access_number, access_number), (bundle.study_uid, study_uid))
    known = [ours == theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    return bool(known) and all(known)


def role_of(finding: Finding) -> Role | None:
    """What the file counts as; None for what is not of an exam."""
    if finding.dicom is not None:
        return Role.IMAGE if finding.dicom.is_image else Role.REPORT if finding.dicom.is_report else Role.OBJECT
    return Role.PDF if finding.kind is FileKind.PDF else None


def content_of(found: Iterable[tuple[str, Finding | None]]) -> Content:
    """What is counted of files, given as path and finding. A PDF whose bytes are not known counts by its path."""
    facts, pdfs = [], set()
    for path, finding in found:
        if finding is not None and finding.dicom is not None:
            facts.append(finding.dicom)
        elif finding is not None and finding.kind is FileKind.PDF:
            pdfs.add(finding.digest or f"/{path}")
    return Content(
        frozenset(one.sop_instance for one in facts if one.is_image),
        frozenset(one.sop_instance for one in facts if one.is_report),
        {one.sop_instance: one.series for one in facts},
        frozenset(pdfs),
    )


def past_of(bundles: Sequence[BundleRecord], files: Mapping[int, Sequence[FileRecord]]) -> Past | None:
    """The past of a study that was committed by those bundles (the last one last); `files` are theirs, by number."""
    if not bundles:
        return None
    had = {bundle.id: [one for one in files.get(bundle.id, ()) if _is_delivered(one)] for bundle in bundles}
    content = Content()
    for records in had.values():
        content |= _content_of_records(records)
    older, unroled, unplaced = _NONE, set[str](), set[str]()
    for bundle in bundles:
        counted = bundle.counts
        objects = {one.sop_instance for one in had[bundle.id] if one.kind is FileKind.DICOM} - {None}
        sops = {sop for sop in objects if sop is not None}
        if not sops <= _roled(content):
            if (counted.images or 0, counted.reports or 0) == (len(sops), 0):
                content |= Content(images=frozenset(sops), objects=dict.fromkeys(sops))
            elif (counted.images or 0, counted.reports or 0) == (0, len(sops)):
                content |= Content(reports=frozenset(sops), objects=dict.fromkeys(sops))
            else:
                unroled |= sops
                older = _most(older, Counts(counted.images or 0, counted.reports or 0, 0, 0))
        if any(content.objects.get(sop) is None for sop in sops):
            unplaced |= sops
            older = _most(older, Counts(0, 0, 0, counted.series or 0))
        unknown = sum(one.kind is FileKind.PDF and _bytes_of(one) is None for one in had[bundle.id])
        older = _most(older, Counts(0, 0, unknown, 0))
    return Past(tuple(bundles), content, older, frozenset(unroled), frozenset(unplaced), _versions(had, bundles))


def total(past: Past | None, own: Content) -> Counts:
    """The four counts of the study, with what was delivered before and with what is here."""
    if past is None:
        return own.counts
    every = past.content | own
    older = past.older
    placed = every.series - {every.objects.get(sop) for sop in past.unplaced}
    return Counts(
        images=len(every.images - past.unroled) + (older.images or 0),
        reports=len(every.reports - past.unroled) + (older.reports or 0),
        pdfs=len(every.pdfs) + (older.pdfs or 0),
        series=len(placed) + (older.series or 0),
    )


def adds_nothing(past: Past, own: Content, digests: Mapping[str, str]) -> bool:
    """Whether all of a bundle was delivered before. `digests` are the SHA-256 of its instances, as far as known, by
    SOPInstanceUID: one with other bytes is new."""
    if not own.pdfs <= past.content.pdfs or not own.objects.keys() <= past.content.objects.keys() | past.unroled:
        return False
    return all(past.versions[sop].sha256 == sha for sop, sha in digests.items() if sop in past.versions)


def replaced(past: Past | None, files: Iterable[FileRecord]) -> list[tuple[FileRecord, Version]]:
    """Those of the files by which an instance was sent anew with other bytes, and what it had been."""
    versions = past.versions if past is not None else {}
    sent = (one for one in files if one.state is FileState.SENT and one.sop_instance in versions)
    pairs = [(one, versions[one.sop_instance or ""]) for one in sent]
    return [(one, old) for one, old in pairs if one.sha256 != old.sha256]


def fingerprint(exam: Mapping[str, str | int]) -> str:
    """What tells one exam information from another without keeping it: SHA-256 of all that is posted but the counts."""
    said = {name: value for name, value in exam.items() if name not in COUNT_FIELDS}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def with_counts(exam: Mapping[str, str | int], counts: Counts) -> dict[str, str | int]:
    """The exam information with other counts; one that was not counted is 0."""
    return {**exam, **{name: getattr(counts, attribute) or 0 for name, attribute in COUNT_FIELDS.items()}}


def _is_delivered(file: FileRecord) -> bool:
    """Of a committed bundle's files: what was taken away before it was sent was not delivered."""
    return file.state in (FileState.SENT, FileState.SETTLED) or file.accepted_at is not None


def _content_of_records(records: Iterable[FileRecord]) -> Content:
    images, reports, objects, pdfs = set(), set(), dict[str, str | None](), set()
    for one in records:
        if one.kind is FileKind.PDF and (digest := _bytes_of(one)) is not None:
            pdfs.add(digest)
        if one.kind is not FileKind.DICOM or one.sop_instance is None:
            continue
        objects[one.sop_instance] = one.series or objects.get(one.sop_instance)
        if one.role == Role.IMAGE:
            images.add(one.sop_instance)
        elif one.role == Role.REPORT:
            reports.add(one.sop_instance)
    others = {one.sop_instance for one in records if one.role == Role.OBJECT}
    known = images | reports | others
    return Content(
        frozenset(images),
        frozenset(reports),
        {sop: series for sop, series in objects.items() if sop in known or series is not None},
        frozenset(pdfs),
    )


def _roled(content: Content) -> frozenset[str]:
    return frozenset(content.objects)


def _bytes_of(pdf: FileRecord) -> str | None:
    return pdf.digest or (pdf.sha256 if pdf.state is FileState.SENT else None)


def _versions(had: Mapping[int, Sequence[FileRecord]], bundles: Sequence[BundleRecord]) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for bundle in bundles:
        for one in had[bundle.id]:
            if one.sop_instance is None or one.sha256 is None or one.accepted_at is None:
                continue
            known = found.get(one.sop_instance)
            if known is None or known.accepted_at <= one.accepted_at:
                found[one.sop_instance] = Version(one.sha256, one.accepted_at, one.path, one.bundle_id)
    return found


def _most(one: Counts, other: Counts) -> Counts:
    return Counts(
        max(one.images or 0, other.images or 0),
        max(one.reports or 0, other.reports or 0),
        max(one.pdfs or 0, other.pdfs or 0),
        max(one.series or 0, other.series or 0),
    )
