"""DICOM files: identified like pydicom does, whole or refused, in every transfer syntax and with constant memory."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from folder_agent.core.records import DicomFacts, FileKind, Finding
from folder_agent.edges.drop_folder.dicom_bytes import CutShort, FileBytes, InflatedBytes, Unreadable
from tests.edges.test_drop_folder_inspecting import code, detail, look_into

CORPUS = Path(pydicom.__file__).parent / "data"
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
SYNTAXES = [*NATIVE, RLELossless, DeflatedExplicitVRLittleEndian]


def image(rows: int = 4, columns: int = 6) -> Dataset:
    """A small CT image with nested sequences of both kinds of length before its pixels."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.3.4.5"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.PatientID, ds.AccessionNumber = " P1 ", "A1"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, columns, 16, 12, 11
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "one"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    outer.is_undefined_length_sequence_item = True
    ds.SourceImageSequence = Sequence([outer, outer])
    ds["SourceImageSequence"].is_undefined_length = True
    ds.ProcedureCodeSequence = Sequence([inner])
    ds.PixelData = bytes(range(rows * columns * 2 % 256)).ljust(rows * columns * 2, b"\1")
    ds["PixelData"].VR = "OW"
    return ds


def written(ds: Dataset, syntax: str, preamble: bool = True) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if syntax == RLELossless:
        ds.compress(RLELossless, generate_instance_uid=False)
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    content = out.getvalue()
    if preamble:
        return content
    meta = FileBytes(BytesIO(content), len(content))
    meta.skip(132 + 8)
    return content[144 + struct.unpack("<L", meta.take(4))[0] :]


def facts(finding: Finding) -> DicomFacts:
    assert (finding.kind, finding.problem) == (FileKind.DICOM, None)
    assert finding.dicom is not None
    return finding.dicom


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("name", ["a.dcm", "a.pdf", "IM1", "a.txt", "a.xyz"])
def test_an_image_is_known_in_every_transfer_syntax_and_by_any_name(syntax: str, name: str, tmp_path: Path) -> None:
    assert replace(facts(look_into(tmp_path / name, written(image(), syntax))), said=()) == DicomFacts(
        sop_class=CTImageStorage,
        sop_instance="1.2.3.4.5",
        study="1.2.3",
        series="1.2.3.4",
        transfer_syntax=syntax,
        patient_id="P1",
        accession="A1",
        is_image=True,
        is_report=False,
    )


@pytest.mark.parametrize("syntax", NATIVE)
def test_an_image_without_preamble_is_known_in_every_coding(syntax: str, tmp_path: Path) -> None:
    bare = written(image(), syntax, preamble=False)
    assert facts(look_into(tmp_path / "a.dcm", bare)).transfer_syntax == syntax
    with_meta_only = written(image(), syntax)[132:]
    assert facts(look_into(tmp_path / "b.dcm", with_meta_only)).transfer_syntax == syntax


def trailing(ds: Dataset) -> Dataset:
    ds.DataSetTrailingPadding = b"\0" * 32
    ds[0xFFFCFFFC].VR = "OB"
    return ds


@pytest.mark.parametrize(
    ("syntax", "preamble"), [(syntax, True) for syntax in SYNTAXES] + [(syntax, False) for syntax in NATIVE]
)
def test_no_cut_makes_a_whole_file(syntax: str, preamble: bool, tmp_path: Path) -> None:
    """Every strict prefix is refused, but for those that lose nothing except whole top-level elements after the
    pixel data: DICOM has no mark at a data set's end, so nobody can see that loss. A deflated stream has one."""
    whole = written(trailing(image()), syntax, preamble)
    innocent = len(written(image(), syntax, preamble)) if syntax != DeflatedExplicitVRLittleEndian else -1
    facts(look_into(tmp_path / "a.dcm", whole))
    for size in range(len(whole) - 1, -1, -1):
        finding = look_into(tmp_path / "a.dcm", whole[:size])
        if size == innocent or (syntax == DeflatedExplicitVRLittleEndian and is_padding(whole, size)):
            facts(finding)
        else:
            assert finding.kind is FileKind.UNKNOWN, f"cut at {size} of {len(whole)}"
            assert code(finding) in {"FA-FILE-TRUNCATED", "FA-FILE-UNREADABLE", "FA-FILE-EMPTY"}


def is_padding(whole: bytes, size: int) -> bool:
    """Whether only the zero byte behind a deflated stream is missing (PS3.5 A.5)."""
    return size == len(whole) - 1 and whole[-1:] == b"\0"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_copy_that_broke_off_and_left_zeros_is_refused(syntax: str, tmp_path: Path) -> None:
    """As far as it can be told: zeros in place of native pixels are a black image to anybody."""
    whole = written(image(), syntax)
    native = syntax in NATIVE
    tag = b"\x7f\xe0\0\x10" if syntax == ExplicitVRBigEndian else b"\xe0\x7f\x10\0"
    until = whole.index(tag) + 4 if native else len(whole)
    for size in range(until):
        finding = look_into(tmp_path / "a.dcm", whole[:size].ljust(len(whole), b"\0"))
        assert finding.problem is not None or not any(whole[size:]), f"zeros from {size} of {len(whole)}"


