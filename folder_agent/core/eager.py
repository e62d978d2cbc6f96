"""Which images of an exam that is not complete yet may be sent already (`eager`). Pure.

Only DICOM files: each says by its own UIDs whose it is, so that the receiver files it rightly whatever becomes of the
exam. A PDF says nothing of the kind, and waits. So does all of an exam if anything is known that speaks against it.
"""

from __future__ import annotations

from dataclasses import replace

from folder_agent.core import checking, filling
from folder_agent.core.bundling import MAY_GROW, BundleRules, every_problem
from folder_agent.core.grouping import Group, Member
from folder_agent.core.records import FileKind, SidecarReading


def may_go_ahead(group: Group, rules: BundleRules) -> tuple[Member, ...]:
    """The settled images of a waiting group that are surely of the exam that its one sidecar, valid but for what the
    images may fill in, describes. `group` is as sorted: what was filled in from an image proves nothing of it."""
    reading = reading_of(group)
    if reading is None:
        return ()
    settled = replace(group, files=tuple(member for member in group.files if member.finding is not None))
    against = [one for one in every_problem(settled, reading, rules) if one.code not in MAY_GROW]
    if against and not (rules.fill and filling.may_be_filled(against)):
        return ()
    short = checking.awaited(group, reading)
    return tuple(member for member in settled.files if member.path not in short and _is_of(member, reading))


def reading_of(group: Group) -> SidecarReading | None:
    """What the one sidecar of a group says; None if there is none, or more than one."""
    if group.is_archive or len(group.sidecars) != 1:
        return None
    finding = group.sidecars[0].finding
    return finding.sidecar if finding is not None else None


def _is_of(member: Member, reading: SidecarReading) -> bool:
    """Whether more than its place says that the image is of the exam: the study, the accession number or the list."""
    finding = member.finding
    if member.kind is not FileKind.DICOM or finding is None or finding.problem is not None or finding.dicom is None:
        return False
    facts = finding.dicom
    known = ((reading.get("studyUid"), facts.study), (reading.get("accessNumber"), facts.accession))
    return reading.listed is not None or any(ours is not None and ours == theirs for ours, theirs in known)
