"""Writes _STATUS.txt into the root of a drop folder: whole or as it was before, and never over somebody else's file.

Touches that file and one temporary one beside it, which no look sees. Not synced: it is written anew every minute.
"""

from __future__ import annotations

import errno

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.status_note import HEAD
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.names import STATUS_NAME, STATUS_PART
from folder_agent.edges.drop_folder.opening import name_of, open_for_reading
from folder_agent.edges.paths import is_gone, openable, retrying


class StatusFile:
    """The note of one drop folder."""

    def __init__(self, drop: RealDropFolder) -> None:
        self._drop = drop
        self._path = openable(drop.root) / STATUS_NAME
        self._part = openable(drop.root) / STATUS_PART

    def write(self, content: bytes) -> None:
        """Replace the note. Raises AgentError: FA-STATUS-NOTE where that cannot be, whatever keeps the drop folder
        from being reached otherwise."""
        self._drop.stamp(STATUS_NAME)  # an unmounted share is not written to
        try:
            if not self._is_ours():
                raise failure(problem("FA-STATUS-NOTE", detail="not ours"))
            self._part.write_bytes(content)
            retrying(lambda: self._part.replace(self._path))  # Notepad does not hold it, an indexer may
        except OSError as error:
            raise failure(problem("FA-STATUS-NOTE", detail=name_of(error))) from None

    def _is_ours(self) -> bool:
        """Whether nothing is there yet, or one of ours."""
        try:
            with retrying(lambda: open_for_reading(self._path)) as file:
                return file.read(len(HEAD)) == HEAD
        except OSError as error:
            if is_gone(error):
                return True
            if error.errno == errno.ELOOP:
                return False
            raise
