"""One native watch on one root, through watchdog: built, asked how it is, stopped; never mended, only replaced.

Touches the folder only by watching it. The shelves inside of it are not watched: they grow for years.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

from folder_agent.edges.drop_folder.names import OWN_FILES
from folder_agent.edges.paths import is_inside, normal

# watchdog's Windows emitter hands over nothing until its queue was quiet for this long (default 1 s).
_TIMEOUT_S = 0.2
_STOP_S = 3.0  # a watch on a share that has gone may never end; nobody waits longer for it
_MOST_WATCHES = 64  # each is a thread on Linux; what changes in further folders is found by the periodic scan
# No "opened" or "closed unwritten": our own reading would wake us for ever. Linux tells the end of writing instead of
# every write.
_EVENTS: list[type[FileSystemEvent]] = [
    *(DirCreatedEvent, DirDeletedEvent, DirMovedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent),
    FileClosedEvent if sys.platform == "linux" else FileModifiedEvent,
]

# watchdog 7.1 complains on stderr of its own races: a folder met twice, an emitter read while it stops. Both harmless.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
logging.getLogger("watchdog").setLevel(logging.CRITICAL)


class NativeWatch(FileSystemEventHandler):
    """One watchdog observer, from construction on. Raises OSError (RuntimeError, queue.Empty) when it cannot be had.

    `hint` is called from watchdog's thread for every change outside of the normalised `excluded` folders.
    """

    def __init__(self, root: Path, excluded: frozenset[str], hint: Callable[[], None]) -> None:
        if Observer is PollingObserver:
            raise OSError("no native notifications")
        self._root, self._hint = root, hint
        self._identity = _identity(root)
        self._watched, self._excluded = _resolved(root, excluded)
        self._own = frozenset(normal(Path(self._watched, name)) for name in OWN_FILES)
        # inotify takes a watch for every folder: one for each bundle ever shelved, if done/ were watched, too.
        self._spares_shelves = sys.platform == "linux" and any(self._is_in_root(shelf) for shelf in self._excluded)
        self._folders: dict[str, ObservedWatch] = {}
        self._observer: BaseObserver = Observer(timeout=_TIMEOUT_S)
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        self._observer.start()
        self._observer.schedule(self, self._watched, recursive=not self._spares_shelves, event_filter=_EVENTS)
        if self._spares_shelves:
            with os.scandir(self._watched) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        self._watch(normal(entry.path))

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take one event of watchdog's, in watchdog's thread."""
        paths = [normal(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if all(path in self._own or is_inside(path, self._excluded) for path in paths):
            return
        if self._spares_shelves and event.is_directory:
            self._follow(event, paths)  # first the watch, then the look: nothing falls between
        self._hint()

    def ailment(self) -> str | None:
        """Why this watch no longer tells of anything; None while it is well."""
        if not self._observer.is_alive():
            return "the observer has ended"
        if not _inner_threads_live(self._observer):
            return "the reader has ended"
        self._drop_ended_folders()
        emitters = list(self._observer.emitters)
        if not emitters or not all(emitter.is_alive() for emitter in emitters):
            return "the watch has ended"
        # A root that was renamed away or mounted over is watched on, where nobody puts anything any more.
        with contextlib.suppress(OSError):
            if self._identity == _identity(self._root):
                return None
        return "the folder is another one"

    def stop(self) -> None:
        """End the threads; whichever hangs is left behind, it can only hint."""
        stopper = threading.Thread(target=self._stop_quietly, daemon=True)
        stopper.start()
        stopper.join(_STOP_S)

    def _stop_quietly(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it was dead already, or died of its folder's end
            self._observer.stop()
            self._observer.join(_STOP_S)

    def _is_in_root(self, path: str) -> bool:
        return Path(path).parent == Path(self._watched)

    def _follow(self, event: FileSystemEvent, paths: list[str]) -> None:
        """Keep one watch for each folder in the root that is no shelf."""
        for path in paths if isinstance(event, DirMovedEvent | DirCreatedEvent | DirDeletedEvent) else ():
            # Anew even if there is a watch: that one may be of an earlier folder of the name, moved away since.
            self._unwatch(path)
            if self._is_in_root(path) and Path(path).is_dir():
                self._watch(path)

    # Called from watchdog's thread and from the agent's. No lock of our own: watchdog holds its own while it calls us.
    def _watch(self, folder: str) -> None:
        if folder in self._folders or is_inside(folder, self._excluded) or len(self._folders) >= _MOST_WATCHES:
            return
        with contextlib.suppress(OSError):  # gone again, or the kernel's limit: the root's watch and the scan remain
            self._folders[folder] = self._observer.schedule(self, folder, recursive=True, event_filter=_EVENTS)

    def _unwatch(self, folder: str) -> None:
        with contextlib.suppress(KeyError):  # the other thread was first
            self._observer.unschedule(self._folders.pop(folder))

    def _drop_ended_folders(self) -> None:
        """A folder's watch ends with the folder; one that ended though its folder is there is begun anew."""
        living = {emitter.watch for emitter in list(self._observer.emitters) if emitter.is_alive()}
        for folder in [folder for folder, watch in self._folders.copy().items() if watch not in living]:
            self._unwatch(folder)
            if Path(folder).is_dir():
                self._watch(folder)


def _resolved(root: Path, excluded: frozenset[str]) -> tuple[str, frozenset[str]]:
    """The root without links, because inotify would watch the link itself, and the excluded folders to match."""
    given = normal(root)
    if sys.platform == "win32":
        return given, excluded
    else:  # noqa: RET505 - mypy knows only this form of asking for the platform
        real = os.path.realpath(root)
        moved = (os.path.relpath(shelf, given) for shelf in excluded if is_inside(shelf, frozenset({given})))
        return real, excluded | {normal(Path(real, inside)) for inside in moved}


def _identity(root: Path) -> tuple[int, int]:
    found = root.stat()
    return found.st_dev, found.st_ino


def _inner_threads_live(observer: BaseObserver) -> bool:
    """watchdog reads from the kernel in threads of its own, which die of an OSError while the emitters live on. They
    are not public; where another version names them otherwise, the periodic scan alone covers for them."""
    readers = [getattr(observer, "_inotify_fd", None)]
    for emitter in list(observer.emitters):
        readers.append(getattr(getattr(emitter, "_reader", None), "_reader_thread", None))
    return all(reader.is_alive() for reader in readers if isinstance(reader, threading.Thread))
