"""Hints from the operating system that something below a drop folder may have changed. Never more than hints.

Touches the folder only by watching it. What is true is found by looking again, so a lost event costs one scan interval;
what must not be lost is the watch itself, and `check` rebuilds that.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from folder_agent.core.errors import Problem, problem
from folder_agent.edges.drop_folder.native import NativeWatch
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.paths import normal

Mode = Literal["auto", "native", "scan"]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class Watcher:
    """Watches one root and calls `hint` (from another thread) when something outside of `excluded` has changed.

    `mode` "auto" watches unless the root is remote, "native" always, "scan" never. All methods are for one thread.
    """

    def __init__(
        self,
        root: Path,
        excluded: Sequence[Path],
        hint: Callable[[], None],
        mode: Mode = "auto",
        remote: bool = False,
        clock: Callable[[], float] = time.monotonic,
        built: Callable[[], None] = lambda: None,
    ) -> None:
        self._root = root.absolute()
        self._excluded = frozenset(normal(folder) for folder in excluded)
        self._hint = hint
        self._wanted = mode == "native" or (mode == "auto" and not remote)
        self._clock = clock
        self._built = built
        self._native: NativeWatch | None = None
        self._problem: Problem | None = None
        self._pause_s = 0.0
        self._built_at = self._next_at = float("-inf")

    @property
    def is_native(self) -> bool:
        """Whether the operating system is telling us of changes now."""
        return self._native is not None

    def start(self) -> None:
        """Begin to watch; a failure is told by `check`, and scanning goes on without."""
        if self._wanted:
            self._build()

    def check(self) -> Problem | None:
        """To be called in every cycle: rebuild a watch that has died, at once and then with pauses of 1 to 60 s.
        The problem while there is no watch, else None."""
        if self._native is not None and (reason := self._native.ailment()):
            self._give_up(reason)
        if self._wanted and self._native is None and self._clock() >= self._next_at:
            self._build()
        return self._problem

    def stop(self) -> None:
        """End watching, within a few seconds whatever state the watch is in."""
        self._wanted = False
        self._problem = None
        self._drop()

    def _build(self) -> None:
        try:
            self._native = NativeWatch(self._root, self._excluded, self._hint)
        except (OSError, RuntimeError, queue.Empty) as error:  # no more watches, no more threads, no answer in 2 s
            self._give_up(name_of(error) if isinstance(error, OSError) else type(error).__name__)
            return
        self._built_at, self._problem = self._clock(), None
        self._built()
        self._hint()  # whatever happened while nobody watched

    def _give_up(self, reason: str) -> None:
        now = self._clock()
        self._drop()
        if now - self._built_at > _LONGEST_PAUSE_S:
            self._pause_s = 0.0  # it had held for long: this is a new trouble
        self._next_at = now + self._pause_s
        self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S)
        self._problem = problem("FA-WATCHER", detail=reason)

    def _drop(self) -> None:
        native, self._native = self._native, None
        if native is not None:
            native.stop()
