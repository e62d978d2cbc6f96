"""What an operator may have sent as it is though it was refused, and whether what came back is that. Pure.

Only one thing may be passed over: that there are more files than declared. Whoever has looked knows that the number was
wrong. A file of another patient, or one that is damaged, stays wrong whoever says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from folder_agent.core.delivered import content_of
from folder_agent.core.errors import Problem
from folder_agent.core.groups import Group
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, SidecarReading

PASSED_OVER = frozenset({"FA-TOO-MANY"})
_WHILE_WAITING = frozenset({"FA-WAIT-QUIET"})
_COUNTED = frozenset({FileKind.DICOM, FileKind.PDF})


def without_counts(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """What speaks against an exam whose counts do not matter."""
    return tuple(one for one in problems if one.code not in PASSED_OVER)


def is_acceptable(bundle: BundleRecord) -> bool:
    """Whether the bundle lies in failed/ for its counts alone."""
    is_there = bundle.state is BundleState.REFUSED and not bundle.is_open and bundle.target is not None
    return is_there and bool(bundle.reasons) and not without_counts(bundle.reasons)


def counts_alone(reasons: Iterable[Problem]) -> tuple[Problem, ...]:
    """Of what speaks against an exam, or will if it stays as it is: the counts; empty if there is anything else."""
    found = tuple(one for one in reasons if one.code not in _WHILE_WAITING)
    return () if without_counts(found) else found


def is_the_same(
    refused: BundleRecord,
    files: Sequence[FileRecord],
    group: Group,
    wrong: Sequence[Problem],
    reading: SidecarReading,
) -> bool:
    """Whether the group is what was refused then: the same numbers of the same exam, and the very same files. `files`
    are those of the refused one, `wrong` is what is wrong with the group's counts."""
    if Counter(one.masked() for one in wrong) != Counter(refused.reasons):
        return False
    said = {"accessNumber": refused.access_number, "studyUid": refused.study_uid, "studyId": refused.study_id}
    if any(reading.get(name) not in (None, value) for name, value in said.items()):
        return False
    here = content_of((member.path, member.finding) for member in group.files)
    counted = [file for file in files if file.kind in _COUNTED]
    return (
        here.objects.keys() == {file.sop_instance for file in counted if file.kind is FileKind.DICOM}
        and here.pdfs == {file.digest for file in counted if file.kind is FileKind.PDF}
        and Counter(member.watched.stamp.size for member in group.files if member.kind in _COUNTED)
        == Counter(file.stamp.size for file in counted)
    )
