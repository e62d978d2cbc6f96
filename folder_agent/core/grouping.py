"""Which files form a bundle: by folder, by stem, by DICOM header or by the sidecar's own list.

Pure and total: every file that is given comes out in exactly one group or among the unassigned. Those that no sidecar
speaks of are sorted in studies.py, where exams may come without one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from folder_agent.core.folders import UNPACKED, above, at_depth, exam_name, is_calendar, place_of, top_of
from folder_agent.core.groups import OF_AN_EXAM, Group, Grouping, Member, by_path, folder_of
from folder_agent.core.naming import is_archive, is_unpacked, owner_by_stem, stem_of
from folder_agent.core.records import FileKind, ListedFile
from folder_agent.core.remains import PlaceOf, told_apart
from folder_agent.core.siblings import Siblings
from folder_agent.core.studies import by_study, named_in

__all__ = ["Group", "Grouping", "Layout", "Member", "folder_of", "group"]

Layout = Literal["auto", "folder", "flat"]
_WHY = "why.txt"  # ours: where it lies is what was one bundle


def group(
    members: Iterable[Member],
    layout: Layout = "auto",
    *,
    depth: int | None = None,
    unzip: bool = False,
    by_headers: bool = False,
    away: Collection[str] = (),
) -> Grouping:
    """Sort the files of one drop folder into bundles. `depth`: each folder so many levels below the drop folder is one;
    what lies above is flat. `unzip`: a ZIP that is no part of an exam with a sidecar is to be unpacked. `by_headers`:
    images that no sidecar speaks of are exams all the same, one for each study; `away` are the keys of bundles whose
    files are in other hands now."""
    in_place = partial(place_of, depth=depth)
    everything = told_apart(members, in_place) if by_headers else list(members)
    aside = [member for member in everything if by_headers and _is_unheard(member)]
    members = [member for member in everything if member not in aside] if aside else everything
    layout_of_rest: Layout = layout if depth is None else "flat"
    whole = _whole_folders(members, layout_of_rest, depth)
    together: dict[str, list[Member]] = defaultdict(list)
    rest: list[Member] = []
    for member in members:
        base = next((folder for folder in above(member.folder) if folder in whole), None) if whole else None
        if base is None and depth is not None:
            base = at_depth(member.path, depth)
        (rest if base is None else together[base]).append(member)
    groups: list[Group] = []
    archives: list[Member] = []
    for base, found in together.items():
        one = _folder_group(base, *_apart(found))
        if by_headers and (not one.sidecars or _is_shared(base, one.sidecars, one.files, away)):
            rest += found
            continue
        packed, files = _packed(one.files, unzip and not one.sidecars)
        archives += packed
        if files or one.sidecars:
            groups.append(replace(one, files=tuple(files)) if packed else one)
    placed, homeless = _by_place(rest, layout_of_rest, unzip, away if by_headers else None)
    groups += placed
    if by_headers:
        studies, homeless = by_study(homeless, everything, groups, in_place, away)
        groups += studies
        packed, unassigned = _packed(homeless, unzip)
        packed, left = _on_a_cd(packed, everything, in_place)
        unassigned += [*left, *aside]
    else:
        packed, homeless = _packed(homeless, unzip)
        waiting, unassigned = _without_sidecar(homeless, layout, {one.key for one in groups})
        groups += waiting
    archives += packed
    groups, unassigned = _with_their_archives([*groups, *map(_archive_group, archives)], unassigned)
    return Grouping(tuple(sorted(groups, key=lambda one: one.key)), tuple(unassigned))


def _is_unheard(member: Member) -> bool:
    """A JSON file of which nobody knows yet what it says: until then, it holds up the exams about it and claims none.
    One that is written anew goes on claiming what it has."""
    return member.kind is FileKind.SIDECAR and member.finding is None and member.owner is None


def _is_shared(folder: str, sidecars: Sequence[Member], files: Sequence[Member], away: Collection[str]) -> bool:
    """Whether, of the images, some are of a study that a sidecar speaks of, and some are of another."""
    if any(key.startswith(f"{folder}/") and key != f"{folder}/" for key in away):
        return True  # one of them has just begun to leave
    if any(one.finding is None and one.owner not in (None, f"{folder}/") for one in sidecars):
        return True  # as it was before it was written anew
    facts = [member.finding.dicom for member in files if member.finding is not None and member.finding.dicom]
    studies = {one.study for one in facts}
    if len(studies) < 2:
        return False
    spoken = named_in(sidecars)
    mine = {one.study for one in facts if ("study", one.study) in spoken or ("accession", one.accession) in spoken}
    return bool(mine) and mine != studies


def _on_a_cd(
    packed: Sequence[Member], members: Iterable[Member], in_place: PlaceOf
) -> tuple[list[Member], list[Member]]:
    """An archive that came with other things is a part of those, such as a viewer's, and stays as it is."""
    others = {
        in_place(member.path)
        for member in members
        if not is_archive(member.path) and member.kind not in (FileKind.JUNK, FileKind.TEMPORARY)
    }
    left = [member for member in packed if in_place(member.path) and in_place(member.path) in others]
    return [member for member in packed if member not in left], left


