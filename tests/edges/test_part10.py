"""Files that a device wrote without preamble or meta information travel by STOW-RS as DICOM files; their data sets stay
as they are, and the digest is that of the file."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from folder_agent.core.records import FileKind, Outgoing
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.multipart import BLOCK, Body, Reading
from folder_agent.edges.gateway.part10 import in_file_form
from folder_agent.edges.paths import stamp_of
from tests.edges.test_drop_folder_dicom import NATIVE, facts, image, written
from tests.edges.test_drop_folder_inspecting import detail, look_into
from tests.site import Site, sidecar

SYNTAXES = [*NATIVE, DeflatedExplicitVRLittleEndian, RLELossless]


def without_preamble(content: bytes) -> bytes:
    return content[132:]


def without_group_length(content: bytes) -> bytes:
    return content[144:]


def without_syntax(content: bytes) -> bytes:
    at = content.index(b"\x02\0\x10\0UI")
    return content[:at] + content[at + 8 + struct.unpack_from("<H", content, at + 6)[0] :]


def with_implicit_meta(content: bytes) -> bytes:
    begins = data_set_begins(content)
    uids = [content[at + 8 : at + 8 + struct.unpack_from("<H", content, at + 6)[0]] for at in tags(content)]
    meta = b"".join(
        struct.pack("<HHL", 2, number, len(uid)) + uid for number, uid in zip((2, 3, 16), uids, strict=True)
    )
    return meta + content[begins:]


def tags(content: bytes) -> list[int]:
    return [content.index(b"\x02\0" + bytes([number]) + b"\0UI") for number in (2, 3, 16)]


WAYS = [without_preamble, without_group_length, with_implicit_meta]


def outgoing(path: Path) -> Outgoing:
    found = facts(look_into(path))
    return Outgoing(
        1,
        path.name,
        path,
        stamp_of(path.lstat()),
        FileKind.DICOM,
        sop_class=found.sop_class,
        sop_instance=found.sop_instance,
        transfer_syntax=found.transfer_syntax,
        data_at=found.data_at,
    )


def travelling(file: Outgoing) -> bytes:
    """What goes out; its length and digest are as they were announced."""
    body = Body([file], Reading(open_for_reading, lambda: False), lambda _: None)
    content = b"".join(body)
    assert len(content) == file.length
    assert body.digests == {1: hashlib.sha256(file.location.read_bytes()).hexdigest()}
    return content


def check(path: Path, data_set: bytes) -> bytes:
    """As it travels, it is a DICOM file that everybody reads, with that data set."""
    content = travelling(in_file_form(outgoing(path)))
    assert content[data_set_begins(content) :] == data_set
    pydicom.dcmread(io.BytesIO(content))
    again = facts(look_into(path.with_name("again"), content))
    assert again.data_at is None
    if shutil.which("dcmftest"):
        said = subprocess.run(["dcmftest", path.with_name("again")], capture_output=True, check=False)
        assert said.stdout.startswith(b"yes")
        subprocess.run(["dcmdump", "-q", "+E", path.with_name("again")], check=True, capture_output=True)
    return content


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("way", WAYS)
def test_meta_information_in_another_form_is_written_anew(tmp_path: Path, syntax: str, way: object) -> None:
    whole = written(image(), syntax)
    (tmp_path / "IM1").write_bytes(way(whole))  # type: ignore[operator]
    content = check(tmp_path / "IM1", whole[data_set_begins(whole) :])
    assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_bare_data_set_gets_all_that_stands_before_it(tmp_path: Path, syntax: str) -> None:
    bare = written(image(), syntax, preamble=False)
    (tmp_path / "IM1").write_bytes(bare)
    content = check(tmp_path / "IM1", bare)
    read = pydicom.dcmread(io.BytesIO(content))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert (read.file_meta.MediaStorageSOPInstanceUID, read.SOPInstanceUID) == ("1.2.3.4.5", "1.2.3.4.5")


@pytest.mark.parametrize("syntax", NATIVE)
def test_meta_information_that_names_no_transfer_syntax_is_completed(tmp_path: Path, syntax: str) -> None:
    whole = written(image(), syntax)
    (tmp_path / "IM1").write_bytes(without_syntax(whole))
    check(tmp_path / "IM1", whole[data_set_begins(whole) :])


@pytest.mark.parametrize("preamble", [True, False])
def test_a_transfer_syntax_that_is_no_uid_names_none(tmp_path: Path, preamble: bool) -> None:
    whole = written(image(), ImplicitVRLittleEndian).replace(b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.\xf7\0")
    (tmp_path / "IM1").write_bytes(whole if preamble else whole[132:])
    content = check(tmp_path / "IM1", whole[data_set_begins(whole) :])
    assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_that_is_in_form_travels_as_it_is(tmp_path: Path, syntax: str) -> None:
    (tmp_path / "IM1").write_bytes(written(image(), syntax))
    file = outgoing(tmp_path / "IM1")
    assert in_file_form(file) is file
    assert travelling(file) == (tmp_path / "IM1").read_bytes()


def test_what_does_not_travel_may_be_longer_than_a_block(tmp_path: Path) -> None:
    """A private block in the meta information may have any length."""
    whole = written(image(), ExplicitVRLittleEndian)
    private = struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, BLOCK + 10) + bytes(BLOCK + 10)
    begins = data_set_begins(whole)
    (tmp_path / "IM1").write_bytes(whole[132:begins] + private + whole[begins:])
    assert check(tmp_path / "IM1", whole[begins:]).count(b"\0" * BLOCK) == 0


@pytest.mark.parametrize("preamble", [True, False])
def test_compressed_pixels_of_which_nothing_says_how_are_not_called_uncompressed(
    tmp_path: Path, preamble: bool
) -> None:
    whole = written(image(), RLELossless)
    content = without_syntax(whole) if preamble else whole[data_set_begins(whole) :]
    finding = look_into(tmp_path / "IM1", content)
    assert detail(finding) == "pixel data: compressed, and no transfer syntax says how"


def test_the_gateway_gets_dicom_files_and_the_shelf_keeps_what_was_dropped(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.3\nmatch = []\n"
    dropped = {}
    for number, syntax in enumerate((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)):
        one = image()
        one.SOPInstanceUID = f"1.2.3.4.{number}"
        dropped[f"IM{number}"] = written(one, syntax, preamble=False)
    sidecar(site.drop / "CT1/exam.json", imageCnt=3)
    for name, content in dropped.items():
        (site.drop / "CT1" / name).write_bytes(content)
    assert site.once() == 0
    kept = {path.name: path.read_bytes() for path in site.shelf()["CT1"].iterdir() if path.name in dropped}
    assert kept == dropped
    received = [path.read_bytes() for path in site.received().instances.values()]
    assert sorted(content[data_set_begins(content) :] for content in received) == sorted(dropped.values())
    digests = {hashlib.sha256(content).hexdigest() for content in dropped.values()}
    receipt = (site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8")
    assert all(digest in receipt for digest in digests)


def test_what_was_accepted_before_is_known_again_by_the_files_own_digest(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.3\nmatch = []\n"
    content = written(image(), ImplicitVRLittleEndian, preamble=False)
    for _ in range(2):
        sidecar(site.drop / "CT1/exam.json", imageCnt=1)
        (site.drop / "CT1/IM1").write_bytes(content)
        assert site.once() == 0
    assert (len(site.received().instances), site.received().repeats) == (1, 0)
