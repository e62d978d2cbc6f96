"""Names and descriptions of real DICOM headers, in every character set that Chinese hospitals write."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom import dcmread

from folder_agent.core.records import Stamp
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.dicom_bytes import Unreadable
from folder_agent.edges.drop_folder.dicom_text import text_of
from folder_agent.edges.paths import stamp_of
from tests.site import dicom


def said(path: Path, **values: object) -> dict[str, str]:
    """What is read of an image with these values in its header; `charset` is its SpecificCharacterSet."""
    dicom(path)
    header = dcmread(path)
    header.SpecificCharacterSet = values.pop("charset", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that no device should write
        for keyword, value in values.items():
            setattr(header, keyword, value)
        header.save_as(path)
    drop = RealDropFolder("ct", path.parent, (path.parent / "done", path.parent / "failed"))
    stamp: Stamp = stamp_of(path.lstat())
    finding = drop.inspect(path.name, stamp)
    assert finding is not None
    assert finding.dicom is not None, finding.problem
    return dict(finding.dicom.said)


@pytest.mark.parametrize("charset", ["GB18030", "GBK", "ISO_IR 192"])
def test_a_chinese_name_is_read_right_in_each_character_set(tmp_path: Path, charset: str) -> None:
    found = said(tmp_path / "1.dcm", charset=charset, PatientName="Wang^XiaoDong=王^小东", StudyDescription="头部平扫")
    assert found["patientName"] == "王小东"
    assert found["studyDesc"] == "头部平扫"


def test_code_extensions_are_followed() -> None:
    """The example of DICOM PS3.5 annex K.2: each part of a name switches anew."""
    raw = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab="
    assert text_of(raw, b"\\ISO 2022 IR 58", is_name=True) == "Wang^XiaoDong=王^小东="


@pytest.mark.parametrize("charset", [b"", b"ISO_IR 100", b"ISO_IR 6"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb2312"])
def test_a_device_that_says_latin_and_writes_chinese_is_understood(charset: bytes, encoding: str) -> None:
    assert text_of("欧阳小东".encode(encoding), charset, is_name=True) == "欧阳小东"


@pytest.mark.parametrize("name", ["Müller^Jörg", "Groß-Über", "Ñuñoz", "Åse"])
def test_a_european_name_in_latin_stays_one(name: str) -> None:
    assert text_of(name.encode("latin-1"), b"ISO_IR 100", is_name=True) == name


def test_a_caret_inside_of_a_gbk_character_is_no_delimiter() -> None:
    odd = "".join(character for character in map(chr, range(0x4E00, 0x9FA5)) if character.encode("gbk")[1:] == b"^")[:3]
    assert text_of(f"{odd}^{odd}".encode("gbk"), b"GBK", is_name=True) == f"{odd}^{odd}"


@pytest.mark.parametrize("raw", [b"", b"  ", b"\0"])
def test_nothing_is_nothing(raw: bytes) -> None:
    assert text_of(raw, b"GB18030") is None


def test_what_cannot_be_decoded_is_told_without_its_value() -> None:
    try:
        found = text_of(b"\xff\xfe\xff\x81", b"GB18030")
    except Unreadable as error:
        assert "ff" not in str(error)
    else:
        assert found is None or "\ufffd" in found


def test_a_value_of_absurd_length_says_nothing_and_refuses_nothing(tmp_path: Path) -> None:
    found = said(tmp_path / "1.dcm", StudyDescription="x" * 20_000, PatientSex="F")
    assert "studyDesc" not in found
    assert found["patientSex"] == "F"
