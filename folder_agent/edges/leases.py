"""Holds where no lock of an operating system reaches: a text that its holder renews, in a file on a share or in the
ledger's database.

A lease is stale when it has not *changed* for 35 s as watched here: the clocks of two machines are never compared.
Touches the one file `.folder-agent.lease` in a drop folder, or one note of the ledger.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from folder_agent.edges import durable
from folder_agent.edges.drop_folder.names import LEASE_NAME
from folder_agent.edges.holder import MOST_BYTES, Holder, Taken, read_holder
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.paths import openable, retrying
from folder_agent.edges.volumes import is_remote

BEAT_S = 10.0
PATIENCE_S = 35.0  # three beats, and a little
POLL_S = 1.0
CONFIRM_S = 4.0  # longer than anybody takes between reading a stale lease and writing his own


class Place(Protocol):
    """Where a lease is kept. Raises OSError or AgentError when it cannot be reached."""

    is_atomic: bool  # of two that swap at once, one is told that it came too late

    def read(self) -> str | None:
        """The text; None if there is none."""
        ...

    def swap(self, expected: str | None, new: str | None) -> bool:
        """Put the new text in the place of the expected one (None: nothing). False: it is another one."""
        ...


class FilePlace:
    """A hidden file in a drop folder. `on_share`: the folder is a share, so an unmounted mount point is not it."""

    is_atomic = False

    def __init__(self, root: Path, on_share: bool) -> None:
        self._root, self._on_share = root, on_share
        self._path = openable(root.absolute()) / LEASE_NAME

    def read(self) -> str | None:
        """The text; None if the folder is there, and the file is not."""
        self._check_root()
        try:
            with retrying(lambda: self._path.open("rb")) as file:
                return file.read(MOST_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            self._check_root()
            return None

    def swap(self, expected: str | None, new: str | None) -> bool:
        """Making the file is atomic; changing it is not. It is changed in place: a share may remember for a while
        which file a name stood for."""
        if self.read() != expected:
            return False
        if new is None:
            retrying(lambda: self._path.unlink(missing_ok=True))
            return True
        try:
            with retrying(lambda: self._path.open("xb" if expected is None else "r+b")) as file:
                file.write(new.encode())
                file.truncate()
                durable.sync_file(file)
        except FileExistsError:
            return False
        if expected is None:
            _hide(self._path)
        return True

    def _check_root(self) -> None:
        with os.scandir(openable(self._root)):
            pass
        if self._on_share and not is_remote(self._root):
            raise OSError(errno.ENODEV, "not mounted")


class NotePlace:
    """A note in a ledger that several machines share."""

    is_atomic = True

    def __init__(self, ledger: PeeweeLedger, name: str) -> None:
        self._ledger, self._name = ledger, name

    def read(self) -> str | None:
        """The note."""
        return self._ledger.recall(self._name)

    def swap(self, expected: str | None, new: str | None) -> bool:
        """One statement."""
        return self._ledger.swap_note(self._name, expected, new)


class Lease:
    """One lease, taken and kept by calling `step` in time, from one thread. `gone` are owners known to have ended."""

    def __init__(
        self, place: Place, holder: Holder, gone: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.holder = holder
        self._place, self._gone, self._clock = place, gone, clock
        self._mine: str | None = None  # as we wrote it last
        self._beat = 0
        self._due = 0.0
        self._is_held = False
        self._seen: str | None = None  # another's, while we watch it
        self._watched_s = self._looked_at = 0.0

    @property
    def is_held(self) -> bool:
        """Whether it is ours."""
        return self._is_held

    @property
    def watched(self) -> Holder | None:
        """Whose lease it is that we are watching whether it is renewed."""
        return None if self._seen is None else read_holder(self._seen)

    def step(self) -> float:
        """Do what is due; seconds until the next thing is. Raises Taken when it is another's, and OSError or
        AgentError when the place cannot be reached: then it is to be called again."""
        now = self._clock()
        if now < self._due:
            return self._due - now
        wait_s = self._renew() if self._is_held else self._approach(now) if self._mine is None else self._confirm()
        self._due = self._clock() + wait_s
        return wait_s

    def release(self) -> None:
        """Give it back, if it is ours. Raises OSError, AgentError."""
        if self._mine is not None:
            self._is_held = False
            self._place.swap(self._mine, None)
            self._mine = None

    def _approach(self, now: float) -> float:
        try:
            found = self._place.read()
        except Exception:
            self._seen = None  # nobody knows what happened meanwhile: watch from the beginning
            raise
        if found is None or self._is_of_a_dead_one(found):
            return self._take(found)
        if self._seen is None:
            self._seen, self._watched_s = found, 0.0
        elif found != self._seen:
            raise Taken(read_holder(found) or self.watched)
        else:
            # No more than was really watched: while this machine slept, nobody looked.
            self._watched_s += min(now - self._looked_at, 2 * POLL_S)
        self._looked_at = now
        return POLL_S if self._watched_s < PATIENCE_S else self._take(found)

    def _is_of_a_dead_one(self, text: str) -> bool:
        holder = read_holder(text)
        return holder is not None and holder.owner in self._gone

    def _take(self, found: str | None) -> float:
        mine = self._next()
        if not self._place.swap(found, mine):
            raise Taken(read_holder(self._place.read()))
        self._mine, self._seen = mine, None
        self._is_held = found is None or self._place.is_atomic
        return BEAT_S if self._is_held else CONFIRM_S

    def _confirm(self) -> float:
        found = self._place.read()
        if found != self._mine:
            self._mine = None
            raise Taken(read_holder(found))
        self._is_held = True
        return BEAT_S

    def _renew(self) -> float:
        mine = self._next()
        if not self._place.swap(self._mine, mine):
            found = self._place.read()
            holder = read_holder(found)
            # Gone: somebody tidied up. Our own: a write that seemed to fail had arrived.
            still_ours = found is None or (holder is not None and holder.owner == self.holder.owner)
            if not still_ours or not self._place.swap(found, mine):
                self._is_held, self._mine = False, None
                raise Taken(holder or read_holder(self._place.read()))
        self._mine = mine
        return BEAT_S

    def _next(self) -> str:
        self._beat += 1
        return self.holder.text(self._beat)


if sys.platform == "win32":
    import ctypes

    def _hide(path: Path) -> None:
        ctypes.windll.kernel32.SetFileAttributesW(os.fspath(path), 2)  # FILE_ATTRIBUTE_HIDDEN

else:

    def _hide(path: Path) -> None:
        """A dot at its beginning hides it."""
