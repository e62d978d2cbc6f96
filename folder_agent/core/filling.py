"""What a sidecar lacks and the images say: filled in where it is certain. Pure.

Certain is what every DICOM file of the bundle says that says anything, in a form that the gateway takes. What the
sidecar gives is never touched, and neither is who the patient is: there is no filling of patientId.
Attributes: DICOM PS3.3 C.7.1.1 (patient), C.7.2.1 and C.7.2.2 (study), C.7.3.1 and C.7.5.1 (series).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import TEXT_FIELDS
from folder_agent.core.groups import Group, Member
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import DicomFacts, Origin, SidecarReading, Source

UNCLEAR = ""  # what a file says of a field that it names, in a way that nobody understands
Said = tuple[tuple[str, str], ...]  # the gateway's fields, with their values or UNCLEAR
Headers = Sequence[tuple[str, DicomFacts]]  # with the files' paths

# The DICOM keyword that each field is filled from.
KEYWORDS: dict[str, str] = {
    "patientName": "PatientName",
    "patientSex": "PatientSex",
    "patientBirthday": "PatientBirthDate",
    "patientAge": "PatientAge",
    "patientAgeUnit": "PatientAge",
    "size": "PatientSize",
    "weight": "PatientWeight",
    "studyId": "StudyID",
    "accessNumber": "AccessionNumber",
    "studyUid": "StudyInstanceUID",
    "studyDesc": "StudyDescription",
    "studyDate": "StudyDate",
    "modality": "Modality",
    "bodyPart": "BodyPartExamined",
}
OF_IMAGES = frozenset({"modality", "bodyPart"})  # a report or a presentation state has one of its own
_NOT_GIVEN = frozenset({"FA-FIELD-MISSING", "FA-FIELD-ABSENT"})
_AT_ODDS = frozenset({"FA-HEADERS-DIFFER", "FA-HEADERS-UNCLEAR"})
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture (PS3.3 A.8): a picture of a screen, made by whatever took it
_IDEOGRAPHS = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=1024)  # the files of one exam say the same: they share one tuple
def said(values: tuple[tuple[str, str | None], ...]) -> Said:
    """What a header says of the gateway's fields. `values` are the DICOM values as text by keyword, in order; None:
    there is one, and it cannot be decoded. An absent or empty one says nothing."""
    header = dict(values)
    found: dict[str, str] = {}
    for field, read in _READ.items():
        given = header.get(KEYWORDS[field], "")
        try:
            value = read(header) if given is not None else UNCLEAR
        except Unfit:
            value = UNCLEAR
        if value is not None:
            found[field] = value
    return tuple(found.items())


def filled(reading: SidecarReading, facts: Iterable[DicomFacts]) -> SidecarReading:
    """The reading, with what it does not give and the files are certain of. The order of the files does not matter."""
    return filled_with(reading, certain(facts), Origin.HEADER, KEYWORDS)


def filled_with(
    reading: SidecarReading, certain: Mapping[str, str], origin: Origin, keys: Mapping[str, str]
) -> SidecarReading:
    """The reading, with those of the `certain` values that it does not give; `keys` say of each where it comes from."""
    wanted = {name: certain[name] for name in reading.absent if name in certain}
    if "patientAge" in wanted and reading.get("patientAgeUnit") is not None:
        del wanted["patientAge"]  # a unit without a number means that somebody took the number away
    if "patientAge" not in wanted:
        wanted.pop("patientAgeUnit", None)
    if not wanted:
        return reading
    values = {**dict(reading.fields), **wanted}
    sources = {source.field: source for source in reading.sources}
    sources |= {name: Source(name, origin, keys[name]) for name in wanted}
    return replace(
        reading,
        fields=tuple((name, values[name]) for name in TEXT_FIELDS if name in values),
        absent=tuple(name for name in reading.absent if name not in wanted),
        sources=tuple(sources[name] for name in _in_order(sources)),
        problems=_without(reading.problems, wanted),
        warnings=_without(reading.warnings, wanted),
    )


def with_filled(group: Group) -> Group:
    """The group, its first sidecar's reading filled in from its own files."""
    sidecar = group.sidecars[0] if group.sidecars else None
    finding = sidecar.finding if sidecar is not None else None
    if sidecar is None or finding is None or finding.sidecar is None:
        return group
    headers = headers_of(group.files)
    reading = filled(finding.sidecar, [facts for _, facts in headers])
    if odd := at_odds(headers, reading.absent):
        needed = {_field_of(one) for one in reading.problems if one.code in _NOT_GIVEN}
        refuse = tuple(one for one in odd if _field_of(one) in needed)
        warn = tuple(one for one in odd if one not in refuse)
        reading = replace(reading, problems=(*reading.problems, *refuse), warnings=(*reading.warnings, *warn))
    if reading is finding.sidecar:
        return group
    first = replace(sidecar, finding=replace(finding, sidecar=reading))
    return replace(group, sidecars=(first, *group.sidecars[1:]))


def headers_of(files: Iterable[Member]) -> Headers:
    """The DICOM files among them, with their paths, in order."""
    return [(one.path, one.finding.dicom) for one in files if one.finding is not None and one.finding.dicom is not None]


def at_odds(headers: Headers, names: Iterable[str]) -> list[Problem]:
    """One problem for each of the fields on which the headers disagree, with the first two files that do, or which one
    of them gives in a form that nobody understands."""
    told = _told([facts for _, facts in headers])
    found: dict[str, Problem] = {}
    for name in names:
        if len(told.get(name, ())) > 1 or UNCLEAR in told.get(name, ()):
            found.setdefault(KEYWORDS[name], _odd(headers, name))
    return list(found.values())


