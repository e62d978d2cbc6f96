"""Bytes of a sidecar → what it says, in the gateway's names and forms, with every problem told at once.

Whatever the bytes are, reading them gives a SidecarReading: nothing is raised, and no limit of the interpreter is met.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT, PERMIT_MAINLAND, TEXT_FIELDS, FieldClass
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Counts, ListedFile, SidecarReading

MAX_BYTES = 4 * 1024 * 1024  # whoever reads the file takes one byte more, so that a longer one shows
MAX_DEPTH = 32  # levels; the exam itself is one
MAX_LISTED = 100_000  # entries of `files`
MAX_UNKNOWN = MAX_LIST_PROBLEMS = 50  # told one by one; nobody reads more
MAX_NUMBER = 600  # characters; Python may be set to refuse whole numbers of more than 640 digits
MAX_SHOWN = 200  # characters of a wrong value in a message
MAX_FILE_SIZE = 2**63 - 1  # bytes

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_STRING = r'"(?:[^"\\]++|\\.?)*+"?+'  # possessive: a megabyte of text costs no backtracking
_BRACKETS = re.compile(rf"{_STRING}|[\[{{]++|[\]}}]++", re.DOTALL)
_WORDS = re.compile(rf'{_STRING}|[^\s",:\[\]{{}}]++', re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_IN_PATHS = re.compile("[\x00-\x1f\x7f-\x9f:\ud800-\udfff]")  # ":" is a drive or an NTFS stream

_KEYS = {name.lower(): name for name in (*FIELD_CLASSES, "files")} | {PERMIT_MAINLAND.lower(): PERMIT}
_FORMS: dict[str, Callable[[object], str | None]] = {
    "patientSex": normalising.sex,
    "patientBirthday": normalising.date,
    "size": normalising.size,
    "weight": normalising.weight,
    "studyDate": normalising.date_time,
    "studyCategory": normalising.study_category,
    "status": normalising.status,
    "studyUid": normalising.uid,
}


def read_sidecar(content: bytes) -> SidecarReading:
    """What a sidecar says (fields: the gateway's page, 请求参数); a reading with problems must not be sent."""
    encoding = "utf-8"
    try:
        encoding, text = _decoded(content)
        document = _parsed(text)
    except _Unreadable as error:
        return SidecarReading(encoding=encoding, problems=(error.problem,))
    return _Reader(document).reading(encoding)


class _Unreadable(Exception):
    """Nothing can be said of the fields; never leaves this module."""

    def __init__(self, code: str, **values: str | int) -> None:
        super().__init__(code)
        self.problem = problem(code, **values)


class _WrongNumber(Exception):
    """A number that JSON does not have, or that is too long to be one of ours; never leaves this module."""


# --- bytes → text -----------------------------------------------------------------------------------------------------


def _decoded(content: bytes) -> tuple[str, str]:
    """The encoding and the text: by mark, by where the NULs are, else UTF-8, else GB18030; never the locale's."""
    if len(content) > MAX_BYTES:
        raise _Unreadable("FA-SIDECAR-LARGE", limit=MAX_BYTES)
    for encoding in _candidates(content):
        try:
            text = content.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        if not text.strip("\0 \t\r\n\u3000"):  # a copy that a crash cut short is all zeros
            raise _Unreadable("FA-SIDECAR-EMPTY")
        return encoding, text
    raise _Unreadable("FA-SIDECAR-ENCODING")


def _candidates(content: bytes) -> tuple[str, ...]:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return (encoding,)
    wide = {(True, False): ("utf-16-le",), (False, True): ("utf-16-be",)}.get(
        (content[:1] != b"\0", content[1:2] != b"\0"), ()
    )
    return (*wide, "utf-8") if _is_damaged_utf8(content) else (*wide, "utf-8", "gb18030")


def _is_damaged_utf8(content: bytes) -> bool:
    """One broken byte in a Chinese UTF-8 text must not turn every name in it into other characters."""
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return 0 < broken < sum(character > "\u07ff" for character in text) - broken


# --- text → JSON ------------------------------------------------------------------------------------------------------


def _parsed(text: str) -> dict[str, object]:
    """The JSON object (RFC 8259; line ends inside strings are taken, too, as many exporters write them)."""
    if _depth(text) > MAX_DEPTH:
        raise _Unreadable("FA-SIDECAR-DEEP", limit=MAX_DEPTH)
    try:
        document = json.loads(
            text,
            strict=False,
            object_pairs_hook=_without_duplicates,
            parse_int=lambda written: int(_short(written)),
            parse_float=lambda written: float(_short(written)),
            parse_constant=_refuse_number,
        )
    except json.JSONDecodeError as error:
        raise _Unreadable("FA-SIDECAR-JSON", line=error.lineno, column=error.colno) from None
    except _WrongNumber as error:
        raise _Unreadable("FA-SIDECAR-JSON", **_place_of(str(error), text)) from None
    if not isinstance(document, dict):
        raise _Unreadable("FA-SIDECAR-SHAPE", found=_outline(document))
    return document


def _depth(text: str) -> int:
    """How deep it is nested, counted before parsing: the parser would go as deep as the text does."""
    deepest = depth = 0
    for found in _BRACKETS.finditer(text):
        token = found[0]
        if token[0] in "[{":
            depth += len(token)
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif token[0] in "]}":
            depth -= len(token)
    return deepest


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Unreadable("FA-SIDECAR-DUPLICATE", field=_shown(twice, 64))
    return document


def _short(written: str) -> str:
    return written if len(written) <= MAX_NUMBER else _refuse_number(written)


def _refuse_number(written: str) -> NoReturn:
    raise _WrongNumber(written)


def _place_of(written: str, text: str) -> dict[str, int]:
    """Line and column of the first word outside strings that begins so: that is where the parser stopped."""
    words = _WORDS.finditer(text)
    at = next((word.start() for word in words if word[0].startswith(written)), 0)
    return {"line": text.count("\n", 0, at) + 1, "column": at - text.rfind("\n", 0, at)}


def _outline(value: object) -> str:
    """What kind of thing it is, in signs that need no translation."""
    if isinstance(value, (list, dict)):
        return "[…]" if isinstance(value, list) else "{…}"
    return "“…”" if isinstance(value, str) else json.dumps(value)


def _shown(value: object, most: int = MAX_SHOWN) -> str:
    """A wrong value, such that it can be written anywhere."""
    text = normalising.clean(value) if isinstance(value, str) else _outline(value)
    return text if len(text) <= most else text[: most - 1] + "…"


# --- JSON → reading ---------------------------------------------------------------------------------------------------


class _Reader:
    """Collects the fields of one sidecar and everything that is to be said about them."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unknown: list[str] = []
        self.told: set[str] = set()  # fields about which something has been said
        self.given = self._by_name(document)

    def reading(self, encoding: str) -> SidecarReading:
        ages = self._ages()
        values = {name: ages[name] if name in ages else self._text(name) for name in TEXT_FIELDS}
        counts = {count: self._count(name) for name, count in COUNT_FIELDS.items()}
        listed = self._listed()
        return SidecarReading(
            fields=tuple((name, value) for name, value in values.items() if value is not None),
            declared=Counts(**counts),
            listed=listed,
            encoding=encoding,
            unknown_keys=tuple(self.unknown),
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
        )
