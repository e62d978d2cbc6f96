"""Bytes → text: by byte order mark, by where the NULs are, else UTF-8, else GB18030; never the locale's encoding."""

from __future__ import annotations

import codecs

from folder_agent.core.sidecar.guessing import is_gbk_after_all
from folder_agent.core.sidecar.wording import Unreadable

MAX_BYTES = 4 * 1024 * 1024  # whoever reads the file takes one byte more, so that a longer one shows

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PADDING = "\0\x1a \t\r\n"  # what programs that write fixed lengths, or for CP/M, leave behind the last bracket
_NULS = (((False, True), "utf-16-le"), ((True, False), "utf-16-be"))  # JSON begins with an ASCII character


def decoded(content: bytes) -> tuple[str, str]:
    """The encoding and the text. Raises Unreadable."""
    if len(content) > MAX_BYTES:
        raise Unreadable("FA-SIDECAR-LARGE", limit=MAX_BYTES)
    for encoding in _candidates(content):
        try:
            text = content.decode(encoding).lstrip("\ufeff").rstrip(_PADDING)
        except UnicodeDecodeError:
            continue
        if not text.strip(f"{_PADDING}\u3000"):  # a copy that a crash cut short is all zeros
            raise Unreadable("FA-SIDECAR-EMPTY")
        return encoding, text
    raise Unreadable("FA-SIDECAR-ENCODING")


def _candidates(content: bytes) -> tuple[str, ...]:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return (encoding,)
    nuls = tuple(byte == 0 for byte in content[:2])
    wide = [encoding for pattern, encoding in _NULS if pattern == nuls]
    if not wide and is_gbk_after_all(content):
        return ("gb18030",)
    return (*wide, "utf-8") if _is_damaged_utf8(content) else (*wide, "utf-8", "gb18030")


def _is_damaged_utf8(content: bytes) -> bool:
    """One broken byte in a Chinese UTF-8 text must not turn every name in it into other characters."""
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return 0 < broken < sum(character > "\u07ff" for character in text) - broken
