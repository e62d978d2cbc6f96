"""done/ and failed/ of one drop folder, on real disks.

Touches the drop folder, its shelves and the places that the ledger recorded. Every error leaves as AgentError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.naming import numbered, safe_name
from folder_agent.core.notes import is_our_note
from folder_agent.core.records import Stamp
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.opening import LinkRefused, NotAFile, name_of, open_for_reading
from folder_agent.edges.paths import as_text, from_text, is_gone, is_inside, is_link, normal, openable, retrying
from folder_agent.edges.shelves import correcting, moving, purging, returning
from folder_agent.edges.shelves.places import below, errors_of, target_path, target_text, there
from folder_agent.edges.volumes import free_bytes

_MOST_READ = 64 * 1024 * 1024  # bytes: a receipt of 100,000 files
_TIDY_S = 0.2  # a folder that Explorer shows is held; it may as well stay


class RealShelves:
    """Implements the port `Shelves`; any thread may use it, one bundle at a time each. `check` raises AgentError where
    the drop folder is not the volume that it should be."""

    def __init__(self, root: Path, done: Path, failed: Path, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._root = openable(root.absolute())
        self._inside = frozenset({normal(self._root)})
        self._shelves = {"done": done.absolute(), "failed": failed.absolute()}
        self._failed = frozenset({normal(failed)})
        self._both = frozenset({normal(done), normal(failed)})
        self._durable_day: Path | None = None  # whose entry is on the disk

    def choose(self, shelf: str, day: str, name: str, attempt: int) -> str:
        return target_text(self._shelves[shelf] / safe_name(day) / numbered(name, attempt))

    def is_free(self, target: str) -> bool:
        with errors_of(self._shelf_of(target)):
            return there(target_path(target)) is None

    def prepare(self, target: str) -> None:
        with errors_of(self._shelf_of(target)):
            path = target_path(target)
            if is_inside(_normal(target), self._inside):
                self._root.stat()  # A share that is away must not be made anew where it was
                self._check()
            is_new = there(path) is None
            if is_new and there(path.parent) is None:
                self._durable_day = None
            durable.make_folder(path)
            if not is_new:
                durable.sync_folders(path)  # what an interrupted try has made is not durable by being there
            self._sync_day(path.parent)  # nor is the day's folder

    def _sync_day(self, day: Path) -> None:
        """Make the entry of a day's folder durable, once: it is the same for every bundle of that day."""
        if self._durable_day != day:
            durable.sync_folder(day.parent)
            self._durable_day = day

    def write_note(self, target: str, name: str, content: bytes) -> None:
        with errors_of(self._shelf_of(target)):
            path = below(target_path(target), name)
            if there(path) is not None and not is_our_note(name, _read(path) or b""):
                raise FileExistsError(errno.EEXIST, "not a note of ours")
            durable.write_whole(path, content)

    def move(self, drop_path: str, target: str, inside: str, stamp: Stamp) -> bool:
        with errors_of(self._shelf_of(target)):
            source, folder = below(self._root, drop_path), target_path(target)
            place = below(folder, inside)
            try:
                return self._move(source, folder, place, stamp)
            except durable.SourceChanged:
                raise failure(problem("FA-CHANGED", drop_path)) from None

    def _move(self, source: Path, folder: Path, place: Path, stamp: Stamp) -> bool:
        if place.parent != folder and there(place.parent) is None:
            folder.stat()  # the bundle's own folder is `prepare`'s to make
            durable.make_folder(place.parent)  # durable before a copy in it lets its original go
        if moving.move(source, place, stamp):
            return True
        # Neither here nor there is a grave thing to say: only if both ends could be asked.
        folder.stat()
        try:
            self._root.stat()
        except OSError as error:
            raise failure(problem("FA-DROP-GONE", detail=name_of(error))) from None
        self._check()
        return False

    def sync(self, target: str, folders: Sequence[str]) -> None:
        with errors_of(self._shelf_of(target)):
            path = target_path(target)
            sources = {below(self._root, folder) if folder else self._root for folder in folders}
            durable.sync_folders(path)  # `prepare` has synced those above it
            for folder in filter(there, sources):
                with suppress(FileNotFoundError):  # another bundle of that folder has just tidied it away
                    durable.sync_folder(folder)

    def tidy(self, folders: Sequence[str]) -> None:
        for folder in sorted(set(folders) - {""}, key=lambda path: -path.count("/")):
            with suppress(OSError):  # not empty, gone, held: nothing depends on it
                path = below(self._root, folder)
                if normal(path) not in self._both and not is_link(path.lstat()):
                    retrying(path.rmdir, _TIDY_S)

    def read(self, target: str, inside: str) -> bytes | None:
        with errors_of(self._shelf_of(target)):
            return _read(below(target_path(target), inside))

    def has_failed(self) -> bool:
        """A file beside the bundles or the days (Thumbs.db …) is not one of them, nor is a folder without files."""
        with errors_of("failed"):
            shelf = openable(self._shelves["failed"])
            if there(shelf) is None:
                return False
            for folder, _, files in os.walk(shelf, onerror=_raise):
                if files and len(Path(folder).relative_to(shelf).parts) > 1:
                    return True
            return False

    def days(self) -> Sequence[str]:
        with errors_of("done"):
            return purging.entries(openable(self._shelves["done"]))

    def on_day(self, day: str) -> Sequence[str]:
        with errors_of("done"):
            place = below(openable(self._shelves["done"]), day)
            return [target_text(self._shelves["done"] / from_text(day) / from_text(n)) for n in purging.entries(place)]

    def free_bytes(self) -> int:
        with errors_of("done"):
            return free_bytes(self._shelves["done"])

    def purge(self, target: str, files: Mapping[str, int]) -> int:
        with errors_of("done"):
            if not is_inside(normal(target), frozenset({normal(self._shelves["done"])})):
                raise OSError(errno.EINVAL, "not in done/")
            return purging.purge(target_path(target), files)

    def put_back(self, target: str, name: str, into: str = "") -> str:
        with errors_of("failed"):
            folder = below(self._root, into) if into else self._root
            if into:
                self._root.stat()  # a share that is away must not be made anew where it was
                durable.make_folder(folder)
            chosen = as_text(returning.put_back(target_path(target), folder, name, self._is_shelf))
            return f"{into}/{chosen}" if into else chosen

    def correct(self, target: str, drop_path: str, stamp: Stamp) -> bool:
        with errors_of("failed"):
            try:
                return correcting.correct(below(self._root, drop_path), target_path(target), stamp)
            except durable.SourceChanged:
                raise failure(problem("FA-CHANGED", drop_path)) from None

    def _is_shelf(self, path: Path) -> bool:
        return normal(path) in self._both

    def _shelf_of(self, target: str) -> str:
        """What people call the place, for messages."""
        return "failed" if is_inside(_normal(target), self._failed) else "done"


@lru_cache(maxsize=256)  # as `target_path`
def _normal(target: str) -> str:
    return normal(target)


def _read(path: Path) -> bytes | None:
    """The file's content; None if it is no regular file, or larger than any note."""
    try:
        with retrying(lambda: open_for_reading(path)) as reader:
            content = reader.read(_MOST_READ + 1)
    except (LinkRefused, NotAFile):
        return None
    except OSError as error:
        if is_gone(error):
            return None
        raise
    return content if len(content) <= _MOST_READ else None


def _raise(error: OSError) -> None:
    if not is_gone(error):
        raise error
