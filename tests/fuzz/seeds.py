"""What the fuzzer begins with, and words that it may put in: made when it starts, from the samples and the gallery.

Real files of devices come from pydicom's collection; each variant of a format that has to be read is among them once.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom.data
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from folder_agent.core.exam import FIELD_CLASSES
from folder_agent.core.filling import KEYWORDS

ROOT = Path(__file__).parent.parent.parent
GALLERY, SAMPLES = ROOT / "tests" / "gallery", ROOT / "sample_drop"
_LARGEST = 16 * 1024  # bytes of a seed
_TABLE = b"""Patient = "patientName"
"Patient.ID" = ["patientId", "studyId"]
values.studyCategory = {a = "normal"}
dates.studyDate = "dd/MM/yyyy hh:mm a"
constants.modality = "CT"
defaults.status = "final"
"""


def seeds(name: str) -> Iterator[bytes]:
    """The inputs that a target's run begins with."""
    return {"sidecar": _sidecars, "mapping": _mappings, "dicom": _dicoms, "pdf": _pdfs, "archive": _archives}.get(
        name, _nothing
    )()


def words(name: str) -> list[bytes]:
    """What the fuzzer would hardly hit upon letter by letter."""
    json_words = [
        *(f'"{field}"'.encode() for field in FIELD_CLASSES),
        *(b"null", b'"NULL"', b"true", b"1e5", b"0.1", b"-0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b'"files"'),
        *('"男"'.encode("gbk"), '"45岁"'.encode(), b'"\\ud800"', b'"path"', b'"sha256"', b'"2025-03-07"', b'"045Y"'),
    ]
    if name == "sidecar":
        return json_words
    if name == "mapping":
        tables = [b"values.", b"dates.", b"constants.", b"defaults.", b"yyyy", b"MM", b"dd", b"HH", b"hh", b"a"]
        return [*json_words, *tables]
    if name == "dicom":
        tags = [b"\x02\0\x10\0UI", b"\x08\0\x05\0CS", b"\x10\0\x10\0PN", b"\xe0\x7f\x10\0OW", b"\xfe\xff\0\xe0"]
        syntaxes = [b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.4.50"]
        sets = [b"ISO_IR 192", b"GB18030", b"ISO 2022 IR 58", b"ISO 2022 IR 87", b"ISO 2022 IR 149", b"\x1b$)A"]
        return [*tags, *syntaxes, *sets, b"\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"SQ\0\0"]
    if name == "pdf":
        return [b"%PDF-", b"%%EOF", b"/Linearized 1", b"/L 100", b"startxref", b"/Encrypt"]
    if name == "archive":
        return [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"../", b"\\", b"C:", b"up\x09\0"]
    return []


def _nothing() -> Iterator[bytes]:
    yield b"A"


def _sidecars() -> Iterator[bytes]:
    for path in sorted([*GALLERY.glob("*/exam.json"), *SAMPLES.rglob("*.json")]):
        yield path.read_bytes()
    every = json.dumps(dict.fromkeys(FIELD_CLASSES, "1") | {"files": ["a", {"path": "b", "size": 1}]})
    yield from (every.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"))


def _mappings() -> Iterator[bytes]:
    for path in sorted(GALLERY.glob("*/mapping.toml")):
        lines = path.read_text(encoding="utf-8").replace("[drops.mapping]", "").encode()
        yield lines + b"\0" + (path.parent / "exam.json").read_bytes()
    document = {"Patient": {"ID": 1, "Name": "a"}, "studyCategory": "a", "studyDate": "07/03/2025 05:07 pm"}
    yield _TABLE + b"\0" + json.dumps(document).encode()


def _dicoms() -> Iterator[bytes]:
    collection = Path(pydicom.data.__file__).parent
    for path in sorted([*collection.rglob("*.dcm"), *SAMPLES.rglob("*.dcm"), *SAMPLES.rglob("DICOMDIR")]):
        if path.stat().st_size < _LARGEST:
            yield path.read_bytes()
    for syntax in (
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
        DeflatedExplicitVRLittleEndian,
    ):
        content = image(syntax)
        yield content
        yield content[132:]
        yield content[: len(content) - 10]


def image(syntax: str) -> bytes:
    """A small CT image that has everything that is read."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.840.1.1.1"
    meta.TransferSyntaxUID = syntax
    one = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    one.SpecificCharacterSet = "ISO_IR 192"
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, "1.2.840.1.1.1"
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.840.1", "1.2.840.1.1"
    values = {"PatientAge": "045Y", "StudyDate": "20250307", "StudyTime": "170730", "PatientSex": "M", "Modality": "CT"}
    for keyword in KEYWORDS.values():
        if keyword not in ("StudyInstanceUID", "PatientBirthDate", "PatientSize", "PatientWeight"):
            setattr(one, keyword, values.get(keyword, "张^三" if keyword == "PatientName" else "A1"))
    one.PatientID, one.StudyTime = "P1", "170730"
    one.PatientBirthDate, one.PatientSize, one.PatientWeight = "19800101", "1.75", "70"
    one.Rows = one.Columns = 4
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    one.PixelData = bytes(32)
    out = io.BytesIO()
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dcmwrite(out, one, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return out.getvalue()


def _pdfs() -> Iterator[bytes]:
    for path in sorted(SAMPLES.rglob("*.pdf")):
        content = path.read_bytes()
        yield content
        yield content + b"\r\n\0\0\0"
        yield content + b"5 0 obj<<>>endobj\nxref\n0 0\ntrailer<<>>\nstartxref\n9\n%%EOF"
        yield content[:-20]
    head = b"%PDF-1.4\n9 0 obj\n<< /Linearized 1 /L 200 /H [ 1 2 ] >>\nendobj\nstartxref\n0\n%%EOF\n"
    yield head + b" " * (193 - len(head)) + b"%%EOF\r\n"
    yield b"junk\n" + head


def _archives() -> Iterator[bytes]:
    files = {"CT1/exam.json": b'{"patientId": "P1"}', "CT1/a/IM1": bytes(300), "CT1/": b"", "__MACOSX/._a": b"x"}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield _packed(files, method)
    yield _packed({"检查/影像.dcm": b"x"}, comment=b"comment")
    yield _packed({"aaaa": b"x"}).replace(b"aaaa", "影像".encode("gbk"))
    yield _packed({"../x": b"x"})
    yield _packed({"a.zip": _packed(files)})
    yield _packed({"a": bytes(1024**2)})
    yield _packed({"a": b"x", "A": b"y"})
    yield _streamed(files)
    unicode_name = b"up\x09\0\1" + zlib.crc32(b"aa").to_bytes(4, "little") + "影".encode()[:3]
    yield _packed({"aa": b"x"}, extra=unicode_name)
    yield _packed({"a": b"x"}, zip64=True)


def _packed(
    files: dict[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    *,
    comment: bytes = b"",
    extra: bytes = b"",
    zip64: bool = False,
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.extra = method, extra
            with archive.open(info, "w", force_zip64=zip64) as entry:
                entry.write(content)
    return out.getvalue()


class _OneWay(io.RawIOBase):
    """A file that cannot be sought in: lengths then stand behind the data (APPNOTE 4.3.9)."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: bytes) -> int:  # type: ignore[override]
        self.written += block
        return len(block)


def _streamed(files: dict[str, bytes]) -> bytes:
    out = _OneWay()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, content in files.items():
            archive.writestr(name, content)
    return bytes(out.written)
