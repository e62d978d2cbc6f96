"""The state folder: everything received, byte for byte, and a journal line for each request; thread-safe.

Layout: journal.jsonl, exams/, instances/<study>/<SOP>.dcm, files/<accessNumber>/<n>-<name>, partial/, tmp/. A simulator
that is started again on the same folder remembers what it had accepted.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folder_agent.simulator.dicom import Instance, Kind
from folder_agent.simulator.messages import JsonObject
from folder_agent.simulator.names import safe_name


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that was received, as the counts and the search for repeats need it."""

    kind: Kind
    study: str
    accession: str
    sha256: str
    size: int


class State:
    """What the simulated gateway holds. Paths are under `folder`, which is made if it is not there."""

    def __init__(self, folder: Path, *, replaces: bool = False) -> None:
        self.folder, self._replaces = folder, replaces
        self._lock = threading.Lock()
        self._tmp = folder / "tmp"
        shutil.rmtree(self._tmp, ignore_errors=True)
        for name in ("tmp", "exams", "instances", "files", "partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.exams: dict[str, JsonObject] = {}
        self._instances: dict[str, Kept] = {}
        self._files: dict[tuple[str, str, str], Kept] = {}
        # By kind and study or accession number: looking through everything for each exam would be quadratic.
        self._index: dict[tuple[Kind, str, str], set[tuple[str, ...]]] = {}
        self.counts = dict.fromkeys(("posts", "instances", "files", "repeats", "conflicts", "requests"), 0)
        path = folder / "journal.jsonl"
        for entry in read_journal(path):
            self._remember(entry)
        self._journal = path.open("a", encoding="utf-8", newline="\n")

    def close(self) -> None:
        """Ends the journal; further requests are not recorded."""
        with self._lock:
            self._journal.close()

    def temporary(self) -> Path:
        """A fresh path on the same volume, to be renamed from or deleted."""
        return self._tmp / uuid.uuid4().hex

    def partial(self, key: str) -> Path:
        """Where the beginning of a broken upload is kept, if there is one."""
        return self.folder / "partial" / safe_name(key)

    def record(self, entry: JsonObject) -> None:
        """Appends a journal line, flushed, before the client is answered."""
        with self._lock:
            if self._journal.closed:
                return
            self._count(entry)
            line = json.dumps({"time": time.time(), **entry}, ensure_ascii=False)
            self._journal.write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
            self._journal.flush()

    def keep_exam(self, body: JsonObject) -> bool:
        """Stores the exam under its accessNumber, over an older one; whether exactly this one was there already."""
        number = str(body["accessNumber"])
        with self._lock:
            same = self.exams.get(number) == body
            self.exams[number] = body
            text = json.dumps(body, ensure_ascii=False, indent=1)
            target = self.folder / "exams" / f"{safe_name(number)}.json"
            target.write_text(text, encoding="utf-8", errors="replace")
        return same

    def keep_instance(self, instance: Instance, source: Path | None, sha256: str, size: int) -> bool | None:
        """Moves `source` in (None: bytes are not kept). False: new (or in the older ones' place, where newer bytes
        replace older), True: a repeat, None: known with other bytes."""
        with self._lock:
            known = self._instances.get(instance.sop)
            is_other = known is not None and (known.sha256, known.size) != (sha256, size)
            if known is not None and not (is_other and self._replaces):
                return True if (known.sha256, known.size) == (sha256, size) else None
            if source is not None:
                target = instance_path(self.folder, instance.study, instance.sop)
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            kept = Kept(instance.kind, instance.study, instance.accession, sha256, size)
            self._add_instance(instance.sop, kept)
        return False

    def keep_file(self, name: str, kept: Kept, source: Path | None, fields: JsonObject) -> tuple[bool, Path | None]:
        """Moves an uploaded file in, with its text parts beside it; whether it is a repeat, and where it now lies."""
        with self._lock:
            if (kept.accession, name, kept.sha256) in self._files:
                return True, None
            self._add_file(name, kept)
            if source is None:
                return False, None
            folder = self.folder / "files" / safe_name(kept.accession)
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{len(self._files)}-{safe_name(name)}"
            sidecar = json.dumps(fields, ensure_ascii=False, indent=1)
            target.with_name(target.name + ".json").write_text(sidecar, encoding="utf-8")
            source.replace(target)
        return False, target

    def instances_of(self, study: str) -> list[str]:
        """The SOPInstanceUIDs that are kept of a study, in the order of their arrival."""
        with self._lock:
            return [sop for sop, kept in self._instances.items() if kept.study == study]

    def received(self, kind: Kind, study: str, accession: str) -> int:
        """How many of that kind have come for the study or the accession number so far."""
        with self._lock:
            by_study = self._index.get((kind, "study", study), set()) if study else set()
            return len(by_study | self._index.get((kind, "accession", accession), set()))

    def _add_instance(self, sop: str, kept: Kept) -> None:
        self._instances[sop] = kept
        self._enter((sop,), kept)

    def _add_file(self, name: str, kept: Kept) -> None:
        key = (kept.accession, name, kept.sha256)
        self._files[key] = kept
        self._enter(key, kept)

    def _enter(self, key: tuple[str, ...], kept: Kept) -> None:
        self._index.setdefault((kept.kind, "study", kept.study), set()).add(key)
        self._index.setdefault((kept.kind, "accession", kept.accession), set()).add(key)

    def _count(self, entry: JsonObject) -> None:
        self.counts["requests"] += 1
        for item in items_of(entry):
            self.counts["repeats"] += bool(item.get("repeat"))
            self.counts["conflicts"] += bool(item.get("conflict"))
        if entry.get("accepted"):
            self.counts["posts"] += 1
        self.counts["instances"], self.counts["files"] = len(self._instances), len(self._files)

    def _remember(self, entry: JsonObject) -> None:
        body = entry.get("body")
        if entry.get("accepted") and isinstance(body, dict):
            self.exams[str(body["accessNumber"])] = body
        for item in items_of(entry):
            if not item["stored"]:
                continue
            kept = Kept(item["kind"], item["study"], item["accession"], item["sha256"], item["size"])
            if "sop" in item:
                self._add_instance(item["sop"], kept)
            else:
                self._add_file(item["name"], kept)
        self._count(entry)


def instance_path(folder: Path, study: str, sop: str) -> Path:
    """Where an instance lies in a state folder."""
    return folder / "instances" / safe_name(study) / f"{safe_name(sop)}.dcm"


def items_of(entry: JsonObject) -> list[dict[str, Any]]:
    """The instances or the file of a journal line."""
    found = entry.get("instances", [])
    items = list(found) if isinstance(found, list) else []
    one = entry.get("file")
    return [*items, one] if isinstance(one, dict) else items


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a journal; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]