@pytest.mark.parametrize("length", [1, 7, 8, 100, 70000])
def test_zeros_behind_whole_pixel_data_are_padding(length: int, tmp_path: Path) -> None:
    facts(look_into(tmp_path / "a.dcm", written(image(), ExplicitVRLittleEndian) + bytes(length)))


def test_the_message_says_how_much_is_missing(tmp_path: Path) -> None:
    content = written(image(64, 64), ExplicitVRLittleEndian)
    finding = look_into(tmp_path / "a.dcm", content[:-1000])
    assert (code(finding), detail(finding)) == (
        "FA-FILE-TRUNCATED",
        "pixel data: 8192 bytes announced, 7192 there",
    )


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        ({"Rows": 5}, 60),
        ({"NumberOfFrames": 2}, 96),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, 144),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}, 96),
        ({"BitsAllocated": 32}, 96),
    ],
)
def test_fewer_pixels_than_the_header_tells_of_are_refused(
    change: dict[str, object], needed: int, tmp_path: Path
) -> None:
    ds = image(4, 6)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    finding = look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian))
    assert detail(finding) == f"pixel data: {needed} bytes needed, 48 there"


def test_one_bit_pixels_are_packed_and_padded_to_an_even_length(tmp_path: Path) -> None:
    ds = image(3, 3)
    ds.BitsAllocated, ds.NumberOfFrames, ds.PixelData = 1, 2, b"\1\2\3\0"
    facts(look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian)))
    ds.NumberOfFrames = 4
    assert code(look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian))) == "FA-FILE-TRUNCATED"


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_file_without_its_identity_is_refused(keyword: str, tmp_path: Path) -> None:
    ds = image()
    content = written(ds, ExplicitVRLittleEndian)
    uid = str(ds[keyword].value)
    tag = struct.pack("<HH", ds[keyword].tag.group, ds[keyword].tag.element)
    at = content.index(tag + b"UI")
    for other, words in ((b" ", f"no {keyword}"), (b"\r", f"{keyword} is no UID")):
        broken = content[: at + 8] + other * (len(uid) + len(uid) % 2) + content[at + 8 + len(uid) + len(uid) % 2 :]
        finding = look_into(tmp_path / "a.dcm", broken)
        assert (code(finding), detail(finding)) == ("FA-FILE-UNREADABLE", words)


def test_an_absent_patient_and_accession_are_none(tmp_path: Path) -> None:
    ds = image()
    del ds.PatientID
    ds.AccessionNumber = ""
    found = facts(look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian)))
    assert (found.patient_id, found.accession) == (None, None)


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("GB18030", "患者一".encode("gb18030"), "患者一"),
        ("GBK", b"\x95\x5c1", "昞1"),  # a backslash as second byte
        ("ISO_IR 192", "患者".encode(), "患者"),
        ("ISO_IR 100", b"M\xfcller", "Müller"),
        ("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
        ("NONSENSE", b"M\xfcller", "Müller"),
        ("", b"A\\B", "A\\B"),
    ],
)
def test_identifiers_are_read_in_their_character_set(charset: str, raw: bytes, text: str, tmp_path: Path) -> None:
    content = written(image(), ExplicitVRLittleEndian)
    for tag, value in (((0x08, 0x05), charset.encode()), ((0x10, 0x20), raw)):
        value += b" " * (len(value) % 2)
        element = struct.pack("<HH", *tag) + (b"CS" if tag[0] == 8 else b"LO") + struct.pack("<H", len(value)) + value
        at = content.index(b"\x10\0\x20\0LO") if tag[0] == 0x10 else content.index(b"\x08\0\x16\0UI")
        end = at + 8 + struct.unpack_from("<H", content, at + 6)[0] if tag[0] == 0x10 else at
        content = content[:at] + element + content[end:]
    assert facts(look_into(tmp_path / "a.dcm", content)).patient_id == text


def test_pydicom_s_complaints_never_come_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*_: object) -> str:
        raise LookupError("Zhang San")

    monkeypatch.setattr("folder_agent.edges.drop_folder.dicom_text.decode_bytes", complain)
    ds = image()
    ds.SpecificCharacterSet, ds.PatientID = "ISO_IR 192", "张三"
    finding = look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian))
    assert (code(finding), detail(finding)) == ("FA-FILE-UNREADABLE", "LookupError")