def _by_place(
    members: Sequence[Member], layout: Layout, unzip: bool, away: Collection[str] | None
) -> tuple[list[Group], list[Member]]:
    """By folder, stem, list and header; what remains has no sidecar. `away`: None where exams must have one."""
    owned: dict[str, list[Member]] = defaultdict(list)
    sidecars: dict[str, list[Member]] = defaultdict(list)
    found, rest = _apart(members)
    for member in found:
        sidecars[member.folder].append(member)
    nearest = _Nearest(sidecars)
    for member in rest:
        owned[nearest.of(member.folder)].append(member)
    groups: list[Group] = []
    homeless: list[Member] = owned.pop(_NOWHERE, [])
    for folder, here in sidecars.items():
        files = owned.get(folder, [])
        is_shared = away is not None and _is_shared(folder, here, files, away)
        if not is_shared and _is_bundle_folder(folder, here, files, layout):
            groups.append(_folder_group(folder, here, files))
        else:
            packed, files = _packed(files, unzip)
            assigned, left = _flat_groups(folder, here, files)
            groups.extend(assigned)
            homeless.extend([*left, *packed])
    return _adopt_by_header(groups, homeless)


def _apart(members: Iterable[Member]) -> tuple[list[Member], list[Member]]:
    sidecars: list[Member] = []
    rest: list[Member] = []
    for member in members:
        (sidecars if member.kind is FileKind.SIDECAR else rest).append(member)
    return sidecars, rest


def _packed(members: Iterable[Member], unzip: bool) -> tuple[list[Member], list[Member]]:
    """The archives that are to be unpacked, and all the others."""
    packed: list[Member] = []
    rest: list[Member] = []
    for member in members:
        is_packed = unzip and is_archive(member.path) and member.kind in (FileKind.UNKNOWN, FileKind.FOREIGN)
        (packed if is_packed else rest).append(member)
    return packed, rest


def _whole_folders(members: Sequence[Member], layout: Layout, depth: int | None) -> frozenset[str]:
    """Folders that are one bundle though their sidecar lies deeper in them: our WHY.txt says that they were one, or
    they are what we unpacked an archive to."""
    if layout != "auto" and depth is None:
        return frozenset()
    noted = {m.folder for m in members if m.folder and m.path.rpartition("/")[2].casefold() == _WHY}
    unpacked = {m.folder for m in members if is_unpacked(m.path) and m.folder.endswith(UNPACKED)}
    below: dict[str, list[Member]] = {folder: [] for folder in noted | unpacked}
    if below:
        for member in members:
            for folder in above(member.folder) if member.kind is FileKind.SIDECAR else ():
                if folder in below:
                    below[folder].append(member)
    found = {folder for folder, sidecars in below.items() if _is_one_deep(folder, sidecars)}
    return frozenset(folder for folder in found if found.isdisjoint(above(folder)[1:]))


def _is_one_deep(folder: str, sidecars: Sequence[Member]) -> bool:
    is_one = len(sidecars) == 1 or _one_exam(sidecars)
    return is_one and all(sidecar.folder != folder for sidecar in sidecars)


def _archive_group(member: Member) -> Group:
    name = member.path.rpartition("/")[2]
    return Group(member.path, name, member.folder, False, (), (member,), is_archive=True)


def _with_their_archives(groups: Sequence[Group], loose: Sequence[Member]) -> tuple[list[Group], list[Member]]:
    """An archive that was unpacked goes along with the first of the exams that were in it."""
    homes = {member.folder: member for member in loose if is_unpacked(member.path) and member.folder.endswith(UNPACKED)}
    found: list[Group] = []
    for one in sorted(groups, key=lambda one: one.key):
        mine = [homes.pop(folder) for folder in above(folder_of(one.key)) if folder in homes] if homes else []
        found.append(replace(one, files=by_path([*one.files, *mine])) if mine else one)
    taken = {member.path for one in found for member in one.files if is_unpacked(member.path)} if loose else set()
    return found, [member for member in loose if member.path not in taken]


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
    """The drop folder itself is always flat: it is never moved; and so is a day's, which is not one exam's."""
    if folder == "" or layout == "flat" or (layout == "auto" and is_calendar(folder)):
        return False
    if layout == "folder" or _one_exam(sidecars):
        return not (layout == "auto" and _looks_flat(folder, sidecars, files))
    return len(sidecars) == 1 and not _looks_flat(folder, sidecars, files)


