"""Which volume a drop folder lies on: a share that is not mounted leaves an empty folder in its place, in which every
file looks deleted.

Touches the root by stat and the mount table by reading it; what it remembers is kept by whoever made it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.paths import openable
from folder_agent.edges.volumes import mount_point


class Anchor:
    """Knows the mount point under which the files of one drop folder were seen. Another one is believed only if it
    shows at least one of the files that are known, or none is known: else it hides them, and that is an outage.

    `recall` and `remember` keep one small text from run to run; `known` tells the paths of the files that should be
    there, and is asked only when the mount point is another one than before. On Windows, where a lost share or drive
    cannot be listed at all, nothing is ever in doubt.
    """

    def __init__(
        self,
        root: Path,
        recall: Callable[[], str | None],
        remember: Callable[[str], None],
        known: Callable[[], Iterable[str]],
    ) -> None:
        self._root = root.absolute()
        self._recall, self._remember, self._known = recall, remember, known
        self._believed: int | None = None  # the device at the last look that was believed

    def check(self) -> None:
        """AgentError (FA-DROP-GONE) if the root is not where the last look was believed. From any thread."""
        if self._believed is not None and self.device() != self._believed:
            raise _gone("another volume is there")

    def is_home(self) -> bool:
        """Whether the root is there, on the volume on which it was last, if any."""
        try:
            self.device()
        except AgentError:
            return False
        return self._remembered() in (None, mount_point(self._root))

    def device(self) -> int:
        """What tells the root's volume from others for as long as it is mounted. AgentError if the root is away."""
        try:
            found = openable(self._root).stat()
        except OSError as error:
            raise _gone(name_of(error)) from None
        return 0 if sys.platform == "win32" else found.st_dev

    def settle(self, device: int, found: Iterable[str]) -> None:
        """Believe a look that began on `device` and found those paths, or raise AgentError. For the looking thread."""
        if self.device() != device:
            raise _gone("the volume changed during the look")
        if device == self._believed:
            return
        here, before = mount_point(self._root), self._remembered()
        if before not in (None, here):
            known = set(self._known())
            if known and known.isdisjoint(found):
                raise _gone("not mounted" if len(here) < len(before or "") else "another volume is mounted over it")
        if before != here:
            self._remember(json.dumps({"root": os.fspath(self._root), "mount": here}))
        self._believed = device

    def _remembered(self) -> str | None:
        """The mount point that was believed last, if it was for this root."""
        try:
            kept = json.loads(self._recall() or "null")
            return str(kept["mount"]) if kept["root"] == os.fspath(self._root) else None
        except (ValueError, TypeError, KeyError):
            return None


def _gone(detail: str) -> AgentError:
    return failure(problem("FA-DROP-GONE", detail=detail))
