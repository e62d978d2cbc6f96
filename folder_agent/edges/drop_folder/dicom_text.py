"""Text values of a DICOM header, in their character set (DICOM PS3.5 6.1.2.3 and 6.2). Pure; what encodings mean is
pydicom's."""

from __future__ import annotations

import re
import threading
import warnings

from pydicom.charset import convert_encodings, decode_bytes

from folder_agent.edges.drop_folder.dicom_bytes import Unreadable

_NAME_DELIMITERS = {ord("^")}  # where code extensions end (DICOM PS3.5 6.1.2.5.3); "=" is split at before
_LATIN = frozenset({"", "ISO_IR 6", "ISO_IR 100", "ISO 2022 IR 6", "ISO 2022 IR 100"})
# GB 2312 as old Chinese devices write it while they say Latin 1: at least two hanzi of its tables, and nothing else
# above ASCII. One pair alone could be two letters of a European name.
_GB_PAIRS = re.compile(rb"(?:[\x00-\x7f]|[\xb0-\xf7][\xa1-\xfe])*")
_ESCAPES = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")  # of ISO 2022
_HANZI = re.compile(rb"[\xb0-\xf7][\xa1-\xfe]")
# They go with no other character set (DICOM PS3.3 C.12.1.1.2), and GB 18030 holds all that the others do. The last is
# none of DICOM's.
_GB = frozenset({"GB18030", "GBK", "GB2312"})
_WORDS = re.compile(r"[^\W\d_]+")
_LATIN_LETTERS = re.compile("[\xc0-\xd6\xd8-\xf6\xf8-\xff]")
_LATIN_SIGNS = re.compile("[\x80-\xbf\xd7\xf7]")
_silence = threading.Lock()  # what silences warnings does so for the whole process, and must end in the order it began


def text_of(raw: bytes, charset: bytes, *, is_name: bool = False) -> str | None:
    """A value of VR LO, SH, PN or the like, stripped; None if there is none.

    Raises Unreadable, whose text holds nothing of the value, where it cannot be decoded.
    """
    raw = raw.strip(b"\0 ")
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii") or None
    names = _names(charset)
    if not _GB.isdisjoint(names) and b"\x1b" not in raw:
        names = ["GB18030"]
    if set(names) <= _LATIN and b"\x1b" not in raw and (told := _mislabelled(raw)) is not None:
        return told.strip("\0 ") or None
    try:
        # pydicom complains of odd character sets, in words that quote the value; then it does what can be done.
        with _silence, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encodings = convert_encodings(names)
            groups = raw.split(b"=") if is_name else [raw]
            found = "=".join(decode_bytes(group, encodings, _NAME_DELIMITERS if is_name else set()) for group in groups)
    except Exception as error:  # noqa: BLE001 - whatever a library raises over a file's content is the file's fault
        raise Unreadable(type(error).__name__) from None
    return _ESCAPES.sub("", found).strip("\0 ") or None  # pydicom leaves those of ISO 2022 IR 58 in


def certain_text_of(raw: bytes, charset: bytes, *, is_name: bool = False) -> str | None:
    """As `text_of`. Raises Unreadable, too, where it is more likely that the value is in another encoding than in the
    one that is named, or in any by default: a text that nobody would write is no patient's name."""
    text = text_of(raw, charset, is_name=is_name)
    if text is None or text.isascii():
        return text
    is_utf8 = _is(raw, "utf-8")
    if not _GB.isdisjoint(_names(charset)):
        doubtful = is_utf8 and not _is(raw, "gb2312")
    else:
        doubtful = not is_utf8 and not _may_be_latin(text)
    if doubtful or "\ufffd" in text:
        raise Unreadable("character set")
    return text


def _may_be_latin(text: str) -> bool:
    """Whether what looks like Latin 1 in it is that: accented letters are the fewer in every word, GBK's are not."""
    if _LATIN_SIGNS.search(text):
        return False
    for word in _WORDS.findall(text):
        accented = len(_LATIN_LETTERS.findall(word))
        if accented and accented >= sum(letter.isascii() for letter in word):
            return False
    return True


def _names(charset: bytes) -> list[str]:
    return [name.strip().upper() for name in charset.decode("ascii", "replace").strip("\0 ").split("\\")]


def _is(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _mislabelled(raw: bytes) -> str | None:
    """The text, where a device says Latin (or nothing) and surely writes UTF-8 or GB 2312; else None."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if _GB_PAIRS.fullmatch(raw) and len(_HANZI.findall(raw)) > 1:
        try:
            return raw.decode("gb2312")
        except UnicodeDecodeError:
            pass
    return None
