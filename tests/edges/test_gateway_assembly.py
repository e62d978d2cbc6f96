"""Promises of the gateway as a whole: put together from the settings, and at one with the simulated gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.ports import Gateway
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.gateway import HttpGateway, open_gateway
from folder_agent.edges.paths import stamp_of
from folder_agent.settings import Settings
from folder_agent.simulator import Simulator
from tests.servers.kit import APP_ID, TOKEN, outgoing

EXAM: dict[str, str | int] = {
    "patientId": "P1",
    "patientName": "张三",
    "patientSex": "M",
    "studyId": "S1",
    "accessNumber": "A1",
    "modality": "CT",
    "imageCnt": 2,
}


class WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def settings(url: str, **sections: object) -> Settings:
    gateway = {"url": url, "app_id": APP_ID, **sections.pop("gateway", {})}  # type: ignore[dict-item]
    return Settings.model_validate({"gateway": gateway, "drops": [{"name": "ct", "path": "/drop"}], **sections})


@contextmanager
def opened(configured: Settings, token: str = TOKEN) -> Iterator[HttpGateway]:
    gateway = open_gateway(configured, token, WallClock(), lambda: False)
    try:
        yield gateway
    finally:
        gateway.close()


def instance(folder: Path, number: int) -> Outgoing:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    image.StudyInstanceUID = image.SeriesInstanceUID = generate_uid()
    image.PatientID, image.AccessionNumber, image.Modality = "P1", "A1", "CT"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    file = folder / f"{number}.dcm"
    pydicom.dcmwrite(file, image, enforce_file_format=True)
    uid = str(image.SOPInstanceUID)
    return Outgoing(number, file.name, file, stamp_of(file.stat()), FileKind.DICOM, sop_instance=uid)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "gateway", app_id=APP_ID, token=TOKEN, port=0, tls=True) as running:
        yield running


def test_it_is_the_agents_gateway(simulator: Simulator) -> None:
    with opened(settings(simulator.url, gateway={"fingerprint": simulator.fingerprint})) as gateway:
        port: Gateway = gateway
        assert port.for_exam(EXAM).images is port.images


def test_an_exam_with_images_and_a_report_arrives(simulator: Simulator, tmp_path: Path) -> None:
    images = [instance(tmp_path, number) for number in (1, 2)]
    pdf = outgoing(tmp_path, "报告.pdf", b"%PDF-1.4\n%%EOF\n", 3, FileKind.PDF)
    accepted: list[Acceptance] = []
    with opened(settings(simulator.url, gateway={"ca_file": str(simulator.ca_file)})) as gateway:
        bound = gateway.for_exam(EXAM)
        assert bound.images is not None
        assert bound.reports is not None
        bound.images.send(images, accepted.extend, lambda count: None)
        bound.reports.send([pdf], accepted.extend, lambda count: None)
        answer = bound.commit({**EXAM, "pdfCnt": 1})
    assert answer.code == 0
    assert [one.file_id for one in accepted] == [1, 2, 3]
    received = simulator.received()
    assert set(received.instances) == {file.sop_instance for file in images}
    assert next(iter(received.exams.values()))["patientName"] == "张三"


def test_a_wrong_token_holds(simulator: Simulator) -> None:
    configured = settings(simulator.url, gateway={"fingerprint": simulator.fingerprint})
    with opened(configured, "wrong") as gateway, pytest.raises(AgentError) as caught:
        gateway.commit(EXAM)
    assert caught.value.problem.code in ("FA-GW-AUTH", "FA-GW-PERMISSION")
    assert caught.value.disposition is Disposition.HOLD


def test_the_stow_address_is_beside_the_gateways_unless_set() -> None:
    with opened(settings("https://10.0.0.5")) as gateway:
        assert gateway.images is not None
        assert gateway.images.destination == "https://10.0.0.5/dicom-web/studies"
        assert gateway.reports is not None
        assert gateway.reports.destination == "https://10.0.0.5/ris/file/add"
    with opened(settings("https://10.0.0.5", stow={"url": "https://10.0.0.6/dw/studies"})) as gateway:
        assert gateway.images is not None
        assert gateway.images.destination == "https://10.0.0.6/dw/studies"


def test_files_may_travel_another_way() -> None:
    none = {"transport": "none"}
    with opened(settings("https://10.0.0.5", images=none, reports=none)) as gateway:
        assert gateway.images is None
        assert gateway.for_exam(EXAM).reports is None


def test_a_ca_file_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(AgentError) as caught,
        opened(settings("https://10.0.0.5", gateway={"ca_file": str(tmp_path / "none")})),
    ):
        pass
    assert caught.value.problem.code == "FA-GW-TLS"
