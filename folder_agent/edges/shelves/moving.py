"""The move of one file, from whatever point a crash left it at: by rename, else copy, compare, remove.

Touches the source, the target and one temporary name beside each. At every moment one of them is the whole file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from folder_agent.core.records import Stamp
from folder_agent.edges import durable
from folder_agent.edges.durable import SourceChanged, aside_of
from folder_agent.edges.paths import is_link
from folder_agent.edges.shelves.places import crosses_volumes, is_ours, there


def move(source: Path, target: Path, stamp: Stamp) -> bool:
    """Move the file of that stamp; the target's folder is there. False if it is at neither end.

    Raises SourceChanged if another file is at the source and nothing at the target, FileExistsError if the target is
    somebody else's, and the OSError of whatever failed.
    """
    here, arrived = restore(source), there(target)
    if arrived is not None:
        _check_target(arrived, stamp)
        if here is not None:
            _drop_aside(source, target, stamp)
        if here is not None and is_ours(here, stamp):
            _finish(source, target, stamp)
        return True  # What else may be at the source is a newcomer, and stays
    if here is None:
        return False
    if not is_ours(here, stamp):
        raise SourceChanged
    _carry(source, target, stamp, here)
    return True


def _check_target(found: os.stat_result, stamp: Stamp) -> None:
    if found.st_size != stamp.size:
        raise FileExistsError(errno.EEXIST, "the target is another file")


def restore(source: Path) -> os.stat_result | None:
    """Put back an original that a crash left aside, between its copy and its removal; what is at the source now."""
    here = there(source)
    left = None if here is not None else there(aside_of(source))
    if left is not None:
        durable.rename_new(aside_of(source), source)
    return here or left


def _drop_aside(source: Path, target: Path, stamp: Stamp) -> None:
    """As `restore`, where a newcomer has taken the original's place meanwhile."""
    aside = aside_of(source)
    left = there(aside)
    if left is not None and is_ours(left, stamp) and is_same(aside, target):
        durable.remove(aside)


def _carry(source: Path, target: Path, stamp: Stamp, here: os.stat_result) -> None:
    try:
        durable.rename_new(source, target)
    except OSError as error:
        if not crosses_volumes(error):
            raise
        copy(source, target, stamp, here)
        take_away(source, stamp)
        return
    if not is_ours(target.lstat(), stamp):
        # Somebody put another file there between our look and the rename. It goes back.
        durable.rename_new(target, source)
        raise SourceChanged


def copy(source: Path, target: Path, stamp: Stamp | None, found: os.stat_result) -> None:
    """Copy a file, or make the same link again (`found` tells which); durable, never over anything."""
    if not is_link(found):
        durable.copy_whole(source, target, stamp)
        return
    leads_to_folder = bool(getattr(found, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_DIRECTORY)
    target.symlink_to(source.readlink(), target_is_directory=leads_to_folder)  # told apart by Windows only
    durable.sync_folder(target.parent)


def _finish(source: Path, target: Path, stamp: Stamp) -> None:
    """Both are there: a copy was interrupted before its original was removed, or it is another file of that size."""
    if not is_same(source, target):
        raise FileExistsError(errno.EEXIST, "the target is another file of the same size")
    durable.sync_folder(target.parent)
    take_away(source, stamp)


def is_same(one: Path, other: Path) -> bool:
    """Whether both have the same bytes, or are links to the same place."""
    links = is_link(one.lstat()), is_link(other.lstat())
    if any(links):
        return all(links) and os.fspath(one.readlink()) == os.fspath(other.readlink())
    return durable.digest_of(one) == durable.digest_of(other)


def take_away(source: Path, stamp: Stamp) -> None:
    """Remove the original of a durable copy. It steps aside first: if a newcomer took its place in that very moment,
    it is seen, and goes back, instead of being deleted unread."""
    aside = aside_of(source)
    durable.rename_new(source, aside)
    if is_ours(aside.lstat(), stamp):
        durable.remove(aside)
    else:
        durable.rename_new(aside, source)
