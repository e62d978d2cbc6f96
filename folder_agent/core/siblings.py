"""Whose a PDF is that lies in a folder for reports, beside the folder of its sidecar. Pure.

A PDF says of no patient that it is his. Certain are two things: it is called as the sidecar is (`json/A1.json`,
`pdf/A1_2.pdf`); or the folder in which both folders are is called as the exam is, and holds no other one
(`ACC123/json/x.json`, `ACC123/pdf/report.pdf`). In any other folder the next exam's report may come before its sidecar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from folder_agent.core.folders import above, is_for_a_kind
from folder_agent.core.naming import owner_by_stem, stem_of
from folder_agent.core.records import FileKind

if TYPE_CHECKING:
    from folder_agent.core.groups import Group, Member

_NAMING = ("accessNumber", "studyUid")  # what an exam's own folder is called by
_SEVERAL = -1  # no exam's number


class Siblings:
    """The exams of a drop folder, by where their sidecars lie and what they are called."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._by_stem: dict[str, dict[str, int]] = defaultdict(dict)
        self._below: dict[str, set[int]] = defaultdict(set)
        self._names: dict[int, set[str]] = defaultdict(set)
        self._closed = {_SEVERAL}  # such as exams that list their files
        for index, one in enumerate(groups):
            for sidecar in one.sidecars:
                self._know(index, sidecar)

    def owner(self, member: Member) -> set[int] | None:
        """The one exam whose this PDF is for certain; None for any other file."""
        home = _beyond_kinds(member.folder)
        if home == member.folder or not _is_pdf(member):
            return None
        found = owner_by_stem(member.path.rpartition("/")[2], self._by_stem.get(home, {}))
        exams = self._of_folder(home) if found is None else {found}
        return exams if len(exams) == 1 and not exams & self._closed else None

    def _of_folder(self, home: str) -> set[int]:
        """The exam that the folder is called by, if there is no other in it."""
        exams = self._below.get(home, set())
        name = home.rpartition("/")[2].casefold()
        return exams if all(name in self._names[one] for one in exams) else set()

    def _know(self, index: int, sidecar: Member) -> None:
        stems, stem = self._by_stem[_beyond_kinds(sidecar.folder)], stem_of(sidecar.path).casefold()
        stems[stem] = index if stems.get(stem, index) == index else _SEVERAL
        for folder in above(sidecar.folder):
            self._below[folder].add(index)
        reading = sidecar.finding.sidecar if sidecar.finding else None
        if reading is not None and reading.listed is not None:
            self._closed.add(index)
        values = [reading.get(field) for field in _NAMING] if reading else []
        self._names[index] |= {value.casefold() for value in values if value}


def _beyond_kinds(folder: str) -> str:
    """The folder that holds those for kinds of files; "" may be the drop folder itself."""
    while is_for_a_kind(folder):
        folder = folder.rpartition("/")[0]
    return folder


def _is_pdf(member: Member) -> bool:
    """By its content once that is known; until then by its name."""
    return member.kind is FileKind.PDF or (member.finding is None and member.path.casefold().endswith(".pdf"))
