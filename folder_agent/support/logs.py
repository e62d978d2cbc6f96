"""The newest part of the logs, line by line as it may be told. Reads the log folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from folder_agent.edges.paths import openable
from folder_agent.support.telling import told_line

MOST_BYTES = 16 * 1024 * 1024  # of all logs together; they shrink to a tenth in the ZIP
_PATTERN = "*.log*"


def told_logs(folder: Path, most: int = MOST_BYTES) -> Iterator[tuple[str, str]]:
    """Name and text of each file, the newest first, until so many bytes have been read. What cannot be read says so."""
    try:
        files = sorted(openable(folder).glob(_PATTERN), key=lambda file: file.stat().st_mtime, reverse=True)
    except OSError as error:
        yield "unreadable.txt", type(error).__name__
        return
    for file in files:
        if most <= 0:
            return
        try:
            content = _end_of(file, most)
        except OSError as error:
            yield file.name, f"cannot be read: {type(error).__name__}"
            continue
        most = most - len(content) if len(content) == file.stat().st_size else 0
        yield file.name, "\n".join(map(told_line, content.decode("utf-8", errors="replace").splitlines())) + "\n"


def _end_of(file: Path, most: int) -> bytes:
    """The last so many bytes, from the beginning of a line."""
    with file.open("rb") as reader:
        size = reader.seek(0, 2)
        reader.seek(max(0, size - most))
        content = reader.read(most)
    return content if size <= most else content.partition(b"\n")[2]
