"""The hand that writes, replaces and takes away files in a drop folder, and remembers what it owes to whom."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.storm.soak.exams import Exam, Piece, digest_of

PATIENCE_S = 60.0


@dataclass
class Account:
    """Every content that was dropped and that nobody took away or replaced, and whose it is. Threads share it."""

    owed: Counter[str] = field(default_factory=Counter)
    owner: dict[str, int] = field(default_factory=dict)  # exam's number by SHA-256
    strays: set[str] = field(default_factory=set)  # SHA-256 of other patients' images
    files: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def drop(self, exam: Exam, piece: Piece) -> None:
        with self._lock:
            self.owed[piece.digest] += 1
            self.owner[piece.digest] = exam.number
            self.files += 1
            if piece.strays:
                self.strays.add(piece.digest)

    def take(self, content: bytes) -> None:
        with self._lock:
            self.owed[digest_of(content)] -= 1


class Pen:
    """Writes for one modality. `hurry` divides its pauses."""

    def __init__(self, account: Account, rng: random.Random, hurry: float = 1.0) -> None:
        self.account, self.rng, self._hurry = account, rng, hurry

    def write(self, exam: Exam, place: Path, piece: Piece, *, whole: bool = False) -> None:
        """Write a file, or write it anew: in one go, slowly, or under a temporary name. With `whole`, nobody ever sees
        a part of it under its name."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            self.account.take(place.read_bytes())
        self.account.drop(exam, piece)
        manner = self.rng.choice(("renamed", "slow", "at once", "at once"))
        if whole or manner == "renamed":
            part = place.with_name(place.name + ".part")
            self._until_there_is_room(lambda: self._pour(part, piece.content))
            part.replace(place)
        elif manner == "slow":
            self._pour(place, piece.content)
        else:
            place.write_bytes(piece.content)
        tell(exam, f"{manner if not whole else 'renamed'}: {place.name} {piece.digest[:8]}")

    def take_away(self, exam: Exam, place: Path) -> None:
        content = place.read_bytes()
        place.unlink()
        self.account.take(content)
        tell(exam, f"took away {place.name} {digest_of(content)[:8]}")

    def pause(self, most_s: float) -> None:
        time.sleep(self.rng.uniform(0, most_s) / self._hurry)

    def _until_there_is_room(self, write: Callable[[], None]) -> None:
        """Somebody who mends what lies on a full volume tries again."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno != errno.ENOSPC or time.monotonic() > end:
                    raise
            time.sleep(0.5)

    def _pour(self, place: Path, content: bytes) -> None:
        with place.open("wb", buffering=0) as writer:
            for block in self._blocks(content):
                writer.write(block)
                self.pause(0.3)

    def _blocks(self, content: bytes) -> Iterator[bytes]:
        count = self.rng.randint(1, 4)
        size = len(content) // count + 1
        for at in range(0, len(content), size):
            yield content[at : at + size]


def tell(exam: Exam, what: str) -> None:
    """A line of the exam's story."""
    exam.log.append(f"{time.time():.3f} {what}")
