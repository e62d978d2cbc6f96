"""Reads a state folder back, for tests: what the simulated gateway was sent and accepted. Read-only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folder_agent.simulator.state import instance_path, items_of, read_journal


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One form upload. `path` is None in discard mode; `fields` are the text parts."""

    access_number: str
    name: str
    path: Path | None
    sha256: str
    size: int
    fields: dict[str, str]


class Received:
    """A state folder as it was when this was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[dict[str, Any]] = read_journal(folder / "journal.jsonl")

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Every accepted exam body, in order, repeats included."""
        return [entry["body"] for entry in self.requests if entry.get("accepted")]

    @property
    def exams(self) -> dict[str, dict[str, Any]]:
        """The latest accepted body by accessNumber."""
        return {body["accessNumber"]: body for body in self.posts}

    @property
    def instances(self) -> dict[str, Path]:
        """Path by SOPInstanceUID (in discard mode nothing lies there)."""
        stored = (item for item in self._stored() if "sop" in item)
        return {item["sop"]: instance_path(self.folder, item["study"], item["sop"]) for item in stored}

    @property
    def files(self) -> list[ReceivedFile]:
        """Every form upload that was new, in order."""
        return [self._file(item) for item in self._stored() if "sop" not in item]

    @property
    def repeats(self) -> int:
        """How many instances and files were sent again though they had been accepted before."""
        return sum(bool(item.get("repeat")) for item in self._items())

    @property
    def conflicts(self) -> int:
        """How many instances came again with other bytes."""
        return sum(bool(item.get("conflict")) for item in self._items())

    def _file(self, item: dict[str, Any]) -> ReceivedFile:
        path = self.folder / item["path"] if item["path"] else None
        return ReceivedFile(item["accession"], item["name"], path, item["sha256"], item["size"], item["fields"])

    def _stored(self) -> Iterator[dict[str, Any]]:
        return (item for item in self._items() if item.get("stored"))

    def _items(self) -> Iterator[dict[str, Any]]:
        for entry in self.requests:
            yield from items_of(entry)
