"""All that a worker needs to deliver one bundle, as it was when it was found complete. Plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from folder_agent.core import checking
from folder_agent.core.bundling import Complete, content
from folder_agent.core.delivered import Content
from folder_agent.core.errors import Problem
from folder_agent.core.exam import exam_from, personal_values
from folder_agent.core.filling import origins
from folder_agent.core.grouping import Group
from folder_agent.core.records import FileKind, FileRecord, Finding, Outgoing


@dataclass(frozen=True, slots=True)
class Dossier:
    """A complete bundle: the exam to post, its files with what they are, and what is to be checked before sending."""

    base: str
    is_folder: bool
    sidecar_path: str | None  # None: it has none
    exam: Mapping[str, str | int] = field(repr=False)
    personal: tuple[str, ...] = field(repr=False)  # values to be masked in whatever the gateway says
    content: Content = field(repr=False)  # what is counted of it
    warnings: tuple[Problem, ...]
    files: tuple[FileRecord, ...]
    findings: Mapping[str, Finding] = field(repr=False)
    digests: Mapping[str, str]  # SHA-256 that the sidecar lists, by path
    encoding: str | None = "utf-8"  # of the sidecar
    filled: Mapping[str, str] = field(default_factory=dict)  # fields that came from elsewhere, and from where
    places: tuple[str, ...] = ()  # folders in which nothing may have come meanwhile, without a folder of its own
    beside: frozenset[str] = frozenset()  # what else was known to lie in them

    def with_records(self, records: Iterable[FileRecord]) -> Dossier:
        """The same, with the files as the ledger has them now: an earlier attempt may have sent some."""
        current = {record.id: record for record in records}
        return replace(self, files=tuple(current.get(record.id, record) for record in self.files))

    def of_kind(self, kind: FileKind) -> list[FileRecord]:
        """The files of one kind, by path."""
        return [record for record in self.files if record.kind is kind]

    def outgoing(self, record: FileRecord, locate: Callable[[str], Path]) -> Outgoing:
        """The file as a transport takes it."""
        facts = self.findings[record.path].dicom
        return Outgoing(
            file_id=record.id,
            path=record.path,
            location=locate(record.path),
            stamp=record.stamp,
            kind=record.kind,
            sop_class=facts.sop_class if facts else None,
            sop_instance=facts.sop_instance if facts else None,
            transfer_syntax=facts.transfer_syntax if facts else None,
            study=facts.study if facts else None,
            data_at=facts.data_at if facts else None,
        )


def dossier_of(
    group: Group,
    verdict: Complete,
    files: tuple[FileRecord, ...],
    permit_field: str,
    beside: frozenset[str] = frozenset(),
) -> Dossier:
    """The dossier of a group that was judged complete; `beside` is what else was known to lie in its study's places."""
    return Dossier(
        base=group.base,
        is_folder=group.is_folder,
        sidecar_path=verdict.sidecar.path if verdict.sidecar is not None else None,
        exam=exam_from(verdict.reading, verdict.counts).body(permit_field),
        personal=personal_values(verdict.reading),
        content=content(group),
        warnings=verdict.warnings,
        files=files,
        findings={member.path: member.finding for member in group.members if member.finding is not None},
        digests=checking.digests(group, verdict.reading),
        encoding=verdict.reading.encoding,
        filled=origins(verdict.reading),
        places=group.study.places if group.study is not None else (),
        beside=beside,
    )
