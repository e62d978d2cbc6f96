"""A model of a disk whose power fails: only what was synced is sure; of the rest, anything may have come to be.

A file's bytes are sure once it was synced; until then they may be missing, whatever its name. A name (made, moved,
removed) is sure once a folder that holds it was synced; a rename happens wholly or not at all, as every journaling file
system has it. What is not sure is tried all ways that are worst: none of it, all of it, each alone, all but each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

Key = tuple[int, str]  # a folder and a name in it
Tree = dict[Key, int]
_TOP = 0


@dataclass(frozen=True)
class Change:
    """One operation on names, which is done wholly or not at all: for each name what it leads to from then on."""

    edits: tuple[tuple[Key, int | None], ...]

    def folders(self) -> set[int]:
        return {folder for (folder, _), _ in self.edits}

    def keys(self) -> set[Key]:
        return {key for key, _ in self.edits}


@dataclass
class Disk:
    """The names as the running system sees them, those that are sure, and what lies between the two."""

    live: Tree = field(default_factory=dict)
    sure: Tree = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    content: dict[int, str | None] = field(default_factory=dict)  # of files and links, as far as it is sure
    made_here: set[int] = field(default_factory=set)  # in the life that was recorded
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @staticmethod
    def of(before: Mapping[str, Sequence[str]]) -> Disk:
        """The disk as it was when the life began: all of that is sure."""
        disk = Disk()
        for path, (kind, *content) in before.items():
            disk._make_above(path)
            disk._enter(path, content[0] if kind == "file" else f"link to {content[0]}" if kind == "link" else None)
        disk.sure, disk.pending, disk.made_here = dict(disk.live), [], set()
        return disk

    def do(self, operation: Sequence[str]) -> None:
        """Carry out one recorded operation."""
        name, path, *more = operation
        if name == "fsync":
            self._sync(path, more)
        elif name == "create":
            if self.find(path) is None:
                self._enter(path, None)
        elif name == "mkdir":
            self._enter(path, None)
        elif name == "symlink":
            self._enter(path, f"link to {more[0]}")
        elif name == "rename":
            node = self.find(path)
            assert node is not None, path
            self._change((self._key(path), None), (self._key(more[0]), node))
        elif name in ("unlink", "rmdir"):
            self._change((self._key(path), None))
        else:
            assert name == "ledger", name

    def find(self, path: str) -> int | None:
        """What the path leads to now."""
        node: int | None = _TOP
        for part in _parts(path):
            node = self.live.get((node, part)) if node is not None else None
        return node

    def after_a_cut(self) -> Iterator[dict[str, str]]:
        """Every way in which the disk may be found again: the files that are whole, by path."""
        every = range(len(self.pending))
        sets = [set[int](), set(every), *({one} for one in every), *(set(every) - {one} for one in every)]
        for kept in {frozenset(one) for one in sets}:
            tree = dict(self.sure)
            for number in sorted(kept):
                _apply(tree, self.pending[number])
            yield self._files(tree)

    def _files(self, tree: Tree) -> dict[str, str]:
        below: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), node in tree.items():
            below.setdefault(folder, []).append((name, node))
        found, waiting = {}, [("", _TOP)]
        while waiting:
            path, node = waiting.pop()
            if (content := self.content.get(node)) is not None:
                found[path] = content
            waiting += [(f"{path}/{name}", inner) for name, inner in below.get(node, ())]
        return found

    def _sync(self, path: str, digest: Sequence[str]) -> None:
        node = self.find(path)
        assert node is not None, path
        if digest:
            self.content[node] = digest[0]
            return
        settled: list[Change] = []
        keys: set[Key] = set()
        for change in reversed(self.pending):  # what came before it at the same name is over, too
            if node in change.folders() or keys & change.keys():
                settled.append(change)
                keys |= change.keys()
        for change in reversed(settled):
            _apply(self.sure, change)
        self.pending = [change for change in self.pending if change not in settled]

    def _make_above(self, path: str) -> None:
        parts = _parts(path)
        for length in range(1, len(parts)):
            above = "/" + "/".join(parts[:length])
            if self.find(above) is None:
                self._enter(above, None)

    def _enter(self, path: str, content: str | None) -> None:
        node = next(self._numbers)
        self.content[node] = content
        self.made_here.add(node)
        self._change((self._key(path), node))

    def _key(self, path: str) -> Key:
        parts = _parts(path)
        folder = self.find("/" + "/".join(parts[:-1]))
        assert folder is not None, path
        return folder, parts[-1]

    def _change(self, *edits: tuple[Key, int | None]) -> None:
        change = Change(edits)
        _apply(self.live, change)
        self.pending.append(change)


def _apply(tree: Tree, change: Change) -> None:
    for key, node in change.edits:
        if node is None:
            tree.pop(key, None)
        else:
            tree[key] = node


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def whole(files: Mapping[str, str]) -> Counter[str]:
    """What the next start will find of these: a copy under way, or one that no plan knows of, is nothing to it."""
    has_plan = any(path.endswith("/.put-back.part") for path in files)
    return Counter(sum_ for path, sum_ in files.items() if _counts(path, has_plan=has_plan))


def _counts(path: str, *, has_plan: bool) -> bool:
    name = path.rpartition("/")[2]
    if ".back.part/" in path:
        return has_plan
    return not (name.startswith(".") and name.endswith(".part")) or name.endswith(".moved.part")
