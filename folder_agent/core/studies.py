"""Exams without a sidecar: the DICOM files of one study are one, wherever they lie. Pure.

A file belongs to a study because its header says so, and a damaged one because it lies among that study's images; all
other files stay where they are. A folder that was dragged in (a CD) holds together what is still to come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from folder_agent.core import filling
from folder_agent.core.catalogue import disposition
from folder_agent.core.errors import Disposition, Problem
from folder_agent.core.folders import STUDY_KEY, above, exam_name, study_key
from folder_agent.core.groups import Group, Member, Study, by_path
from folder_agent.core.naming import is_cd_directory, is_plainly_foreign
from folder_agent.core.records import DicomFacts, FileKind
from folder_agent.core.remains import DAMAGED, PlaceOf

_NAMES_OF_EXAMS = (("study", "studyUid"), ("accession", "accessNumber"))
_MAY_BE_OF_IT = frozenset({FileKind.UNKNOWN, FileKind.SIDECAR})
_MOST = 20  # obstacles that are told
_MOST_OF_A_NAME = 40  # characters of an accession number


def by_study(
    files: Sequence[Member],
    everything: Sequence[Member],
    groups: Sequence[Group],
    place_of: PlaceOf,
    away: Iterable[str] = (),
) -> tuple[list[Group], list[Member]]:
    """The studies among the `files`, which no sidecar has claimed, and what is of none. `everything` is all that lies
    in the drop folder, `groups` are those with sidecars: an exam that has one somewhere is left to it; `away` are the
    keys of bundles that are in other hands, and still there."""
    named = named_in([sidecar for one in groups for sidecar in one.sidecars])
    studies: dict[str, list[Member]] = defaultdict(list)
    rest: list[Member] = []
    for member in files:
        facts = _facts(member)
        if facts is None or ("study", facts.study) in named or ("accession", facts.accession) in named:
            rest.append(member)
        else:
            studies[facts.study].append(member)
    places = _places(everything, place_of)
    for key in away:
        if (found := STUDY_KEY.fullmatch(key)) is not None and found[1] is not None:
            places[found[1]].studies[found[1]].add(found[2])
    obstacles: dict[str, list[Problem]] = defaultdict(list)
    left: list[Member] = []
    for member in rest:
        fits = _studies_of(member, places.get(place_of(member.path)), studies)
        if len(fits) == 1:
            studies[fits[0]].append(member)
            continue
        left.append(member)
        for uid in fits:
            obstacles[uid] += _problem_of(member)
    left, taken = _shared_out(left, places, studies, place_of)
    names = _Names(studies, places, place_of)
    arriving = sum(m.finding is None and m.kind in _MAY_BE_OF_IT and not place_of(m.path) for m in everything)
    make = partial(_group, places=places, place_of=place_of, names=names, arriving=arriving)
    return [make(uid, [*found, *taken[uid]], obstacles=obstacles[uid]) for uid, found in studies.items()], left


@dataclass(slots=True)
class _Place:
    """What is known of all that lies in one folder that came as a whole."""

    studies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # at and below each folder of it
    stirred_at: float = float("-inf")
    coming: list[Member] = field(default_factory=list)
    unopened: list[Problem] = field(default_factory=list)
    marked_at: float | None = None


def _places(everything: Iterable[Member], place_of: PlaceOf) -> dict[str, _Place]:
    places: dict[str, _Place] = defaultdict(_Place)
    for member in everything:
        place = places[place_of(member.path)]
        if member.kind is not FileKind.MARKER:
            place.stirred_at = max(place.stirred_at, member.watched.since)
        facts = _facts(member)
        if facts is not None:
            for folder in above(member.folder):
                place.studies[folder].add(facts.study)
        elif member.finding is None and member.kind is not FileKind.TEMPORARY:
            place.coming.append(member)
        elif member.kind is FileKind.MARKER:
            place.marked_at = max(place.marked_at or member.watched.since, member.watched.since)
        elif not is_plainly_foreign(member.path):
            place.unopened += (one for one in _problem_of(member) if disposition(one) is Disposition.WAIT)
    return places


def _studies_of(member: Member, place: _Place | None, studies: Mapping[str, object]) -> list[str]:
    """Of which of the studies a damaged file may be: the one that it still names, else those of its neighbours."""
    finding = member.finding
    if finding is None or finding.problem is None or finding.problem.code not in DAMAGED:
        return []
    if finding.study is not None:
        return [finding.study] if finding.study in studies else []
    around = [] if place is None else [place.studies[one] for one in above(member.folder) if one in place.studies]
    return sorted(uid for uid in around[0] if uid in studies) if around else []


def _shared_out(
    left: Sequence[Member], places: Mapping[str, _Place], studies: Mapping[str, object], place_of: PlaceOf
) -> tuple[list[Member], dict[str, list[Member]]]:
    """Where one study is all that a place holds, the marker and the litter of systems go along with it."""
    taken: dict[str, list[Member]] = defaultdict(list)
    stays: list[Member] = []
    for member in left:
        place = place_of(member.path)
        alone = places[place].studies.get(place, set()) if place and _goes_along(member) else set()
        uid = next(iter(alone)) if len(alone) == 1 else None
        (taken[uid] if uid is not None and uid in studies else stays).append(member)
    return stays, taken


def _goes_along(member: Member) -> bool:
    is_litter = member.kind is FileKind.JUNK and not is_cd_directory(member.path)
    return member.finding is not None and (is_litter or member.kind is FileKind.MARKER)


def _group(
    uid: str,
    files: Sequence[Member],
    places: Mapping[str, _Place],
    place_of: PlaceOf,
    names: _Names,
    arriving: int,
    obstacles: Sequence[Problem],
) -> Group:
    images = [member for member in files if _facts(member) is not None]
    every = sorted({place_of(member.path) for member in images})
    folders = tuple(place for place in every if place)
    around = [places[place] for place in folders]
    base = folders[0] if folders else ""
    marks = [place.marked_at for place in (places[one] for one in every) if place.marked_at is not None]
    is_loose = "" in every
    study = Study(
        uid=uid,
        places=folders,
        stirred_at=max((place.stirred_at for place in around), default=None),
        coming=by_path(member for place in around for member in place.coming),
        obstacles=tuple(
            sorted([*obstacles, *(one for place in around for one in place.unopened)], key=_by_file)[:_MOST]
        ),
        marked_at=max(marks, default=None),
    )
    return Group(
        study_key(base, uid),
        names.of(uid, folders),
        base,
        False,
        (),
        by_path(files),
        is_unsure=is_loose and arriving > 0,
        arriving=arriving if is_loose else 0,
        study=study,
    )


class _Names:
    """What people call each study: by its folder where that holds no other, else by accession number or order, too."""

    def __init__(
        self, studies: Mapping[str, Sequence[Member]], places: Mapping[str, _Place], place_of: PlaceOf
    ) -> None:
        facts = {uid: [one for one in map(_facts, found) if one is not None] for uid, found in studies.items()}
        self._certain = {uid: filling.certain(found) for uid, found in facts.items()}
        self._numbers = Counter(self._number(uid) for uid in studies)
        inside: dict[str, set[str]] = {place: set(of.studies.get(place, ())) for place, of in places.items()}
        for uid, found in studies.items():
            for member in found:
                inside[place_of(member.path)].add(uid)
        self._in = {place: sorted(uids, key=self._order) for place, uids in inside.items()}

    def of(self, uid: str, places: Sequence[str]) -> str:
        number = self._number(uid)
        own = number if number is not None and self._numbers[number] == 1 else None
        if not places:
            return own or uid
        folder, here = exam_name(places[0]), self._in[places[0]]
        return folder if len(here) == 1 else f"{folder} {own or f'#{here.index(uid) + 1}'}"

    def _number(self, uid: str) -> str | None:
        number = self._certain[uid].get("accessNumber") or None
        return number if number is not None and len(number) <= _MOST_OF_A_NAME else None

    def _order(self, uid: str) -> tuple[str, str]:
        return self._certain.get(uid, {}).get("studyDate", ""), uid


def named_in(sidecars: Iterable[Member]) -> set[tuple[str, str | None]]:
    """The studies and accession numbers that the sidecars speak of."""
    readings = [one.finding.sidecar for one in sidecars if one.finding is not None and one.finding.sidecar is not None]
    named = {(kind, one.get(name)) for one in readings for kind, name in _NAMES_OF_EXAMS}
    return {(kind, value) for kind, value in named if value}


def _facts(member: Member) -> DicomFacts | None:
    return member.finding.dicom if member.finding is not None else None


def _by_file(one: Problem) -> str:
    return one.path or ""


def _problem_of(member: Member) -> tuple[Problem, ...]:
    return (member.finding.problem,) if member.finding is not None and member.finding.problem is not None else ()
