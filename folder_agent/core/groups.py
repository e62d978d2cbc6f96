"""A file as bundling sees it, and the groups that become bundles. Plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from folder_agent.core.errors import Problem
from folder_agent.core.records import FileKind, Finding
from folder_agent.core.settling import Watched

OF_AN_EXAM = frozenset({FileKind.DICOM, FileKind.PDF, FileKind.UNKNOWN})


def folder_of(path: str) -> str:
    """The folder part of a relative path; "" is the drop folder itself."""
    return path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Member:
    """A file as bundling sees it. `finding` is None until it has settled and was looked into."""

    path: str
    kind: FileKind  # by name, until the finding knows better
    watched: Watched
    finding: Finding | None = None
    owner: str | None = None  # the group that it was of before it changed: until it is known again, it still is
    is_left: bool = False  # it was found to be no exam's, beside images that have gone since

    @property
    def folder(self) -> str:
        return folder_of(self.path)


@dataclass(frozen=True, slots=True)
class Study:
    """What else is known of an exam that its headers alone hold together (studies.py). Folders as in `places` hold
    nothing but what came along with it; the drop folder itself is none."""

    uid: str  # StudyInstanceUID
    places: tuple[str, ...] = ()
    stirred_at: float | None = None  # monotonic: when anything in these places, but markers, was last seen to change
    coming: tuple[Member, ...] = ()  # files there of which nothing is known yet
    obstacles: tuple[Problem, ...] = ()  # why files there cannot be read that may be of it
    marked_at: float | None = None  # monotonic: when the marker was first seen


@dataclass(frozen=True, slots=True)
class Group:
    """What may become a bundle. Without a sidecar it is a folder of files that wait for one, or one study."""

    key: str
    name: str
    base: str  # the folder that the bundle is in; "" is the drop folder itself
    is_folder: bool  # folder layout: everything below `base` belongs
    sidecars: tuple[Member, ...]
    files: tuple[Member, ...]  # everything else, junk and markers included
    is_unsure: bool = False  # files are still changing that may turn out to belong to it by header
    arriving: int = field(default=0, compare=False)  # so many of them; no other judgement for one more or less
    is_archive: bool = False  # it is one ZIP that nobody has claimed: to be unpacked
    study: Study | None = None  # it is one by its headers alone

    @property
    def members(self) -> tuple[Member, ...]:
        return self.sidecars + self.files


@dataclass(frozen=True, slots=True)
class Grouping:
    """The outcome for one drop folder. `unassigned` are of no exam (yet)."""

    groups: tuple[Group, ...]
    unassigned: tuple[Member, ...]


def by_path(members: Iterable[Member]) -> tuple[Member, ...]:
    """In the order of their paths."""
    return tuple(sorted(members, key=lambda m: m.path))
