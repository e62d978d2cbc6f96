"""What a file's name alone decides: junk, temporary files, markers and sidecars; everything else is told by content.

Pure; compares without regard to case, because Windows does.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from folder_agent.core.records import FileKind

_TEMPORARY = ("~$*", ".~lock.*", "*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload")
_HIDDEN = (".", ".back.part")  # how a folder's name begins and ends in which we assemble what goes back
REPLACED = ".replaced"  # ours, too: how a sidecar's name ends that a corrected one has taken the place of
LEASE_NAME = ".folder-agent.lease"  # ours, in the root of a drop folder on a share (edges/leases.py)
STATUS_NAME, STATUS_PART = "_STATUS.txt", "._STATUS.txt.part"  # ours, too, and how it is called while it is written
OWN_FILES = frozenset({LEASE_NAME, STATUS_NAME, STATUS_PART})  # in the root: they change all the time, and are no news
_JUNK = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "dicomdir", LEASE_NAME, STATUS_NAME.lower()})
# A bundle that somebody drops back brings our notes with it; its next round may have renamed them.
_OUR_NOTES = re.compile(r"(why|receipt)( \((\d+|earlier)\))*\.(txt|json)( \((\d+|earlier)\))*")
_DICOM_OR_PDF = frozenset({"", ".dcm", ".dicom", ".dic", ".ima", ".img", ".pdf"})


def kind_by_name(name: str, marker: str | None) -> FileKind | None:
    """The kind of a file by its name; None when only its content can tell. `marker` is the drop's own pattern."""
    lower = name.lower()
    if any(fnmatchcase(lower, pattern) for pattern in _TEMPORARY):
        return FileKind.TEMPORARY
    if lower.endswith(REPLACED) and ".json" in lower:
        return FileKind.JUNK
    if lower in _JUNK or lower.startswith("._") or _is_our_note(lower):
        return FileKind.JUNK
    if marker is not None and fnmatchcase(lower, marker.lower()):
        return FileKind.MARKER
    return FileKind.SIDECAR if lower.endswith(".json") else None


def hidden_folder(label: str) -> str:
    """The name of a folder that no look enters, for a bundle that is not to be seen before it is whole."""
    return f"{_HIDDEN[0]}{label}{_HIDDEN[1]}"


def is_hidden_folder(name: str) -> bool:
    """Whether `hidden_folder` made the name."""
    return name.startswith(_HIDDEN[0]) and name.endswith(_HIDDEN[1])


def _is_our_note(lower: str) -> bool:
    found = _OUR_NOTES.fullmatch(lower)
    return found is not None and (found[1], found[4]) in {("why", "txt"), ("receipt", "json")}


def claims_to_be_of_an_exam(name: str) -> bool:
    """Whether the name says DICOM or PDF: by extension, by having none, or by ending in a number as UIDs do."""
    extension = PurePosixPath(name.lower()).suffix
    return extension in _DICOM_OR_PDF or extension[1:].isdigit()
