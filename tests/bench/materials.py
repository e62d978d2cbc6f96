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
_BLOCK = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Exam:
    """What was written for one exam."""

    images: tuple[Path, ...]
    sidecar: Path
    size: int  # bytes of the images


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


def ct_study(folder: Path, slices: int, side: int = 512) -> Exam:
    """One exam in a folder of its own: noisy slices, and a sidecar that declares them."""
    folder.mkdir(parents=True)
    head, noise = template(side), os.urandom(side * side * 2)
    images = []
    for number in range(slices):
        turn = (2 * number) % len(noise)
        images.append(folder / f"IM{number:04}.dcm")
        images[-1].write_bytes(numbered(head, number) + noise[turn:] + noise[:turn])
    return _exam(folder / "exam.json", images, imageCnt=slices)


def small_exams(root: Path, count: int, *, flat: bool) -> list[Exam]:
    """So many exams of one 32 x 32 image each: side by side in one folder, or each in its own."""
    first = template(32, pixels=os.urandom(2048))
    found = []
    for number in range(count):
        name = f"B{number:06}"
        folder = root if flat else root / name
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"{name}_1.dcm"
        image.write_bytes(numbered(first.replace(b"B000000", name.encode()), number, number))
        found.append(_exam(folder / f"{name}.json", [image], accessNumber=name, studyId=f"S{number}", imageCnt=1))
    return found


def studies(root: Path, count: int, images: int) -> list[Exam]:
    """So many studies of so many 32 x 32 images, each in its folder."""
    first = template(32, pixels=os.urandom(2048))
    found = []
    for study in range(count):
        name = f"B{study:06}"
        (root / name).mkdir(parents=True)
        content = first.replace(b"B000000", name.encode())
        paths = [root / name / f"IM{one:05}.dcm" for one in range(images)]
        for one, path in enumerate(paths):
            path.write_bytes(numbered(content, study * images + one, study))
        fields: dict[str, str | int] = {"accessNumber": name, "studyId": f"S{study}", "imageCnt": images}
        found.append(_exam(root / name / "exam.json", paths, **fields))
    return found


def large_image(folder: Path, size: int) -> Exam:
    """One multi-frame image of at least `size` bytes, as long as its header says: a sparse file that reads as zeros."""
    folder.mkdir(parents=True)
    frame = 512 * 512 * 2
    head, image = template(512, frames=-(-size // frame)), folder / "IM0001.dcm"
    image.write_bytes(head)
    os.truncate(image, len(head) + -(-size // frame) * frame)
    with image.open("rb", buffering=0) as file:  # else the first client that reads it pays for its way into memory
        while file.read(_BLOCK):
            pass
    return _exam(folder / "exam.json", [image], imageCnt=1)


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


def _exam(path: Path, images: list[Path], **fields: str | int) -> Exam:
    sidecar(path, **fields)
    return Exam(tuple(images), path, sum(image.stat().st_size for image in images))


def linked(source: Path, target: Path) -> None:
    """The same tree under another name, without a second copy of a byte: what is measured may take it away."""
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            os.link(Path(folder) / name, place / name)
