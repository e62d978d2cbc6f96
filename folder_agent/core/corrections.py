"""Whether a sidecar that was dropped alone corrects what lies in failed/, and where that is to go back to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from folder_agent.core.delivered import Past
from folder_agent.core.folders import home_of
from folder_agent.core.grouping import Group, Member
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.naming import safe_name
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, SidecarReading, Stamp

_ENDED_BADLY = frozenset({BundleState.REFUSED, BundleState.FAILED})
_OF_AN_EXAM = frozenset({FileKind.DICOM, FileKind.PDF, FileKind.UNKNOWN})
_NO_MATTER = frozenset({FileKind.JUNK, FileKind.MARKER})


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrected sidecar, and the bundle in failed/ that it is for."""

    target: str  # the bundle's place in failed/
    key: str  # of the group that the sidecar makes
    path: str  # of the sidecar, in the drop folder
    stamp: Stamp
    into: str  # the folder of the drop folder to which both go back together
    name: str  # as what


def is_alone(group: Group) -> bool:
    """Whether the group is one sidecar that has been looked into, and no file of an exam."""
    if len(group.sidecars) != 1 or group.sidecars[0].finding is None:
        return False
    return all(member.kind in _NO_MATTER for member in group.files)


def place_of(group: Group) -> tuple[str, str] | None:
    """To which folder, and as what, the bundle goes back: to where the group is. None: no folder may be called so."""
    if not group.is_folder:
        return (group.base, group.name) if safe_name(group.name) == group.name else None
    into, _, name = home_of(group.base).rpartition("/")
    return into, name


def of(group: Group, bundle: BundleRecord) -> Correction | None:
    """The correction of that bundle by the group's sidecar."""
    place = place_of(group)
    if bundle.target is None or place is None:
        return None
    sidecar: Member = group.sidecars[0]
    return Correction(bundle.target, group.key, sidecar.path, sidecar.watched.stamp, *place)


def has_files(files: Sequence[FileRecord]) -> bool:
    """Whether a bundle held more than a sidecar; what a rebuilt ledger does not know is taken for more."""
    return any(file.kind in _OF_AN_EXAM for file in files)


def ended_badly(bundle: BundleRecord) -> bool:
    """Whether the bundle lies in failed/, as far as the ledger knows."""
    return bundle.state in _ENDED_BADLY and not bundle.is_open and bundle.target is not None


def is_namesake(bundle: BundleRecord, group: Group, drop: str) -> bool:
    """Whether people call both the same, by the exam's name or by that of its folder in failed/."""
    shelved = (bundle.target or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return bundle.drop == drop and group.name in (bundle.name, shelved) and bundle.state is not BundleState.WITHDRAWN


def is_for(reading: SidecarReading, bundle: BundleRecord, past: Past | None) -> bool:
    """Whether the sidecar speaks of the bundle's exam: names are used again, and what is wrong in one may be any of
    these. What was delivered since is no matter of a correction any more."""
    known = (
        (bundle.access_number, reading.get("accessNumber")),
        (bundle.study_uid, reading.get("studyUid")),
        (bundle.study_id, reading.get("studyId")),
    )
    is_same = any(ours is not None and ours == theirs for ours, theirs in known)
    return is_same and (past is None or all(one.id < bundle.id for one in past.bundles))