def _looks_flat(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> bool:
    """A shared folder in which only the first of several exams has arrived yet: everything is named after the
    sidecar, and the sidecar is not named after the folder."""
    stems = {stem_of(sidecar.path).casefold(): 0 for sidecar in sidecars}
    files = [file for file in files if file.kind in OF_AN_EXAM]
    return (
        bool(files)
        and folder.rpartition("/")[2].removesuffix(UNPACKED).casefold() not in stems
        and all(owner_by_stem(file.path[len(folder) + 1 :], stems) is not None for file in files)
    )


def _one_exam(sidecars: Sequence[Member]) -> bool:
    studies = {_study(sidecar) for sidecar in sidecars}
    return len(studies) == 1 and None not in studies


def _study(sidecar: Member) -> str | None:
    """What tells exams apart: the study's UID, else the accession number; None while it is not known."""
    reading = sidecar.finding.sidecar if sidecar.finding else None
    return (reading.get("studyUid") or reading.get("accessNumber")) if reading else None


def _folder_group(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> Group:
    return Group(folder + "/", exam_name(folder), folder, True, by_path(sidecars), by_path(files))


def _flat_groups(folder: str, sidecars: Sequence[Member], files: Sequence[Member]) -> tuple[list[Group], list[Member]]:
    """One group an exam; two sidecars of one exam share a group, so that neither goes without the other's files."""
    exams = _exams(sidecars)
    by_stem = {stem_of(s.path).casefold(): i for i, exam in enumerate(exams) for s in exam}
    listed = {
        _join(folder, entry.path): i for i, exam in enumerate(exams) for s in exam for entry in (_listed(s) or ())
    }
    mine: dict[int, list[Member]] = defaultdict(list)
    left: list[Member] = []
    for member in files:
        inner = member.path[len(folder) + 1 :] if folder else member.path
        owner = listed.get(member.path)
        if owner is None:
            owner = owner_by_stem(inner, by_stem)
        if owner is None:
            left.append(member)
        else:
            mine[owner].append(member)
    groups = [
        Group(exam[0].path, stem_of(exam[0].path), folder, False, tuple(exam), by_path(mine[i]))
        for i, exam in enumerate(exams)
    ]
    return groups, left


def _exams(sidecars: Sequence[Member]) -> list[list[Member]]:
    exams: dict[str, list[Member]] = defaultdict(list)
    for sidecar in by_path(sidecars):
        exams[_study(sidecar) or f"/{sidecar.path}"].append(sidecar)
    return list(exams.values())


def _listed(sidecar: Member) -> Sequence[ListedFile] | None:
    reading = sidecar.finding.sidecar if sidecar.finding else None
    return reading.listed if reading else None


def _adopt_by_header(groups: Sequence[Group], files: Sequence[Member]) -> tuple[list[Group], list[Member]]:
    """Files that no folder, stem or list claims go to the one sidecar that names their study or accession number; a
    PDF beside the sidecar's folder to the exam that it is for certain of.

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
    siblings = Siblings(groups)
    taken: dict[int, list[Member]] = defaultdict(list)
    left = []
    for member in files:
        facts = member.finding.dicom if member.finding is not None else None
        if facts is not None:
            fits = by_study.get(("study", facts.study)) or by_study.get(("accession", facts.accession or ""))
        else:
            fits = siblings.owner(member) or (by_key.get(member.owner or "") if member.finding is None else None)
        if fits and len(fits) > 1:
            fits = _nearest_of(fits, groups, member)
        if fits and len(fits) == 1:
            taken[next(iter(fits))].append(member)
        else:
            left.append(member)
    arriving = sum(member.finding is None and member.kind is FileKind.UNKNOWN for member in left)
    return [_with(one, taken.get(index, ()), arriving) for index, one in enumerate(groups)], left


def _nearest_of(fits: set[int], groups: Sequence[Group], member: Member) -> set[int]:
    """Of sidecars of one exam, those that share the deepest folder with the file: yesterday's lies in yesterday's."""
    folders = above(member.folder)
    for folder in folders:
        near = {index for index in fits if f"{groups[index].key}/".startswith(f"{folder}/")}
        if near:
            return near
    return fits


def _with(one: Group, more: Sequence[Member], arriving: int) -> Group:
    """A folder with files of its own takes what is in it; its sidecar alone may be one whose images lie elsewhere."""
    if not more and not arriving:
        return one
    files = by_path([*one.files, *more]) if more else one.files
    takes_more = not one.is_folder or not any(member.kind in OF_AN_EXAM for member in one.files)
    return replace(one, files=files, is_unsure=takes_more and arriving > 0, arriving=arriving if takes_more else 0)


def _without_sidecar(
    files: Sequence[Member], layout: Layout, taken: Collection[str]
) -> tuple[list[Group], list[Member]]:
    """A folder of files whose sidecar has not come is shown as one bundle that waits; loose files stay unassigned, and
    so do those of a folder that is another exam's (its key is `taken`)."""
    folders: dict[str, list[Member]] = defaultdict(list)
    loose: list[Member] = []
    for member in files:
        top = top_of(member.path)
        (loose if not top or layout == "flat" or f"{top}/" in taken else folders[top]).append(member)
    groups = []
    for top, found in folders.items():
        if any(member.kind in OF_AN_EXAM for member in found):
            groups.append(Group(top + "/", exam_name(top), top, True, (), by_path(found)))
        else:
            loose.extend(found)
    return groups, loose


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
