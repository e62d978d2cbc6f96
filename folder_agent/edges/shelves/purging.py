"""Deleting what was delivered from done/, where the settings ask for it: only what a receipt lists, and as it lists it.

Touches done/. Any step may be the last before a crash: the receipt goes last of all, so that purging goes on from it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from folder_agent.core.shelving import RECEIPT
from folder_agent.edges import durable
from folder_agent.edges.paths import as_text, is_gone, is_link, retrying
from folder_agent.edges.shelves.places import below, there

_HELD_S = 0.2  # a folder that Explorer shows is held; it goes the next time


def entries(folder: Path) -> list[str]:
    """The names of the real folders in a folder, sorted, as text; empty if it is not there."""
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if _is_real_folder(entry)]
    except OSError as error:
        if is_gone(error):
            return []
        raise
    return sorted(map(as_text, names))


def purge(folder: Path, files: Mapping[str, int]) -> int:
    """Delete those files (paths in the folder, sizes in bytes); how many bytes that freed. If nothing else lies there,
    the receipt and the folder go, too; what is of another size, or is not listed, stays, and the receipt with it.

    Raises OSError.
    """
    freed = sum(_delete(folder, path, size) for path, size in files.items() if path != RECEIPT)
    durable.sync_folders(folder)  # the receipt must not be gone before what it lists
    if not _holds_others(folder):
        durable.remove(folder / RECEIPT)
        _remove_empty(folder)
    return freed


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not is_link(entry.stat(follow_symlinks=False))


def _delete(folder: Path, path: str, size: int) -> int:
    place = below(folder, path)
    found = there(place)
    if found is None or not stat.S_ISREG(found.st_mode) or is_link(found) or found.st_size != size:
        return 0
    durable.remove(place)
    return size


def _holds_others(folder: Path) -> bool:
    """Whether anything but folders and the receipt lies there; links count, and are not followed."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        here = Path(place)
        if any(name != RECEIPT or here != folder for name in files) or any(
            is_link((here / n).lstat()) for n in folders
        ):
            return True
    return False


def _remove_empty(folder: Path) -> None:
    """Remove the folder with its empty folders, and the day's folder if that was the last of its day."""
    below_it = [Path(place) for place, _, _ in os.walk(folder, topdown=False)]
    for place in (*below_it, folder.parent):
        with suppress(OSError):  # somebody has put something there, or holds it
            retrying(place.rmdir, _HELD_S)


def _raise(error: OSError) -> None:
    if not is_gone(error):
        raise error
