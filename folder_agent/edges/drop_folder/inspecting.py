"""Looks into one settled file: what it is, whether it is whole, and what in it decides where it belongs.

Reads the one file that it is given; changes nothing. Whatever a file contains comes back as a Finding, never as an
exception. To be called from one thread at a time (pydicom's complaints are silenced for the whole process meanwhile).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from folder_agent.core.errors import Problem, problem
from folder_agent.core.mapping import NO_MAPPING, SiteMapping
from folder_agent.core.naming import is_plainly_foreign
from folder_agent.core.records import FileKind, Finding, Stamp
from folder_agent.core.sidecar import MAX_BYTES, read_sidecar
from folder_agent.edges.drop_folder import pdf
from folder_agent.edges.drop_folder.dicom import (
    HEAD,
    DicomDirectory,
    has_preamble,
    may_be_dicom,
    read_dicom,
)
from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Unreadable
from folder_agent.edges.drop_folder.names import claims_to_be_of_an_exam, kind_by_name
from folder_agent.edges.drop_folder.opening import NotAFile, open_for_reading, why_not
from folder_agent.edges.paths import is_gone, is_link, matches

# A sidecar that is still being written breaks in these ways; nothing else that is wrong with one mends itself.
_BROKEN = frozenset({"FA-SIDECAR-EMPTY", "FA-SIDECAR-JSON", "FA-SIDECAR-ENCODING"})
_BLOCK = 1024 * 1024  # bytes
_CONTROLS = frozenset({*range(32), 127} - set(b"\t\n\f\r"))
_BY_NAME_ALONE = frozenset({FileKind.TEMPORARY, FileKind.JUNK, FileKind.MARKER})


def inspect(
    location: Path, path: str, stamp: Stamp, marker: str | None, mapping: SiteMapping = NO_MAPPING
) -> Finding | None:
    """What the file at `location` is; `path` is its name in messages. None: it is not the file of the stamp."""
    try:
        seen = location.lstat()
        if not matches(stamp, seen):
            return None
        if is_link(seen):
            return Finding(FileKind.UNKNOWN, problem=problem("FA-FILE-LINK", path))
        kind = kind_by_name(location.name, marker)
        if kind in _BY_NAME_ALONE:
            return Finding(kind)
        return _inspect_content(location, path, stamp, mapping if kind is FileKind.SIDECAR else None)
    except NotAFile:
        return None
    except OSError as error:
        return None if is_gone(error) else Finding(FileKind.UNKNOWN, problem=why_not(error, path))


def _inspect_content(location: Path, path: str, stamp: Stamp, mapping: SiteMapping | None) -> Finding | None:
    """`mapping` is given for a sidecar, and for nothing else."""
    with open_for_reading(location) as file:
        if not matches(stamp, os.fstat(file.fileno())):
            return None
        finding = _exam_file(file, location.name, path, stamp.size) if mapping is None else _sidecar(file, mapping)
        # Only if it is the same afterwards, what was read is one content and not the halves of two.
        return finding if matches(stamp, os.fstat(file.fileno())) else None


def _sidecar(file: BinaryIO, mapping: SiteMapping) -> Finding:
    reading = read_sidecar(file.read(MAX_BYTES + 1), mapping)
    broken = next((wrong for wrong in reading.problems if wrong.code in _BROKEN), None)
    return Finding(FileKind.SIDECAR, sidecar=reading, problem=broken)


def _exam_file(file: BinaryIO, name: str, path: str, size: int) -> Finding:
    head = file.read(pdf.HEADER_WITHIN)
    if may_be_dicom(head[:HEAD]) and (finding := _dicom(file, head, path, size)):
        return finding
    if pdf.is_pdf(head):
        missing = pdf.what_is_missing(file, head, size)
        if missing:
            return Finding(FileKind.PDF, problem=_cut_short(path, missing))
        return Finding(FileKind.PDF, digest=_digest(file))
    return _neither(head, name, path, size)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    summed = hashlib.sha256()
    while block := file.read(_BLOCK):
        summed.update(block)
    return summed.hexdigest()


def _dicom(file: BinaryIO, head: bytes, path: str, size: int) -> Finding | None:
    try:
        facts = read_dicom(file, size, has_preamble(head))
    except CutShort as cut:
        return Finding(FileKind.UNKNOWN, problem=_cut_short(path, str(cut)), study=cut.study)
    except Unreadable as nonsense:
        return Finding(FileKind.UNKNOWN, problem=_unreadable(path, str(nonsense)), study=nonsense.study)
    if facts is None:
        return None
    if isinstance(facts, DicomDirectory):
        return Finding(FileKind.JUNK)
    return Finding(FileKind.DICOM, dicom=facts)


def _neither(head: bytes, name: str, path: str, size: int) -> Finding:
    if is_plainly_foreign(name):
        return Finding(FileKind.FOREIGN)
    if size == 0:
        return Finding(FileKind.UNKNOWN, problem=problem("FA-FILE-EMPTY", path))
    if not any(head):  # a copy that set the length first and broke off, whatever the file was to be
        return Finding(FileKind.UNKNOWN, problem=_unreadable(path, "only zeros"))
    if claims_to_be_of_an_exam(name):
        return Finding(FileKind.UNKNOWN, problem=_unreadable(path, "no DICM, no %PDF-"), is_text=_is_text(head))
    return Finding(FileKind.FOREIGN)


def _is_text(head: bytes) -> bool:
    """No control characters but those of text: whatever its encoding, no image and no part of one begins so."""
    return not _CONTROLS.intersection(head)


def _cut_short(path: str, detail: str) -> Problem:
    return problem("FA-FILE-TRUNCATED", path, detail=detail)


def _unreadable(path: str, detail: str) -> Problem:
    return problem("FA-FILE-UNREADABLE", path, detail=detail)
