"""What the bench sends: a CT study, many small exams, one very large image, a hundred folders that wait. Writes files.

Everything comes from one template whose UIDs are replaced in place, because pydicom would take minutes over it.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

_ROOT = "1.2.826.0.1.3680043.8.498"
_INSTANCE = f"{_ROOT}.1000000000"  # ten digits at the end, to be replaced
_STUDY = f"{_ROOT}.2000000000"
_FIRST = 1_000_000_000
_STUDIES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """A file that was written, as the bare clients need it."""

    path: Path
    size: int


def template(side: int, frames: int = 1, pixels: bytes = b"", accession: str = "B000000") -> bytes:
    """A CT image of `frames` frames of side x side x 16 bit; without `pixels`, only what comes before them, with their
    length announced (PS3.5 7.1.2: PixelData as OW)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(_INSTANCE)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _INSTANCE
    image.StudyInstanceUID, image.SeriesInstanceUID = _STUDY, f"{_STUDY}.1"
    image.PatientID, image.AccessionNumber, image.PatientName = "P7001", accession, "Bench^A"
    image.Modality, image.PhotometricInterpretation = "CT", "MONOCHROME2"
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored = 1, 16, 16
    image.HighBit, image.PixelRepresentation = 15, 0
    if frames > 1:
        image.NumberOfFrames = frames
    out = io.BytesIO()
    image.save_as(out, enforce_file_format=True)
    length = frames * side * side * 2
    return out.getvalue() + b"\xe0\x7f\x10\x00OW\0\0" + length.to_bytes(4, "little") + pixels


def numbered(content: bytes, instance: int, study: int = 0) -> bytes:
    """The same image with another SOPInstanceUID and StudyInstanceUID of the same length."""
    changed = content.replace(_INSTANCE.encode(), f"{_ROOT}.{_FIRST + instance}".encode())
    return changed.replace(_STUDY.encode(), f"{_ROOT}.{_STUDIES + study}".encode()) if study else changed


def ct_study(folder: Path, slices: int, side: int = 512) -> list[Image]:
    """One exam in a folder of its own: noisy slices, and a sidecar that declares them."""
    folder.mkdir(parents=True)
    head, noise = template(side), os.urandom(side * side * 2)
    images = []
    for number in range(slices):
        turn = (2 * number) % len(noise)
        images.append(_write(folder / f"IM{number:04}.dcm", numbered(head, number) + noise[turn:] + noise[:turn]))
    sidecar(folder / "exam.json", imageCnt=slices)
    return images


def small_exams(root: Path, count: int, *, flat: bool) -> list[tuple[Image, Path]]:
    """So many exams of one 32 x 32 image each: side by side in one folder, or each in its own."""
    found: list[tuple[Image, Path]] = []
    for number in range(count):
        name = f"B{number:06}"
        folder = root if flat else root / name
        folder.mkdir(parents=True, exist_ok=True)
        content = template(32, pixels=os.urandom(2048), accession=name) if not number else content_of(found, name)
        image = _write(folder / f"{name}_1.dcm", numbered(content, number, number))
        sidecar(folder / f"{name}.json", accessNumber=name, studyId=f"S{number}", imageCnt=1)
        found.append((image, folder / f"{name}.json"))
    return found


def content_of(made: list[tuple[Image, Path]], accession: str) -> bytes:
    """The first image, under another accession number of the same length."""
    return made[0][0].path.read_bytes().replace(b"B000000", accession.encode())


def large_image(folder: Path, size: int) -> Image:
    """One multi-frame image of at least `size` bytes, as long as its header says: a sparse file that reads as zeros."""
    frame = 512 * 512 * 2
    head = template(512, frames=-(-size // frame))
    image = _write(folder / "IM0001.dcm", head)
    total = image.size + -(-size // frame) * frame
    os.truncate(image.path, total)
    sidecar(folder / "exam.json", imageCnt=1)
    return Image(image.path, total)


def waiting_files(root: Path, folders: int, files: int) -> None:
    """Folders full of images whose sidecars have not come."""
    head = template(2, pixels=bytes(range(8)))
    for folder in range(folders):
        place = root / f"study{folder:03}"
        place.mkdir(parents=True)
        for number in range(files):
            (place / f"IM{number:05}.dcm").write_bytes(numbered(head, folder * files + number, folder))


def sidecar(path: Path, **fields: str | int) -> None:
    """The JSON beside the images."""
    content = {
        "patientId": "P7001",
        "patientName": "测试甲",
        "patientSex": "M",
        "studyId": "S1",
        "accessNumber": "B000000",
        "modality": "CT",
    }
    path.write_text(json.dumps(content | fields, ensure_ascii=False), encoding="utf-8")


def _write(path: Path, content: bytes) -> Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Image(path, len(content))
