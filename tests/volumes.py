"""Small real volumes for tests: a tmpfs that is mounted, filled, unmounted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def mount(place: Path, size: str = "1m") -> None:
    """Mount an empty volume there; the test is skipped where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small volume here")


def unmount(place: Path, *, lazily: bool = False) -> None:
    """Take it away; lazily, even under somebody who uses it."""
    subprocess.run(["umount", *(["-l"] if lazily else []), str(place)], check=True, capture_output=True)


def remount(place: Path, how: str) -> None:
    """Change the mount: "ro", "rw"."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True, capture_output=True)


def bind(source: Path, place: Path) -> None:
    """Show a folder in another place, too, as a volume of its own mount point."""
    subprocess.run(["mount", "--bind", str(source), str(place)], check=True, capture_output=True)


@contextlib.contextmanager
def mounted(place: Path, size: str = "1m") -> Iterator[Path]:
    """A volume for as long as the block runs; whatever is mounted there at its end is taken away."""
    mount(place, size)
    try:
        yield place
    finally:
        while place.is_mount():
            unmount(place, lazily=True)


def fill(place: Path, leave: int = 0) -> Path:
    """Use up the volume but for `leave` bytes; remove the ballast to give the space back."""
    ballast = place / "ballast.tmp"
    with ballast.open("wb", buffering=0) as writer, contextlib.suppress(OSError):
        while writer.write(bytes(4096)):
            pass
    size = ballast.stat().st_size
    if leave:
        with ballast.open("r+b") as writer:
            writer.truncate(max(0, size - leave))
    return ballast
