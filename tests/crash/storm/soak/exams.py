"""The exams that are dropped in a soak: their bytes, all different, and what is to become of them. Pure, but for the
template, which pydicom writes once."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.site import dicom

Fields = Mapping[str, str | int]

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "gb18030")
SIZES = (2048, 2048, 2048, 40_000, 600_000)  # bytes of pixels
_STUDY, _PATIENT, _ACCESSION = "1.2.840.90000000", "P0000000", "A0000000"
NAMES = ("欧阳测试甲", "测试患者乙", "司马样例丙", "上官虚构丁")
_STRANGE = 5_000_000  # added to a number: the patient whose image strays into an exam


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of an exam. `sop` is None for what is no image."""

    name: str
    content: bytes = field(repr=False)
    sop: str | None = None
    strays: bool = False  # an image of another patient

    @property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass(frozen=True, slots=True)
class Word:
    """What the gateway may be told of an exam, and the files that it must have by then."""

    fields: Fields
    images: Mapping[str, str]  # SHA-256 by SOPInstanceUID
    reports: frozenset[str]  # SHA-256


@dataclass(slots=True)
class Exam:
    """One exam with its story. `ending` is where its files are to be in the end: done, failed, drop, or gone."""

    number: int
    kind: str
    drop: str
    flat: bool
    is_small: bool = False  # nothing large, for a volume that is small
    ending: str = "done"
    words: list[Word] = field(default_factory=list)  # in the order in which they may be said; none: nothing may be
    log: list[str] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        return f"E{self.number:07}"

    @property
    def accession(self) -> str:
        return f"A{self.number:07}"

    @property
    def study(self) -> str:
        return study_of(self.number)


def study_of(number: int) -> str:
    return f"1.2.840.{90_000_000 + number}"


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def image(exam: Exam, one: int, rng: random.Random, *, strays: bool = False) -> Piece:
    """A CT image of the exam, or one of somebody else's that got in among them. The same `one` is the same instance,
    with new pixels each time."""
    number = exam.number + (_STRANGE if strays else 0)
    head, size = _template(rng.choice(SIZES[:-1] if exam.is_small else SIZES))
    for old, new in (
        (_STUDY, study_of(number)),
        (f"{study_of(number)}.1.1000", f"{study_of(number)}.1.{1000 + one}"),
        (_PATIENT, f"P{number:07}"),
        (_ACCESSION, f"A{number:07}"),
    ):
        head = head.replace(old.encode(), new.encode())
    sop = f"{study_of(number)}.1.{1000 + one}"
    return Piece(f"IM{one}.dcm", head + rng.randbytes(size), sop, strays)


def report(rng: random.Random) -> Piece:
    body = rng.randbytes(rng.choice((300, 20_000))).hex().encode()
    return Piece("report.pdf", b"%PDF-1.4\n%" + body + b"\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")


def fields_of(exam: Exam, version: str, **more: str | int | None) -> dict[str, str | int]:
    """What a sidecar of the exam says; None leaves a field out."""
    number = exam.number
    known: dict[str, str | int | None] = {
        "patientId": f"P{number:07}",
        "patientName": NAMES[number % len(NAMES)],
        "patientSex": "MFO"[number % 3],
        "studyId": f"S{number:07}",
        "accessNumber": exam.accession,
        "modality": "CT",
        "studyUid": exam.study,
        "studyDesc": f"{exam.kind} {version}",
    }
    return {name: value for name, value in (known | more).items() if value is not None}


def counts_of(pieces: list[Piece]) -> dict[str, int]:
    return {
        "imageCnt": len({piece.sop for piece in pieces if piece.sop}),
        "pdfCnt": sum(piece.sop is None for piece in pieces),
    }


def word_of(fields: Fields, pieces: list[Piece]) -> Word:
    """What is said of an exam of these files: their counts are posted, declared or not."""
    posted = {name: value for name, value in fields.items() if name != "files"} | counts_of(pieces)
    return Word(
        posted | {"reportCnt": 0, "seriesCnt": 1},
        {piece.sop: piece.digest for piece in pieces if piece.sop},
        frozenset(piece.digest for piece in pieces if piece.sop is None),
    )


def sidecar(name: str, fields: Mapping[str, object], encoding: str) -> Piece:
    return Piece(name, json.dumps(dict(fields), ensure_ascii=False).encode(encoding))


@cache
def _template(size: int) -> tuple[bytes, int]:
    """An image without its pixels, which are its last bytes, and how many they are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.dcm"
        names = {"study": _STUDY, "series": f"{_STUDY}.1", "instance": f"{_STUDY}.1.1000"}
        dicom(path, **names, patient=_PATIENT, accession=_ACCESSION, pixels=bytes(size))
        return path.read_bytes()[:-size], size
