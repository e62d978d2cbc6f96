"""Whether files contradict their sidecar: identity against the DICOM header, the sidecar's own list, too many files.

Identity: DICOM PS3.3 C.7.1.1 (Patient ID), C.7.2.1 (Study Instance UID, Accession Number).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from folder_agent.core.errors import Problem, problem
from folder_agent.core.grouping import Group, Member
from folder_agent.core.records import Counts, DicomFacts, FileKind, ListedFile, SidecarReading

_IN_HEADER: dict[str, Callable[[DicomFacts], str | None]] = {
    "studyUid": lambda facts: facts.study,
    "accessNumber": lambda facts: facts.accession,
    "patientId": lambda facts: facts.patient_id,
}
_COUNT_FIELDS = (("images", "imageCnt"), ("reports", "reportCnt"), ("pdfs", "pdfCnt"), ("series", "seriesCnt"))


def identity(files: Sequence[Member], reading: SidecarReading, match: Sequence[str]) -> list[Problem]:
    """One problem for each file and field in which sidecar and header both have a value, and not the same.

    Files that agree with each other but not with the sidecar's study are as wrong as one stray image; and where the
    sidecar names no study, images of two studies contradict each other.
    """
    problems = []
    for name in match:
        ours = reading.get(name)
        for member in files:
            facts = member.finding.dicom if member.finding else None
            theirs = _IN_HEADER[name](facts) if facts else None
            if theirs is None:
                continue
            if ours is None:
                ours = theirs  # no word of the sidecar: the first image's, which all the others must share
            elif ours != theirs:
                problems.append(problem("FA-MISMATCH", member.path, {"ours": ours, "theirs": theirs}, field=name))
    return problems


def absent(group: Group, reading: SidecarReading) -> list[str]:
    """Listed files that are not there, or not yet as long as listed."""
    return [entry.path for entry in awaited(group, reading).values()]


def awaited(group: Group, reading: SidecarReading) -> dict[str, ListedFile]:
    """The same, by path in the drop folder."""
    there = {member.path: member for member in group.members}
    missing = {}
    for place, entry in _entries(group, reading).items():
        member = there.get(place)
        if member is None or (entry.size is not None and member.watched.stamp.size < entry.size):
            missing[place] = entry
    return missing


def listing(group: Group, reading: SidecarReading) -> list[Problem]:
    """Files that are longer than listed, and exam files in the bundle's own folder that the list does not name."""
    if reading.listed is None:
        return []
    entries = _entries(group, reading)
    problems = []
    exam_files = [member for member in group.files if member.kind in (FileKind.DICOM, FileKind.PDF)]
    for member in exam_files:
        entry = entries.get(member.path)
        size = member.watched.stamp.size
        if entry is None:
            problems.append(problem("FA-NOT-LISTED", member.path, declared=len(entries), found=len(exam_files)))
        elif entry.size is not None and size > entry.size:
            problems.append(problem("FA-LISTED-DIFFERS", member.path, what="size", declared=entry.size, found=size))
    return problems


def digests(group: Group, reading: SidecarReading) -> dict[str, str]:
    """The SHA-256 that the sidecar lists, by path in the drop folder."""
    return {place: entry.sha256 for place, entry in _entries(group, reading).items() if entry.sha256 is not None}


def too_many(found: Counts, reading: SidecarReading) -> list[Problem]:
    """One problem for each declared count that is exceeded, with both numbers."""
    problems = []
    for attribute, name in _COUNT_FIELDS:
        declared, there = getattr(reading.declared, attribute), getattr(found, attribute)
        if declared is not None and there > declared:
            problems.append(problem("FA-TOO-MANY", field=name, declared=declared, found=there))
    return problems


def _entries(group: Group, reading: SidecarReading) -> dict[str, ListedFile]:
    """The listed files by path in the drop folder. A list starts at the sidecar's folder; where the exam's folder holds
    one for the sidecar and others for the files, it may start at the exam's."""
    listed = reading.listed or ()
    own = group.sidecars[0].folder if group.sidecars else group.base
    there = {member.path for member in group.files} if own != group.base else set()
    is_outer = any(_join(group.base, entry.path) in there for entry in listed)
    return {_join(group.base if is_outer else own, entry.path): entry for entry in listed}


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
