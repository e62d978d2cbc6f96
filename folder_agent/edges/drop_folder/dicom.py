"""What a DICOM file is and whether it is whole: its identifying header values, or what is wrong with it.

Reads from an open file only. The walk over the bytes is ours, because pydicom's reader takes a short value for a whole
one; what values mean is pydicom's.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

from folder_agent.core.filling import Said, said
from folder_agent.core.records import DicomFacts
from folder_agent.edges.drop_folder.dicom_bytes import (
    CutShort,
    Damaged,
    FileBytes,
    InflatedBytes,
    Source,
    Unreadable,
)
from folder_agent.edges.drop_folder.dicom_content import PURPOSES, SIZES, STRUCTURED_REPORTS, ascii_of, check_content
from folder_agent.edges.drop_folder.dicom_headers import Coding, Syntax, looks_explicit, read_header
from folder_agent.edges.drop_folder.dicom_text import certain_text_of, text_of
from folder_agent.edges.drop_folder.dicom_walk import Elements, walk

HEAD = 144  # bytes that tell whether to look further: preamble, DICM, and the first element's header
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_PLAIN = frozenset({_IMPLICIT, _EXPLICIT, _BIG_ENDIAN})
_DICOMDIR = "1.2.840.10008.1.3.10"
_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"

_MEDIA_SOP_CLASS, _TRANSFER_SYNTAX = 0x00020002, 0x00020010
_CHARSET, _SOP_CLASS, _SOP_INSTANCE, _ACCESSION = 0x00080005, 0x00080016, 0x00080018, 0x00080050
_PATIENT_ID, _STUDY, _SERIES = 0x00100020, 0x0020000D, 0x0020000E
# What a sidecar may lack: kept where it is there and of a sensible length.
_NAME = 0x00100010
_TOLD = {
    0x00080020: "StudyDate",
    0x00080030: "StudyTime",
    0x00080060: "Modality",
    0x00081030: "StudyDescription",
    _NAME: "PatientName",
    0x00100030: "PatientBirthDate",
    0x00100040: "PatientSex",
    0x00101010: "PatientAge",
    0x00101020: "PatientSize",
    0x00101030: "PatientWeight",
    0x00180015: "BodyPartExamined",
    0x00200010: "StudyID",
    _ACCESSION: "AccessionNumber",
    _STUDY: "StudyInstanceUID",
}
_NAMES = frozenset({_NAME, 0x00080090})  # of VR PN
_WANTED = SIZES | {_CHARSET, _SOP_CLASS, _SOP_INSTANCE, _ACCESSION, _PATIENT_ID, _STUDY, _SERIES}
_NEEDED = (
    (_SOP_CLASS, "SOPClassUID"),
    (_SOP_INSTANCE, "SOPInstanceUID"),
    (_STUDY, "StudyInstanceUID"),
    (_SERIES, "SeriesInstanceUID"),
)
_UID = re.compile(r"[0-9][0-9.]{0,63}")  # DICOM PS3.5 9.1, but for leading zeros, which old devices write

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its messages quote values, which may name a patient


@dataclass(frozen=True, slots=True)
class DicomDirectory:
    """The file is a media directory (DICOM PS3.10, chapter 8), not an instance."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the data set begins, and how it is coded."""

    source: Source
    syntax: Syntax
    transfer_syntax: str
    is_directory: bool
    named: bool  # the file says its transfer syntax
    at: int  # where in the file


