"""What would become of a file or folder if it were dropped: looked into, sorted and judged as the agent would, at rest.

Reads the files that lie with it, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from folder_agent.assembly import answer_rules, bundle_rules
from folder_agent.core.answers import Answer, answers
from folder_agent.core.bundling import Verdict, judge
from folder_agent.core.filling import headers_of, with_filled
from folder_agent.core.folders import is_for_a_kind, place_of
from folder_agent.core.grouping import group
from folder_agent.core.groups import Group, Member
from folder_agent.core.headers import exam_of
from folder_agent.core.mapping import NO_MAPPING
from folder_agent.core.records import FileKind, SidecarReading, Stamp
from folder_agent.core.settling import Watched
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.paths import as_text
from folder_agent.settings import DropSettings

MOST = 5000  # files that are looked into
_AT_REST = 1e9  # monotonic: everything has been quiet for long


@dataclass(frozen=True, slots=True)
class Tried:
    """One exam as it would be."""

    group: Group
    reading: SidecarReading | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of all that lies there. `looked_at` of `there` files were looked into."""

    exams: tuple[Tried, ...]
    ignored: tuple[Answer, ...]
    looked_at: int
    there: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder as if it were in the drop folder: from which root it is reached, and its path there."""

    root: Path
    path: str  # "" is the drop folder itself
    is_shared: bool = False  # by many exams


def try_file(file: Path, drop: DropSettings, images: Path | None) -> tuple[Tried | None, Outcome]:
    """The exam of a sidecar, with what lies with it or in `images`; None if nothing is there that may be an exam's.
    Raises AgentError if a folder cannot be listed."""
    file = file.absolute()
    if images is not None:
        mine = f"X/{as_text(file.name)}"
        members, there = _gathered(_Place(images.absolute(), ""), drop, prefix="X/")
        sidecar = _looked_into(_folder(file.parent, drop), as_text(file.name), "X/")
        members = [*members, *([sidecar] if sidecar is not None else [])]
    else:
        place = _place_of(file, drop)
        mine = as_text(file.relative_to(place.root).as_posix())
        members, there = _gathered(place, drop, only_with=mine if place.is_shared else None)
    outcome = _outcome(members, drop, there)
    found = next((one for one in outcome.exams if any(m.path == mine for m in one.group.sidecars)), None)
    has_files = found is not None and any(m.kind in (FileKind.DICOM, FileKind.PDF) for m in found.group.files)
    return (found if has_files else None), outcome


def try_folder(folder: Path, drop: DropSettings) -> Outcome:
    """Everything in the folder. Raises AgentError if it cannot be listed."""
    members, there = _gathered(_as_dropped(folder.absolute(), drop), drop)
    return _outcome(members, drop, there)


def _outcome(members: list[Member], drop: DropSettings, there: int) -> Outcome:
    rules = bundle_rules(drop, remote=False)
    sorted_ = group(members, drop.layout, depth=drop.bundle_depth, unzip=False, by_headers=True)
    exams = []
    for one in sorted_.groups:
        filled = with_filled(one) if rules.fill else one
        by_sidecar = filled.sidecars[0].finding.sidecar if filled.sidecars and filled.sidecars[0].finding else None
        reading = by_sidecar if filled.sidecars else exam_of(headers_of(filled.files), rules.unsaid)
        elsewhere = reading if rules.by_headers and not filled.sidecars else None
        exams.append(Tried(filled, reading, judge(filled, rules, _AT_REST, 0.0, elsewhere=elsewhere)))
    left = ((m.path, m.kind, m.finding.problem) for m in sorted_.unassigned if m.finding is not None)
    return Outcome(tuple(exams), tuple(answers(left, answer_rules(drop))), len(members), there)


def _gathered(
    place: _Place, drop: DropSettings, *, prefix: str = "", only_with: str | None = None
) -> tuple[list[Member], int]:
    """What lies in the folder, looked into, and how many files there are. `only_with`: of a folder for many exams, only
    what is named like that sidecar: the rest would take long, and is others'."""
    folder = _folder(place.root, drop)
    paths = [one.path for one in folder.below(place.path)]
    if only_with is not None:
        names = [Member(path, folder.kind(path), Watched(Stamp(0, 0, 0), 0.0)) for path in paths]
        mine = (one for one in group(names, "flat").groups if any(m.path == only_with for m in one.sidecars))
        paths = [member.path for one in mine for member in one.members]
    found = (_looked_into(folder, path, prefix) for path in paths[:MOST])
    return [member for member in found if member is not None], len(paths)


def _looked_into(folder: RealDropFolder, path: str, prefix: str = "") -> Member | None:
    stamp = folder.stamp(path)
    finding = folder.inspect(path, stamp) if stamp is not None else None
    return Member(prefix + path, finding.kind, Watched(stamp, 0.0), finding) if stamp and finding else None


def _folder(root: Path, drop: DropSettings) -> RealDropFolder:
    own = drop.own_dirs if root == drop.path.absolute() else ()
    return RealDropFolder(drop.name, root, own, drop.marker, mapping=drop.mapping or NO_MAPPING)


def _place_of(file: Path, drop: DropSettings) -> _Place:
    """The folder of the exam that the sidecar is of, or the one that it shares with other exams."""
    parent = _as_dropped(file.parent, drop)
    inside = f"{parent.path}/{file.name}" if parent.path else file.name
    own = place_of(inside, drop.bundle_depth)
    return _Place(parent.root, own) if own else _Place(parent.root, parent.path, is_shared=True)


def _as_dropped(folder: Path, drop: DropSettings) -> _Place:
    """Where it is in the drop folder, or would be if it, or the exam's folder that it is a part of, were put there."""
    root = drop.path.absolute()
    if folder.is_relative_to(root) and not any(folder.is_relative_to(own.absolute()) for own in drop.own_dirs):
        path = folder.relative_to(root).as_posix()
        return _Place(root, "" if path == "." else as_text(path))
    home = folder
    while is_for_a_kind(home.name) and home.parent.name:
        home = home.parent
    return _Place(home.parent, as_text(folder.relative_to(home.parent).as_posix()))
