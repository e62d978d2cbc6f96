"""The demo's PACS: copies the samples into the drop folder piece by piece, slowly and in no useful order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

_NOT_DROPPED = frozenset({"README.md", "make_samples.py", "__init__.py"})
_PIECE = 64 * 1024  # bytes written at once
_LASTS_S = 6.0  # how long all of the copying takes


def samples() -> Path:
    """The folder with the samples: installed with the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "sample_drop", package.parent / "sample_drop"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("sample_drop is not installed")


class SlowPacs(threading.Thread):
    """Copies every sample file; `told` is given each path as it begins."""

    def __init__(self, source: Path, drop: Path, told: Callable[[str], None]) -> None:
        super().__init__(name="slow-pacs", daemon=True)
        self._source, self._drop, self._told = source, drop, told
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End copying as soon as possible."""
        self._stopped.set()
        self.join(5)

    def run(self) -> None:
        """Bundle after bundle, each bundle's files in a random (but always the same) order."""
        files = [path for path in sorted(self._source.rglob("*")) if path.is_file() and self._is_dropped(path)]
        random.Random(7).shuffle(files)  # noqa: S311
        files.sort(key=lambda path: path.relative_to(self._source).parts[0])
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if self._stopped.is_set():
                return
            self._told(path.relative_to(self._source).as_posix())
            self._copy(path, self._drop / path.relative_to(self._source), total)

    def _is_dropped(self, path: Path) -> bool:
        return path.name not in _NOT_DROPPED and "__pycache__" not in path.parts

    def _copy(self, source: Path, target: Path, total: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reading, target.open("wb") as writing:
            while piece := reading.read(_PIECE):
                writing.write(piece)
                writing.flush()
                time.sleep(min(0.05, _LASTS_S * len(piece) / total))
