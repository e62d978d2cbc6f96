"""What one trial happens in: a site with its simulated gateway, and an account of every byte that was dropped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.core.ports import Ledger
from folder_agent.edges.ledger import open_ledger
from folder_agent.simulator import Simulator
from tests.servers.storescp import ScriptedScp
from tests.site import FIELDS, PDF, Site, dicom

NOTES = ("receipt", "WHY")  # and those of an earlier round, "WHY (earlier).txt"
TEMPLATE = ".json.template"
IMAGES = 6  # that are there to be dropped
SOP = "1.2.840.99.{}"
ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104.1"
SAID = {"patient_sex": "M", "study_id": "S1"}


@dataclass
class Yard:
    """Whatever the outside world does to the drop folder it does here, so that it is known what must be found."""

    site: Site
    materials: Path
    shelf: Path | None = None  # where done/ and failed/ are, if not in the drop folder
    node: ScriptedScp | None = None  # where images and reports go, if not by HTTP
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def drop(self) -> Path:
        return self.site.drop

    @property
    def gateway(self) -> Simulator:
        return self.site.gateway

    def image(self, place: str, number: int | str) -> None:
        """Drop image `number`, always the same instance with the same bytes. "nameless": one of another study, without
        an accession number."""
        self._copy(self.materials / f"{number}.dcm", place)

    def report(self, place: str) -> None:
        self.write(place, PDF)

    def sidecar(self, place: str, **changes: Any) -> None:
        self.write(place, text_of(**changes).encode())

    def exam(self, folder: str, images: int = 3, **changes: Any) -> None:
        """Drop an exam of so many images and a report."""
        for number in range(images):
            self.image(f"{folder}/IM{number}", number)
        self.report(f"{folder}/report.pdf")
        self.sidecar(f"{folder}/exam.json", **{"imageCnt": images, "pdfCnt": 1, **changes})

    def archive(self, place: str, images: int) -> None:
        """Drop a ZIP of an exam; what is in it will be there as well, beside the archive itself."""
        files = {f"CT1/IM{n}": (self.materials / f"{n}.dcm").read_bytes() for n in range(images)}
        files["CT1/exam.json"] = text_of(imageCnt=images).encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        self.write(place, packed.getvalue())
        self.dropped.update(hashlib.sha256(content).hexdigest() for content in files.values())

    def fill_in(self, name: str, place: str, **values: str) -> None:
        """Fill in the template of that name, and save it as a sidecar."""
        there = self.drop / "_STATUS" / (name + TEMPLATE)
        assert there.exists(), f"{sorted(self.drop.rglob('*'))} {self.site.states()}"
        content = json.loads(there.read_text("utf-8-sig"))
        self.write(place, json.dumps(content | values).encode())

    def write(self, place: str, content: bytes) -> None:
        """Drop a file, or write it anew."""
        self._forget(place)
        path = self.drop / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.dropped[hashlib.sha256(content).hexdigest()] += 1

    def link(self, place: str, target: str) -> None:
        """Drop a symbolic link."""
        (self.drop / place).symlink_to(target)
        self.dropped[f"link to {target}"] += 1

    def written(self, before: bytes, after: bytes) -> None:
        """Somebody has written a file anew while the agent ran."""
        self.dropped[hashlib.sha256(before).hexdigest()] -= 1
        self.dropped[hashlib.sha256(after).hexdigest()] += 1

    def take_away(self, place: str) -> None:
        """Take a file, or a folder with all that is in it."""
        path = self.drop / place
        if path.is_dir():
            for one in path.iterdir():
                self.take_away(f"{place}/{one.name}")
            path.rmdir()
        else:
            self._forget(place)
            path.unlink()

    def sums(self) -> Counter[str]:
        """Every byte that is anywhere now, but our notes, by SHA-256 of its file."""
        return Counter(
            f"link to {path.readlink()}" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.files()
        )

    def files(self) -> Iterator[Path]:
        """Every file in the drop folder and on its shelves, but our notes."""
        for top in self.roots():
            for path in top.rglob("*"):
                if path.is_file() and not path.name.startswith(NOTES) and not path.name.endswith(TEMPLATE):
                    yield path

    def roots(self) -> list[Path]:
        return [self.drop] if self.shelf is None else [self.drop, self.shelf]

    def shelf_of(self, which: str) -> Path:
        return (self.shelf or self.drop) / which

    def received(self) -> tuple[list[str], list[str]]:
        """What the gateway holds of images and reports: once for each time that it was stored anew."""
        if self.node is None:
            got = self.site.received()
            return list(got.instances), [file.sha256 for file in got.files]
        reports = {str(one.SOPInstanceUID) for one in self.node.stored if one.SOPClassUID == ENCAPSULATED}
        return list({str(one.SOPInstanceUID) for one in self.node.stored} - reports), list(reports)

    def stored(self) -> list[str]:
        """The instances that the DICOM node was sent, repeats included."""
        return [str(one.SOPInstanceUID) for one in self.node.stored] if self.node else []

    def ledger(self) -> Ledger:
        """The ledger, for looking into it while no agent runs; to be closed."""
        return open_ledger(settings.load(self.site.config(), {}).ledger.url or "")

    def settings(self, *lines: str, quiet_s: float = 0.2) -> None:
        """Lines of the drop folder's settings from now on."""
        shelves = [f"{which} = {json.dumps(str(self.shelf / which))}" for which in ("done", "failed") if self.shelf]
        self.site.drop_lines = "\n".join([f"quiet_s = {quiet_s}", *shelves, *lines]) + "\n"

    def _copy(self, source: Path, place: str) -> None:
        self._forget(place)
        path = self.drop / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        self.dropped[hashlib.sha256(source.read_bytes()).hexdigest()] += 1

    def _forget(self, place: str) -> None:
        path = self.drop / place
        if path.exists():
            self.dropped[hashlib.sha256(path.read_bytes()).hexdigest()] -= 1


def text_of(**changes: Any) -> str:
    """A sidecar's text, always the same for the same fields."""
    content = {name: value for name, value in (FIELDS | changes).items() if value is not None}
    return json.dumps(content, ensure_ascii=False)


def make_materials(folder: Path) -> None:
    """The images that are dropped, made once: each trial drops the same."""
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        dicom(folder / f"{number}.dcm", instance=SOP.format(number), pixels=bytes([number]) * 2048, **SAID)
    dicom(folder / "nameless.dcm", instance=SOP.format(99), study="1.2.840.2", accession="", **SAID)
    with Simulator(folder / "gateway"):
        pass  # its certificate is made once, too