def _odd(headers: Headers, name: str) -> Problem:
    speak = _who_speaks([facts for _, facts in headers])
    speaking = [(path, dict(facts.said)) for path, facts in headers if speak(facts, name)]
    says = [(path, of_one[name]) for path, of_one in speaking if name in of_one]
    unclear = next((path for path, value in says if value == UNCLEAR), None)
    if unclear is not None:
        return problem("FA-HEADERS-UNCLEAR", unclear, field=name, keyword=KEYWORDS[name])
    first, ours = says[0]
    second, theirs = next((path, value) for path, value in says if value != ours)
    private = {"ours": ours, "theirs": theirs}
    return problem("FA-HEADERS-DIFFER", second, private, field=name, keyword=KEYWORDS[name], other=first)


def may_be_filled(problems: Iterable[Problem]) -> bool:
    """Whether every one of the problems is a field that files which are still to come may fill in."""
    return all(one.code in _NOT_GIVEN | _AT_ODDS and _field_of(one) in KEYWORDS for one in problems)


def origins(reading: SidecarReading) -> dict[str, str]:
    """Where each field comes from that neither sidecar nor mapping gives: the DICOM keyword, or a word for it."""
    return {
        source.field: source.key or "" if source.origin is Origin.HEADER else str(source.origin)
        for source in reading.sources
        if source.origin in (Origin.HEADER, Origin.EARLIER)
    }


def certain(facts: Iterable[DicomFacts]) -> dict[str, str]:
    """What all say alike of each field."""
    told = _told(facts)
    return {name: next(iter(values)) for name, values in told.items() if len(values) == 1 and UNCLEAR not in values}


def _told(facts: Iterable[DicomFacts]) -> dict[str, set[str]]:
    """All that is said of each field. Compared are the few ways of saying it all, not every file's values."""
    ways = {(one.said, one.is_image, is_capture(one)): one for one in facts}
    speaks = _who_speaks(ways.values())
    told: dict[str, set[str]] = {}
    for one in ways.values():
        for name, value in one.said:
            if speaks(one, name):
                told.setdefault(name, set()).add(value)
    return told


def _who_speaks(facts: Iterable[DicomFacts]) -> Callable[[DicomFacts, str], bool]:
    """Whose word counts of which field. A captured screen calls itself OT or what its camera is: of the modality the
    images that were measured speak, if there are any."""
    has_measured = any(one.is_image and not is_capture(one) for one in facts)
    return lambda one, name: name not in OF_IMAGES or (one.is_image and not (has_measured and is_capture(one)))


def is_capture(facts: DicomFacts) -> bool:
    """Whether it is a Secondary Capture image."""
    return facts.sop_class == _CAPTURE or facts.sop_class.startswith(f"{_CAPTURE}.")


def _in_order(names: Iterable[str]) -> list[str]:
    there = set(names)
    return [name for name in TEXT_FIELDS if name in there] + [name for name in there if name not in TEXT_FIELDS]


def _without(problems: tuple[Problem, ...], wanted: Mapping[str, str]) -> tuple[Problem, ...]:
    return tuple(one for one in problems if not (one.code in _NOT_GIVEN and _field_of(one) in wanted))


def _field_of(one: Problem) -> str:
    """The gateway's name of the field; behind it may stand how the site calls it."""
    return str(dict(one.values).get("field", "")).partition(" (")[0]


Header = Mapping[str, str | None]


def _plain(field: str, form: Callable[[object], str | None]) -> Callable[[Header], str | None]:
    return lambda header: form(header.get(KEYWORDS[field], ""))


def _name(header: Header) -> str | None:
    """VR PN (DICOM PS3.5 6.2): alphabetic=ideographic=phonetic, each family^given^middle^prefix^suffix. The ideographic
    group is the name as it is written; without it, the alphabetic one."""
    groups = [group.split("^") for group in (header.get("PatientName") or "").split("=")]
    parts = groups[1] if len(groups) > 1 and any(map(str.strip, groups[1])) else groups[0]
    ordered = [*parts[3:4], *parts[:3], *parts[4:5]]
    words = [_SPACES.sub(" ", part).strip() for part in ordered]
    joined = "".join(words) if _IDEOGRAPHS.search("".join(words)) else " ".join(filter(None, words))
    return normalising.text(joined)


def _age(header: Header) -> str | None:
    number, unit = normalising.age(header.get("PatientAge", ""))
    return number if unit is not None else UNCLEAR if number is not None else None


def _age_unit(header: Header) -> str | None:
    return normalising.age(header.get("PatientAge", ""))[1]


def _study_date(header: Header) -> str | None:
    """StudyDate and StudyTime; a day without its time is no moment."""
    day, time = header.get("StudyDate", ""), header.get("StudyTime", "")
    if not day or not time:
        return None
    return normalising.date_time(f"{day.strip()} {time.strip().replace(':', '')}")


_READ: dict[str, Callable[[Header], str | None]] = {
    **{
        name: _plain(name, normalising.text)
        for name in ("studyId", "accessNumber", "studyDesc", "modality", "bodyPart")
    },
    "studyUid": _plain("studyUid", normalising.uid),
    "patientSex": _plain("patientSex", normalising.sex),
    "patientBirthday": _plain("patientBirthday", normalising.date),
    "size": _plain("size", normalising.size),
    "weight": _plain("weight", normalising.weight),
    "patientName": _name,
    "patientAge": _age,
    "patientAgeUnit": _age_unit,
    "studyDate": _study_date,
}
