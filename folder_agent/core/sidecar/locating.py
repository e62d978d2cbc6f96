"""Where in a document a path leads: exact keys first, keys in another case where only one is meant, lists by index.

`Patient.ID` is the key "Patient.ID" if there is one, else the key "ID" in the object "Patient". A list that holds a
single object needs no index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from folder_agent.core.sidecar.listing import folded

MAX_ENTRIES = 1000  # of a list without an index that are looked into
MAX_LOOKS = 100_000  # into objects and lists, for all paths: no document makes a short path a long search

Step = tuple[int, str]  # id of the object, and its key


class Ambiguous(Exception):
    """A path leads to more than one place."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A value, the keys that lead to it as they are written in the file, and the steps that were taken."""

    value: object
    keys: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """The keys, written as a path."""
        return ".".join(self.keys)

    def below(self, key: str, step: Step | None = None) -> Hit:
        """The same value, seen from one level higher up."""
        return Hit(self.value, (key, *self.keys), self.steps if step is None else (step, *self.steps))


class Tree:
    """A document, and which of its keys have been read."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self._read: set[Step] = set()  # of objects that live as long as the document
        self._passed: set[Step] = set()
        self.looks = 0
        self._by_folded: dict[int, dict[str, list[str]]] = {}

    def find(self, path: str) -> Hit | None:
        """What the path leads to, which counts as read from now on. Raises Ambiguous."""
        hit = self._descend(self._document, path.split("."))
        if hit is not None:
            *way, end = hit.steps
            self._passed.update(way)
            self._read.add(end)
        return hit

    def unread(self) -> Iterator[tuple[str, object]]:
        """Every key beside those that were read, as a path, with its value; objects nobody looked into as a whole."""
        yield from self._unread(self._document, "")

    def _unread(self, node: object, prefix: str) -> Iterator[tuple[str, object]]:
        if isinstance(node, list):
            for index, entry in enumerate(node):
                yield from self._unread(entry, f"{prefix}{index}." if len(node) > 1 else prefix)
        elif isinstance(node, dict):
            for key, value in node.items():
                step = (id(node), key)
                if step in self._passed:
                    yield from self._unread(value, f"{prefix}{key}.")
                elif step not in self._read:
                    yield f"{prefix}{key}", value

    def _descend(self, node: object, path: list[str]) -> Hit | None:
        if not path:
            return Hit(node)
        self.looks += 1
        if self.looks > MAX_LOOKS:
            return None
        if isinstance(node, dict):
            return self._in_object(node, path)
        if isinstance(node, list):
            return self._in_list(node, path)
        return None

    def _in_object(self, node: dict[str, object], path: list[str]) -> Hit | None:
        for match in (self._exact, self._in_any_case):
            for taken in range(len(path), 0, -1):
                key = match(node, ".".join(path[:taken]))
                if key is not None and (hit := self._descend(node[key], path[taken:])):
                    return hit.below(key, (id(node), key))
        return None

    def _exact(self, node: dict[str, object], key: str) -> str | None:
        return key if key in node else None

    def _in_any_case(self, node: dict[str, object], key: str) -> str | None:
        if id(node) not in self._by_folded:
            keys = self._by_folded[id(node)] = {}
            for written in node:
                keys.setdefault(folded(written), []).append(written)
        meant = self._by_folded[id(node)].get(folded(key), [])
        if key in node:
            return None  # that has been tried
        if len(meant) > 1:
            raise Ambiguous
        return meant[0] if meant else None

    def _in_list(self, node: list[object], path: list[str]) -> Hit | None:
        index = path[0]
        if index.isascii() and index.isdigit() and len(index) < 7 and int(index) < len(node):
            hit = self._descend(node[int(index)], path[1:])
            return hit and hit.below(index)
        hits = [hit for entry in node[:MAX_ENTRIES] if (hit := self._descend(entry, path))]
        if len(hits) > 1:
            raise Ambiguous
        return hits[0] if hits else None
