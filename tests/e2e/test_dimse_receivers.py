"""C-STORE against real receivers: DCMTK's storescp and Orthanc have, to the byte, what was sent."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges import logs
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.dimse import Dimse, Node, echo
from folder_agent.edges.gateway.encapsulate import Encapsulate
from folder_agent.edges.gateway.multipart import Reading
from folder_agent.edges.gateway.trust import make_context, show_certificate
from folder_agent.edges.paths import stamp_of
from folder_agent.simulator import Simulator
from tests.servers.certificates import make_certificate
from tests.servers.orthanc import Orthanc, missing, running_orthanc
from tests.servers.storescp import CT, EXPLICIT, Dcmtk, need_dcmtk, node, running_storescp
from tests.site import FIELDS, PDF, Site, dicom, sidecar

pytestmark = pytest.mark.slow


def image(folder: Path, number: int, size: int = 2048) -> Outgoing:
    path = folder / f"{number}.dcm"
    uid = dicom(path, instance=generate_uid(), pixels=bytes([number]) * size)
    return Outgoing(number, path.name, path, stamp_of(path.stat()), FileKind.DICOM, CT, uid, EXPLICIT)


def send(to: Node, files: Sequence[Outgoing]) -> list[Acceptance]:
    accepted: list[Acceptance] = []
    Dimse(to, Reading(open_for_reading, lambda: False)).send(files, accepted.extend, lambda count: None)
    return accepted


def failing(to: Node, files: Sequence[Outgoing]) -> AgentError:
    with pytest.raises(AgentError) as caught:
        send(to, files)
    return caught.value


def data_set(content: bytes) -> bytes:
    return content[data_set_begins(content[: 256 * 1024]) :]


def assert_received(scp: Dcmtk, files: Sequence[Outgoing]) -> None:
    got = scp.instances()
    assert got.keys() == {file.sop_instance for file in files}
    for file in files:
        assert data_set(got[file.sop_instance or ""].read_bytes()) == data_set(file.location.read_bytes())


@pytest.mark.parametrize("options", [(), ("--max-pdu", "4096"), ("--max-pdu", "131072")])
def test_storescp_gets_every_byte_whatever_its_pdus(tmp_path: Path, options: tuple[str, ...]) -> None:
    files = [image(tmp_path, number, 700_000) for number in (1, 2, 3)]
    with running_storescp(tmp_path / "scp", *options) as scp:
        assert len(send(node(scp.port), files)) == 3
        assert_received(scp, files)
        log = scp.log.read_text(encoding="utf-8", errors="replace")
        assert log.count("Association Received") - log.count("Association Aborted") >= 1
        assert echo(node(scp.port)) == 0


CONTEXTS = """
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = LittleEndianImplicit
TransferSyntax2 = LittleEndianExplicit
[[PresentationContexts]]
[Storage]
PresentationContext1 = CTImageStorage\\Plain
[[Profiles]]
[Default]
PresentationContexts = Storage
"""


def test_storescp_without_a_compression_refuses_it_by_name_and_gets_nothing(tmp_path: Path) -> None:
    config = tmp_path / "storescp.cfg"
    config.write_text(CONTEXTS, encoding="ascii")
    plain, compressed = image(tmp_path, 1), image(tmp_path, 2)
    compressed = Outgoing(
        *(2, "2.dcm", compressed.location, compressed.stamp, FileKind.DICOM, CT, compressed.sop_instance),
        transfer_syntax="1.2.840.10008.1.2.4.90",
    )
    with running_storescp(tmp_path / "scp", "-xf", str(config), "Default") as scp:
        error = failing(node(scp.port), [plain, compressed])
        assert (error.problem.code, error.problem.path) == ("FA-GW-SYNTAX", "2.dcm")
        assert "JPEG 2000" in str(dict(error.problem.values)["syntax"])
        assert not scp.files()
        send(node(scp.port), [plain])
        assert_received(scp, [plain])


@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_storescp_that_aborts_is_an_outage_in_which_nothing_is_accepted(tmp_path: Path, option: str) -> None:
    with running_storescp(tmp_path / "scp", option) as scp:
        accepted: list[Acceptance] = []
        with pytest.raises(AgentError) as caught:
            Dimse(node(scp.port), Reading(open_for_reading, lambda: False)).send(
                [image(tmp_path, 1, 1_000_000)], accepted.extend, lambda count: None
            )
        assert (caught.value.problem.code, caught.value.disposition) == ("FA-GW-BROKEN", Disposition.RETRY)
        assert not accepted


def test_storescp_that_refuses_associations_holds(tmp_path: Path) -> None:
    with running_storescp(tmp_path / "scp", "--refuse") as scp:
        error = failing(node(scp.port), [image(tmp_path, 1)])
    assert (error.problem.code, error.disposition) == ("FA-GW-ASSOCIATION", Disposition.HOLD)


def test_storescp_that_takes_too_long_is_a_timeout(tmp_path: Path) -> None:
    with running_storescp(tmp_path / "scp", "--sleep-during", "30") as scp:
        error = failing(node(scp.port, timeout_s=1), [image(tmp_path, 1)])
    assert error.problem.code == "FA-GW-TIMEOUT"


def test_a_receiver_that_dies_in_the_midst_of_an_object_is_a_broken_line(tmp_path: Path) -> None:
    large = image(tmp_path, 1, 20_000_000)
    with running_storescp(tmp_path / "scp") as scp:
        found = subprocess.run(["pgrep", "-f", f"storescp .* {scp.port}$"], capture_output=True, text=True, check=True)
        killed: list[int] = []

        def kill(_count: int) -> None:
            if not killed:
                killed.append(int(found.stdout.split()[0]))
                os.kill(killed[0], 9)

        with pytest.raises(AgentError) as caught:
            Dimse(node(scp.port), Reading(open_for_reading, lambda: False)).send([large], lambda batch: None, kill)
    assert caught.value.problem.code == "FA-GW-BROKEN"


def test_tls_by_ca_file_or_fingerprint_and_nothing_for_a_stranger(tmp_path: Path) -> None:
    own, other = make_certificate(tmp_path, "own"), make_certificate(tmp_path, "other")
    file = image(tmp_path, 1)
    with running_storescp(tmp_path / "scp", tls=own) as scp:
        for context in (make_context(other.public), make_context(fingerprint=other.sha256), make_context()):
            error = failing(node(scp.port, context=context), [file])
            assert (error.problem.code, error.disposition) == ("FA-GW-TLS", Disposition.HOLD)
        assert not scp.files()
        assert failing(node(scp.port, timeout_s=1), [file]).disposition is Disposition.RETRY  # without TLS
        for context in (make_context(own.public), make_context(fingerprint=own.sha256)):
            send(node(scp.port, context=context), [file])
        assert_received(scp, [file])


def test_a_receiver_that_wants_our_certificate_gets_it_or_holds(tmp_path: Path) -> None:
    own, ours = make_certificate(tmp_path, "own"), make_certificate(tmp_path, "ours")
    with running_storescp(tmp_path / "scp", "-rc", "+cf", str(ours.public), tls=own) as scp:
        error = failing(node(scp.port, context=make_context(own.public)), [image(tmp_path, 1)])
        assert error.problem.code in ("FA-GW-CLIENT-CERT", "FA-GW-BROKEN")  # as the line's end overtakes the alert
        context = make_context(own.public)
        show_certificate(context, ours.pem)
        file = image(tmp_path, 2)
        send(node(scp.port, context=context), [file])
        assert_received(scp, [file])


MEASURED = """
    import sys
    from pathlib import Path
    from folder_agent.core.records import FileKind, Outgoing
    from folder_agent.edges.drop_folder.opening import open_for_reading
    from folder_agent.edges.gateway.dimse import Dimse, Node
    from folder_agent.edges.gateway.multipart import Reading
    from folder_agent.edges.paths import stamp_of
    path, port, uid = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    file = Outgoing(1, path.name, path, stamp_of(path.stat()), FileKind.DICOM, sys.argv[4], uid, sys.argv[5])
    def peak():  # KiB, of this program alone: getrusage's counts the one that started it, too
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    before = peak()
    Dimse(Node("127.0.0.1", port, "A", "B", None, 60), Reading(open_for_reading, lambda: False)).send(
        [file], lambda batch: None, lambda count: None
    )
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    size = 300 * 1024 * 1024
    path = tmp_path / "large.dcm"
    uid = dicom(path, instance=generate_uid(), pixels=bytes(2))
    with path.open("r+b") as file:  # the last element's length, then that many bytes that take no room on the disk
        file.seek(-6, io.SEEK_END)
        file.write(size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    assert pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID == uid
    with running_storescp(tmp_path / "scp", "--ignore") as scp:
        line = [sys.executable, "-c", textwrap.dedent(MEASURED), str(path), str(scp.port), uid, CT, EXPLICIT]
        grown = int(subprocess.run(line, capture_output=True, text=True, check=True, timeout=110).stdout)
    assert grown < 20 * 1024, f"{grown} KiB"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One whose gateway does not count what came by another way."""
    with Simulator(tmp_path / "gateway", strict_counts=False) as simulator:
        made = Site(tmp_path / "site", simulator)
        logs.set_up(made.root / "logs", "DEBUG", 1, console=False)
        yield made
        logs.set_up(None, "INFO", 1, console=False)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := missing():
        pytest.skip(reason)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def test_orthanc_gives_back_what_was_stored(orthanc: Orthanc, tmp_path: Path) -> None:
    files = [image(tmp_path, number) for number in (1, 2, 3)]
    assert echo(node(orthanc.dicom_port)) == 0
    for _ in range(2):  # a second time does no harm
        assert len(send(node(orthanc.dicom_port), files)) == 3
    by_uid = {}
    for name in orthanc.get_json("/instances"):
        content = orthanc.get(f"/instances/{name}/file")
        by_uid[str(pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID)] = content
    for file in files:
        assert data_set(by_uid[file.sop_instance or ""]) == data_set(file.location.read_bytes())


def test_an_exam_is_delivered_by_c_store_from_drop_folder_to_done(tmp_path: Path, site: Site) -> None:
    with running_storescp(tmp_path / "scp") as scp:
        site.top = f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {scp.port}\n"
        uids = {dicom(site.drop / "CT1" / f"{number}.dcm", instance=generate_uid()) for number in (1, 2)}
        sidecar(site.drop / "CT1" / "exam.json", imageCnt=2)
        assert site.once() == 0
        assert scp.instances().keys() == uids
    assert len(site.received().posts) == 1
    receipt = (site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8")
    assert f"dicom://127.0.0.1:{scp.port}/GATEWAY" in receipt
    assert "C-STORE 0x0000" in receipt


def test_a_dicom_node_that_is_away_shuts_the_gate_and_loses_nothing(tmp_path: Path, site: Site) -> None:
    with running_storescp(tmp_path / "scp") as scp:
        port = scp.port
    site.top = f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {port}\n"
    dicom(site.drop / "CT1" / "1.dcm")
    sidecar(site.drop / "CT1" / "exam.json", imageCnt=1)
    assert site.once() == 3
    assert site.states() == {"CT1": "WAITING"}
    assert "FA-GW-UNREACHABLE" in site.logs()
    assert not site.received().posts


@pytest.mark.parametrize("odd", [0, 1])
def test_a_report_comes_back_as_it_was_by_dcm2pdf_in_the_images_study(tmp_path: Path, site: Site, odd: int) -> None:
    need_dcmtk("dcm2pdf")
    content = PDF + b"\n" * ((len(PDF) + odd) % 2)
    with running_storescp(tmp_path / "scp") as scp:
        site.top = f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {scp.port}\n"
        site.top += "[reports]\ntransport = 'encapsulate'\n"
        uid = dicom(site.drop / "CT1" / "1.dcm", study="1.2.840.77", instance=generate_uid())
        (site.drop / "CT1" / "报告.pdf").write_bytes(content)
        sidecar(site.drop / "CT1" / "exam.json", imageCnt=1, pdfCnt=1)
        assert site.once() == 0
        got = scp.instances()
    report = next(path for name, path in got.items() if name != uid)
    assert len(got) == 2
    read = pydicom.dcmread(report)
    assert (read.StudyInstanceUID, read.PatientName, read.AccessionNumber) == ("1.2.840.77", "Test^A", "ACC1")
    subprocess.run(["dcm2pdf", str(report), str(tmp_path / "back.pdf")], check=True, timeout=60)
    assert (tmp_path / "back.pdf").read_bytes() == content
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(content).hexdigest() in json.dumps(receipt)


BARE = ("patientId", "patientName", "patientSex", "studyId", "accessNumber")


@pytest.mark.parametrize("is_bare", [False, True])
@pytest.mark.parametrize("has_image", [False, True])
def test_a_validator_of_dicom_finds_no_error_in_a_report(tmp_path: Path, is_bare: bool, has_image: bool) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    file = Outgoing(1, path.name, path, stamp_of(path.stat()), FileKind.PDF)
    exam: dict[str, str | int] = {
        **{name: FIELDS[name] for name in BARE},
        **({} if is_bare else {"patientAge": "45", "patientAgeUnit": "Y", "studyDate": "2025-03-04 05:06:07"}),
    }
    reading = Reading(open_for_reading, lambda: False)
    with running_storescp(tmp_path / "scp") as scp:
        way = Encapsulate(Dimse(node(scp.port), reading), reading)
        way.for_exam(exam, image(tmp_path, 1) if has_image else None).send([file], lambda _: None, lambda _: None)
        [object_file] = scp.files()
        told = subprocess.run(["dciodvfy", "-new", object_file], capture_output=True, timeout=60).stderr
    assert b"EncapsulatedPDF" in told
    assert b"Error" not in told, told.decode("utf-8", "replace")


def test_orthanc_keeps_a_report_once_however_often_it_is_sent(orthanc: Orthanc, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    file = Outgoing(1, path.name, path, stamp_of(path.stat()), FileKind.PDF)
    study = generate_uid()
    exam: dict[str, str | int] = {**FIELDS, "studyUid": study}
    reading = Reading(open_for_reading, lambda: False)
    reports = Encapsulate(Dimse(node(orthanc.dicom_port), Reading(open_for_reading, lambda: False)), reading).for_exam(
        exam, None
    )
    for _ in range(2):
        reports.send([file], lambda batch: None, lambda count: None)
    found = [
        name
        for name in orthanc.get_json("/instances")
        if orthanc.get(f"/instances/{name}/content/0020-000d").strip(b"\0 ").decode() == study
    ]
    assert len(found) == 1
    assert orthanc.get(f"/instances/{found[0]}/pdf").rstrip(b"\0") == PDF
