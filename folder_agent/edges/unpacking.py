"""Unpacks a ZIP of a drop folder beside it, whole or not at all, into a folder that no look enters before it is whole.

Touches the archive, one hidden folder in the root, and the folder that this becomes. In this order, each made durable
before the next: the hidden folder's note of whose it is; every file; the archive itself moves in with them; the folder
gets its name; the note goes. So at every moment the archive is whole in the drop folder, once, and what a crash left
is known by where the archive is: still outside, then all else is thrown away; inside, then it is only to be named.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.records import Stamp
from folder_agent.core.unpacking import Limits, Unfit, folder_for, kept_as, places
from folder_agent.edges import durable
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.names import hidden_folder, is_hidden_folder
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.paths import is_link, matches, openable, retrying
from folder_agent.edges.shelves.places import is_ours, shelf_failure, there
from folder_agent.edges.zip_reading import Archive

_LABEL = "unpacking-"
_NOTE, _CONTENT = "archive.txt", "content"
_MOST_NOTE = 32 * 1024  # bytes
_SPARE = 256 * 1024**2  # bytes that stay free on the disk


class RealUnpacker:
    """The Unpacker of a real drop folder. To be called from one thread at a time."""

    def __init__(self, drop: RealDropFolder, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._drop, self._limits = drop, limits
        self._root = openable(drop.root)

    def unpack(self, path: str, stamp: Stamp) -> None:
        """Unpack the archive of that stamp. Raises AgentError: REFUSE for the archive's own fault, WAIT if it is
        another one by now, RETRY for the disk's."""
        self.finish()
        work = self._root / hidden_folder(_LABEL + hashlib.sha256(path.encode()).hexdigest()[:16])
        if self._drop.stamp(path) != stamp:  # nor is it behind a link
            raise failure(problem("FA-CHANGED", path))
        try:
            with self._errors():
                self._fill(work, path, stamp)
                self._take_in(work, path, stamp)
                self._show(work)
        except Unfit as unfit:
            with self._errors():
                _throw_away(work)
            raise failure(unfit.reason) from None

    def finish(self) -> None:
        """Complete or undo what an earlier process or a failure left in the middle. Raises AgentError (RETRY)."""
        with self._errors():
            for work in self._leftovers():
                if any(there(work / _CONTENT / kept_as(path)) for path in self._noted(work)):
                    self._show(work)
                elif there(work / _CONTENT) is None and there(work / _NOTE) is not None:
                    _remove(work)
                else:
                    _throw_away(work)

    def _leftovers(self) -> list[Path]:
        with os.scandir(self._root) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if is_hidden_folder(entry.name)
                and entry.name[1:].startswith(_LABEL)
                and not is_link(entry.stat(follow_symlinks=False))
            ]

    def _fill(self, work: Path, path: str, stamp: Stamp) -> None:
        """Every file of the archive, durable; the archive is not touched."""
        with retrying(lambda: open_for_reading(self._drop.locate(path))) as file:
            if not matches(stamp, os.fstat(file.fileno())):
                raise failure(problem("FA-CHANGED", path))
            archive = Archive(file, stamp.size, path, self._limits)
            found = places(archive.entries, path, self._limits)
            needed = sum(entry.size for entry, place in zip(archive.entries, found, strict=True) if place)
            if shutil.disk_usage(self._root).free < needed + _SPARE:
                raise failure(problem("FA-DISK-FULL", where="drop"))
            durable.make_folder(work)
            durable.write_whole(work / _NOTE, path.encode())
            content = work / _CONTENT
            for folder in sorted({content, *((content / place).parent for place in found if place)}):
                durable.make_folder(folder)
            for number, place in enumerate(found):
                if place is not None:
                    _write(content / place, archive.chunks(number))
            if not matches(stamp, os.fstat(file.fileno())):
                raise failure(problem("FA-CHANGED", path))
        durable.sync_folders(content)

    def _take_in(self, work: Path, path: str, stamp: Stamp) -> None:
        source, target = self._drop.locate(path), work / _CONTENT / kept_as(path)
        durable.rename_new(source, target)
        if not is_ours(target.lstat(), stamp):
            durable.rename_new(target, source)  # somebody put another one there in that moment
            raise failure(problem("FA-CHANGED", path))
        durable.sync_folder(target.parent)
        durable.sync_folder(source.parent)

    def _show(self, work: Path) -> None:
        """Give the folder its name, where the archive was."""
        (path,) = self._noted(work)
        parent = self._drop.locate(path).parent
        durable.make_folder(parent)
        durable.sync_folder(work / _CONTENT)  # the archive may have been moved in a moment before a crash
        for attempt in count(1):
            target = parent / folder_for(path, attempt)
            try:
                if there(target) is None:
                    durable.rename_new(work / _CONTENT, target)
                    break
            except FileExistsError:
                continue  # somebody was quicker
        durable.sync_folder(parent)
        durable.sync_folder(work)
        _remove(work)

    def _noted(self, work: Path) -> list[str]:
        """The archive's path that the hidden folder is for; nothing if that had not been written yet."""
        if there(work / _NOTE) is None:
            return []
        with open_for_reading(work / _NOTE) as note:
            return [note.read(_MOST_NOTE).decode()]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise shelf_failure(error, "drop") from None


def _write(target: Path, chunks: Iterator[bytes]) -> None:
    with target.open("xb") as writer:
        for chunk in chunks:
            writer.write(chunk)
        durable.sync_file(writer)


def _remove(work: Path) -> None:
    """The hidden folder, now that there is nothing in it but its note."""
    durable.remove(work / _NOTE)
    retrying(work.rmdir)
    durable.sync_folder(work.parent)


def _throw_away(work: Path) -> None:
    """What we unpacked ourselves from an archive that is whole outside. The note last: it says whose this is."""
    if there(work / _CONTENT) is not None:
        shutil.rmtree(work / _CONTENT)
    if there(work) is not None:
        shutil.rmtree(work)
        durable.sync_folder(work.parent)
