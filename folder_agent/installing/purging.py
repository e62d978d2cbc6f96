"""Takes our own data away when a person asks for that at the removal: what we know to be ours, and no drop folder.

Touches the data folder. A drop folder, and whatever it holds, stays wherever it lies: also within the data folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from folder_agent.edges.paths import is_inside, normal

_FILES = ("folder-agent.toml", "ledger.db", "console-users.json")
_MORE = (".bak", ".secret", "-wal", "-shm", ".lock", ".holder")  # what goes with one of them
_FOLDERS = ("logs", "backups", "locks")


def purge(data: Path, spared: Iterable[Path]) -> list[Path]:
    """Remove our files and folders from the data folder, and itself if it is empty then; what is left in it. Whatever
    is, lies in, or holds one of `spared` is left alone. Raises OSError."""
    kept = frozenset(normal(place) for place in spared)
    for path in _ours(data):
        if not _touches(path, kept):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    left = sorted(data.iterdir()) if data.is_dir() else []
    if not left and not _touches(data, kept):
        with suppress(OSError):
            data.rmdir()
    return left


def _ours(data: Path) -> Sequence[Path]:
    if not data.is_dir():
        return []
    return [
        path
        for path in sorted(data.iterdir())
        if path.name in _FOLDERS
        or any(path.name == name or path.name.startswith(name + ".") for name in _FILES)
        or any(path.name == name + more for name in _FILES for more in _MORE)
    ]


def _touches(path: Path, kept: frozenset[str]) -> bool:
    own = normal(path)
    return is_inside(own, kept) or any(is_inside(place, frozenset({own})) for place in kept)
