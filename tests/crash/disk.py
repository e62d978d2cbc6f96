"""The system's calls that change a disk, overheard in this process: who listens is told before and after each."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.crash.enumeration import SYSTEM_CALLS

Listener = Callable[[str, str, tuple[str, ...]], None]  # "before" or "after", the call's name, its paths


def overhear(roots: Sequence[Path], listener: Listener) -> None:
    """Tell of every call that concerns something below the roots, for as long as the process lives."""
    tops = tuple(os.fspath(root) for root in roots)
    for name in SYSTEM_CALLS:
        setattr(os, name, _told(name, getattr(os, name), tops, listener))


def _told(name: str, call: Callable[..., Any], tops: tuple[str, ...], listener: Listener) -> Callable[..., Any]:
    @functools.wraps(call)
    def told(*args: Any, **kwargs: Any) -> Any:
        paths = _paths(name, args)
        if not any(path.startswith(tops) for path in paths):
            return call(*args, **kwargs)
        listener("before", name, paths)
        result = call(*args, **kwargs)
        listener("after", name, paths)
        return result

    return told


def _paths(name: str, args: tuple[Any, ...]) -> tuple[str, ...]:
    if name == "fsync":
        return (path_of(args[0]),)
    if name == "symlink":
        return (os.fspath(args[1]),)
    return tuple(os.fspath(one) for one in args[: 2 if name in ("rename", "replace") else 1])


def path_of(descriptor: int) -> str:
    """Where an open file or folder is now (Linux); empty for what has no place, and where nobody can tell."""
    if sys.platform != "linux":
        return ""
    kind = os.fstat(descriptor).st_mode
    known = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
    return os.fspath(Path(f"/proc/self/fd/{descriptor}").readlink()) if known else ""
