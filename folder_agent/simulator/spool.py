"""Parts written to temporary files as they arrive, hashed on the way; nothing is left behind if they are not kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from folder_agent.simulator.state import State


class Spool:
    """One part on its way to disk (or, when bytes are not kept, only counted and hashed)."""

    def __init__(self, state: State, *, keep: bool) -> None:
        self.path: Path | None = state.temporary() if keep else None
        self._file = self.path.open("wb") if self.path else None
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def take_over(self, beginning: Path, size: int) -> None:
        """Begin with the first bytes of that file."""
        with beginning.open("rb") as file:
            self.write(memoryview(file.read(size)))

    def write(self, piece: memoryview) -> None:
        self.size += len(piece)
        self._hash.update(piece)
        if self._file:
            self._file.write(piece)

    def close(self) -> None:
        """Close, then rename: Windows refuses the other order."""
        if self._file:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Removes the file unless it was moved away."""
        self.close()
        if self.path:
            self.path.unlink(missing_ok=True)
