"""A hospital in a temporary folder: drop folders, a simulated gateway over TLS, settings, and ways to run the agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.core.records import BundleRecord
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.logs import LogPublisher
from folder_agent.simulator import Received, Simulator

TOKEN = "0123456789abcdef0123456789abcdef"
FIELDS = {
    "patientId": "P7001",
    "patientName": "测试甲",
    "patientSex": "M",
    "studyId": "S1",
    "accessNumber": "ACC1",
    "modality": "CT",
}
PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"


def dicom(
    path: Path,
    *,
    study: str = "1.2.840.1",
    series: str = "1.2.840.1.1",
    instance: str | None = None,
    patient: str = "P7001",
    accession: str = "ACC1",
    pixels: bytes = bytes(32 * 32 * 2),
    sop_class: str = CTImageStorage,
    **more: str,
) -> str:
    """Write one small CT image; its SOPInstanceUID. `more` are elements by keyword, `patient_sex` for PatientSex."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance or generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.PatientID, image.AccessionNumber, image.PatientName = patient, accession, "Test^A"
    image.Modality = "CT"
    for name, value in more.items():
        keyword = "".join(word.capitalize() for word in name.split("_"))
        setattr(image, {"StudyId": "StudyID"}.get(keyword, keyword), value)
    image.Rows = image.Columns = 32
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelData = pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return str(image.SOPInstanceUID)


def sidecar(path: Path, **changes: Any) -> None:
    """Write a sidecar: the A fields, changed; a value of None leaves its field out."""
    content = {key: value for key, value in (FIELDS | changes).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@dataclass
class Site:
    """One installation; `more` is laid over the settings as TOML lines of the drop folder."""

    root: Path
    gateway: Simulator
    drop_lines: str = ""
    lines: str = "retry_first_s = 3000\nretry_max_s = 3600\n"  # a retry never comes by itself in a test of one run
    token: str = TOKEN
    top: str = ""
    ledger: str | None = None
    url: str | None = None  # the gateway's address, if another one than its own
    trust: str | None = None  # a line of [gateway] instead of the gateway's own certificate
    timeout_s: float = 5
    drops: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.drops = self.drops or {"ct": self.root / "drop"}
        for folder in self.drops.values():
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def drop(self) -> Path:
        return next(iter(self.drops.values()))

    def config(self) -> Path:
        """Write the settings file as it is now."""
        q = json.dumps
        text = f'[gateway]\nurl = {q(self.url or self.gateway.url)}\napp_id = "1251"\ntoken = {q(self.token)}\n'
        trust = self.trust or f"ca_file = {q(str(self.gateway.ca_file))}"
        text += f"{trust}\ntimeout_s = {self.timeout_s}\n"
        text += f"[sync]\n{self.lines}\n" + (f"[ledger]\nurl = {q(self.ledger)}\n" if self.ledger else "")
        text += self.top
        text += "" if "[console]" in self.top else '[console]\nlisten = "off"\n'  # the port is the machine's
        for name, folder in self.drops.items():
            text += f"[[drops]]\nname = {q(name)}\npath = {q(str(folder))}\nsettle_s = 0.1\n"
            text += (self.drop_lines or "quiet_s = 0.5\n") + "\n"
        file = self.root / "folder-agent.toml"
        file.write_text(text, encoding="utf-8")
        return file

    def once(self) -> int:
        """`run --once` in this process; its exit code."""
        with Assembly(settings.load(self.config(), {}), LogPublisher()) as assembly:
            return assembly.once()

    def command(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """The real command in a process of its own."""
        line = [sys.executable, "-m", "folder_agent", *arguments, "--config", str(self.config())]
        return subprocess.run(line, **{"capture_output": True, "encoding": "utf-8", "timeout": 60, **more})

    def start(
        self, *arguments: str, env: dict[str, str] | None = None, stderr: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """The real command, left running."""
        line = [sys.executable, "-m", "folder_agent", *arguments, "--config", str(self.config())]
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            encoding="utf-8",
            env={**os.environ, **(env or {})},
        )

    def bundles(self) -> list[BundleRecord]:
        """All bundles of the ledger, oldest first."""
        url = settings.load(self.config(), {}).ledger.url or ""
        ledger = open_ledger(url)
        try:
            return sorted(ledger.latest_bundles(100_000), key=lambda b: b.id)
        finally:
            ledger.close()

    def states(self) -> dict[str, str]:
        """The latest state of each bundle, by name."""
        return {bundle.name: str(bundle.state) for bundle in self.bundles()}

    def received(self) -> Received:
        return self.gateway.received()

    def shelf(self, which: str = "done") -> dict[str, Path]:
        """What lies on a shelf of the first drop folder, by name."""
        return {path.name: path for path in sorted((self.drop / which).glob("*/*"))}

    def logs(self) -> str:
        return "".join(p.read_text(encoding="utf-8") for p in sorted((self.root / "logs").glob("*.log*")))
