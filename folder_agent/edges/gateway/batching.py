"""How much goes into one Store request: as much as the server manages in a few seconds, learnt from what it did. Pure.

A large batch costs fewer answers; a small one loses less when the line breaks, and fits more servers' bounds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from folder_agent.core.records import Outgoing

BATCH_FILES = 100
BATCH_BYTES = 64 * 1024 * 1024
_MOST_FILES = 1000
_MOST_BYTES = 256 * 1024 * 1024
_AIM_S = 5.0  # what a batch should take
_QUICK_S, _SLOW_S = 2.0, 10.0  # what is between them is left as it is


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the next batch. A single file always goes, however large."""

    files: int = BATCH_FILES
    bytes: int = BATCH_BYTES
    too_large: int | None = None  # bytes that the server refused; so many are not tried again


def after_batch(bounds: Bounds, files: int, size: int, took_s: float) -> Bounds:
    """After so many files and bytes were taken in so many seconds."""
    if took_s > _SLOW_S and files > 1:
        share = _AIM_S / took_s
        return replace(
            bounds,
            files=max(1, min(bounds.files, int(files * share))),
            bytes=max(1, min(bounds.bytes, int(size * share))),
        )
    was_full = 2 * files > bounds.files or 2 * size > bounds.bytes
    if took_s < _QUICK_S and was_full:
        most = _MOST_BYTES if bounds.too_large is None else min(_MOST_BYTES, bounds.too_large // 2)
        return replace(
            bounds,
            files=max(bounds.files, min(2 * bounds.files, _MOST_FILES)),
            bytes=max(bounds.bytes, min(2 * bounds.bytes, most)),
        )
    return bounds


def after_refusal(bounds: Bounds, size: int) -> Bounds:
    """After so many bytes were too many (HTTP 413)."""
    refused = size if bounds.too_large is None else min(size, bounds.too_large)
    return replace(bounds, bytes=max(1, min(bounds.bytes, size // 2)), too_large=refused)


class Sizing:
    """The bounds of one address, which all workers share."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()

    def next_batch(self, files: Sequence[Outgoing]) -> list[Outgoing]:
        """The files that go next, in order."""
        return next_batch(files, self._bounds.files, self._bounds.bytes)

    def took(self, batch: Sequence[Outgoing], took_s: float) -> None:
        """The batch was taken."""
        with self._lock:
            self._bounds = after_batch(self._bounds, len(batch), _size(batch), took_s)

    def was_too_large(self, batch: Sequence[Outgoing]) -> None:
        """The batch was refused for its size."""
        with self._lock:
            self._bounds = after_refusal(self._bounds, _size(batch))


def _size(batch: Sequence[Outgoing]) -> int:
    return sum(file.length for file in batch)


def next_batch(files: Sequence[Outgoing], most_files: int, most_bytes: int) -> list[Outgoing]:
    """The files that go next, in order: within the bounds, and never two of one SOPInstanceUID, whose verdicts could
    not be told apart. The first file always goes."""
    batch: list[Outgoing] = []
    instances: set[str | None] = set()
    total = 0
    for file in files:
        if file.sop_instance in instances:
            continue
        if batch and (len(batch) >= most_files or total + file.length > most_bytes):
            break
        batch.append(file)
        instances.add(file.sop_instance)
        total += file.length
    return batch
