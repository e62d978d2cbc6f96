"""What a person is told of a file that belongs to no exam: why it is not sent, and what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from folder_agent.core.errors import Problem, problem
from folder_agent.core.folders import at_depth
from folder_agent.core.naming import is_archive, is_unpacked
from folder_agent.core.records import FileKind

_SHORTCUTS = (".lnk", ".url", ".website", ".desktop", ".webloc", ".symlink")
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
_SILENT = frozenset({FileKind.TEMPORARY, FileKind.JUNK, FileKind.MARKER, FileKind.SIDECAR})


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What of a drop folder's settings the answers depend on."""

    depth: int | None = None
    unzip: bool = False


def answer(path: str, kind: FileKind, reason: Problem | None, rules: AnswerRules) -> Problem | None:
    """The answer to one file without an exam; None where there is nothing to be said (yet). `reason` is what is wrong
    with the file itself."""
    name = path.casefold()
    if kind in _SILENT:
        return None
    if reason is not None:
        return Problem(reason.code, path, reason.values, reason.private)
    if is_unpacked(path):
        return problem("FA-UNPACKED", path)
    if kind is FileKind.FOREIGN:
        if rules.unzip and is_archive(path):
            return None  # it has a bundle of its own
        if name.endswith(_ARCHIVES):
            return problem("FA-ARCHIVE", path)
        return problem("FA-SHORTCUT" if name.endswith(_SHORTCUTS) else "FA-NOT-EXAM", path)
    if kind is FileKind.UNKNOWN:
        return None
    if rules.depth is not None and at_depth(path, rules.depth) is None:
        return problem("FA-NOT-DEEP", path, depth=rules.depth)
    return problem("FA-NO-OWNER" if kind is FileKind.PDF else "FA-NO-SIDECAR", path)
