"""Text → one JSON object (RFC 8259), also one that stands alone in a list; within bounds of depth and numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from folder_agent.core.sidecar.wording import MAX_KEY, Unreadable, outline, shown

MAX_DEPTH = 32  # levels; the exam itself is one
MAX_NUMBER = 600  # characters; Python may be set to refuse whole numbers of more than 640 digits

_STRING = r'"(?:[^"\\]++|\\.?)*+"?+'  # possessive: a megabyte of text costs no backtracking
_BRACKETS = re.compile(rf"{_STRING}|[\[{{]++|[\]}}]++", re.DOTALL)
_WORDS = re.compile(rf'{_STRING}|[^\s",:\[\]{{}}]++', re.DOTALL)


class _WrongNumber(Exception):
    """A number that JSON does not have, or that is too long to be one of ours; never leaves this module."""


def parsed(text: str) -> dict[str, object]:
    """The JSON object; line ends inside strings are taken, too, as many exporters write them. Raises Unreadable."""
    if _depth(text) > MAX_DEPTH:
        raise Unreadable("FA-SIDECAR-DEEP", limit=MAX_DEPTH)
    try:
        document = json.loads(
            text,
            strict=False,
            object_pairs_hook=_without_duplicates,
            parse_int=lambda written: int(_short(written)),
            parse_float=_decimal,
            parse_constant=_refuse_number,
        )
    except json.JSONDecodeError as error:
        raise Unreadable("FA-SIDECAR-JSON", line=error.lineno, column=error.colno) from None
    except _WrongNumber as error:
        raise Unreadable("FA-SIDECAR-JSON", **_place_of(str(error), text)) from None
    if isinstance(document, list) and len(document) == 1 and isinstance(document[0], dict):
        [document] = document  # an export of several exams with one in it
    if not isinstance(document, dict):
        raise Unreadable("FA-SIDECAR-SHAPE", found=outline(document))
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
        raise Unreadable("FA-SIDECAR-DUPLICATE", field=shown(twice, MAX_KEY))
    return document


def _decimal(written: str) -> Decimal:
    """A decimal keeps every digit that is written; a float would not."""
    try:
        return Decimal(_short(written))
    except InvalidOperation:  # an exponent beyond all bounds
        return _refuse_number(written)


def _short(written: str) -> str:
    return written if len(written) <= MAX_NUMBER else _refuse_number(written)


def _refuse_number(written: str) -> NoReturn:
    raise _WrongNumber(written)


def _place_of(written: str, text: str) -> dict[str, int]:
    """Line and column of the first word outside strings that begins so: that is where the parser stopped."""
    words = _WORDS.finditer(text)
    at = next((word.start() for word in words if word[0].startswith(written)), 0)
    return {"line": text.count("\n", 0, at) + 1, "column": at - text.rfind("\n", 0, at)}
