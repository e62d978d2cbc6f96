"""The way back: a whole bundle from failed/ into its drop folder, so that it is tried again.

Touches the bundle's folder and the one that it becomes. Between volumes, where it goes is written down before the
first copy, every file is copied before the first is removed, and sidecars go last: no half bundle looks whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from folder_agent.core.naming import numbered
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.paths import is_link, stamp_of
from folder_agent.edges.shelves.moving import copy, is_same, restore, take_away
from folder_agent.edges.shelves.places import below, crosses_volumes, there

_PLAN = ".put-back.part"  # in the bundle's folder while it is being copied: its new name, and whether all is copied
_OUR_OWN = frozenset({_PLAN, durable.part_of(Path(_PLAN)).name})
_COPIED = "/copied"
_MOST_PLAN = 1024  # bytes


def put_back(bundle: Path, root: Path, name: str, is_taken: Callable[[Path], bool]) -> str:
    """Move the folder into `root` under its safe name, or the first ` (n)` that is free; the name that it got.

    Repeating an interrupted one finishes it. Raises OSError; FileNotFoundError if there is nothing to put back.
    """
    plan = _read_plan(bundle)
    if plan is not None:
        chosen = plan.removesuffix(_COPIED)
        _copy_then_remove(bundle, below(root, chosen), chosen, plan.endswith(_COPIED))
        return chosen
    if next(_files(bundle), None) is None:
        _remove_empty(bundle)  # a crash came after the last file had gone back
        raise FileNotFoundError(errno.ENOENT, "nothing to put back")
    for attempt in count(1):
        chosen = numbered(name, attempt)
        if is_taken(root / chosen) or there(root / chosen) is not None:
            continue
        try:
            is_moved = _claim(bundle, root / chosen)
        except FileExistsError:
            continue  # somebody was quicker
        if not is_moved:
            durable.write_whole(bundle / _PLAN, chosen.encode())
            _copy_then_remove(bundle, root / chosen, chosen, False)
        return chosen
    raise AssertionError("there are more numbers than files")


def _claim(bundle: Path, place: Path) -> bool:
    """Rename the folder; False if that leads to another volume: then its new place is there, and empty."""
    try:
        durable.rename_new(bundle, place)
    except OSError as error:
        if not crosses_volumes(error):
            raise
        place.mkdir()
        return False
    durable.sync_folder(place.parent)
    durable.sync_folder(bundle.parent)
    return True


def _read_plan(bundle: Path) -> str | None:
    if there(bundle / _PLAN) is None:
        return None
    with open_for_reading(bundle / _PLAN) as plan:
        return plan.read(_MOST_PLAN).decode(errors="replace")


def _copy_then_remove(bundle: Path, place: Path, chosen: str, is_copied: bool) -> None:
    if is_copied and there(place) is not None:
        for target in list(_files(place)):
            restore(bundle / target.relative_to(place))  # a crash came between stepping aside and removal
    files = sorted(_files(bundle), key=lambda path: (path.suffix.lower() == ".json", path))
    if not is_copied:
        for source in files:
            _copy_one(source, place / source.relative_to(bundle))
        durable.write_whole(bundle / _PLAN, (chosen + _COPIED).encode())
    for source in files:
        # Edited since, or already taken on by the agent: what is not the same at both ends stays in failed/.
        target = place / source.relative_to(bundle)
        if there(target) is not None and is_same(source, target):
            take_away(source, stamp_of(source.lstat()))
    durable.remove(bundle / _PLAN)
    _remove_empty(bundle)
    durable.sync_folder(bundle.parent)


def _copy_one(source: Path, target: Path) -> None:
    durable.make_folder(target.parent)
    if there(target) is None:
        copy(source, target, None, source.lstat())
    elif not is_same(source, target):
        raise FileExistsError(errno.EEXIST, "another file came to its place")


def _files(folder: Path) -> Iterator[Path]:
    """Every file and link below, but the plan. A link to a folder is a link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_link(entry.stat(follow_symlinks=False)) or not entry.is_dir(follow_symlinks=False):
                if entry.name not in _OUR_OWN:
                    yield Path(entry.path)
            else:
                yield from _files(Path(entry.path))


def _remove_empty(folder: Path) -> None:
    with os.scandir(folder) as entries:
        inner = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    for entry in inner:
        if not is_link(entry.stat(follow_symlinks=False)):
            _remove_empty(Path(entry.path))
    with suppress(OSError):  # what stays behind keeps its folder
        folder.rmdir()
