"""The sidecar's own `files` list: paths, jailed to its folder, with the facts that are given of each."""

from __future__ import annotations

import re

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import ListedFile
from folder_agent.core.sidecar.wording import MAX_TOLD, shown

FILES = "files"
MAX_LISTED = 100_000  # entries of `files`
MAX_PATH = 4096  # characters of one listed path
MAX_FILE_SIZE = 2**63 - 1  # bytes

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_IN_PATHS = re.compile("[\x00-\x1f\x7f-\x9f:\ud800-\udfff]")  # ":" is a drive or an NTFS stream
_FACTS = frozenset({"path", "size", "sha256"})


def listed(entries: list[object]) -> tuple[tuple[ListedFile, ...], list[Problem]]:
    """The files that the entries name, and what is wrong with the others (bounded)."""
    found: dict[str, ListedFile] = {}
    wrong = [_enlist(entry, index, found) for index, entry in enumerate(entries[:MAX_LISTED], start=1)]
    if len(entries) > MAX_LISTED:
        wrong.append(problem("FA-LISTED-SHAPE", index=MAX_LISTED + 1))
    return tuple(found.values()), [one for one in wrong if one is not None][:MAX_TOLD]


def unknown_facts(entries: list[object]) -> list[str]:
    """Keys of entries that say nothing to us: a misspelt sha256 would check nothing, so it is told."""
    keys = dict.fromkeys(key for entry in entries if isinstance(entry, dict) for key in entry)
    return [key for key in keys if folded(key) not in _FACTS]


def folded(key: str) -> str:
    """A key as keys are compared where case must not matter."""
    return key.strip().lower()


def _enlist(entry: object, index: int, listed: dict[str, ListedFile]) -> Problem | None:
    """Add one entry, a path or {path, size?, sha256?}; the same facts twice are one entry."""
    facts = {folded(key): value for key, value in entry.items()} if isinstance(entry, dict) else {"path": entry}
    written = facts.get("path")
    if not isinstance(written, str) or (isinstance(entry, dict) and len(facts) < len(entry)):
        return problem("FA-LISTED-SHAPE", index=index)
    path = _jailed(written)
    if path is None:
        return problem("FA-LISTED-PATH", private={"entry": shown(written)})
    try:
        file = ListedFile(path, normalising.count(facts.get("size"), MAX_FILE_SIZE), _digest(facts.get("sha256")))
    except Unfit:
        return problem("FA-LISTED-SHAPE", index=index)
    return None if listed.setdefault(path, file) == file else problem("FA-LISTED-SHAPE", index=index)


def _jailed(written: str) -> str | None:
    """The path with `/` between its parts if it stays inside the sidecar's folder on every platform, else None.

    Windows takes trailing dots and spaces off a part, so that ".. " would climb as well as "..".
    """
    path = written.replace("\\", "/").removeprefix("./")
    climbs = any(not part.rstrip(". ") for part in path.split("/"))  # also the empty parts of "/x", "//host" and "a//b"
    return None if climbs or len(path) > MAX_PATH or _NOT_IN_PATHS.search(path) else path


def _digest(raw: object) -> str | None:
    value = normalising.text(raw)
    if value is not None and not _SHA256.fullmatch(value.lower()):
        raise Unfit("SHA-256")
    return value and value.lower()
