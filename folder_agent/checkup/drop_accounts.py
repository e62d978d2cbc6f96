"""A drop folder against the files that the ledger has as waiting there. Reads only.

A file that came after the agent's last look is no difference. The ledger does not keep when that was, but a row that
was first seen later than the file arrived proves that the agent has looked since.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from folder_agent.assembly import VOLUME_NOTE
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF
from folder_agent.core.naming import safe_name
from folder_agent.core.reconciling import Difference
from folder_agent.core.records import FileKind, FileRecord
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.mounts import Anchor
from folder_agent.edges.paths import from_text
from folder_agent.settings import DropSettings

if TYPE_CHECKING:
    from folder_agent.checkup.accounts import Reads

_NOBODYS = frozenset({FileKind.TEMPORARY, FileKind.JUNK, FileKind.FOREIGN})  # come and go without loss
SLACK_S = 60.0  # a file server's clock may be off by that much, and a look takes time


class DropAccount:
    """One drop folder."""

    def __init__(self, settings: DropSettings, ledger: Reads) -> None:
        self.name, self._ledger = settings.name, ledger
        anchor = anchor_of(settings, ledger)
        self._folder = RealDropFolder(settings.name, settings.path, settings.own_dirs, settings.marker, anchor)
        self._outage: Problem | None = None
        self._gone: dict[str, FileRecord] = {}
        self._new: set[str] = set()

    def look(self) -> bool:
        """Compare for the first time. True: something differs, and is to be looked at again after a while."""
        self._gone, self._new = self._compare()
        return bool(self._gone or self._new)

    def look_again(self) -> None:
        """Only what still differs is a difference."""
        gone, new = self._compare()
        self._gone = {path: record for path, record in gone.items() if path in self._gone}
        self._new &= new

    def has_new(self, name: str) -> bool:
        """Whether files that were not looked at yet lie in a folder of that name: something was put back."""
        safe = safe_name(name)
        return any(_top(path) == safe or _top(path).startswith(f"{safe} (") for path in self._new)

    def differences(self, last_day: str) -> list[Difference]:
        """What differs, one for each folder and day. What arrived on no day that can be told belongs to the last."""
        if self._outage is not None:
            return [Difference(last_day, self.name, self._outage, self.name)]
        looked_at = self._looked_at()
        arrived = {path: at for path in sorted(self._new) if (at := self._arrived_by(path)) is not None}
        unseen = {path for path, at in arrived.items() if looked_at is not None and at + SLACK_S < looked_at}
        days = {path: _day(at) for path, at in arrived.items()}
        gone = {path: _day(record.seen_at) if record.seen_at else last_day for path, record in self._gone.items()}
        return [
            *self._told("FA-REC-GONE", gone),
            *self._told("FA-REC-UNSEEN", {path: days[path] for path in unseen}),
            *self._told("FA-REC-NEW", {path: days[path] for path in arrived.keys() - unseen}),
        ]

    def _told(self, code: str, days: dict[str, str]) -> list[Difference]:
        groups: dict[tuple[str, str], int] = defaultdict(int)
        for path, day in days.items():
            groups[day, _top(path)] += 1
        return [
            Difference(day, self.name, problem(code, count=count), top, count=count)
            for (day, top), count in sorted(groups.items())
        ]

    def _compare(self) -> tuple[dict[str, FileRecord], set[str]]:
        """What the ledger has as waiting and is not there, and what is there and unknown to the ledger."""
        try:
            there = {sighting.path for sighting in self._folder.look()}
        except AgentError as error:
            self._outage = error.problem
            return {}, set()
        self._outage = None
        unlisted = self._folder.unlisted()
        leaving = {one.id for one in self._ledger.open_bundles() if one.state in ON_THE_WAY_TO_A_SHELF}
        known = {record.path: record for record in self._ledger.open_files(self.name)}
        gone = {
            path: record
            for path, record in known.items()
            if path not in there
            and record.bundle_id not in leaving  # being moved: some of it is on the shelf already
            and record.kind not in _NOBODYS
            and not any(path.startswith(f"{folder}/") for folder in unlisted)
        }
        new = (path for path in there - known.keys() if self._folder.kind(path) not in _NOBODYS)
        return gone, set(new)

    def _looked_at(self) -> float | None:
        """A time at which the agent has surely looked at this drop folder; None if none is known."""
        seen = [record.seen_at for record in self._ledger.open_files(self.name) if record.seen_at is not None]
        made = [one.created_at for one in self._ledger.latest_bundles() if one.drop == self.name]
        return max([*seen, *made], default=None)

    def _arrived_by(self, path: str) -> float | None:
        """A time at which the file was surely there, with every folder above it; None if it is gone. A rename changes
        the ctime on POSIX; on Windows it changes nothing but the mtime of the folder above."""
        place = self._folder.root
        times = []
        parts = from_text(path).split("/")
        for part in ([""] if sys.platform == "win32" else []) + parts:
            place = place / part if part else place
            with suppress(OSError):
                found = os.stat(place, follow_symlinks=False)  # noqa: PTH116 - lstat, and long paths do not matter here
                times.append(max(found.st_ctime, found.st_mtime) if sys.platform == "win32" else found.st_ctime)
        return max(times) if len(times) >= len(parts) else None


def anchor_of(settings: DropSettings, ledger: Reads) -> Anchor:
    """What knows whether the drop folder's volume is the one that the agent saw last. Remembers nothing new."""
    return Anchor(
        settings.path,
        lambda: ledger.recall(VOLUME_NOTE + settings.name),
        lambda _text: None,
        lambda: [record.path for record in ledger.open_files(settings.name)],
    )


def _top(path: str) -> str:
    return path.partition("/")[0]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().date().isoformat()