def may_be_dicom(head: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file (PS3.10 7.1), or of a data set without preamble."""
    return has_preamble(head) or _is_bare_data_set(head[:8])


def has_preamble(head: bytes) -> bool:
    """Whether the file says that it is DICOM, so that whatever is wrong with it is damage."""
    return head[128:132] == b"DICM"


def _is_bare_data_set(header: bytes) -> bool:
    """Written without preamble, a file begins with its meta information (group 0002) or its data set (0008)."""
    if len(header) < 8:
        return False
    group, element = int.from_bytes(header[:2], "little"), int.from_bytes(header[2:4], "little")
    if header[:2] == b"\0\x08":
        return looks_explicit(header)
    length = int.from_bytes(header[4:], "little")
    return (group == 2 or (group == 8 and element <= 0x0018)) and (looks_explicit(header) or length < 1024)


def read_dicom(file: BinaryIO, size: int, has_preamble: bool) -> DicomFacts | DicomDirectory | None:
    """Walk the whole file. None: without preamble, and not DICOM after all.

    Raises CutShort or Unreadable, whose texts hold no value of the file, and OSError where reading fails.
    """
    file.seek(132 if has_preamble else 0, os.SEEK_SET)
    found = Elements()
    try:
        start = _start(FileBytes(file, size))
        if start.is_directory:
            return DicomDirectory()
        walk(start.source, start.syntax, _WANTED, PURPOSES, found, welcome=_TOLD.keys() - _WANTED)
    except Damaged as damage:
        damage.study = _study(found)
        if has_preamble or {_SOP_CLASS, _SOP_INSTANCE} <= found.values.keys():
            raise
        return None
    if not has_preamble and not {_SOP_CLASS, _SOP_INSTANCE} <= found.values.keys():
        return None
    try:
        facts = _facts(found, start)
    except Damaged as damage:
        damage.study = _study(found)
        raise
    return facts if has_preamble and start.named else replace(facts, data_at=start.at)


def _study(found: Elements) -> str | None:
    uid = ascii_of(found.values.get(_STUDY, b""))
    return uid if _UID.fullmatch(uid) else None


def _start(source: FileBytes) -> _Start:
    meta = _meta_information(source)
    at, named = source.at, meta.get(_TRANSFER_SYNTAX, "")
    named = named if _UID.fullmatch(named) else ""
    inner = InflatedBytes(source) if named in _DEFLATED else source
    syntax = _syntax(named, inner.peek(8))
    guessed = _IMPLICIT if syntax.coding is Coding.IMPLICIT else _EXPLICIT if syntax.little else _BIG_ENDIAN
    # A plain syntax that the data set contradicts is an old converter's mistake: it is what it shows.
    actual = named if named and named not in _PLAIN else guessed
    return _Start(inner, syntax, actual, meta.get(_MEDIA_SOP_CLASS) == _DICOMDIR, bool(named), at)


def _meta_information(source: FileBytes) -> dict[int, str]:
    """Read the file meta information (DICOM PS3.10 7.1): explicit VR little endian whatever follows it. Its group
    length is not relied on; it ends where group 0002 ends."""
    meta = {}
    while source.peek(2) == b"\x02\0":
        tag, _, length = read_header(source, Syntax(Coding.EITHER, little=True))
        if tag in (_MEDIA_SOP_CLASS, _TRANSFER_SYNTAX) and length <= 128:
            meta[tag] = ascii_of(source.take(length))
        else:
            source.skip(length)
    return meta


def data_set_begins(head: bytes, *, is_all: bool = True) -> int:
    """Where in a file's first bytes its data set begins: behind preamble and meta information, if it has them.

    Raises CutShort if the meta information does not end within these bytes, or if more are to come (not `is_all`) and
    may still belong to it.
    """
    if not is_all and len(head) < HEAD:
        raise CutShort("the preamble")
    file = BytesIO(head)
    file.seek(132 if has_preamble(head) else 0)
    source = FileBytes(file, len(head))
    _meta_information(source)
    if not is_all and source.left < 2:  # only what follows tells that it has ended
        raise CutShort("the meta information")
    return source.at


def read_texts(file: BinaryIO, size: int, tags: frozenset[int]) -> dict[int, str]:
    """The values of these elements at the top level, of VRs that hold text; an empty or missing one is left out.

    Raises CutShort, Unreadable and OSError as `read_dicom` does.
    """
    file.seek(132 if has_preamble(file.read(132)) else 0, os.SEEK_SET)
    start, found = _start(FileBytes(file, size)), Elements()
    walk(start.source, start.syntax, tags | {_CHARSET}, frozenset(), found)
    texts = {tag: _text(found, tag) for tag in tags}
    return {tag: text for tag, text in texts.items() if text}


def _syntax(named: str, first: bytes) -> Syntax:
    """How the data set is coded (DICOM PS3.5 chapter 10 and annex A). What its first element shows counts for more
    than what the transfer syntax says: private ones and old converters say it wrongly."""
    seems_little = int.from_bytes(first[:2], "little") <= int.from_bytes(first[:2], "big")  # groups begin low
    little = named != _BIG_ENDIAN if named else seems_little
    return Syntax(Coding.EXPLICIT if looks_explicit(first) else Coding.IMPLICIT, little)


def _facts(found: Elements, start: _Start) -> DicomFacts:
    uids = {tag: ascii_of(found.values.get(tag, b"")) for tag, _ in _NEEDED}
    for tag, name in _NEEDED:
        if not _UID.fullmatch(uids[tag]):
            raise Unreadable(f"{name} is no UID" if uids[tag] else f"no {name}")
    is_image = check_content(found, uids[_SOP_CLASS], start.transfer_syntax, start.syntax.little)
    if not start.named and found.pixels is not None and found.pixels.native_bytes is None:
        raise Unreadable("pixel data: compressed, and no transfer syntax says how")
    return DicomFacts(
        sop_class=uids[_SOP_CLASS],
        sop_instance=uids[_SOP_INSTANCE],
        study=uids[_STUDY],
        series=uids[_SERIES],
        transfer_syntax=start.transfer_syntax,
        patient_id=_text(found, _PATIENT_ID),
        accession=_text(found, _ACCESSION),
        is_image=is_image,
        is_report=uids[_SOP_CLASS].startswith(STRUCTURED_REPORTS) and uids[_SOP_CLASS] != _KEY_OBJECTS,
        said=_said(found),
    )


def _text(found: Elements, tag: int) -> str | None:
    return text_of(found.values.get(tag, b""), found.values.get(_CHARSET, b""), is_name=tag in _NAMES)


def _said(found: Elements) -> Said:
    """What the header says of the exam; None for what cannot be decoded for certain."""
    values: list[tuple[str, str | None]] = []
    charset = found.values.get(_CHARSET, b"")
    for tag, keyword in _TOLD.items():
        try:
            text = certain_text_of(found.values.get(tag, b""), charset, is_name=tag in _NAMES)
        except Unreadable:
            values.append((keyword, None))
        else:
            if text is not None:
                values.append((keyword, text))
    return said(tuple(values))
