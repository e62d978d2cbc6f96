"""Bytes of a sidecar → what it says, in the gateway's names and forms, with every problem told at once.

Whatever the bytes are, reading them gives a SidecarReading: nothing is raised, and no limit of the interpreter is met.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT, PERMIT_MAINLAND, TEXT_FIELDS, FieldClass
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Counts, ListedFile, SidecarReading

MAX_BYTES = 4 * 1024 * 1024  # whoever reads the file takes one byte more, so that a longer one shows
MAX_DEPTH = 32  # levels; the exam itself is one
MAX_LISTED = 100_000  # entries of `files`
MAX_TOLD = 50  # unknown keys, and wrong entries of `files`: nobody reads more
MAX_KEY = 64  # characters of a key in a message
MAX_PATH = 4096  # characters of one listed path
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
_NULS = (((False, True), "utf-16-le"), ((True, False), "utf-16-be"))  # JSON begins with an ASCII character
_STRING = r'"(?:[^"\\]++|\\.?)*+"?+'  # possessive: a megabyte of text costs no backtracking
_BRACKETS = re.compile(rf"{_STRING}|[\[{{]++|[\]}}]++", re.DOTALL)
_WORDS = re.compile(rf'{_STRING}|[^\s",:\[\]{{}}]++', re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_IN_PATHS = re.compile("[\x00-\x1f\x7f-\x9f:\ud800-\udfff]")  # ":" is a drive or an NTFS stream

_T = TypeVar("_T")
FILES = "files"
_FACTS = frozenset({"path", "size", "sha256"})
_AGE = ("patientAge", "patientAgeUnit")
_KEYS = {name.lower(): name for name in (*FIELD_CLASSES, FILES)} | {PERMIT_MAINLAND.lower(): PERMIT}
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
        self.problem = Problem(code, values=tuple(values.items()))


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
    nuls = tuple(byte == 0 for byte in content[:2])
    wide = [encoding for pattern, encoding in _NULS if pattern == nuls]
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
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise _Unreadable("FA-SIDECAR-DUPLICATE", field=_shown(twice, MAX_KEY))
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
    """What kind of thing it is, in signs that need no translation; never the thing itself."""
    kinds = ((list, "[…]"), (dict, "{…}"), (str, '"…"'), (bool, "true/false"), ((int, float), "0…9"))
    return next((sign for kind, sign in kinds if isinstance(value, kind)), "null")


def _shown(value: object, most: int = MAX_SHOWN) -> str:
    """A wrong value, such that it can be written anywhere."""
    if not isinstance(value, str):
        value = _outline(value) if isinstance(value, (list, dict)) else json.dumps(value)
    text = normalising.clean(value)
    return text if len(text) <= most else text[: most - 1] + "…"


# --- JSON → reading ---------------------------------------------------------------------------------------------------


class _Reader:
    """Collects the fields of one sidecar and everything that is to be said about them."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unknown: list[str] = []
        self.told: set[str] = set()  # fields about which something has been said
        self.given: dict[str, object] = {}
        for key, value in document.items():
            self._take(key, value)

    def reading(self, encoding: str) -> SidecarReading:
        values = self._ages()
        for name in TEXT_FIELDS:
            if name not in _AGE:
                values[name] = self._read(name, _FORMS.get(name, normalising.text))
            self._miss(name, values[name])
        declared = Counts(**{count: self._read(name, normalising.count) for name, count in COUNT_FIELDS.items()})
        listed = self._listed()
        return SidecarReading(
            fields=tuple((name, value) for name in TEXT_FIELDS if (value := values[name]) is not None),
            declared=declared,
            listed=listed,
            encoding=encoding,
            unknown_keys=tuple(self.unknown),
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
        )

    def _take(self, key: str, value: object) -> None:
        """Sort a key in by its gateway name; of unknown ones only the name is kept."""
        name = _KEYS.get(_folded(key))
        if name is None:
            self._unknown(key)
        elif name in self.given:
            self.problems.append(problem("FA-SIDECAR-DUPLICATE", field=name))
        else:
            self.given[name] = value

    def _unknown(self, key: str) -> None:
        name = _shown(key, MAX_KEY)
        if len(self.unknown) < MAX_TOLD and name not in self.unknown:
            self.unknown.append(name)
            self.warnings.append(problem("FA-FIELD-UNKNOWN", field=name))

    def _read(self, name: str, form: Callable[[object], _T | None]) -> _T | None:
        try:
            return form(self.given.get(name))
        except Unfit as error:
            self._unfit(name, error.expected)
            return None

    def _unfit(self, name: str, expected: str) -> None:
        """A count decides whether the bundle is complete, so that a wrong one refuses like a wrong class A field."""
        self.told.add(name)
        value = {"value": _shown(self.given.get(name))}
        if FIELD_CLASSES.get(name) is FieldClass.A or name in COUNT_FIELDS or name == FILES:
            self.problems.append(problem("FA-FIELD-INVALID", private=value, field=name, expected=expected))
        else:
            self.warnings.append(problem("FA-FIELD-DROPPED", private=value, field=name, expected=expected))

    def _miss(self, name: str, value: str | None) -> None:
        if value is None and name not in self.told:
            if FIELD_CLASSES[name] is FieldClass.A:
                self.problems.append(problem("FA-FIELD-MISSING", field=name))
            elif FIELD_CLASSES[name] is FieldClass.B:
                self.warnings.append(problem("FA-FIELD-ABSENT", field=name))

    def _ages(self) -> dict[str, str | None]:
        """Age and unit explain each other; where they do not fit, the age goes and a readable unit may stay."""
        age, unit = (self.given.get(name) for name in _AGE)
        try:
            return dict(zip(_AGE, normalising.age_with_unit(age, unit), strict=True))
        except Unfit as error:
            if not _is_absent(age):
                self._unfit(_AGE[0], error.expected)
            return {_AGE[0]: None, _AGE[1]: self._read(_AGE[1], normalising.age_unit)}

    def _listed(self) -> tuple[ListedFile, ...] | None:
        """The `files` list. An empty one lists nothing, as many exporters write it: counts or quiet decide then."""
        entries = self.given.get(FILES)
        if entries == [] or _is_absent(entries):
            return None
        if not isinstance(entries, list):
            self._unfit(FILES, "[…]")
            return None
        listed: dict[str, ListedFile] = {}
        wrong = [_enlist(entry, index, listed) for index, entry in enumerate(entries[:MAX_LISTED], start=1)]
        if len(entries) > MAX_LISTED:
            wrong.append(problem("FA-LISTED-SHAPE", index=MAX_LISTED + 1))
        self.problems.extend([found for found in wrong if found is not None][:MAX_TOLD])
        for key in dict.fromkeys(key for entry in entries if isinstance(entry, dict) for key in entry):
            if _folded(key) not in _FACTS:  # a misspelt sha256 would check nothing, so it is told
                self._unknown(f"{FILES}[].{key}")
        return tuple(listed.values())


