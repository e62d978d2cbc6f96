"""What arrived at other people's receivers is what was dropped: instance by instance, as DCMTK's dcmdump reads it, and
to the byte in data set and pixels. From drop folder to done/, by every way that carries DICOM."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from folder_agent.edges import logs
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.simulator import Simulator
from tests.e2e.test_orthanc import make_instance
from tests.servers.certificates import make_certificate
from tests.servers.nginx import running_nginx
from tests.servers.orthanc import Orthanc, missing, running_orthanc
from tests.servers.storescp import dcmtk, need_dcmtk, running_storescp
from tests.site import PDF, Site, sidecar

pytestmark = pytest.mark.slow
# Compressed ones are made of frames that no codec has made: nobody on the way may look into them.
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)


@dataclass
class Receiver:
    """Where images go, and what it has of a study: files, by SOPInstanceUID."""

    top: str
    study: Callable[[str], dict[str, bytes]]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := missing():
        pytest.skip(reason)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def of_study(contents: list[bytes], study: str) -> dict[str, bytes]:
    read = [(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True), content) for content in contents]
    return {str(one.SOPInstanceUID): content for one, content in read if one.StudyInstanceUID == study}


def by_storescp(folder: Path, stack: ExitStack, *, tls: bool) -> Receiver:
    own = make_certificate(folder, "scp") if tls else None
    scp = stack.enter_context(running_storescp(folder / "scp", "+xa", "--max-pdu", "4096", tls=own))
    top = f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {scp.port}\n"
    top += f"tls = true\nca_file = '{own.public}'\n" if own else ""
    return Receiver(top, lambda study: of_study([path.read_bytes() for path in scp.files()], study))


def in_orthanc(server: Orthanc, top: str) -> Receiver:
    def held(study: str) -> dict[str, bytes]:
        return of_study([server.get(f"/instances/{name}/file") for name in server.get_json("/instances")], study)

    return Receiver(top, held)


@pytest.fixture(params=["storescp", "storescp-tls", "orthanc-c-store", "orthanc-stow", "orthanc-nginx"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> Receiver:
    if request.param.startswith("storescp"):
        return by_storescp(tmp_path, stack, tls=request.param.endswith("tls"))
    server: Orthanc = request.getfixturevalue("orthanc")
    if request.param == "orthanc-c-store":
        node = f"[dimse]\nhost = '127.0.0.1'\nport = {server.dicom_port}\n"
        return in_orthanc(server, f"[images]\ntransport = 'dimse'\n{node}")
    url = server.stow_url
    if request.param == "orthanc-nginx":  # each request of more than one image is too large for it
        certificate = make_certificate(tmp_path, "nginx")
        nginx = stack.enter_context(running_nginx(tmp_path / "nginx", server.http_port, certificate, "12k"))
        (tmp_path / "trusted.pem").write_bytes(certificate.public.read_bytes())
        url = f"{nginx.url}/dicom-web/studies"
    else:
        (tmp_path / "trusted.pem").write_bytes(server.ca_file.read_bytes())
    return in_orthanc(server, f"[images]\nverify = 'qido'\n[stow]\nurl = '{url}'\n")


@pytest.fixture
def site(tmp_path: Path, stack: ExitStack) -> Site:
    """One whose gateway counts nothing that came by another way, and which trusts every certificate of the test."""
    gateway = stack.enter_context(Simulator(tmp_path / "gateway", strict_counts=False))
    made = Site(tmp_path / "site", gateway, timeout_s=30)
    logs.set_up(made.root / "logs", "DEBUG", 1, console=False)
    stack.callback(lambda: logs.set_up(None, "INFO", 1, console=False))
    return made


def drop_exam(site: Site, study: str) -> None:
    folder = site.drop / "CT1"
    folder.mkdir()
    for number, syntax in enumerate(SYNTAXES):
        is_made_up = syntax in (JPEG2000Lossless, JPEGLosslessSV1)
        is_big = syntax == ExplicitVRBigEndian
        one = make_instance(folder, ExplicitVRLittleEndian if is_made_up or is_big else syntax, number, study)
        if is_big:
            subprocess.run([dcmtk("dcmconv") or "dcmconv", "+tb", one.location, one.location], check=True, timeout=60)
        if is_made_up:
            image = pydicom.dcmread(one.location)
            frames = [hashlib.sha256(bytes([number, part])).digest() * (part + 3) + b"\0" * part for part in range(3)]
            image.NumberOfFrames, image.file_meta.TransferSyntaxUID = len(frames), syntax
            image.PixelData = encapsulate(frames)
            image["PixelData"].is_undefined_length = True
            image["PixelData"].VR = "OB"
            image.save_as(one.location, enforce_file_format=True)
    (folder / "report.pdf").write_bytes(PDF)
    sidecar(
        folder / "exam.json",
        patientId="P1",
        patientName="张三",
        accessNumber="A1",
        studyUid=study,
        imageCnt=len(SYNTAXES),
        pdfCnt=1,
    )


def dumped(folder: Path, content: bytes) -> str:
    """All that dcmdump says of the data set; the meta information is each receiver's own, but for the syntax."""
    path = folder / "dumped.dcm"
    path.write_bytes(content)
    line = [dcmtk("dcmdump") or "dcmdump", "-q", "+L", "+R", "4096", str(path)]
    told = subprocess.run(line, capture_output=True, check=True, timeout=60).stdout.decode("utf-8", "replace")
    return told[told.index("# Dicom-Data-Set") :]


def data_set(content: bytes) -> bytes:
    return content[data_set_begins(content[: 256 * 1024]) :]


def test_what_arrived_is_what_was_dropped(tmp_path: Path, site: Site, receiver: Receiver) -> None:
    need_dcmtk("dcmconv", "dcmdump", "dcm2pdf")
    trusted = tmp_path / "trusted.pem"
    if trusted.exists():
        trusted.write_bytes(trusted.read_bytes() + (site.gateway.ca_file or Path()).read_bytes())
        site.trust = f"ca_file = {json.dumps(str(trusted))}"
    site.top = receiver.top + "[reports]\ntransport = 'encapsulate'\n"
    study = generate_uid()
    drop_exam(site, study)
    assert site.once() == 0, f"{[(one.state, one.reasons) for one in site.bundles()]}\n{site.logs()[-3000:]}"
    dropped = of_study([path.read_bytes() for path in site.shelf()["CT1"].glob("*.dcm")], study)
    arrived = receiver.study(study)
    [report] = arrived.keys() - dropped.keys()
    assert arrived.keys() - {report} == dropped.keys()
    assert len(dropped) == len(SYNTAXES)
    for uid, sent in dropped.items():
        got = arrived[uid]
        assert dumped(tmp_path, got) == dumped(tmp_path, sent)
        before, after = (pydicom.dcmread(io.BytesIO(content)) for content in (sent, got))
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
        assert after.PixelData == before.PixelData
        assert data_set(got) == data_set(sent)
    path = tmp_path / "report.dcm"
    path.write_bytes(arrived[report])
    subprocess.run([dcmtk("dcm2pdf") or "dcm2pdf", str(path), str(tmp_path / "back.pdf")], check=True, timeout=60)
    assert (tmp_path / "back.pdf").read_bytes().rstrip(b"\0") == PDF
