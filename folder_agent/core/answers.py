"""What a person is told of files that belong to no exam: why they are not sent, and what to do. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from folder_agent.core.errors import Problem, problem
from folder_agent.core.folders import at_depth, place_of
from folder_agent.core.naming import is_archive, is_cd_directory, is_unpacked
from folder_agent.core.records import FileKind

_SHORTCUTS = (".lnk", ".url", ".website", ".desktop", ".webloc", ".symlink")
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
_MOST_NAMED = 4
_SILENT = frozenset({FileKind.TEMPORARY, FileKind.JUNK, FileKind.MARKER, FileKind.SIDECAR})


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What of a drop folder's settings the answers depend on."""

    depth: int | None = None
    unzip: bool = False
    by_headers: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of some files; its path is theirs, or the folder that holds them."""

    problem: Problem
    files: tuple[str, ...]


def answers(files: Iterable[tuple[str, FileKind, Problem | None]], rules: AnswerRules) -> list[Answer]:
    """All that is to be said; of what lies beside the images of a CD, one word for each folder, at the end."""
    found: list[Answer] = []
    left: dict[str, list[str]] = defaultdict(list)
    for path, kind, reason in files:
        place = place_of(path, rules.depth) if rules.by_headers else ""
        if place and (kind is FileKind.FOREIGN or (kind is FileKind.JUNK and is_cd_directory(path))):
            left[place].append(path)
        elif (told := answer(path, kind, reason, rules)) is not None:
            found.append(Answer(told, (path,)))
    return found + [_left(place, sorted(paths)) for place, paths in sorted(left.items())]


def _left(place: str, paths: list[str]) -> Answer:
    first = [path[len(place) + 1 :] for path in paths[:_MOST_NAMED]]
    names = ", ".join(first) + (", …" if len(paths) > len(first) else "")
    return Answer(problem("FA-LEFT", place, count=len(paths), first=names), tuple(paths))


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
