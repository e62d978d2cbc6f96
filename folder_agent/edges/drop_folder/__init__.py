"""One watched root, as the agent's DropFolder port asks for it: look, inspect, stamp, digest.

Only reads, below its own root, and never through a link. Paths come and go in the text form of `edges.paths`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.mapping import NO_MAPPING, SiteMapping
from folder_agent.core.records import FileKind, Finding, Sighting, Stamp
from folder_agent.edges.drop_folder import inspecting
from folder_agent.edges.drop_folder.mounts import Anchor
from folder_agent.edges.drop_folder.names import kind_by_name
from folder_agent.edges.drop_folder.opening import name_of, open_for_reading, why_not
from folder_agent.edges.drop_folder.scanning import Look, scan
from folder_agent.edges.paths import from_text, is_gone, is_inside, is_link, normal, openable, retrying, stamp_of
from folder_agent.edges.volumes import is_remote

_BLOCK = 1024 * 1024  # bytes read at once for a digest


class RealDropFolder:
    """The DropFolder of a real directory. `excluded` are done/ and failed/, wherever they lie; `marker` is the
    pattern that names this drop's marker files; `anchor` tells an unmounted share from an emptied folder; `admit`
    raises AgentError (RETRY) while nobody may look; `mapping` is how its sidecars say what the gateway asks for.
    Everything but `look` may be called from any thread."""

    def __init__(
        self,
        name: str,
        root: Path,
        excluded: Sequence[Path] = (),
        marker: str | None = None,
        anchor: Anchor | None = None,
        admit: Callable[[], None] = lambda: None,
        mapping: SiteMapping = NO_MAPPING,
    ) -> None:
        self.name = name
        self.root = root.absolute()
        self.is_remote = is_remote(self.root)
        self._marker, self._anchor, self._admit, self._mapping = marker, anchor, admit, mapping
        self._excluded = frozenset(normal(folder) for folder in excluded)
        self._unlisted: frozenset[str] = frozenset()

    def look(self) -> Sequence[Sighting]:
        """Every file below the root but those in the excluded folders; links are told, never followed.

        Raises AgentError (RETRY) when the root cannot be listed: an outage, never a deletion. A subfolder that cannot
        be listed is no outage of its neighbours: it is named by `unlisted`, and what was known below it still holds.
        """
        self._admit()
        found = self._scan("") if self._anchor is None else self._anchored_scan(self._anchor)
        self._unlisted = frozenset(found.unlisted)
        return found.sightings

    def unlisted(self) -> frozenset[str]:
        """The relative folders that the last look could not list, or not to their end (permission, a network error,
        more than 64 levels deep). Files below them that the look does not show are unchanged, not vanished."""
        return self._unlisted

    def below(self, folder: str) -> Sequence[Sighting]:
        """As `look`, for one folder below the root ("" is the root itself); empty when it is not there.

        Raises AgentError, too, when anything below the folder cannot be listed: its answer is whole or none.
        """
        if not folder:
            return self.look()
        location = self.locate(folder)
        if is_inside(normal(location), self._excluded) or self._is_behind_link(folder, itself=True):
            return ()
        found = self._scan(folder)
        if found.unlisted:
            unlisted = problem("FA-FOLDER-UNLISTED", min(found.unlisted), count=len(found.unlisted))
            raise AgentError(unlisted, Disposition.RETRY)
        return found.sightings

    def kind(self, path: str) -> FileKind:
        """What the file's name says of it; UNKNOWN where only its content can tell."""
        return kind_by_name(path.rpartition("/")[2], self._marker) or FileKind.UNKNOWN

    def inspect(self, path: str, stamp: Stamp) -> Finding | None:
        """What the file is, from its content. None: it is not the file of that stamp any more, look again."""
        location = self.locate(path)
        if self._is_behind_link(path):
            return None
        return inspecting.inspect(location, path, stamp, self._marker, self._mapping)

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of one file now; None when it is not there (or is no regular file). AgentError on an outage."""
        location = self.locate(path)
        try:
            found = location.lstat()
        except OSError as error:
            if not is_gone(error):
                raise failure(why_not(error, path)) from None
            self._check_root()  # "not there" is only true of a root that is there
            return None
        if is_link(found) or not stat.S_ISREG(found.st_mode) or self._is_behind_link(path):
            return None
        return stamp_of(found, with_identity=not self.is_remote)

    def digest(self, path: str) -> str:
        """SHA-256 of the file's bytes, lower-case hex, streamed. Raises AgentError (WAIT) if it cannot be read."""
        location = self.locate(path)
        sha256 = hashlib.sha256()
        try:
            with retrying(lambda: open_for_reading(location)) as file:
                while block := file.read(_BLOCK):
                    sha256.update(block)
        except OSError as error:
            gone = is_gone(error)
            raise failure(problem("FA-CHANGED", path) if gone else why_not(error, path)) from None
        return sha256.hexdigest()

    def locate(self, path: str) -> Path:
        """Where the file is, as an absolute path that the platform can open (long paths included).

        Raises AgentError (REFUSE) for a path that leads out of the root, or that no listing ever gave.
        """
        try:
            raw = from_text(path)
            os.fsencode(raw)
        except ValueError:
            raise failure(problem("FA-FILE-LINK", path)) from None
        parts = raw.split("/")
        # On Windows a backslash separates and a colon names a drive or a stream: no listed name holds either.
        strange = "\0" if sys.platform != "win32" else '\0\\:*?"<>|'
        if any(part in ("", ".", "..") or not set(part).isdisjoint(strange) for part in parts):
            raise failure(problem("FA-FILE-LINK", path))
        return openable(self.root).joinpath(*parts)

    def _anchored_scan(self, anchor: Anchor) -> Look:
        device = anchor.device()
        found = self._walk("")
        anchor.settle(device, (sighting.path for sighting in found.sightings))
        return found

    def _scan(self, folder: str) -> Look:
        self._check_root()
        found = self._walk(folder)
        self._check_volume()
        return found

    def _walk(self, folder: str) -> Look:
        self._check_listable()
        root = os.fspath(openable(self.root))
        try:
            look = scan(root, self._excluded, from_text(folder), with_identity=not self.is_remote)
        except OSError as error:
            self._check_listable()
            if folder and is_gone(error):
                return Look()
            raise failure(problem("FA-DROP-GONE", folder or None, detail=name_of(error))) from None
        if look.vanished or look.unlisted:
            self._check_listable()  # a share that was lost half-way looks like many deletions
        return look

    def _check_root(self) -> None:
        """Raises AgentError when the root is not there, or is the empty folder that an unmounted share leaves."""
        self._check_listable()
        self._check_volume()

    def _check_listable(self) -> None:
        root = openable(self.root)
        try:
            with os.scandir(root) as entries:
                next(entries, None)
        except OSError as error:
            raise failure(problem("FA-DROP-GONE", detail=name_of(error))) from None
        if self.is_remote and not is_remote(self.root):
            raise failure(problem("FA-DROP-GONE", detail="not mounted"))

    def _check_volume(self) -> None:
        if self._anchor is not None:
            self._anchor.check()

    def _is_behind_link(self, path: str, itself: bool = False) -> bool:
        """Whether a folder on the way to the path is a link by now; a listing never leads through one."""
        parts = from_text(path).split("/")
        here = openable(self.root)
        for part in parts if itself else parts[:-1]:
            here = here / part
            try:
                if is_link(here.lstat()):
                    return True
            except OSError:
                return False  # whoever opens it next will say why
        return False
