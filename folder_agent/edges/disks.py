"""Tells when a disk is nearly full, and when it is no more. Asks the operating system how much is free.

In a thread of its own: a share that is gone makes whoever asks about it wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from folder_agent.core.errors import Problem, problem
from folder_agent.core.ports import Publisher
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.edges.volumes import free_bytes
from folder_agent.settings import Settings

EVERY_S = 60.0
GB = 1e9
_ENOUGH = 1.2  # times what is too little: a disk at the edge is told once


def places_of(settings: Settings) -> dict[str, Path]:
    """Where disks may fill up, by what people call it: a drop folder's name, or the ledger."""
    found = {drop.name: drop.done_dir for drop in settings.drops}
    url = settings.ledger.url or ""
    return {**found, "ledger": path_of(url).parent} if url.startswith("sqlite:") else found


class Disks:
    """What is known of these disks. One thread's."""

    def __init__(
        self,
        places: Mapping[str, Path],
        low_bytes: float,
        publisher: Publisher,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._places, self._low, self._publisher, self._free = places, low_bytes, publisher, free
        self._scarce: set[str] = set()
        self._told: Problem | None = None

    def look(self) -> None:
        """Ask once. A place that has become scarce is told, with the others that are; that none is any more, too."""
        before = set(self._scarce)
        least = float("inf")
        for name, place in self._places.items():
            with suppress(OSError):  # that a place is away is told by others
                free = self._free(place)
                if free < self._low:
                    self._scarce.add(name)
                    least = min(least, free)
                elif free >= _ENOUGH * self._low:
                    self._scarce.discard(name)
        if self._scarce - before:
            where = ", ".join(name for name in self._places if name in self._scarce)
            self._told = problem("FA-DISK-LOW", where=where, free=f"{least / GB:.1f}")
            self._publisher.notice(self._told)
        elif self._told is not None and not self._scarce:
            self._publisher.notice(self._told, is_over=True)
            self._told = None


@contextmanager
def watched(settings: Settings, publisher: Publisher) -> Iterator[None]:
    """While this lasts, the disks are looked at once a minute."""
    disks, stop = Disks(places_of(settings), settings.notify.disk_low_gb * GB, publisher), threading.Event()

    def run() -> None:
        try:
            disks.look()
            while not stop.wait(EVERY_S):
                disks.look()
        except Exception as error:  # noqa: BLE001  whatever breaks a look at the disks must not be hidden
            publisher.fault(error)

    threading.Thread(target=run, name="disks", daemon=True).start()
    try:
        yield
    finally:
        stop.set()
