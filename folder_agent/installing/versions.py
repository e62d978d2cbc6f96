"""Which of two versions is the newer. Pure."""

from __future__ import annotations

import re


def is_older(version: str, than: str) -> bool:
    """By their numbers; what stands behind these (a1, .dev2) makes no difference, and what has none is oldest."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version.strip())
    numbers = tuple(int(part) for part in found[0].split(".")) if found else ()
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers
