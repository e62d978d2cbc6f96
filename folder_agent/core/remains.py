"""What lies beside the images on a CD or in a dragged folder, and is no exam's: viewers, help files, their settings.

Pure. A file that cannot be read and may have been an image is no such thing: it stays what it is, so that nothing is
sent as if it were whole. Only asked where exams may come without a sidecar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from folder_agent.core.folders import above, home_of
from folder_agent.core.groups import Member
from folder_agent.core.naming import is_program
from folder_agent.core.records import Counts, FileKind, Finding, Origin, SidecarReading
from folder_agent.core.shelving import shared_folder

PlaceOf = Callable[[str], str]  # the folder that came as a whole, in which the file lies; "" for a loose one
DAMAGED = frozenset({"FA-FILE-TRUNCATED", "FA-FILE-UNREADABLE", "FA-FILE-EMPTY"})
_NAMELESS = frozenset({"FA-FILE-UNREADABLE", "FA-FILE-EMPTY"})  # nothing but the file's name says that it is an image
_IDENTITY = frozenset({"patientId", "patientName", "studyId", "accessNumber", "studyUid"})
_LACKS = frozenset({"FA-FIELD-MISSING"})
_LEFT = Finding(FileKind.FOREIGN)


def told_apart(members: Iterable[Member], place_of: PlaceOf) -> list[Member]:
    """The same files; what is no exam's has become FOREIGN."""
    members = list(members)
    by_place: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_place[place_of(member.path)].append(member)
    changed: dict[str, Member] = {}
    for place, found in by_place.items():
        if place:
            lie = _Lie(place, found)
            changed |= {m.path: replace(m, kind=FileKind.FOREIGN, finding=_LEFT) for m in found if lie.is_remains(m)}
    return [changed.get(member.path, member) for member in members] if changed else members


class _Lie:
    """How the files of one place lie in it."""

    def __init__(self, place: str, members: Sequence[Member]) -> None:
        self._place = place
        self._images = {m.folder for m in members if m.finding is not None and m.finding.dicom is not None}
        self._above_images = {folder for one in self._images for folder in above(one)}
        self._root = shared_folder([f"{one}/" for one in self._images])[:-1] if self._images else None
        self._programs = {m.folder for m in members if is_program(m.path)}
        self._mixed = {m.folder for m in members if not _is_nameless(m)}
        sidecars = [m for m in members if m.kind is FileKind.SIDECAR]
        self._has_sidecar = any(not self.is_remains(one) for one in sidecars)

    def is_remains(self, member: Member) -> bool:
        if member.finding is None:
            return False
        if member.kind is FileKind.SIDECAR:
            return member.finding.sidecar is not None and self._is_no_sidecar(member, member.finding.sidecar)
        if member.kind is FileKind.PDF:
            return member.finding.problem is None and self._is_a_manual(member)
        return _is_nameless(member) and not self._may_be_an_image(member)

    def _is_no_sidecar(self, member: Member, reading: SidecarReading) -> bool:
        """A program's own file of settings: it names no exam, and lies apart from the images or says nothing at all."""
        given = {source.field for source in reading.sources if source.origin is Origin.KEY}
        if given & _IDENTITY:
            return False
        if self._is_apart(member.folder):
            return True
        says_nothing = not given and reading.listed is None and reading.declared == Counts()
        return says_nothing and all(one.code in _LACKS for one in reading.problems)

    def _is_a_manual(self, member: Member) -> bool:
        """Only where no sidecar may speak of it."""
        is_among_programs = self._is_apart(member.folder) and not self._programs.isdisjoint(above(member.folder))
        return is_among_programs and not self._has_sidecar

    def _is_apart(self, folder: str) -> bool:
        """Below the place's top, and with no image at or below it. A folder for JSON files is the exam's, unless there
        are programs, which call their folders so, too."""
        is_part = not self._programs and home_of(folder) == self._place
        return folder != self._place and folder not in self._above_images and not is_part

    def _may_be_an_image(self, member: Member) -> bool:
        assert member.finding is not None
        if member.finding.is_text:
            return False
        if self._root is None:
            return not member.is_left
        folder = member.folder
        is_among_them = folder == self._root or folder.startswith(f"{self._root}/")
        return is_among_them and (folder in self._images or folder not in self._mixed)


def _is_nameless(member: Member) -> bool:
    wrong = member.finding.problem if member.finding is not None else None
    return member.kind is FileKind.UNKNOWN and wrong is not None and wrong.code in _NAMELESS
