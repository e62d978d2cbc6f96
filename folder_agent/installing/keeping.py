"""A copy of settings, token and ledger before an upgrade, beside them: `backups/VERSION TIME/`.

Touches that folder; reads the rest. SQLite itself copies a ledger, so that what is in its -wal is in the copy.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from folder_agent.edges import durable
from folder_agent.edges.volumes import free_bytes

FOLDER = "backups"
_MOST = 3  # older ones go: each is as large as the ledger
_MIB = 1024 * 1024
_SPARE = 200 * _MIB  # bytes that stay free
_PAGES = 4096  # copied between two looks at whoever else wants the ledger


class NoSpace(Exception):
    """The ledger's copy does not fit; both in MiB."""

    def __init__(self, need: int, free: int) -> None:
        super().__init__(need, free)
        self.need, self.free = need, free


def keep(data: Path, version: str, files: Sequence[Path], ledger: Path | None, now: datetime) -> Path:
    """Copy what is there of the files and the ledger; the folder. Raises NoSpace before anything is written, OSError,
    sqlite3.Error. Of all such folders the newest stay."""
    size = sum(part.stat().st_size for part in _parts(ledger) if part.is_file())
    if (free := free_bytes(data)) < size + _SPARE:
        raise NoSpace(size // _MIB + _SPARE // _MIB, free // _MIB)
    top = data / FOLDER
    folder = top / f"{version} {now:%Y-%m-%d %H%M%S}"
    durable.make_folder(folder)
    for file in files:
        if file.is_file():
            shutil.copy2(file, folder)
    if ledger is not None and ledger.is_file():
        _copy(ledger, folder / ledger.name)
    _drop_oldest(top)
    return folder


def _parts(ledger: Path | None) -> list[Path]:
    return [] if ledger is None else [Path(f"{ledger}{end}") for end in ("", "-wal")]


def _copy(ledger: Path, target: Path) -> None:
    source = ledger.absolute().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(source, uri=True)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing, pages=_PAGES)
    with target.open("r+b") as written:
        durable.sync_file(written)
    durable.sync_folder(target.parent)


def _drop_oldest(top: Path) -> None:
    made = sorted((folder for folder in top.iterdir() if folder.is_dir()), key=lambda folder: folder.name[-17:])
    for folder in made[:-_MOST]:
        shutil.rmtree(folder, ignore_errors=True)
