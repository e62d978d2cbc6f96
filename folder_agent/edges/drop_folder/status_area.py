"""The status area of a drop folder: a folder for what the agent has to say, in which it never looks for exams.

Touches that folder, and in it only files of the names that it is given, while they are those that it wrote.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges import durable
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.opening import name_of, open_for_reading
from folder_agent.edges.paths import is_gone, openable, retrying

_LARGEST = 1024 * 1024  # bytes; nothing of ours is so large


class RealStatusArea:
    """The StatusArea of a real directory. `label` is how people are told of it."""

    def __init__(self, drop: RealDropFolder, folder: Path) -> None:
        self._drop, self._folder = drop, openable(folder)
        is_inside = folder.is_relative_to(drop.root)
        self.label = folder.relative_to(drop.root).as_posix() if is_inside else str(folder)
        self._may_go = is_inside

    def write(self, name: str, content: bytes, ours: Collection[str]) -> bool:
        """Write the file, whole or not at all, unless one is there whose digest is not among `ours`: False then."""
        return self._guarded(lambda: self._write(name, content, ours))

    def remove(self, name: str, ours: Collection[str]) -> bool:
        """Remove the file, and the area if that is inside of the drop folder and empty now; False if there is one whose
        digest is not among `ours`."""
        return self._guarded(lambda: self._remove(name, ours))

    def _write(self, name: str, content: bytes, ours: Collection[str]) -> bool:
        path = self._folder / name
        durable.make_folder(self._folder)
        there = _digest_of(path)
        if there is not None and there not in ours:
            return False
        if there != hashlib.sha256(content).hexdigest():
            durable.write_whole(path, content)
        return True

    def _remove(self, name: str, ours: Collection[str]) -> bool:
        path = self._folder / name
        there = _digest_of(path)
        if there is not None and there not in ours:
            return False
        if there is not None:
            durable.remove(path)
        if self._may_go and self._folder.is_dir() and not any(os.scandir(self._folder)):
            self._folder.rmdir()
        return True

    def _guarded(self, action: Callable[[], bool]) -> bool:
        self._drop.stamp("_")  # raises where the drop folder is out of reach: an unmounted share is not written to
        try:
            return retrying(action)
        except OSError as error:
            raise failure(problem("FA-STATUS-AREA", where=self.label, detail=name_of(error))) from None


def _digest_of(path: Path) -> str | None:
    """The SHA-256 of what lies there; None if nothing does. What is too large for ours has none of ours."""
    try:
        with open_for_reading(path) as file:
            return hashlib.sha256(file.read(_LARGEST + 1)).hexdigest()
    except OSError as error:
        if is_gone(error):
            return None
        raise
