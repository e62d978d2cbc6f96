"""Promises of encapsulated reports: the patient and study of the images, one object for ever, the PDF's own bytes."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import FileDataset

from folder_agent.core.errors import AgentError
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway import open_gateway, pdf_object
from folder_agent.edges.gateway.dimse import Dimse
from folder_agent.edges.gateway.encapsulate import Encapsulate, of_exam
from folder_agent.edges.gateway.multipart import Body, Reading
from folder_agent.edges.paths import stamp_of
from folder_agent.settings import Settings
from folder_agent.simulator import Simulator
from tests.contracts.fake_clock import FakeClock
from tests.servers.storescp import CT, EXPLICIT, PDF, PLAIN, ScriptedScp
from tests.site import PDF as CONTENT
from tests.site import TOKEN, dicom

EXAM: dict[str, str | int] = {
    "patientId": "P1",
    "patientName": "张三",
    "patientSex": "F",
    "patientBirthday": "1980-02-03",
    "patientAge": "45",
    "patientAgeUnit": "Y",
    "studyId": "S1",
    "studyUid": "1.2.840.5",
    "accessNumber": "A1",
    "studyDate": "2025-03-04 05:06:07",
    "studyDesc": "胸部CT",
    "pdfCnt": 1,
}


def report(folder: Path, number: int = 1, content: bytes = CONTENT) -> Outgoing:
    path = folder / f"报告{number}.pdf"
    path.write_bytes(content)
    return Outgoing(number, path.name, path, stamp_of(path.stat()), FileKind.PDF)


class Carrier:
    """A transport that keeps the objects as they would travel; it has them whole because a test looks at them."""

    destination = "test://images"

    def __init__(self) -> None:
        self.reading = Reading(open_for_reading, lambda: False)
        self.objects: list[bytes] = []
        self.alter: bytes | None = None

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        for file in files:
            if self.alter is not None:
                file.location.write_bytes(self.alter)
                file = replace(file, stamp=stamp_of(file.location.stat()))
            body = Body([file], self.reading, progress)
            self.objects.append(b"".join(body))
            assert len(self.objects[-1]) == file.length
            accepted([Acceptance(file.file_id, body.digests[file.file_id], self.destination, "stored")])

    def read(self, number: int = -1) -> FileDataset:
        return pydicom.dcmread(io.BytesIO(self.objects[number]))


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


def send(
    carrier: Carrier, files: Sequence[Outgoing], exam: dict[str, str | int], image: Outgoing | None = None
) -> list[Acceptance]:
    found: list[Acceptance] = []
    Encapsulate(carrier, carrier.reading).for_exam(exam, image).send(files, found.extend, lambda count: None)
    return found


@pytest.fixture
def image(tmp_path: Path) -> Outgoing:
    path = tmp_path / "1.dcm"
    uid = dicom(path, study="1.2.840.7", patient="P-IMAGE", accession="A1")
    made = pydicom.dcmread(path)
    made.SpecificCharacterSet, made.PatientName = "GB18030", "Li^Si=李^四"
    made.StudyDate, made.StudyTime, made.IssuerOfPatientID = "20250301", "101112", "HIS"
    made.save_as(path)
    return Outgoing(9, path.name, path, stamp_of(path.stat()), FileKind.DICOM, CT, uid, EXPLICIT)


def test_a_report_carries_the_patient_and_study_of_the_images(carrier: Carrier, image: Outgoing) -> None:
    send(carrier, [report(image.location.parent)], EXAM, image)
    made = carrier.read()
    assert (made.PatientName, made.PatientID, made.IssuerOfPatientID) == ("Li^Si=李^四", "P-IMAGE", "HIS")
    assert (made.StudyInstanceUID, made.StudyDate, made.StudyTime) == ("1.2.840.7", "20250301", "101112")
    assert (made.PatientSex, made.StudyID, made.StudyDescription) == ("F", "S1", "胸部CT")  # the image says nothing


def test_without_images_the_exam_information_says_whose_it_is(carrier: Carrier, tmp_path: Path) -> None:
    send(carrier, [report(tmp_path)], EXAM)
    made = carrier.read()
    assert (made.PatientName, made.PatientID, made.PatientSex) == ("张三", "P1", "F")
    assert (made.PatientBirthDate, made.PatientAge) == ("19800203", "045Y")
    assert (made.StudyInstanceUID, made.StudyID, made.AccessionNumber) == ("1.2.840.5", "S1", "A1")
    assert (made.StudyDate, made.StudyTime) == ("20250304", "050607")


def test_an_exam_without_study_uid_has_one_that_stays_the_same(carrier: Carrier, tmp_path: Path) -> None:
    exam = {key: value for key, value in EXAM.items() if key != "studyUid"}
    for number, one in enumerate((exam, {**exam, "studyDesc": "x"}, {**exam, "accessNumber": "A2"}), 1):
        send(carrier, [report(tmp_path, number)], one)
    studies = [carrier.read(number).StudyInstanceUID for number in range(3)]
    assert studies[0] == studies[1] != studies[2]
    assert all(pydicom.uid.UID(uid).is_valid for uid in studies)


def test_every_module_of_the_object_is_there(carrier: Carrier, tmp_path: Path) -> None:
    """PS3.3 A.45.1: what is of type 1 has a value, what is of type 2 is there."""
    send(carrier, [report(tmp_path)], {})
    made = carrier.read()
    for name in """StudyInstanceUID SeriesInstanceUID SOPInstanceUID SOPClassUID Modality SeriesNumber InstanceNumber
            ConversionType BurnedInAnnotation MIMETypeOfEncapsulatedDocument EncapsulatedDocument""".split():  # noqa: SIM905
        assert made[name].value
    for name in """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID
            AccessionNumber Manufacturer ContentDate ContentTime AcquisitionDateTime""".split():  # noqa: SIM905
        assert name in made
    assert "DocumentTitle" in made
    assert list(made.ConceptNameCodeSequence) == []
    assert [element.tag for element in made] == sorted(element.tag for element in made)
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.file_meta.TransferSyntaxUID == EXPLICIT


def test_the_same_report_is_the_same_object_to_the_byte(carrier: Carrier, image: Outgoing, tmp_path: Path) -> None:
    other = report(tmp_path, 2, CONTENT + b"\n")
    send(carrier, [report(tmp_path), other], EXAM, image)
    send(carrier, [report(tmp_path)], EXAM, image)
    assert carrier.objects[0] == carrier.objects[2]
    first, second = carrier.read(0), carrier.read(1)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != ""
    assert first.InstanceNumber != second.InstanceNumber


def test_the_same_report_of_another_study_is_another_object(carrier: Carrier, tmp_path: Path) -> None:
    send(carrier, [report(tmp_path)], EXAM)
    send(carrier, [report(tmp_path)], {**EXAM, "studyUid": "1.2.840.6"})
    assert carrier.read(0).SOPInstanceUID != carrier.read(1).SOPInstanceUID


def test_what_is_accepted_is_told_as_the_pdf_that_it_was(carrier: Carrier, tmp_path: Path) -> None:
    one = report(tmp_path)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert send(carrier, [one], EXAM) == [Acceptance(1, digest, "test://images", "stored")]


def test_a_report_that_changes_between_its_two_readings_is_not_accepted(carrier: Carrier, tmp_path: Path) -> None:
    carrier.alter = CONTENT + b"altered"
    with pytest.raises(AgentError) as caught:
        send(carrier, [report(tmp_path)], EXAM)
    assert caught.value.problem.code == "FA-CHANGED"


def test_an_image_that_has_changed_is_not_asked(carrier: Carrier, image: Outgoing, tmp_path: Path) -> None:
    image.location.write_bytes(b"another")
    with pytest.raises(AgentError) as caught:
        send(carrier, [report(tmp_path)], EXAM, image)
    assert (caught.value.problem.code, caught.value.problem.path) == ("FA-CHANGED", image.path)
    assert not carrier.objects


def test_nothing_to_send_asks_nothing(carrier: Carrier, image: Outgoing) -> None:
    image.location.unlink()
    assert send(carrier, [], EXAM, image) == []


def test_a_report_that_no_object_can_hold_is_refused(carrier: Carrier, tmp_path: Path) -> None:
    with pytest.raises(struct.error):  # what would happen without the bound
        pdf_object.enclosed({}, "0" * 64, 2**32)
    assert pdf_object.enclosed({}, "0" * 64, pdf_object.MOST_BYTES)
    huge = report(tmp_path)
    with huge.location.open("r+b") as file:
        file.truncate(pdf_object.MOST_BYTES + 1)
    encapsulate = Encapsulate(carrier, carrier.reading)
    encapsulate._digest = lambda file: "0" * 64  # type: ignore[method-assign]  # 4 GiB would take a while
    with pytest.raises(AgentError) as caught:
        encapsulate.send([replace(huge, stamp=stamp_of(huge.location.stat()))], lambda batch: None, len_of)
    assert caught.value.problem.code == "FA-FILE-UNREADABLE"


@given(st.binary(min_size=1, max_size=300), st.text(max_size=30), st.text(max_size=30))
def test_any_name_and_any_bytes_make_an_object_that_holds_them(content: bytes, name: str, number: str) -> None:
    identity = {pdf_object.PATIENT_NAME: name, pdf_object.PATIENT_ID: number, pdf_object.STUDY: "1.2.3"}
    made = pdf_object.enclosed(identity, hashlib.sha256(content).hexdigest(), len(content))
    read = pydicom.dcmread(io.BytesIO(made.lead + content + made.tail))
    assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == content
    assert len(read.EncapsulatedDocument) % 2 == 0
    assert read.SOPInstanceUID == made.sop_instance


@pytest.mark.parametrize(("age", "unit", "wanted"), [("7", "M", "007M"), ("120", "Y", "120Y"), ("x", "Y", None)])
def test_an_age_is_told_in_the_standards_form(age: str, unit: str, wanted: str | None) -> None:
    assert of_exam({"patientAge": age, "patientAgeUnit": unit}).get(pdf_object.AGE) == wanted


@pytest.fixture
def lenient(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "gateway") as running:
        yield running


def test_it_goes_by_stow_where_images_do(lenient: Simulator, tmp_path: Path) -> None:
    gateway = {"url": lenient.url, "app_id": "1251", "ca_file": str(lenient.ca_file)}
    sections = {"reports": {"transport": "encapsulate"}, "drops": [{"name": "ct", "path": str(tmp_path)}]}
    settings = Settings.model_validate({"gateway": gateway, **sections})
    opened = open_gateway(settings, TOKEN, FakeClock(wall=lenient.behaviour.now()), lambda: False)
    accepted: list[Acceptance] = []
    reports = opened.for_exam(EXAM).reports
    assert reports is not None
    assert opened.images is not None
    assert reports.destination == opened.images.destination
    for _ in range(2):
        reports.send([report(tmp_path, number, CONTENT + b"%" * number) for number in (1, 2)], accepted.extend, len_of)
    opened.close()
    assert len(accepted) == 4
    instances = lenient.received().instances
    assert len(instances) == 2
    documents = {pydicom.dcmread(path).EncapsulatedDocument.rstrip(b"\0") for path in instances.values()}
    assert documents == {CONTENT + b"%", CONTENT + b"%%"}


def len_of(_count: int) -> None:
    """Nobody watches."""


def test_a_node_that_takes_no_reports_refuses_them_by_name(tmp_path: Path) -> None:
    with ScriptedScp({CT: PLAIN}) as scp:
        dimse = Dimse(scp.node(), Reading(open_for_reading, lambda: False))
        reports = Encapsulate(dimse, Reading(open_for_reading, lambda: False)).for_exam(EXAM, None)
        with pytest.raises(AgentError) as caught:
            reports.send([report(tmp_path)], lambda batch: None, len_of)
        assert scp.proposed == [[(PDF, [EXPLICIT])]]
    assert caught.value.problem.code == "FA-GW-SYNTAX"
    assert dict(caught.value.problem.values)["sop_class"] == "Encapsulated PDF Storage"
