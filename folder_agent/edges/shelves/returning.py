"""The way back: a whole bundle from failed/ into its drop folder, so that it is tried again.

Touches the bundle's folder, the one that it becomes, and between volumes a hidden one beside that. There, every file is
copied before the first original is removed, and the copies are shown last, all at once, by one rename: at no moment
does the agent see a part of the bundle, or files that lie in failed/, too.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from folder_agent.core.naming import numbered
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.names import hidden_folder
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.paths import is_link, stamp_of
from folder_agent.edges.shelves.moving import copy, is_same, restore, take_away
from folder_agent.edges.shelves.places import crosses_volumes, there

_PLAN = ".put-back.part"  # in the bundle's folder once all is copied: the name that it is about to get
_OUR_OWN = frozenset({_PLAN, durable.part_of(Path(_PLAN)).name})
_MOST_PLAN = 1024  # bytes


def put_back(bundle: Path, root: Path, name: str, is_taken: Callable[[Path], bool]) -> str:
    """Move the folder into `root` under its safe name, or the first ` (n)` that is free; the name that it got.

    Repeating an interrupted one finishes it. Raises OSError; FileNotFoundError if there is nothing to put back.
    """
    hidden = root / hidden_folder(hashlib.sha256(os.fsencode(bundle)).hexdigest()[:16])
    plan = _read_plan(bundle)
    if plan is None and there(hidden) is None:
        if next(_files(bundle), None) is None:
            _remove_empty(bundle)
            raise FileNotFoundError(errno.ENOENT, "nothing to put back")
        chosen = _show(bundle, root, name, is_taken)
        if chosen is not None:
            durable.sync_folder(bundle.parent)
            return chosen
    if plan is None:
        try:
            _copy_all(bundle, hidden)
            durable.write_whole(bundle / _PLAN, name.encode())
        except OSError:
            _drop_copies(bundle, hidden)
            raise
    if there(hidden) is not None:
        _remove_all(bundle, hidden)
        plan = _show(hidden, root, name, is_taken, lambda new: durable.write_whole(bundle / _PLAN, new.encode()))
    durable.sync_folder(root)  # an interrupted try may have shown it a moment before
    durable.remove(bundle / _PLAN)
    _remove_empty(bundle)
    durable.sync_folder(bundle.parent)
    return plan or name


def _show(
    folder: Path,
    root: Path,
    name: str,
    is_taken: Callable[[Path], bool],
    about_to: Callable[[str], None] | None = None,
) -> str | None:
    """Rename the folder to the first free name, durable; None if that leads to another volume."""
    for attempt in count(1):
        chosen = numbered(name, attempt)
        if is_taken(root / chosen) or there(root / chosen) is not None:
            continue
        if about_to is not None:
            about_to(chosen)
        try:
            durable.rename_new(folder, root / chosen)
        except FileExistsError:
            continue  # somebody was quicker
        except OSError as error:
            if not crosses_volumes(error):
                raise
            return None
        durable.sync_folder(root)
        return chosen
    raise AssertionError("there are more numbers than files")


def _read_plan(bundle: Path) -> str | None:
    if there(bundle / _PLAN) is None:
        return None
    with open_for_reading(bundle / _PLAN) as plan:
        return plan.read(_MOST_PLAN).decode(errors="replace")


def _copy_all(bundle: Path, hidden: Path) -> None:
    """Have a durable copy of every file. Until the plan says that all are there, no original has been removed."""
    durable.make_folder(hidden)
    for source in sorted(_files(bundle)):
        target = hidden / source.relative_to(bundle)
        durable.make_folder(target.parent)
        if there(target) is not None:
            if is_same(source, target):
                continue
            durable.remove(target)  # our copy of what somebody has corrected since an interrupted try
        copy(source, target, None, source.lstat())
    durable.sync_folders(hidden)  # an interrupted try may have made some
    durable.sync_folder(hidden.parent)


def _drop_copies(bundle: Path, hidden: Path) -> None:
    """It cannot be done now: what nobody sees must not fill the volume until somebody tries again. Without a plan, no
    original has been removed; a copy that is not the same as one stays all the same."""
    with suppress(OSError):
        if there(bundle / _PLAN) is not None or there(hidden) is None:
            return
        for copied in list(_files(hidden)):
            source = bundle / copied.relative_to(hidden)
            if there(source) is not None and is_same(source, copied):
                durable.remove(copied)
        _remove_empty(hidden)


def _remove_all(bundle: Path, hidden: Path) -> None:
    """Remove the originals. What is not the same at both ends, because somebody has edited it since, stays."""
    durable.sync_folder(bundle)  # the plan may be there only because an interrupted try had just written it
    for target in sorted(_files(hidden)):
        source = bundle / target.relative_to(hidden)
        if there(source.parent) is None:
            continue
        restore(source)  # a crash came between stepping aside and removal
        if there(source) is not None and is_same(source, target):
            take_away(source, stamp_of(source.lstat()))
    durable.sync_folders(bundle)  # none of them may come back once the copies are shown


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
