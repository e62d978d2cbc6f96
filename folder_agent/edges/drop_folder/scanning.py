"""Lists a folder and all below it: one scandir a folder, one lstat a file, no file opened, no link followed.

Touches nothing. What could not be listed is told beside what could, because "not listed" must not read as "gone".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from folder_agent.core.records import Sighting
from folder_agent.edges.paths import as_text, is_gone, is_link, normal, stamp_of

MAX_DEPTH = 64  # folders below each other; whatever lies deeper is told as not listed


@dataclass(slots=True)
class Look:
    """What one walk found."""

    sightings: list[Sighting] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)  # relative folders, as text, that could not be listed (in full)
    vanished: bool = False  # something that was listed was gone when it was asked


def scan(root: str, excluded: frozenset[str], start: str = "", with_identity: bool = True) -> Look:
    """Walk `root` from its subfolder `start` (raw, `/` between parts). `excluded` are normalised absolute folders.

    Raises OSError when the start itself cannot be listed.
    """
    look = Look()
    waiting = [(os.path.join(root, start) if start else root, f"{start}/" if start else "", start.count("/") + 1)]
    if not start:
        waiting = [(root, "", 0)]
    first = True
    while waiting:
        folder, prefix, depth = waiting.pop()
        try:
            for entry in _entries(folder):
                _meet(entry, prefix, depth, excluded, with_identity, look, waiting)
        except OSError as error:
            if first:
                raise
            if is_gone(error):
                look.vanished = True
            else:
                look.unlisted.add(as_text(prefix[:-1]))
        first = False
    return look


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _meet(
    entry: os.DirEntry[str],
    prefix: str,
    depth: int,
    excluded: frozenset[str],
    with_identity: bool,
    look: Look,
    waiting: list[tuple[str, str, int]],
) -> None:
    try:
        found = entry.stat(follow_symlinks=False)  # free on Windows
    except OSError as error:
        if not is_gone(error):
            raise  # a folder that may be listed but not searched: all of it counts as not listed
        look.vanished = True
        return
    if stat.S_ISREG(found.st_mode) or is_link(found):
        linked = is_link(found)
        look.sightings.append(Sighting(as_text(prefix + entry.name), stamp_of(found, with_identity), linked))
    elif stat.S_ISDIR(found.st_mode) and normal(entry.path) not in excluded:
        if depth < MAX_DEPTH:
            waiting.append((entry.path, f"{prefix}{entry.name}/", depth + 1))
        else:
            look.unlisted.add(as_text(prefix + entry.name))
    # Pipes, sockets and devices are nobody's exam, and opening them may block: they are passed over.
