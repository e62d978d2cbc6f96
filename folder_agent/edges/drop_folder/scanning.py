"""Lists a folder and all below it: one scandir a folder, one lstat a file, no file opened, no link followed.

Touches nothing. What could not be listed is told beside what could, because "not listed" must not read as "gone".
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from folder_agent.core.records import Sighting
from folder_agent.edges.drop_folder.names import OWN_FILES, is_hidden_folder
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
    top = _Folder(_joined(root, start), f"{start}/", start.count("/") + 1) if start else _Folder(root, "", 0)
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            for entry in _entries(folder):
                _meet(entry, folder, excluded, with_identity, look, waiting)
        except OSError as error:
            if folder is top:
                raise
            if is_gone(error):
                look.vanished = True
            else:
                look.unlisted.add(as_text(folder.prefix[:-1]))
    return look


def _joined(folder: str, name: str) -> str:
    return os.path.join(folder, os.path.normpath(name))  # noqa: PTH118 - a Path for each folder costs a look 10 %


class _Folder(NamedTuple):
    path: str  # as the platform opens it
    prefix: str  # relative to the root, with the final "/"; "" is the root itself
    depth: int


if sys.platform == "win32":

    def _entries(folder: _Folder) -> Iterator[os.DirEntry[str]]:
        with _listing(folder.path) as entries:
            yield from entries

    def _listing(path: str) -> Any:
        try:
            return os.scandir(path)
        except OSError as error:
            if os.path.isfile(path):  # noqa: PTH113  each Windows says so with another number
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
            raise

else:

    def _entries(folder: _Folder) -> Iterator[os.DirEntry[str]]:
        # Through a descriptor, so that a folder which became a link since it was listed is not followed either.
        links = os.O_NOFOLLOW if folder.prefix else 0  # the root may well be a link: an administrator set it
        descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | links)
        try:
            with os.scandir(descriptor) as entries:
                yield from entries
        finally:
            os.close(descriptor)


def _meet(
    entry: os.DirEntry[str],
    folder: _Folder,
    excluded: frozenset[str],
    with_identity: bool,
    look: Look,
    waiting: list[_Folder],
) -> None:
    if entry.name in OWN_FILES and not folder.prefix:
        return  # changes all the time, and is nobody's exam
    try:
        found = entry.stat(follow_symlinks=False)  # free on Windows
    except OSError as error:
        if not is_gone(error):
            raise  # a folder that may be listed but not searched: all of it counts as not listed
        look.vanished = True
        return
    linked = is_link(found)
    if linked or stat.S_ISREG(found.st_mode):
        look.sightings.append(Sighting(as_text(folder.prefix + entry.name), stamp_of(found, with_identity), linked))
    elif stat.S_ISDIR(found.st_mode) and normal(path := _joined(folder.path, entry.name)) not in excluded:
        if is_hidden_folder(entry.name):
            return
        if folder.depth < MAX_DEPTH:
            waiting.append(_Folder(path, f"{folder.prefix}{entry.name}/", folder.depth + 1))
        else:
            look.unlisted.add(as_text(folder.prefix + entry.name))
    # Pipes, sockets and devices are nobody's exam, and opening them may block: they are passed over.
