"""The DropFolder port in memory, for the agent's tests. Passes the same contract tests as the real one.

`files` may be shared with a FakeShelves, which then moves files out of it. Names decide as they do on disk; content is
told apart in the simplest way: `image(…)` makes what counts as DICOM here, a PDF begins and ends as PDFs do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.records import DicomFacts, FileKind, Finding, Sighting, Stamp
from folder_agent.core.sidecar import read_sidecar
from folder_agent.edges.drop_folder.names import claims_to_be_of_an_exam, kind_by_name
from tests.contracts.fake_shelves import Held

_MARK = b"DICM in memory "
_BROKEN = frozenset({"FA-SIDECAR-EMPTY", "FA-SIDECAR-JSON", "FA-SIDECAR-ENCODING"})
_BY_NAME_ALONE = frozenset({FileKind.TEMPORARY, FileKind.JUNK, FileKind.MARKER})
PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\n%%EOF\n"


def image(
    instance: str,
    *,
    study: str = "1.2.840.1",
    series: str = "1.2.840.1.1",
    patient: str | None = "P7001",
    accession: str | None = "ACC1",
    pixels: str = "",
    **said: str,
) -> bytes:
    """What a FakeDropFolder takes for a DICOM image; `said` is what its header says of the gateway's fields."""
    told = tuple(said.items())
    facts = DicomFacts(
        *("1.2.840.10008.5.1.4.1.1.2", instance, study, series, "1.2.1", patient, accession, True, False), told
    )
    return _MARK + json.dumps([asdict(facts), pixels]).encode()


@dataclass
class FakeDropFolder:
    """A tree of files by path, with outages and files that cannot be read on demand."""

    name: str = "ct"
    root: Path = Path("/drop")
    files: MutableMapping[str, Held] = field(default_factory=dict)
    marker: str | None = None
    outage: AgentError | None = None  # raised by whatever asks while it is set
    hidden: set[str] = field(default_factory=set)  # folders that cannot be listed
    unreadable: dict[str, Problem] = field(default_factory=dict)  # by path: what opening says (a WAIT problem)
    links: set[str] = field(default_factory=set)
    inspected: list[str] = field(default_factory=list)
    _writes: int = 0
    _unlisted: frozenset[str] = frozenset()

    def put(self, path: str, content: bytes, mtime_ns: int | None = None) -> Stamp:
        """Write a file, or write over it; each time with a new modification time unless one is given."""
        self._writes += 1
        self.files[path] = Held(content, 10**18 + self._writes if mtime_ns is None else mtime_ns)
        return self.files[path].stamp

    def at(self, location: Path) -> Held | None:
        """The file that `locate` gave that place for; None if it is not of this folder, or not there."""
        return self.files.get(location.relative_to(self.root).as_posix()) if self._is_ours(location) else None

    def go_away(self) -> None:
        """The share is lost; set `outage` to None when it is back."""
        self.outage = failure(problem("FA-DROP-GONE", detail="ENOENT"))

    def look(self) -> Sequence[Sighting]:
        self._may_be_away()
        self._unlisted = frozenset(self.hidden)
        return self._listed("")

    def unlisted(self) -> frozenset[str]:
        return self._unlisted

    def kind(self, path: str) -> FileKind:
        return kind_by_name(path.rpartition("/")[2], self.marker) or FileKind.UNKNOWN

    def inspect(self, path: str, stamp: Stamp) -> Finding | None:
        self.locate(path)
        self.inspected.append(path)
        held = self.files.get(path)
        if held is None or self.outage is not None or not held.is_of(stamp):
            return None
        if path in self.links:
            return Finding(FileKind.UNKNOWN, problem=problem("FA-FILE-LINK", path))
        if (kind := self.kind(path)) in _BY_NAME_ALONE:
            return Finding(kind)
        if path in self.unreadable:
            return Finding(FileKind.UNKNOWN, problem=self.unreadable[path])
        return _sidecar(held.content) if kind is FileKind.SIDECAR else _exam_file(held.content, path)

    def stamp(self, path: str) -> Stamp | None:
        self.locate(path)
        self._may_be_away()
        return self.files[path].stamp if path in self.files and path not in self.links else None

    def below(self, folder: str) -> Sequence[Sighting]:
        if not folder:
            return self.look()
        self.locate(folder)
        self._may_be_away()
        if blind := [one for one in self.hidden if f"{one}/".startswith(f"{folder}/")]:
            raise AgentError(problem("FA-FOLDER-UNLISTED", min(blind), count=len(blind)), Disposition.RETRY)
        return self._listed(f"{folder}/")

    def digest(self, path: str) -> str:
        self.locate(path)
        self._may_be_away()
        if path not in self.files:
            raise failure(problem("FA-CHANGED", path))
        if path in self.unreadable:
            raise failure(self.unreadable[path])
        return hashlib.sha256(self.files[path].content).hexdigest()

    def locate(self, path: str) -> Path:
        if "\0" in path or set(path.split("/")) & {"", ".", ".."}:
            raise failure(problem("FA-FILE-LINK", path))
        return self.root.joinpath(*path.split("/"))

    def _listed(self, prefix: str) -> list[Sighting]:
        return [
            Sighting(path, held.stamp, path in self.links)
            for path, held in list(self.files.items())
            if path.startswith(prefix) and not any(path.startswith(f"{folder}/") for folder in self.hidden)
        ]

    def _may_be_away(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _is_ours(self, location: Path) -> bool:
        return self.root in location.parents


def _sidecar(content: bytes) -> Finding:
    reading = read_sidecar(content)
    broken = next((wrong for wrong in reading.problems if wrong.code in _BROKEN), None)
    return Finding(FileKind.SIDECAR, sidecar=reading, problem=broken)


def _exam_file(content: bytes, path: str) -> Finding:
    if content.startswith(_MARK):
        try:
            facts, _ = json.loads(content.removeprefix(_MARK))
        except ValueError:
            return Finding(FileKind.UNKNOWN, problem=problem("FA-FILE-TRUNCATED", path, detail="cut"))
        said = tuple((name, value) for name, value in facts.pop("said"))
        return Finding(FileKind.DICOM, dicom=DicomFacts(**facts, said=said))
    if content.startswith(b"%PDF-"):
        whole = content.rstrip().endswith(b"%%EOF")
        cut = None if whole else problem("FA-FILE-TRUNCATED", path, detail="no %%EOF")
        return Finding(FileKind.PDF, problem=cut, digest=hashlib.sha256(content).hexdigest() if whole else None)
    if not claims_to_be_of_an_exam(path.rpartition("/")[2]):
        return Finding(FileKind.FOREIGN)
    code = "FA-FILE-UNREADABLE" if content else "FA-FILE-EMPTY"
    wrong = problem(code, path, detail="no DICM, no %PDF-") if content else problem(code, path)
    return Finding(FileKind.UNKNOWN, problem=wrong)
