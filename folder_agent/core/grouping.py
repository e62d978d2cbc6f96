"""Which files form a bundle: by folder, by stem, by DICOM header or by the sidecar's own list.

Pure and total: every file that is given comes out in exactly one group or among the unassigned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from folder_agent.core.records import FileKind, Finding, ListedFile
from folder_agent.core.settling import Watched

Layout = Literal["auto", "folder", "flat"]


@dataclass(frozen=True, slots=True)
class Member:
    """A file as bundling sees it. `finding` is None until it has settled and was looked into."""

    path: str
    kind: FileKind  # by name, until the finding knows better
    watched: Watched
    finding: Finding | None = None
    owner: str | None = None  # the group that it was of before it changed: until it is known again, it still is

    @property
    def folder(self) -> str:
        return folder_of(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """What may become a bundle. Without a sidecar it is a folder of files that wait for one."""

    key: str
    name: str
    base: str  # the folder that the sidecar's own list is relative to; "" is the drop folder itself
    is_folder: bool  # folder layout: everything below `base` belongs
    sidecars: tuple[Member, ...]
    files: tuple[Member, ...]  # everything else, junk and markers included
    maybe: tuple[Member, ...] = ()  # flat layout: still changing, and may turn out to belong by header

    @property
    def members(self) -> tuple[Member, ...]:
        return self.sidecars + self.files


@dataclass(frozen=True, slots=True)
class Grouping:
    """The outcome for one drop folder."""

    groups: tuple[Group, ...]
    unassigned: tuple[Member, ...]


def group(members: Iterable[Member], layout: Layout = "auto") -> Grouping:
    """Sort the files of one drop folder into bundles."""
    owned: dict[str, list[Member]] = defaultdict(list)
    sidecars: dict[str, list[Member]] = defaultdict(list)
    rest: list[Member] = []
    for member in members:
        (sidecars[member.folder] if member.kind is FileKind.SIDECAR else rest).append(member)
    nearest = _Nearest(sidecars)
    for member in rest:
        owned[nearest.of(member.folder)].append(member)
    groups: list[Group] = []
    homeless: list[Member] = owned.pop(_NOWHERE, [])
    for folder, found in sidecars.items():
        files = owned.get(folder, [])
        if _is_bundle_folder(folder, found, files, layout):
            groups.append(_folder_group(folder, found, files))
        else:
            assigned, left = _flat_groups(folder, found, files)
            groups.extend(assigned)
            homeless.extend(left)
    groups, homeless = _adopt_by_header(groups, homeless)
    waiting, unassigned = _without_sidecar(homeless, layout)
    return Grouping(tuple(sorted([*groups, *waiting], key=lambda g: g.key)), tuple(unassigned))


def folder_of(path: str) -> str:
    """The folder part of a relative path; "" is the drop folder itself."""
    return path.rpartition("/")[0]


def stem_of(path: str) -> str:
    """The file's name without its last extension."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


_NOWHERE = "/"  # no relative folder is called so


class _Nearest:
    """The nearest folder, at or above, that holds a sidecar; remembered, since thousands of files ask the same."""

    def __init__(self, folders: Mapping[str, object]) -> None:
        self._known: dict[str, str] = {folder: folder for folder in folders}

    def of(self, folder: str) -> str:
        asked = []
        while folder not in self._known:
            asked.append(folder)
            if folder == "":
                self._known[""] = _NOWHERE
                break
            folder = folder_of(folder)
        found = self._known[folder]
        self._known.update(dict.fromkeys(asked, found))
        return found


def _is_bundle_folder(folder: str, sidecars: Sequence[Member], files: Sequence[Member], layout: Layout) -> bool:
    """The drop folder itself is always flat: it is never moved."""
    if folder == "" or layout == "flat":
        return False
    if layout == "folder" or _one_exam(sidecars):
        return not (layout == "auto" and _looks_flat(folder, sidecars, files))
    return len(sidecars) == 1 and not _looks_flat(folder, sidecars, files)


