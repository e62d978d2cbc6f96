"""Writes down what a life does to the disk, in order: what it creates, renames, removes and syncs, and in between what
the ledger says from then on. `powercut` reads it.

The first line of a life is what was there before: {path: ["folder"] or ["file", SHA-256] or ["link", where to]}.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from folder_agent.edges import durable
from folder_agent.edges.ledger import PeeweeLedger
from tests.crash import disk

Operation = list[str]


class Recorder:
    """Listens for as long as the process lives."""

    def __init__(self, file: Path, roots: Sequence[Path]) -> None:
        self._lock = threading.Lock()
        self._tops = tuple(os.fspath(root) for root in roots)
        self._file = file.open("a", encoding="utf-8")
        self._write({os.fspath(path): _what(path) for root in roots for path in [root, *sorted(root.rglob("*"))]})

    def listen(self) -> None:
        sys.addaudithook(self._overhear)
        disk.overhear([Path(top) for top in self._tops], self._note)
        rename, apply = durable._rename, PeeweeLedger.apply

        @functools.wraps(rename)
        def renamed(source: Path, target: Path) -> None:
            with self._lock:
                rename(source, target)
                self._write(["rename", os.fspath(source), os.fspath(target)])

        @functools.wraps(apply)
        def applied(ledger: Any, transitions: Any) -> None:
            apply(ledger, transitions)
            for one in transitions:
                if hasattr(one.after, "key"):
                    with self._lock:
                        self._write(["ledger", str(one.event), one.after.target or "", str(one.after.state)])

        durable._rename = renamed
        PeeweeLedger.apply = applied  # type: ignore[method-assign]

    def _overhear(self, event: str, values: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(values[0], str) or not values[2] & os.O_CREAT:
            return
        if values[0].startswith(self._tops):
            with self._lock:
                self._write(["create", values[0]])

    def _note(self, when: str, name: str, paths: tuple[str, ...]) -> None:
        if when == "before" or name == "utime":
            return
        extra = (
            [hashlib.sha256(Path(paths[0]).read_bytes()).hexdigest()] if name == "fsync" and _is_file(paths[0]) else []
        )
        if name == "symlink":
            extra = [os.fspath(Path(paths[0]).readlink())]
        with self._lock:
            self._write(["rename" if name == "replace" else name, *paths, *extra])

    def _write(self, what: object) -> None:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()


def _what(path: Path) -> list[str]:
    if path.is_symlink():
        return ["link", os.fspath(path.readlink())]
    return ["folder"] if path.is_dir() else ["file", hashlib.sha256(path.read_bytes()).hexdigest()]


def _is_file(path: str) -> bool:
    return Path(path).is_file()
