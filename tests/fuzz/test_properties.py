"""The same promises under Hypothesis: real files that are damaged, and files put together from sound and odd pieces."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.unpacking import RealUnpacker
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import LIMITS, TARGETS

some = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
few = settings(some, max_examples=40)


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@cache
def whole(name: str) -> list[bytes]:
    """The seeds of a target; large ones say nothing more when they are damaged."""
    return sorted((content for content in seeds(name) if len(content) < 5000), key=len)


EDITS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", TARGETS)
@few
@given(st.data(), EDITS)
def test_damage_to_a_sound_file_breaks_no_promise(name: str, data: st.DataObject, edits: list) -> None:  # type: ignore[type-arg]
    content = data.draw(st.sampled_from(whole(name)))
    for at, cut, put in edits:
        at %= len(content) + 1
        content = content[:at] + put + content[at + cut :]
    TARGETS[name](content)


TAGS = st.sampled_from([
    *(0x00020000, 0x00020002, 0x00020010, 0x00080005, 0x00080016, 0x00080018, 0x00080050, 0x00081140, 0x00100010),
    *(0x00100020, 0x0020000D, 0x0020000E, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x0040A730, 0x7FE00010),
    *(0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC, 0x00091001),
])  # fmt: skip
VRS = st.sampled_from([b"UI", b"CS", b"LO", b"PN", b"US", b"SQ", b"OW", b"OB", b"UN", b"IS", b"ZZ", b"??", b"\0\0"])
VALUES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([
        *(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.1.1", b"1.2"),
        *(b"\\ISO 2022 IR 58", b"GB18030", b"\x1b$)A\xd5\xc5", b"=^=", b"\x04\0"),
    ]),
)  # fmt: skip
LENGTHS = st.one_of(st.none(), st.none(), st.none(), st.sampled_from([0, 1, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF]))


@st.composite
def elements(draw: st.DrawFn) -> bytes:
    """Some elements of a data set, in one coding or another, a few of them with a length that is a lie."""
    little, explicit = draw(st.booleans()), draw(st.booleans())
    order, parts = "<" if little else ">", []
    for tag, vr, value, length in draw(st.lists(st.tuples(TAGS, VRS, VALUES, LENGTHS), max_size=14)):
        count = len(value) if length is None else length
        head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
        if not explicit or tag >> 16 == 0xFFFE:
            head += struct.pack(f"{order}L", count)
        elif vr in (b"SQ", b"OW", b"OB", b"UN"):
            head += vr + b"\0\0" + struct.pack(f"{order}L", count)
        else:
            head += vr + struct.pack(f"{order}H", count & 0xFFFF)
        parts.append(head + value)
    return b"".join(parts)


@some
@given(elements(), elements(), st.sampled_from([b"", bytes(128) + b"DICM", b"MZ" + bytes(126) + b"DICM"]))
def test_any_elements_in_any_coding_break_no_promise(meta: bytes, data_set: bytes, preamble: bytes) -> None:
    TARGETS["dicom"](preamble + meta + data_set)


NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["a", "A", "CT1/IM1", "CT1/", "../x", "./x", "/x", "C:\\x", "a\\b", "NUL", "检查/影像", "__MACOSX/x"]
    ),
)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
ENTRIES = st.lists(
    st.tuples(NAMES, st.binary(max_size=40) | st.just(bytes(100_000)), METHODS),
    max_size=5,
    unique_by=lambda one: one[0],
)
MODES = st.sampled_from([0, 0, 0, 0o100644, 0o120777, 0o020666])
PATCHES = st.none() | st.tuples(st.integers(4, 45), st.sampled_from([0, 1, 0x7F, 0xFF]))


def packed(entries: list[tuple[str, bytes, int]], mode: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content, method in entries:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode().replace("\0", "") or "x")
            info.compress_type, info.external_attr = method, mode << 16
            archive.writestr(info, content)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@some
@given(ENTRIES, MODES, PATCHES, st.binary(max_size=10))
def test_any_archive_is_unpacked_in_its_place_or_left_as_it_was(
    entries: list[tuple[str, bytes, int]], mode: int, patch: tuple[int, int] | None, behind: bytes
) -> None:
    content = bytearray(packed(entries, mode))
    if patch is not None and entries:
        content[content.index(b"PK\1\2") + patch[0]] = patch[1]
    TARGETS["archive"](bytes(content) + behind)


SAFE = st.text("abcXYZ019-_影像检查", min_size=1, max_size=8)


@few
@given(st.dictionaries(SAFE, st.binary(max_size=3000), min_size=1, max_size=6), METHODS)
def test_what_is_unpacked_is_what_was_packed(files: dict[str, bytes], method: int) -> None:
    assume(len({name.casefold() for name in files}) == len(files))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "x.zip").write_bytes(packed([(f"CT/{name}", content, method) for name, content in files.items()], 0))
        drop = RealDropFolder("ct", root)
        stamp = drop.stamp("x.zip")
        assert stamp is not None
        RealUnpacker(drop, LIMITS).unpack("x.zip", stamp)
        assert {path.name: path.read_bytes() for path in (root / "x.unpacked/CT").iterdir()} == files