def _folded(key: str) -> str:
    return key.strip().lower()


def _is_absent(raw: object) -> bool:
    try:
        return normalising.text(raw) is None
    except Unfit:
        return False


# --- the files list ---------------------------------------------------------------------------------------------------


def _enlist(entry: object, index: int, listed: dict[str, ListedFile]) -> Problem | None:
    """Add one entry, a path or {path, size?, sha256?}; the same facts twice are one entry."""
    facts = {_folded(key): value for key, value in entry.items()} if isinstance(entry, dict) else {"path": entry}
    written = facts.get("path")
    if not isinstance(written, str) or (isinstance(entry, dict) and len(facts) < len(entry)):
        return problem("FA-LISTED-SHAPE", index=index)
    path = _jailed(written)
    if path is None:
        return problem("FA-LISTED-PATH", private={"entry": _shown(written)})
    try:
        file = ListedFile(path, normalising.count(facts.get("size"), MAX_FILE_SIZE), _digest(facts.get("sha256")))
    except Unfit:
        return problem("FA-LISTED-SHAPE", index=index)
    return None if listed.setdefault(path, file) == file else problem("FA-LISTED-SHAPE", index=index)


def _jailed(written: str) -> str | None:
    """The path with `/` between its parts if it stays inside the sidecar's folder on every platform, else None.

    Windows takes trailing dots and spaces off a part, so that ".. " would climb as well as "..".
    """
    path = written.replace("\\", "/").removeprefix("./")
    climbs = any(not part.rstrip(". ") for part in path.split("/"))  # also the empty parts of "/x", "//host" and "a//b"
    return None if climbs or len(path) > MAX_PATH or _NOT_IN_PATHS.search(path) else path


def _digest(raw: object) -> str | None:
    value = normalising.text(raw)
    if value is not None and not _SHA256.fullmatch(value.lower()):
        raise Unfit("SHA-256")
    return value and value.lower()