def report(sop_class: str, with_content: bool = True) -> Dataset:
    ds = image()
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(ds, keyword)
    ds.SOPClassUID = sop_class
    if with_content:
        item = Dataset()
        item.ValueType = "TEXT"
        ds.ContentSequence = Sequence([item])
    return ds


@pytest.mark.parametrize(
    ("sop_class", "is_report"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", True),
        ("1.2.840.10008.5.1.4.1.1.88.33", True),
        ("1.2.840.10008.5.1.4.1.1.88.59", False),  # key object selection
        ("1.2.840.10008.5.1.4.1.1.481.5", False),  # RT plan
    ],
)
def test_structured_reports_count_as_reports_and_nothing_else_does(
    sop_class: str, is_report: bool, tmp_path: Path
) -> None:
    found = facts(look_into(tmp_path / "a.dcm", written(report(sop_class), ExplicitVRLittleEndian)))
    assert (found.is_image, found.is_report) == (False, is_report)


def test_a_report_without_content_was_cut_before_it(tmp_path: Path) -> None:
    ds = report("1.2.840.10008.5.1.4.1.1.88.33", with_content=False)
    finding = look_into(tmp_path / "a.dcm", written(ds, ExplicitVRLittleEndian))
    assert (code(finding), detail(finding)) == ("FA-FILE-TRUNCATED", "no ContentSequence")


@pytest.mark.parametrize("syntax", NATIVE)
def test_no_cut_makes_a_whole_report(syntax: str, tmp_path: Path) -> None:
    ds = report("1.2.840.10008.5.1.4.1.1.88.33")
    ds["ContentSequence"].is_undefined_length = True
    ds.ContentSequence[0].is_undefined_length_sequence_item = True
    whole = written(ds, syntax)
    facts(look_into(tmp_path / "a.dcm", whole))
    for size in range(len(whole)):
        assert look_into(tmp_path / "a.dcm", whole[:size]).problem is not None, f"cut at {size} of {len(whole)}"
    # Nothing marks the end of what has no pixels, so that zeros there may stand for lost elements.
    assert code(look_into(tmp_path / "a.dcm", whole + bytes(16))) == "FA-FILE-TRUNCATED"


def pydicom_files() -> list[Path]:
    return sorted(file for file in CORPUS.rglob("*") if file.is_file() and b"DICM" in file.read_bytes()[128:132])


def test_every_file_of_pydicom_s_own_tests_is_read_as_pydicom_reads_it(tmp_path: Path) -> None:
    agreed = 0
    for file in pydicom_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pydicom.dcmread(file, stop_before_pixels=True)
            wanted = {name: str(theirs.get(name) or "").strip() or None for name in ("PatientID", "AccessionNumber")}
        finding = look_into(Path(shutil.copy(file, tmp_path / "a.dcm")))
        if finding.dicom is None:
            continue
        ours = finding.dicom
        assert (ours.sop_class, ours.sop_instance) == (theirs.SOPClassUID, theirs.SOPInstanceUID), file
        assert (ours.study, ours.series) == (theirs.StudyInstanceUID, theirs.SeriesInstanceUID), file
        assert ours.transfer_syntax == theirs.file_meta.TransferSyntaxUID, file
        assert (ours.patient_id, ours.accession) == (wanted["PatientID"], wanted["AccessionNumber"]), file
        agreed += 1
    assert agreed > 90


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm"])
def test_pydicom_s_truncated_samples_are_found_out(name: str, tmp_path: Path) -> None:
    assert code(look_into(Path(shutil.copy(CORPUS / "test_files" / name, tmp_path / name)))) == "FA-FILE-TRUNCATED"


def test_a_media_directory_is_junk_by_whatever_name(tmp_path: Path) -> None:
    file = Path(shutil.copy(CORPUS / "test_files/dicomdirtests/DICOMDIR", tmp_path / "1.dcm"))
    assert look_into(file) == Finding(FileKind.JUNK)


@pytest.mark.skipif(shutil.which("dcmconv") is None, reason="needs dcmtk")
@pytest.mark.parametrize("options", [["+e"], ["-e"], ["-e", "+g"], ["-g", "-e"], ["+tb"], ["+td"], ["+ti"], ["-F"]])
def test_what_dcmtk_writes_is_whole(options: list[str], tmp_path: Path) -> None:
    source = CORPUS / "test_files" / "CT_small.dcm"
    subprocess.run(["dcmconv", *options, str(source), str(tmp_path / "a.dcm")], check=True)
    assert facts(look_into(tmp_path / "a.dcm")).sop_instance.startswith("1.3.6.1.4.1.5962")


