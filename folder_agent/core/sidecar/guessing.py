"""Whether bytes that are valid UTF-8 are Chinese in GBK all the same; asked only where there is room for doubt.

A few hanzi of GBK are also well-formed UTF-8: 钱石 is "Ǯʯ". Where a sidecar holds no other hanzi than such, UTF-8 is
what it stays, unless read as UTF-8 it has a word that no language writes and none that one does, while as GB2312 all of
it is hanzi. A word in doubt (a symbol, a single letter) says nothing either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# GB2312 hanzi (rows 0xB0 to 0xF7, columns from 0xA1) that are two-byte sequences of UTF-8 (RFC 3629), and ASCII.
_BOTH = re.compile(rb"(?:[\x00-\x7f]++|(?:[\xc2-\xdf][\xa1-\xbf])++)*+")
_LETTERS = re.compile(r"[^\W\d_\x80-\xbf]+")  # ½, µ, º are signs
_ODD_MARKS = re.compile("[\u02b0-\u0385\u0480-\u048f\u0530-\u061f\u0670-\u07ff]")
_LATIN = frozenset("".join(map(chr, (*range(0xC0, 0x180), *range(0x1CD, 0x1DD)))) + "ƠơƯưǸǹȘșȚț") - set("×÷")
_GREEK = frozenset(map(chr, range(0x386, 0x3CF)))
_CYRILLIC = frozenset("".join(map(chr, range(0x400, 0x460))) + "ҐґҒғҖҗҚқҢңҮүҰұҲҳҶҷҺһӘәӨө")  # with Kazakh, Mongolian, …
_ARABIC = frozenset("".join(map(chr, range(0x620, 0x64B))) + "ٱپچژڭگھۆۇۈۋېىەی")  # with Uyghur
_VOWELS = frozenset("аеёиоуыэюяіїєөүұәαεηιουωάέήίόύώ")
_SHORTEST = 3  # letters of a word that can vouch for a language without the help of ASCII letters


def is_gbk_after_all(content: bytes) -> bool:
    """Whether bytes that are valid UTF-8 are to be read as GB18030."""
    if content.isascii() or not _BOTH.fullmatch(content):
        return False
    text = content.decode("utf-8")
    verdicts = {_verdict(word) for word in _words(text)}
    return False in verdicts and True not in verdicts


def _words(text: str) -> Iterable[str]:
    """Runs of letters with one beyond ASCII at least; marks and letters that no sidecar has count by themselves."""
    words = {word for word in _LETTERS.findall(text) if not word.isascii()}
    return words | set(_ODD_MARKS.findall(text))


def _verdict(word: str) -> bool | None:
    """True: some language that a hospital meets writes so. False: none does. None: nothing can be said."""
    letters = {letter for letter in word if not letter.isascii()}
    has_ascii = len(letters) < len(set(word))
    if letters <= _LATIN:
        return has_ascii or (None if len(word) == 1 else False)
    if has_ascii:
        return False
    if letters <= _GREEK and len(word) == 1:
        return None  # α, β, μ: signs of medicine
    if len(word) < _SHORTEST:
        return False
    if letters <= _ARABIC:
        return True
    is_one_script = letters <= _GREEK or letters <= _CYRILLIC
    is_cased = word.islower() or word.isupper() or word.istitle()
    return is_one_script and is_cased and not _VOWELS.isdisjoint(word.lower())
