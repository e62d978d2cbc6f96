"""The Shelves port in memory, for the agent's tests. Passes the same contract tests as the real one.

`drop` is the drop folder's files by path and may be shared with a fake DropFolder; `failing` is raised by whatever
would change something, once for each entry.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.naming import numbered, safe_name
from folder_agent.core.notes import is_our_note
from folder_agent.core.records import FileKind, Stamp
from folder_agent.core.shelving import RECEIPT
from folder_agent.edges.drop_folder.names import kind_by_name


@dataclass(frozen=True)
class Held:
    """A file in memory."""

    content: bytes
    mtime_ns: int = 1

    @property
    def stamp(self) -> Stamp:
        return Stamp(len(self.content), self.mtime_ns, 0)

    def is_of(self, stamp: Stamp) -> bool:
        return (len(self.content), self.mtime_ns) == (stamp.size, stamp.mtime_ns)


@dataclass
class FakeShelves:
    """Targets look like `/shelves/done/2026-01-31/CT1`."""

    drop: MutableMapping[str, Held] = field(default_factory=dict)
    shelved: dict[str, dict[str, Held]] = field(default_factory=dict)  # by target, then by path inside
    failing: list[AgentError] = field(default_factory=list)
    synced: set[str] = field(default_factory=set)  # targets
    tidied: list[str] = field(default_factory=list)
    capacity: int = 10**12  # bytes

    def choose(self, shelf: str, day: str, name: str, attempt: int) -> str:
        if shelf not in {"done", "failed"}:
            raise KeyError(shelf)
        return f"/shelves/{shelf}/{safe_name(day)}/{numbered(name, attempt)}"

    def is_free(self, target: str) -> bool:
        return target not in self.shelved

    def prepare(self, target: str) -> None:
        self._may_fail()
        self.shelved.setdefault(target, {})

    def write_note(self, target: str, name: str, content: bytes) -> None:
        self._may_fail()
        files = self._bundle(target)
        if name in files and not is_our_note(name, files[name].content):
            raise _shelf(target, "EEXIST")
        files[name] = Held(content)

    def move(self, drop_path: str, target: str, inside: str, stamp: Stamp) -> bool:
        self._may_fail()
        _jail(target, drop_path)
        _jail(target, inside)
        here, files = self.drop.get(drop_path), self._bundle(target)
        arrived = files.get(inside)
        if arrived is not None:
            return self._finish(drop_path, target, here, arrived, stamp)
        if here is None:
            return False
        if not here.is_of(stamp):
            raise failure(problem("FA-CHANGED", drop_path))
        files[inside] = self.drop.pop(drop_path)
        return True

    def _finish(self, drop_path: str, target: str, here: Held | None, arrived: Held, stamp: Stamp) -> bool:
        if len(arrived.content) != stamp.size:
            raise _shelf(target, "EEXIST")
        if here is not None and here.is_of(stamp):
            if here.content != arrived.content:
                raise _shelf(target, "EEXIST")
            del self.drop[drop_path]
        return True

    def sync(self, target: str, folders: Sequence[str]) -> None:
        self._may_fail()
        self.synced.add(target)

    def tidy(self, folders: Sequence[str]) -> None:
        self.tidied.extend(folders)

    def read(self, target: str, inside: str) -> bytes | None:
        _jail(target, inside)
        held = self.shelved.get(target, {}).get(inside)
        return held.content if held else None

    def has_failed(self) -> bool:
        return any(files and target.startswith("/shelves/failed/") for target, files in self.shelved.items())

    def days(self) -> Sequence[str]:
        return sorted({target.split("/")[3] for target in self.shelved if target.startswith("/shelves/done/")})

    def on_day(self, day: str) -> Sequence[str]:
        return sorted(target for target in self.shelved if target.startswith(f"/shelves/done/{day}/"))

    def free_bytes(self) -> int:
        return self.capacity - sum(len(held.content) for files in self.shelved.values() for held in files.values())

    def purge(self, target: str, files: Mapping[str, int]) -> int:
        self._may_fail()
        if not target.startswith("/shelves/done/"):
            raise _shelf(target, "EINVAL")
        held = self._bundle(target)
        for path in files:
            _jail(target, path)
        gone = [path for path, size in files.items() if path in held and len(held[path].content) == size]
        freed = sum(len(held.pop(path).content) for path in gone if path != RECEIPT)
        if not set(held) - {RECEIPT}:
            del self.shelved[target]
        return freed

    def put_back(self, target: str, name: str, into: str = "") -> str:
        self._may_fail()
        files = self._bundle(target)
        if not files:
            raise _shelf(target, "ENOENT")
        prefix = f"{into}/" if into else ""
        inside = [path.removeprefix(prefix) for path in self.drop if path.startswith(prefix)]
        tops = {path.split("/")[0] for path in inside} | ({"done", "failed"} if not into else set())
        chosen = prefix + next(new for new in (numbered(name, n) for n in count(1)) if new not in tops)
        self.drop.update({f"{chosen}/{inside}": held for inside, held in files.items()})
        del self.shelved[target]
        return chosen

    def correct(self, target: str, drop_path: str, stamp: Stamp) -> bool:
        self._may_fail()
        files = self._bundle(target)
        name, held = drop_path.rpartition("/")[2], self.drop.get(drop_path)
        if held is None:
            return any(place.rpartition("/")[2] == name and one.is_of(stamp) for place, one in files.items())
        if not held.is_of(stamp):
            raise failure(problem("FA-CHANGED", drop_path))
        old = sorted(path for path in files if kind_by_name(path.rpartition("/")[2], None) is FileKind.SIDECAR)
        folder = old[0].rpartition("/")[0] if old else ""
        for path in old:
            names = (f"{path}{'' if n == 1 else f' ({n})'}.replaced" for n in count(1))
            files[next(new for new in names if new not in files)] = files.pop(path)
        files[f"{folder}/{name}" if folder else name] = self.drop.pop(drop_path)
        return True

    def _bundle(self, target: str) -> dict[str, Held]:
        if target not in self.shelved:
            raise _shelf(target, "ENOENT")
        return self.shelved[target]

    def _may_fail(self) -> None:
        if self.failing:
            raise self.failing.pop(0)


def _jail(target: str, relative: str) -> None:
    if set(relative.split("/")) & {"", ".", ".."}:
        raise _shelf(target, "EINVAL")


def _shelf(target: str, detail: str) -> AgentError:
    shelf = "failed" if target.startswith("/shelves/failed/") else "done"
    return failure(problem("FA-SHELF", shelf=shelf, detail=detail))
