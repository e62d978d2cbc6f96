"""PDF reports as DICOM objects, by whatever transport carries the images (gateway.md, "Files").

Touches the files by reading them: a report once for its digest, from which its UID is derived, and once to send it; of
one image the header, so that the report lies in the images' study under the same patient.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.ports import Accepted, Progress, Transport
from folder_agent.core.records import Acceptance, Outgoing
from folder_agent.edges.drop_folder.dicom import read_texts
from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Unreadable
from folder_agent.edges.gateway import pdf_object as pdf
from folder_agent.edges.gateway.multipart import Body, Reading, opened

_FIELDS = {
    pdf.PATIENT_NAME: "patientName",
    pdf.PATIENT_ID: "patientId",
    pdf.SEX: "patientSex",
    pdf.STUDY: "studyUid",
    pdf.STUDY_ID: "studyId",
    pdf.ACCESSION: "accessNumber",
    pdf.DESCRIPTION: "studyDesc",
}


class Encapsulate:
    """The Transport of reports that go the images' way."""

    def __init__(self, carrier: Transport, reading: Reading) -> None:
        self.destination = carrier.destination
        self._carrier = carrier
        self._reading = replace(reading, allowance=None)  # what is read here stays here; the carrier has its own
        self._exam: Mapping[str, str | int] = {}
        self._image: Outgoing | None = None

    def for_exam(self, exam: Mapping[str, str | int], image: Outgoing | None) -> Encapsulate:
        """The same way, with what tells whose report it is."""
        bound = copy.copy(self)
        bound._exam, bound._image = exam, image
        return bound

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Send each as an object of its own; see ports.Transport. What is accepted is told as the PDF that it was."""
        if not files:
            return
        identity = self._identity()
        digests = {file.file_id: self._digest(file) for file in files}
        paths = {file.file_id: file.path for file in files}

        def check(batch: Sequence[Acceptance]) -> None:
            for one in batch:
                if one.sha256 != digests[one.file_id]:  # its UID was derived from other bytes
                    raise failure(problem("FA-CHANGED", paths[one.file_id]))
            accepted(batch)

        self._carrier.send([_object(file, identity, digests[file.file_id]) for file in files], check, progress)

    def names(self, file: Outgoing, sha256: str) -> tuple[str, str, str]:
        """Study, SOP class and instance of the object that a report with that digest is made into."""
        identity = self._identity()
        made = pdf.enclosed(identity, sha256, file.stamp.size)
        return pdf.study_of(identity), pdf.ENCAPSULATED_PDF, made.sop_instance

    def _identity(self) -> dict[int, str]:
        """Patient and study: as the images say, so that the receiver puts it beside them; else as the exam says."""
        return {**of_exam(self._exam), **(self._of_image(self._image) if self._image else {})}

    def _of_image(self, image: Outgoing) -> dict[int, str]:
        try:
            with opened(image, self._reading.open_file) as stream:
                return read_texts(stream, image.stamp.size, frozenset(pdf.IDENTITY))
        except (CutShort, Unreadable) as error:
            raise failure(problem("FA-FILE-UNREADABLE", image.path, detail=str(error))) from None

    def _digest(self, file: Outgoing) -> str:
        with closing(Body([file], self._reading, lambda _: None)) as body:
            for _ in body:
                pass
        return body.digests[file.file_id]


def of_exam(exam: Mapping[str, str | int]) -> dict[int, str]:
    """The exam information as the values of DICOM elements; what is not given is left out."""
    found = {tag: str(exam.get(field, "")) for tag, field in _FIELDS.items()}
    day, _, time = str(exam.get("studyDate", "")).partition(" ")
    found |= {
        pdf.STUDY_DATE: day.replace("-", ""),
        pdf.STUDY_TIME: time.replace(":", ""),
        pdf.BIRTH_DATE: str(exam.get("patientBirthday", "")).replace("-", ""),
        pdf.AGE: _age(str(exam.get("patientAge", "")), str(exam.get("patientAgeUnit", ""))),
    }
    return {tag: value for tag, value in found.items() if value}


def _age(age: str, unit: str) -> str:
    """VR AS (PS3.5 6.2): three digits and Y, M, W or D."""
    fits = age.isascii() and age.isdigit() and int(age) < 1000
    return f"{int(age):03}{unit}" if fits and unit in ("Y", "M", "D") else ""


def _object(file: Outgoing, identity: Mapping[int, str], sha256: str) -> Outgoing:
    if file.stamp.size > pdf.MOST_BYTES:
        raise failure(problem("FA-FILE-UNREADABLE", file.path, detail="4 GiB or more, which no DICOM object can hold"))
    made = pdf.enclosed(identity, sha256, file.stamp.size)
    return replace(
        file,
        sop_class=pdf.ENCAPSULATED_PDF,
        sop_instance=made.sop_instance,
        transfer_syntax=pdf.EXPLICIT,
        lead=made.lead,
        tail=made.tail,
    )
