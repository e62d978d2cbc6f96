"""The end of the agent's log, for people. Reads the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_BYTES = 128 * 1024
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Line(NamedTuple):
    """One line; `level` is empty where it goes on from the one before."""

    at: str
    level: str
    text: str


def tail(folder: Path | None, least: str = "INFO", most: int = 200) -> list[Line]:
    """The last lines of at least that level, newest first. Empty where there is no log."""
    if folder is None:
        return []
    try:
        with (folder / "folder-agent.log").open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _BYTES))
            content = log.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = content.splitlines()[1 if size > _BYTES else 0 :]
    wanted = LEVELS[LEVELS.index(least) :]
    found = [line for line in map(_line, lines) if line.level in wanted]
    return found[-most:][::-1]


def _line(text: str) -> Line:
    """`2026-11-23 10:02:03.123 INFO    what happened`"""
    at, level, rest = text[:23], text[24:31].strip(), text[32:]
    return Line(at, level, rest) if level in LEVELS else Line("", "", text)
