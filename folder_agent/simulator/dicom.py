"""What one received DICOM file is, and whether all of it came: read from disk, header first, pixels never loaded.

Source: DICOM PS3.5 section 7.1 (data elements), PS3.10 (file format).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID

Kind = Literal["image", "report", "pdf", "other"]

_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_SR, _KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.88.59"
_DEFLATED = "1.2.840.10008.1.2.1.99"
# SOPClassUID, SOPInstanceUID, StudyInstanceUID, AccessionNumber
_TAGS = (0x00080016, 0x00080018, 0x0020000D, 0x00080050)
_PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF


class BadDicomError(ValueError):
    """Not DICOM, or not all of it. `instance` holds the UIDs as far as they could be read."""

    def __init__(self, message: str, instance: Instance | None = None) -> None:
        super().__init__(message)
        self.instance = instance


@dataclass(frozen=True, slots=True)
class Instance:
    """The UIDs by which an instance is known, and what it counts as in reconciliation."""

    sop_class: str
    sop: str
    study: str
    accession: str
    kind: Kind


def kind_of(sop_class: str, *, has_pixels: bool) -> Kind:
    """How the gateway's counts see an instance: imageCnt, reportCnt (SR, no key objects), pdfCnt, or none of them."""
    if sop_class == _ENCAPSULATED_PDF:
        return "pdf"
    if sop_class.startswith(_SR) and sop_class != _KEY_OBJECTS:
        return "report"
    return "image" if has_pixels or "Image Storage" in UID(sop_class).name else "other"


def inspect(path: Path) -> Instance:
    """The instance in that file. Raises BadDicomError if it is no DICOM, lacks a UID or was cut short."""
    try:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
    # pydicom meets hostile bytes here and names no closed set of errors: the boundary of foreign code.
    except Exception as error:
        raise BadDicomError(f"not readable as DICOM: {error}") from error
    return _judge(path, header)


def _judge(path: Path, header: FileDataset) -> Instance:
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    sop_class, sop, study, accession = (_raw(header, tag) for tag in _TAGS)
    if not (sop_class and sop and study and syntax):
        raise BadDicomError("SOPClassUID, SOPInstanceUID, StudyInstanceUID or TransferSyntaxUID is missing")
    try:
        has_pixels = syntax != _DEFLATED and walk(path, UID(syntax))
    except BadDicomError as error:
        error.instance = Instance(sop_class, sop, study, accession, "other")
        raise
    return Instance(sop_class, sop, study, accession, kind_of(sop_class, has_pixels=has_pixels))


def _raw(header: FileDataset, tag: int) -> str:
    """A value as it was sent: reading it through pydicom would complain about sites' odd UIDs and numbers."""
    if tag not in header:
        return ""
    value = header.get_item(tag).value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def walk(path: Path, syntax: UID) -> bool:
    """Steps over every element without loading it; whether pixel data was met. Raises BadDicomError if cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(132)
        walker = _Walker(file, size, explicit=True, order="<")
        walker.until_group(0x0002)
        walker.explicit = not syntax.is_implicit_VR
        walker.order = "<" if syntax.is_little_endian else ">"
        walker.elements(size)
    return walker.met_pixels


class _Walker:
    def __init__(self, file: BinaryIO, size: int, *, explicit: bool, order: str) -> None:
        self.file, self.size, self.explicit, self.order = file, size, explicit, order
        self.met_pixels = False

    def until_group(self, last: int) -> None:
        """Passes the file meta information, which is always explicit little endian."""
        while self.file.tell() < self.size:
            here = self.file.tell()
            group = struct.unpack("<H", self._take(2))[0]
            self.file.seek(here)
            if group > last:
                return
            self._element()

    def elements(self, end: int) -> None:
        while self.file.tell() < end:
            if self._element() in (_ITEM_END, _SEQUENCE_END):
                return

    def _element(self) -> int:
        tag, vr, length = self._header()
        self.met_pixels |= tag in _PIXEL_TAGS
        if tag in (_ITEM_END, _SEQUENCE_END):
            return tag
        if length != _UNDEFINED:
            self._skip(length, tag)
        elif vr == b"UN" and self.explicit:
            # PS3.5 section 6.2.2 note 2: UN of undefined length holds implicit VR little endian.
            was, self.explicit = (self.explicit, self.order), False
            self.order = "<"
            self._items()
            self.explicit, self.order = was
        else:
            self._items()
        return tag

    def _items(self) -> None:
        """A sequence's items, or encapsulated pixel data's fragments, to the delimiter."""
        while True:
            tag, _, length = self._header()
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise BadDicomError(f"item expected, found {tag:08X}")
            if length == _UNDEFINED:
                self._nested()
            else:
                self._skip(length, tag)

    def _nested(self) -> None:
        while self._element() != _ITEM_END:
            pass

    def _header(self) -> tuple[int, bytes, int]:
        group, element = struct.unpack(self.order + "HH", self._take(4))
        tag = group << 16 | element
        if group == 0xFFFE or not self.explicit:
            return tag, b"", struct.unpack(self.order + "L", self._take(4))[0]
        vr, short = struct.unpack(self.order + "2sH", self._take(4))
        if vr in _LONG_VRS:
            return tag, vr, struct.unpack(self.order + "L", self._take(4))[0]
        return tag, vr, short

    def _take(self, count: int) -> bytes:
        taken = self.file.read(count)
        if len(taken) < count:
            raise BadDicomError("cut short")
        return taken

    def _skip(self, length: int, tag: int) -> None:
        if self.file.tell() + length > self.size:
            raise BadDicomError(f"cut short in {tag:08X}")
        self.file.seek(length, 1)
