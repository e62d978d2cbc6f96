"""Words to the terminal: never fails, whatever the console can show; no control characters; aligned in columns.

Touches stdout and stderr.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from folder_agent.checkup.documents import as_text
from folder_agent.core.catalogue import Language
from folder_agent.core.naming import visible
from folder_agent.core.status import Phrase

_CHINESE = 4  # LANG_CHINESE, the low ten bits of a Windows language identifier


def prepare_streams() -> None:
    """Let stdout and stderr take any text: UTF-8, whatever the console's code page says. A service has none."""
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  it lives as long as the process
    if isinstance(stream, io.TextIOWrapper):
        with suppress(OSError, ValueError):
            stream.reconfigure(encoding="utf-8", errors="replace")
    return stream


def flush() -> None:
    """Write out what is left; a reader that has gone (`status | head`) is no failure."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Python flushes once more when it ends, and would complain then.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str, *, style: str = "", to_stderr: bool = False) -> None:
    """Print a line; the style shows on a terminal only."""
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is None:
        return
    with suppress(OSError, ValueError):
        if style and stream.isatty():
            Console(file=stream, highlight=False).print(Text(visible(text), style), soft_wrap=True)
        else:
            stream.write(visible(text) + "\n")


def say_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; non-ASCII text stays readable."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            sys.stdout.write(as_text(dict(value)))


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows as lines with aligned columns; a Chinese character is two cells wide. The last column is left ragged."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        indent
        + "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def pick(phrase: Phrase, language: Language) -> str:
    """The phrase in that language."""
    return phrase.zh if language == "zh" else phrase.en


def clock(at: float) -> str:
    """An epoch time for people, by the wall clock of this place."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def language_of(chosen: str | None, environment: Mapping[str, str] = os.environ) -> Language:
    """The option, else FOLDER_AGENT_LANG, else the locale's or Windows' language; English if it is neither."""
    names = (chosen, *(environment.get(name) for name in ("FOLDER_AGENT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")))
    for name in names:
        if name:
            return "zh" if name.lower().startswith("zh") else "en"
    return "zh" if _windows_is_chinese() else "en"


def _windows_is_chinese() -> bool:
    if sys.platform != "win32":
        return False
    else:  # noqa: RET505 - mypy knows only this form of asking for the platform
        import ctypes

        return bool(ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == _CHINESE)