def _looks_flat(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> bool:
    """A shared folder in which only the first of several exams has arrived yet: everything is named after the
    sidecar, and the sidecar is not named after the folder."""
    stems = {stem_of(sidecar.path).casefold(): 0 for sidecar in sidecars}
    files = [file for file in files if file.kind in _OF_AN_EXAM]
    return (
        bool(files)
        and folder.rpartition("/")[2].casefold() not in stems
        and all(_owner_by_stem(file.path[len(folder) + 1 :], stems) is not None for file in files)
    )


def _one_exam(sidecars: Sequence[Member]) -> bool:
    studies = {_study(sidecar) for sidecar in sidecars}
    return len(studies) == 1 and None not in studies


def _study(sidecar: Member) -> str | None:
    """What tells exams apart: the study's UID, else the accession number; None while it is not known."""
    reading = sidecar.finding.sidecar if sidecar.finding else None
    return (reading.get("studyUid") or reading.get("accessNumber")) if reading else None


def _folder_group(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> Group:
    return Group(folder + "/", folder.rpartition("/")[2], folder, True, _by_path(sidecars), _by_path(files))


def _flat_groups(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> tuple[list[Group], list[Member]]:
    """One group an exam; two sidecars of one exam share a group, so that neither goes without the other's files."""
    exams = _exams(sidecars)
    owner_by_stem = {stem_of(s.path).casefold(): i for i, exam in enumerate(exams) for s in exam}
    listed = {
        _join(folder, entry.path): i for i, exam in enumerate(exams) for s in exam for entry in (_listed(s) or ())
    }
    mine: dict[int, list[Member]] = defaultdict(list)
    left: list[Member] = []
    for member in files:
        inner = member.path[len(folder) + 1 :] if folder else member.path
        owner = listed.get(member.path)
        if owner is None:
            owner = _owner_by_stem(inner, owner_by_stem)
        if owner is None:
            left.append(member)
        else:
            mine[owner].append(member)
    groups = [
        Group(exam[0].path, stem_of(exam[0].path), folder, False, tuple(exam), _by_path(mine[i]))
        for i, exam in enumerate(exams)
    ]
    return groups, left


def _exams(sidecars: Sequence[Member]) -> list[list[Member]]:
    exams: dict[str, list[Member]] = defaultdict(list)
    for sidecar in _by_path(sidecars):
        exams[_study(sidecar) or f"/{sidecar.path}"].append(sidecar)
    return list(exams.values())


def _owner_by_stem(inner: str, stems: Mapping[str, int]) -> int | None:
    """`A1.pdf`, `A1_0001.dcm`, `A1-2.dcm` and `A1/IM1` belong to `A1.json`, `A10.pdf` does not; the longest stem wins.

    The first part of the path is what counts; a stem must end at the name's end or before a character that is
    neither letter nor digit.
    """
    head = inner.partition("/")[0].casefold()
    for end in range(len(head), 0, -1):
        if (end == len(head) or not head[end].isalnum()) and (owner := stems.get(head[:end])) is not None:
            return owner
    return None


def _listed(sidecar: Member) -> Sequence[ListedFile] | None:
    reading = sidecar.finding.sidecar if sidecar.finding else None
    return reading.listed if reading else None


def _adopt_by_header(groups: Sequence[Group], files: Sequence[Member]) -> tuple[list[Group], list[Member]]:
    """Files that no folder, stem or list claims go to the one sidecar that names their study or accession number.

    A group whose sidecar lists its files takes nothing more; two that both fit leave the file where it is.
    """
    by_study: dict[tuple[str, str], set[int]] = defaultdict(set)
    by_key = {one.key: {index} for index, one in enumerate(groups)}
    for index, one in enumerate(groups):
        for sidecar in one.sidecars:
            reading = sidecar.finding.sidecar if sidecar.finding else None
            if reading is None or reading.listed is not None:
                continue
            for kind, value in (("study", reading.get("studyUid")), ("accession", reading.get("accessNumber"))):
                if value:
                    by_study[kind, value].add(index)
    taken: dict[int, list[Member]] = defaultdict(list)
    left = []
    for member in files:
        if member.finding is None:
            fits = by_key.get(member.owner or "")
        elif (facts := member.finding.dicom) is not None:
            fits = by_study.get(("study", facts.study)) or by_study.get(("accession", facts.accession or ""))
        else:
            fits = None
        if fits and len(fits) == 1:
            taken[next(iter(fits))].append(member)
        else:
            left.append(member)
    maybe = tuple(member for member in left if member.finding is None and member.kind is FileKind.UNKNOWN)
    return [_with(one, taken.get(index, ()), maybe) for index, one in enumerate(groups)], left


def _with(one: Group, more: Sequence[Member], maybe: tuple[Member, ...]) -> Group:
    files = _by_path([*one.files, *more]) if more else one.files
    return replace(one, files=files, maybe=() if one.is_folder else maybe)


def _without_sidecar(files: Sequence[Member], layout: Layout) -> tuple[list[Group], list[Member]]:
    """A folder of files whose sidecar has not come is shown as one bundle that waits; loose files stay unassigned."""
    folders: dict[str, list[Member]] = defaultdict(list)
    loose: list[Member] = []
    for member in files:
        top = member.path.partition("/")[0]
        (loose if top == member.path or layout == "flat" else folders[top]).append(member)
    groups = []
    for top, found in folders.items():
        if any(member.kind in _OF_AN_EXAM for member in found):
            groups.append(Group(top + "/", top, top, True, (), _by_path(found)))
        else:
            loose.extend(found)
    return groups, loose


_OF_AN_EXAM = frozenset({FileKind.DICOM, FileKind.PDF, FileKind.UNKNOWN})


def _by_path(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda m: m.path))


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
