"""STOW-RS against a real server: what Orthanc gives back is what was sent."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from folder_agent.core.errors import AgentError
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.drop_folder import inspecting
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.batching import Bounds
from folder_agent.edges.gateway.client import Link, make_client
from folder_agent.edges.gateway.multipart import Reading
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.stow import Stow
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.paths import stamp_of
from tests.servers.orthanc import Orthanc, missing, running_orthanc

pytestmark = pytest.mark.slow


class WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := missing():
        if os.environ.get("FOLDER_AGENT_CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def stow(orthanc: Orthanc) -> Iterator[Stow]:
    clock = WallClock()
    client = make_client(SignedHeaders("1251", "secret", clock), make_context(orthanc.ca_file), 30, 1)
    link = Link(client, clock, 30)
    yield Stow(link, orthanc.stow_url, Reading(open_for_reading, lambda: False), Bounds(files=2))
    link.close()


def make_instance(folder: Path, syntax: str, number: int, study: str) -> Outgoing:
    """A small image with a Chinese patient name, a private tag and a sequence, so that much can go wrong."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage if number % 2 else SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SpecificCharacterSet = "GB18030"
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = study, generate_uid()
    image.PatientName, image.PatientID, image.AccessionNumber = "张三", "P1", "A1"
    image.Modality, image.InstanceNumber = "CT", number
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-1", "胸部"
    image.ProcedureCodeSequence = [item]
    image.private_block(0x0011, "folder-agent test", create=True).add_new(1, "LO", "kept")
    image.Rows = image.Columns = 64
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    pixels = (np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) + number) % 4096
    if syntax == RLELossless:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.PixelData = pixels.tobytes()
        image.compress(RLELossless, generate_instance_uid=False)
    else:
        image.PixelData = pixels.tobytes()
    file = folder / f"图像{number}.dcm"
    image.save_as(file, enforce_file_format=True)
    uid = str(image.SOPInstanceUID)
    return Outgoing(number, file.name, file, stamp_of(file.stat()), FileKind.DICOM, sop_instance=uid)


def test_what_orthanc_gives_back_is_what_was_sent(orthanc: Orthanc, stow: Stow, tmp_path: Path) -> None:
    study = generate_uid()
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, ExplicitVRLittleEndian, RLELossless]
    files = [make_instance(tmp_path, syntax, number, study) for number, syntax in enumerate(syntaxes)]
    accepted: list[Acceptance] = []
    stow.send(files, accepted.extend, lambda count: None)
    assert [one.file_id for one in accepted] == [0, 1, 2, 3, 4]
    kept = {
        pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID: content
        for content in (orthanc.get(f"/instances/{name}/file") for name in orthanc.get_json("/instances"))
    }
    for file in files:
        sent, back = pydicom.dcmread(file.location), pydicom.dcmread(io.BytesIO(kept[file.sop_instance]))
        assert back == sent
        assert back.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_orthanc_takes_what_a_device_wrote_without_preamble(
    orthanc: Orthanc, stow: Stow, tmp_path: Path, syntax: str
) -> None:
    one = make_instance(tmp_path, ExplicitVRLittleEndian, 1, generate_uid())
    sent, bare = pydicom.dcmread(one.location), tmp_path / "bare"
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(bare, Dataset(sent), implicit_vr=implicit, little_endian=little)
    finding = inspecting.inspect(bare, "bare", stamp_of(bare.stat()), None)
    assert finding is not None
    assert finding.dicom is not None
    file = replace(
        one,
        location=bare,
        stamp=stamp_of(bare.stat()),
        sop_class=finding.dicom.sop_class,
        transfer_syntax=finding.dicom.transfer_syntax,
        data_at=finding.dicom.data_at,
    )
    accepted: list[Acceptance] = []
    stow.send([file], accepted.extend, lambda count: None)
    assert len(accepted) == 1
    [found] = [
        back
        for name in orthanc.get_json("/instances")
        if (back := pydicom.dcmread(io.BytesIO(orthanc.get(f"/instances/{name}/file")))).SOPInstanceUID
        == sent.SOPInstanceUID
    ]
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.PixelData == sent.PixelData


def test_sending_twice_does_no_harm(orthanc: Orthanc, stow: Stow, tmp_path: Path) -> None:
    file = make_instance(tmp_path, ExplicitVRLittleEndian, 1, generate_uid())
    accepted: list[Acceptance] = []
    stow.send([file], accepted.extend, lambda count: None)
    before = len(orthanc.get_json("/instances"))
    stow.send([file], accepted.extend, lambda count: None)
    assert len(accepted) == 2
    assert len(orthanc.get_json("/instances")) == before


def test_what_is_no_dicom_is_not_reported_as_accepted(stow: Stow, tmp_path: Path) -> None:
    file = tmp_path / "x.dcm"
    file.write_bytes(b"\0" * 128 + b"DICM" + b"no more")
    junk = Outgoing(1, "x.dcm", file, stamp_of(file.stat()), FileKind.DICOM, sop_instance="1.2.3")
    accepted: list[Acceptance] = []
    with pytest.raises(AgentError) as caught:
        stow.send([junk], accepted.extend, lambda count: None)
    assert not accepted
    assert caught.value.problem.code.startswith("FA-GW-")
