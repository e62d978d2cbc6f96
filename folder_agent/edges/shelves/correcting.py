"""A corrected sidecar comes to what lies in failed/: it takes the old one's place, which is kept beside it under a name
that nobody takes for a sidecar.

Touches the bundle's folder and the one file that it is given. Any step may be the last before a crash: while the new
one bears its temporary name, the old one is out of the way or still in its place; repeating goes on from either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from folder_agent.core.naming import safe_name
from folder_agent.core.records import FileKind, Stamp
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.names import REPLACED, kind_by_name
from folder_agent.edges.paths import as_text, is_link
from folder_agent.edges.shelves.moving import move
from folder_agent.edges.shelves.places import is_ours, there

_LONGEST = 200  # bytes of a name that another ending is put to


def correct(source: Path, bundle: Path, stamp: Stamp) -> bool:
    """Take the file of that stamp into the bundle's folder; false if it is not there any more, and nothing has changed.

    Repeating an interrupted or finished one finishes it. Raises OSError, and SourceChanged if it is another file now.
    """
    incoming = _incoming(bundle, source.name)
    place = incoming.with_name(source.name)
    if there(source) is None and there(incoming) is None:
        found = there(place)
        return found is not None and is_ours(found, stamp)
    if not move(source, incoming, stamp):
        return False
    for folder in (incoming.parent, source.parent):
        if there(folder) is not None:
            durable.sync_folder(folder)
    for old in list(_sidecars(bundle)):
        set_aside(old)
    durable.rename_new(incoming, place)
    durable.sync_folder(place.parent)
    return True


def set_aside(sidecar: Path) -> None:
    """Give an old sidecar a name under which it goes along with its exam and is not read."""
    name = sidecar.name
    if len(os.fsencode(name)) > _LONGEST:
        name = safe_name(as_text(name)) + ".json"
    for number in count(1):
        aside = sidecar.with_name(f"{name}{REPLACED}" if number == 1 else f"{name} ({number}){REPLACED}")
        if there(aside) is None:
            durable.rename_new(sidecar, aside)
            durable.sync_folder(sidecar.parent)
            return


def _incoming(bundle: Path, name: str) -> Path:
    """Where the new one waits: where an interrupted try has put it, else beside the old one."""
    waiting = durable.part_of(Path(name)).name
    for path in _files(bundle):
        if path.name == waiting:
            return path
    return min(_sidecars(bundle), default=bundle / name).with_name(waiting)


def _sidecars(bundle: Path) -> Iterator[Path]:
    return (path for path in _files(bundle) if kind_by_name(path.name, None) is FileKind.SIDECAR)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below; links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if is_link(entry.stat(follow_symlinks=False)) or not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        else:
            yield from _files(Path(entry.path))
