"""Folders that we emptied and that may be shared with other exams: left for whoever writes there, and removed when
nobody has for a week. Remembered in the ledger, so that no look ever has to wonder whose an empty folder is."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

from folder_agent.core.ports import Clock, Ledger, Shelves

KEPT_S = 7 * 86400.0  # a PACS that made a folder once and is silent over a weekend finds it again
FRESH_S = 86400.0  # what was noted less than this ago is not noted again
ASK_S = 3600.0
MOST = 1000  # beyond that the oldest are left for good


class Emptied:
    """Of one drop folder. `note` is called by workers, `tidy` by the agent's own thread."""

    def __init__(self, drop: str, shelves: Shelves, ledger: Ledger, clock: Clock) -> None:
        self._name = f"emptied:{drop}"
        self._shelves, self._ledger, self._clock = shelves, ledger, clock
        self._lock = threading.Lock()
        self._ask_at = 0.0  # monotonic

    def note(self, folders: Sequence[str]) -> None:
        """Files were moved out of these folders, and what is left of them is not ours to decide at once."""
        if not folders:
            return
        now = self._clock.now()
        with self._lock:
            known = self._read()
            fresh = [folder for folder in folders if abs(now - known.get(folder, 0.0)) >= FRESH_S]
            if fresh:
                self._write(known | dict.fromkeys(fresh, now))

    def tidy(self) -> None:
        """Once an hour: remove those of a week ago that are empty now."""
        if self._clock.monotonic() < self._ask_at:
            return
        self._ask_at = self._clock.monotonic() + ASK_S
        now = self._clock.now()
        with self._lock:
            known = self._read()
            due = [folder for folder, at in known.items() if now - at >= KEPT_S]
            if due:
                self._shelves.tidy(sorted(due, key=lambda folder: -folder.count("/")))
                self._write({folder: at for folder, at in known.items() if folder not in due})

    def _read(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self._ledger.recall(self._name) or "{}")
        return found

    def _write(self, known: dict[str, float]) -> None:
        latest = sorted(known.items(), key=lambda one: one[1])[-MOST:]
        self._ledger.remember(self._name, json.dumps(dict(latest), ensure_ascii=False) if latest else None)
