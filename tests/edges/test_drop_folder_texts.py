"""Names and descriptions of real DICOM headers, in every character set that Chinese hospitals write."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom import dcmread

from folder_agent.core.filling import UNCLEAR
from folder_agent.core.records import Stamp
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.dicom_bytes import Unreadable
from folder_agent.edges.drop_folder.dicom_text import certain_text_of, text_of
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


@pytest.mark.parametrize("charset", [b"\\GB18030", b"ISO_IR 100\\GB18030", b"GBK\\ISO_IR 6", b"ISO 2022 IR 6\\GB18030"])
def test_a_character_set_that_stands_alone_counts_though_others_stand_beside_it(charset: bytes) -> None:
    """DICOM PS3.3 C.12.1.1.2 forbids it, and devices write it."""
    assert text_of("朱^镕基".encode("gb18030"), charset, is_name=True) == "朱^镕基"


@pytest.mark.parametrize("charset", [b"", b"ISO_IR 6", b"ISO_IR 100", b"NONSENSE", b"\\ISO 2022 IR 58"])
@pytest.mark.parametrize(
    "raw",
    [
        *("张".encode("gbk"), "朱^镕基".encode("gbk"), "Zhu=朱^镕基".encode("gbk"), "囧囧".encode("gbk")),
        *("張三".encode("big5"), "山田".encode("shift-jis"), "Zhang^San=\x1b$)A\xd5".encode("latin-1")),
    ],
)
def test_what_may_be_chinese_in_an_encoding_that_nobody_names_is_filled_in_as_nothing(
    charset: bytes, raw: bytes
) -> None:
    with pytest.raises(Unreadable):
        certain_text_of(raw, charset, is_name=True)


@pytest.mark.parametrize("name", ["Müller^Jörg", "Groß-Über", "Ñuñoz", "Åse", "Zoë^de la Cruz"])
@pytest.mark.parametrize("charset", [b"", b"ISO_IR 100"])
def test_a_european_name_is_certain_enough(name: str, charset: bytes) -> None:
    assert certain_text_of(name.encode("latin-1"), charset, is_name=True) == name


def test_other_alphabets_are_certain_where_they_are_named() -> None:
    for name, charset, encoding in (
        ("Ćosić", b"ISO_IR 101", "iso8859-2"),
        ("Люкceмбypг", b"ISO_IR 144", "iso8859-5"),
        ("Διονυσιος", b"ISO_IR 126", "iso8859-7"),
        ("ﾔﾏﾀﾞ", b"ISO_IR 13", "shift-jis"),
    ):
        assert certain_text_of(name.encode(encoding), charset, is_name=True) == name


@pytest.mark.parametrize("charset", [b"GB18030", b"GBK", b"GB2312"])
def test_utf8_under_the_name_of_gbk_is_no_name(charset: bytes) -> None:
    for name in ("张三", "王小东"):
        with pytest.raises(Unreadable):
            certain_text_of(name.encode(), charset, is_name=True)
    assert certain_text_of("联通".encode("gbk"), charset, is_name=True) == "联通"  # which is UTF-8 as well
    assert certain_text_of("镕".encode("gbk"), charset, is_name=True) == "镕"


def test_gbk_under_the_name_of_utf8_is_no_name() -> None:
    with pytest.raises(Unreadable):
        certain_text_of("张三".encode("gbk"), b"ISO_IR 192", is_name=True)
    assert certain_text_of("é Å".encode(), b"ISO_IR 192", is_name=True) == "é Å"


def test_a_doubtful_name_in_a_file_refuses_nothing_and_fills_nothing(tmp_path: Path) -> None:
    found = said(tmp_path / "1.dcm", charset="ISO_IR 100", PatientName="Öì^éF»ù", PatientSex="F")
    assert (found["patientName"], found["patientSex"]) == (UNCLEAR, "F")


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