def un_sequence(inside: bytes) -> bytes:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inside + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\x09\0\x10\x10UN\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize(
    "inside",
    [b"\x09\0\x01\x10\x02\0\0\0ab", b"\x09\0\x01\x10LO\x02\0ab", b"\x09\0\x01\x10UN\0\0\x02\0\0\0ab"],
)
def test_a_private_sequence_of_unknown_vr_is_passed_over(inside: bytes, tmp_path: Path) -> None:
    """PS3.5 6.2.2: implicit inside; some write it explicit."""
    content = written(image(), ExplicitVRLittleEndian)
    at = content.index(b"\x10\0\x20\0LO")
    facts(look_into(tmp_path / "a.dcm", content[:at] + un_sequence(inside) + content[at:]))


def test_sequences_without_end_in_each_other_are_refused_without_recursion(tmp_path: Path) -> None:
    content = written(image(), ExplicitVRLittleEndian)
    at = content.index(b"\x10\0\x20\0LO")
    deep = b"\x09\0\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    finding = look_into(tmp_path / "a.dcm", content[:at] + deep + content[at:])
    assert (code(finding), detail(finding)) == ("FA-FILE-UNREADABLE", "sequences are nested too deeply")


def test_the_words_of_a_delimiter_inside_of_a_fragment_are_no_end(tmp_path: Path) -> None:
    file = CORPUS / "test_files" / "JPEG2000-embedded-sequence-delimiter.dcm"
    content = file.read_bytes()
    inner = content.index(b"\xfe\xff\xdd\xe0", content.index(b"\xe0\x7f\x10\x00"))
    assert facts(look_into(tmp_path / "a.dcm", content)).is_image
    assert code(look_into(tmp_path / "b.dcm", content[: inner + 8])) == "FA-FILE-TRUNCATED"


def test_an_overlong_identifier_is_refused_and_not_kept(tmp_path: Path) -> None:
    ds = image()
    content = written(ds, ImplicitVRLittleEndian)
    at = content.index(b"\x10\0\x20\0")
    length = struct.unpack_from("<L", content, at + 4)[0]
    huge = struct.pack("<L", 9000) + b"9" * 9000
    finding = look_into(tmp_path / "a.dcm", content[: at + 4] + huge + content[at + 8 + length :])
    assert detail(finding) == "element (0010,0020) has 9000 bytes"


def peak_of(action: Callable[[], object]) -> int:
    action()
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_depend_on_the_size_of_the_file(tmp_path: Path) -> None:
    ds = image()
    content = written(ds, ExplicitVRLittleEndian)
    at = content.index(b"\xe0\x7f\x10\0OW")
    size = 3 * 1024**3
    with (tmp_path / "a.dcm").open("wb") as file:
        file.write(content[: at + 8] + struct.pack("<L", size))
        file.truncate(at + 12 + size)
    assert peak_of(lambda: facts(look_into(tmp_path / "a.dcm"))) < 256 * 1024


def test_a_deflated_bomb_takes_no_memory(tmp_path: Path) -> None:
    plain = written(image(), DeflatedExplicitVRLittleEndian)
    meta_end = 132 + 12 + struct.unpack_from("<L", plain, 140)[0]
    data_set = zlib.decompress(plain[meta_end:], -15)
    at = data_set.index(b"\xe0\x7f\x10\0OW")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 200 * 1024 * 1024
    parts = [plain[:meta_end], deflater.compress(data_set[: at + 8] + struct.pack("<L", size))]
    parts += [deflater.compress(bytes(1024 * 1024)) for _ in range(200)]
    (tmp_path / "a.dcm").write_bytes(b"".join([*parts, deflater.flush()]))
    assert (tmp_path / "a.dcm").stat().st_size < 1024 * 1024
    assert peak_of(lambda: facts(look_into(tmp_path / "a.dcm"))) < 1024 * 1024


def test_inflating_is_bounded_and_ends_where_the_stream_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(content: bytes) -> InflatedBytes:
        return InflatedBytes(FileBytes(BytesIO(content), len(content)))

    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    whole = deflater.compress(bytes(300_000) + b"end") + deflater.flush()
    source = stream(whole + b"\0")
    source.skip(300_000)
    assert (source.take(3), source.at_end()) == (b"end", True)
    for size in range(len(whole)):
        with pytest.raises(CutShort):
            stream(whole[:size]).skip(300_004)
    with pytest.raises(Unreadable):
        stream(b"\xff" * 100).at_end()
    monkeypatch.setattr("folder_agent.edges.drop_folder.dicom_bytes._FREE", 200_000)
    with pytest.raises(Unreadable, match="more than 200000 bytes"):
        stream(whole).skip(300_000)
    stream(whole + os.urandom(2000)).skip(300_000)  # 150 times what is there
    monkeypatch.setattr("folder_agent.edges.drop_folder.dicom_bytes._MOST_INFLATED", 250_000)
    with pytest.raises(Unreadable, match="more than 250000 bytes"):
        stream(whole + os.urandom(2000)).skip(300_000)
