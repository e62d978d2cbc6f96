"""What lies in the collections, what our inspection says of each file, and what DCMTK does."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import data_store  # of pydicom-data
import pydicom.data

from folder_agent.core.records import Finding
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.paths import stamp_of

EXPECTATIONS = Path(__file__).with_name("expectations.csv")
COLLECTIONS = {
    "pydicom": Path(pydicom.data.__file__).parent,
    "pydicom-data": Path(data_store.__file__).parent / "data",
}
_OTHER = {".py", ".pyc", ".json", ".txt", ".csv", ".md", ".pem", ".zip", ".hash"}  # no device wrote these
# Why we differ from dcmftest and dcmdump, which ask only whether the file can be parsed.
NOTES = {
    "no pixel data": "an image class without pixels: to us it was cut short",
    "no SOPClassUID": "a made-up piece of a data set: nothing says what it is",
    "no StudyInstanceUID": "belongs to no study (a palette, or a made-up image)",
    "SOPInstanceUID is no UID": "its SOPInstanceUID holds other characters than digits and dots",
    "directory": "a media directory is no file of an exam",
    "dcmdump": "implicit VR, which its transfer syntax denies: a receiver may refuse it, too",
}


@dataclass(frozen=True)
class Row:
    """One line of expectations.csv."""

    collection: str
    file: str
    sha256: str  # the first 12 digits
    kind: str
    role: str  # image, report, other; "" where it cannot be sent
    reason: str
    detail: str
    dcmftest: str  # yes, no
    dcmdump: str  # ok, error
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.collection}/{self.file}"


def files() -> Iterator[tuple[str, Path, str]]:
    """Every file that a device could have written: collection, path, and its name there."""
    for name, root in COLLECTIONS.items():
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in _OTHER and "__pycache__" not in path.parts:
                yield name, path, path.relative_to(root).as_posix()


def inspected(path: Path) -> Finding:
    """What our inspection says of the file."""
    drop = RealDropFolder("vendor", path.parent, (path.parent / "done", path.parent / "failed"))
    finding = drop.inspect(path.name, stamp_of(path.lstat()))
    assert finding is not None
    return finding


def said(finding: Finding) -> tuple[str, str, str, str]:
    """Kind, role, reason and its detail."""
    facts = finding.dicom
    role = "" if facts is None else "image" if facts.is_image else "report" if facts.is_report else "other"
    values = dict(finding.problem.values) if finding.problem else {}
    return finding.kind.value, role, finding.problem.code if finding.problem else "", str(values.get("detail", ""))


def dcmtk(path: Path) -> tuple[str, str]:
    """What dcmftest and dcmdump say of it."""
    tested = subprocess.run(["dcmftest", path], capture_output=True, check=False, timeout=60).stdout
    dumped = subprocess.run(["dcmdump", "-q", "+E", path], capture_output=True, check=False, timeout=60)
    return "yes" if tested.startswith(b"yes") else "no", "ok" if dumped.returncode == 0 else "error"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def expectations() -> list[Row]:
    with EXPECTATIONS.open(encoding="utf-8", newline="") as file:
        return [Row(**row) for row in csv.DictReader(file)]


def write() -> None:
    """Look at everything anew; whoever calls this reads what has changed."""
    with EXPECTATIONS.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([field.name for field in fields(Row)])
        for collection, path, name in files():
            row = Row(collection, name, digest(path), *said(inspected(path)), *dcmtk(path))
            out.writerow((*astuple(row)[:-1], _note(row)))


def _note(row: Row) -> str:
    if agrees(row):
        return ""
    if row.kind == "JUNK":
        return NOTES["directory"]
    return NOTES["dcmdump"] if not row.reason else NOTES.get(row.detail, "UNEXPLAINED")


def agrees(row: Row) -> bool:
    """Whether we send what DCMTK can parse, and refuse what it cannot."""
    return (row.kind == "DICOM") == (row.dcmdump == "ok")
