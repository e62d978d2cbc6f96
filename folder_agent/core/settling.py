"""When a file has stopped changing: judged only by how long *we* have seen it unchanged, on our own monotonic clock.

A copy keeps its old modification time and a server's clock differs from ours, so a time stamp is compared only with
itself, never with the time of day.
"""

from __future__ import annotations

from dataclasses import dataclass

from folder_agent.core.records import Sighting, Stamp


@dataclass(frozen=True, slots=True)
class Watched:
    """A file's stamp, and since when (monotonic seconds) every look has found just this stamp."""

    stamp: Stamp
    since: float


def watch(previous: Watched | None, sighting: Sighting, now: float) -> Watched:
    """What is known after this look: the old watch goes on if nothing changed, else a new one begins now."""
    return previous if previous is not None and previous.stamp == sighting.stamp else Watched(sighting.stamp, now)


def settles_at(watched: Watched, settle_s: float) -> float:
    """The monotonic time from which on an unchanged file counts as settled."""
    return watched.since + settle_s


def has_settled(watched: Watched, now: float, settle_s: float) -> bool:
    """Whether the file has been seen unchanged for `settle_s` seconds."""
    return now >= settles_at(watched, settle_s)
