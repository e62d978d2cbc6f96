"""What the simulated gateway promises, seen from outside: real requests over real TLS."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from folder_agent.simulator import Rule, Simulator, qido
from folder_agent.simulator.certificates import ensure_certificate
from folder_agent.simulator.fields import COUNT_FIELDS, TEXT_FIELDS
from folder_agent.simulator.names import safe_name
from folder_agent.simulator.rules import parse_rules
from folder_agent.simulator.signing import sign

APP, TOKEN = "1251", "0123456789abcdef0123456789abcdef"
STUDY = "1.2.826.0.1.3680043.8.498.1"
EXAM: dict[str, Any] = {
    "patientId": "P1",
    "patientName": "张三",
    "patientSex": "M",
    "studyId": "S1",
    "accessNumber": "A1",
    "modality": "CT",
}
STUDY_PATH, STOW_PATH, FORM_PATH = "/ris/study/add", "/dicom-web/studies", "/ris/file/add"


def signed(app: str = APP, token: str = TOKEN, off_s: float = 0.0) -> dict[str, str]:
    stamp = str(int((time.time() + off_s) * 1000))
    return {"appId": app, "timestamp": stamp, "signature": sign(app, token, stamp)}


def dicom(sop: str | None = None, study: str = STUDY, pixels: int = 512, sop_class: str = CTImageStorage) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop or generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, study + ".1"
    dataset.AccessionNumber, dataset.PatientID = "A1", "P1"
    if pixels:
        dataset.Rows = dataset.Columns = 16
        dataset.BitsAllocated, dataset.SamplesPerPixel = 16, 1
        dataset.add_new(0x7FE00010, "OW", bytes(pixels))
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def related(*parts: bytes, kind: str = "application/dicom", lengths: bool = False) -> tuple[dict[str, str], bytes]:
    body = b""
    for part in parts:
        announced = f"Content-Length: {len(part)}\r\n" if lengths else ""
        body += f"--BB\r\nContent-Type: {kind}\r\n{announced}\r\n".encode() + part + b"\r\n"
    return {"Content-Type": 'multipart/related; type="application/dicom"; boundary=BB'}, body + b"--BB--\r\n"


def trusting(sim: Simulator) -> httpx.Client:
    context = ssl.create_default_context(cafile=sim.ca_file) if sim.tls else False
    return httpx.Client(base_url=sim.url, verify=context, timeout=5, trust_env=False)


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "state", app_id=APP, token=TOKEN) as running:
        yield running


@pytest.fixture
def client(sim: Simulator) -> Iterator[httpx.Client]:
    with trusting(sim) as running:
        yield running


def add(client: httpx.Client, body: object = EXAM, **headers: str) -> httpx.Response:
    return client.post(STUDY_PATH, json=body, headers=signed() | headers)


def stow(client: httpx.Client, *parts: bytes, path: str = STOW_PATH, **how: Any) -> httpx.Response:
    headers, body = related(*parts, **how)
    return client.post(path, content=body, headers=headers | signed())


def upload(client: httpx.Client, content: bytes = b"%PDF-1.4 x %%EOF", name: str = "报告.pdf", **fields: str) -> Any:
    data = {"accessNumber": "A1"} | fields
    return client.post(FORM_PATH, data=data, files={"file": (name, content)}, headers=signed())


# Signing


def test_the_published_vector_is_accepted(tmp_path: Path) -> None:
    vector = "8d3ae9da8dc9532b18f60af8950e652e7ff9c41477caecb5fecb763678f0c75e"
    headers = {"appId": APP, "timestamp": "1741338450000", "signature": vector}
    assert sign(APP, TOKEN, "1741338450000") == vector
    with Simulator(tmp_path, clock_offset_s=1741338450 - time.time()) as sim, trusting(sim) as client:
        answer = client.post(STUDY_PATH, json=EXAM, headers=headers)
        assert answer.json() == {"code": 0, "message": "success"}
        assert "07 Mar 2025" in answer.headers["Date"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature": ""}, "signature headers missing"),
        ({"signature": "0" * 64}, "signature does not match"),
        ({"signature": "upper"}, "signature does not match"),
        ({"appId": "9999"}, "signature refused: unknown appId"),
        ({"timestamp": "now"}, "signature refused: timestamp"),
        (lambda: signed(token="wrong"), "signature does not match"),  # made in time: a suite may run for long
        (lambda: signed(off_s=-400), "timestamp expired"),
        (lambda: signed(off_s=400), "timestamp expired"),
    ],
)
def test_a_request_that_is_not_rightly_signed_is_401_with_20008(
    client: httpx.Client, sim: Simulator, change: dict[str, str] | Callable[[], dict[str, str]], said: str
) -> None:
    headers = signed() | (change() if callable(change) else change)
    if headers["signature"] == "upper":
        headers["signature"] = sign(APP, TOKEN, headers["timestamp"]).upper()
    answer = client.post(STUDY_PATH, json=EXAM, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, 20008)
    assert answer.json()["message"].startswith(said)
    assert sim.received().posts == []


# Exams


def test_an_exam_is_upserted_by_access_number(client: httpx.Client, sim: Simulator) -> None:
    for body in (EXAM, EXAM, EXAM | {"status": "final", "hkAndMacauPermitNum": "H1", "hkAndMarcoPermitNum": "H1"}):
        assert add(client, body).json()["code"] == 0
    received = sim.received()
    assert len(received.posts) == 3
    assert received.exams["A1"]["status"] == "final"
    assert json.loads((sim.state_dir / "exams" / "A1.json").read_text(encoding="utf-8")) == received.exams["A1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"patientId": None}, "patientId"),
        ({"patientId": " "}, "patientId"),
        ({"patientName": 3}, "patientName"),
        ({"patientSex": "X"}, "patientSex"),
        ({"patientAgeUnit": "W"}, "patientAgeUnit"),
        ({"studyCategory": "urgent"}, "studyCategory"),
        ({"status": "done"}, "status"),
        ({"patientBirthday": "2025-02-29"}, "patientBirthday"),
        ({"patientBirthday": "2025-2-1"}, "patientBirthday"),
        ({"studyDate": "2025-01-01"}, "studyDate"),
        ({"studyDate": "2025-01-01 25:00:00"}, "studyDate"),
        ({"imageCnt": "3"}, "imageCnt"),
        ({"pdfCnt": True}, "pdfCnt"),
        ({"seriesCnt": -1}, "seriesCnt"),
        ({"weight": 70}, "weight"),
        ({"surprise": "x"}, "surprise"),
    ],
)
def test_a_wrong_field_is_100001_and_named(
    client: httpx.Client, sim: Simulator, change: dict[str, Any], field: str
) -> None:
    answer = add(client, EXAM | change)
    assert (answer.status_code, answer.json()["code"]) == (200, 100001)
    assert field in answer.json()["message"]
    assert sim.received().exams == {}


def test_every_missing_a_field_is_named_at_once(client: httpx.Client) -> None:
    message = add(client, {}).json()["message"]
    assert all(name in message for name in EXAM)


def test_the_field_table_has_every_field_of_the_vendors_page() -> None:
    assert (len(TEXT_FIELDS), len(COUNT_FIELDS)) == (46 + 1, 4)  # the second spelling of the permit is ours


@pytest.mark.parametrize(
    "raw", [b"[]", b"{", b"\xef\xbb\xbf{}", '{"patientName":"张"}'.encode("gbk"), b'{"a":1,"a":2}']
)
def test_a_body_that_is_not_strict_json_is_100001(client: httpx.Client, raw: bytes) -> None:
    answer = client.post(STUDY_PATH, content=raw, headers=signed() | {"Content-Type": "application/json"})
    assert answer.json()["code"] == 100001


def test_another_content_type_is_100001(client: httpx.Client) -> None:
    assert add(client, **{"Content-Type": "text/plain"}).json()["code"] == 100001


def test_an_exam_before_its_files_is_10005(client: httpx.Client) -> None:
    body = EXAM | {"studyUid": STUDY, "imageCnt": 1, "pdfCnt": 1, "reportCnt": 0}
    first = add(client, body).json()
    assert first["code"] == 10005
    assert "images not received: 0 of 1" in first["message"]
    assert stow(client, dicom()).status_code == 200
    assert "PDFs not received" in add(client, body).json()["message"]
    assert upload(client).json()["code"] == 0
    assert add(client, body).json()["code"] == 0


def test_counts_are_not_checked_where_files_travel_another_way(tmp_path: Path) -> None:
    with Simulator(tmp_path, stow_path=None, form_path=None) as sim, trusting(sim) as client:
        assert add(client, EXAM | {"imageCnt": 5, "pdfCnt": 5}).json()["code"] == 0
        assert stow(client, dicom()).status_code == 404
    with Simulator(tmp_path, strict_counts=False) as sim, trusting(sim) as client:
        assert add(client, EXAM | {"imageCnt": 5}).json()["code"] == 0


def test_an_exact_repeat_is_10004_if_set_so(tmp_path: Path) -> None:
    with Simulator(tmp_path, duplicate_code=True) as sim, trusting(sim) as client:
        codes = [add(client, body).json()["code"] for body in (EXAM, EXAM, EXAM | {"bedNum": "3"})]
    assert codes == [0, 10004, 0]


# Images


def test_two_instances_are_stored_byte_for_byte(client: httpx.Client, sim: Simulator) -> None:
    first, second = dicom("1.2.3.1"), dicom("1.2.3.2")
    answer = stow(client, first, second)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    referenced = answer.json()["00081199"]["Value"]
    assert [item["00081155"]["Value"] for item in referenced] == [["1.2.3.1"], ["1.2.3.2"]]
    assert referenced[0]["00081150"] == {"vr": "UI", "Value": [CTImageStorage]}
    assert referenced[0]["00081190"]["Value"] == [f"{sim.url}/dicom-web/studies/{STUDY}/instances/1.2.3.1"]
    stored = {sop: path.read_bytes() for sop, path in sim.received().instances.items()}
    assert stored == {"1.2.3.1": first, "1.2.3.2": second}
    assert list((sim.state_dir / "tmp").iterdir()) == []


def test_a_damaged_instance_fails_and_the_others_are_stored(client: httpx.Client, sim: Simulator) -> None:
    answer = stow(client, dicom("1.2.3.1"), dicom("1.2.3.2")[:-10], b"no DICOM")
    assert answer.status_code == 202
    failed = answer.json()["00081198"]["Value"]
    assert [item["00081155"]["Value"] for item in failed] == [["1.2.3.2"]]
    assert failed[0]["00081197"] == {"vr": "US", "Value": [0xC000]}
    assert len(answer.json()["0008119A"]["Value"]) == 1
    assert list(sim.received().instances) == ["1.2.3.1"]


def test_nothing_stored_is_409(client: httpx.Client, sim: Simulator) -> None:
    assert stow(client, b"no DICOM").status_code == 409
    assert stow(client, dicom(), path=f"{STOW_PATH}/1.9.9").status_code == 409
    assert stow(client, dicom(), kind="application/octet-stream").status_code == 409
    assert stow(client, dicom(), path=f"{STOW_PATH}/{STUDY}").status_code == 200
    assert len(sim.received().instances) == 1


def test_a_repeat_is_counted_and_other_bytes_are_refused(tmp_path: Path) -> None:
    first = dicom("1.2.3.1")
    with Simulator(tmp_path) as sim, trusting(sim) as client:
        assert stow(client, first).status_code == 200
        assert stow(client, first).status_code == 200
    # Also after a restart on the same folder.
    with sim, trusting(sim) as client:
        assert stow(client, first).status_code == 200
        other = stow(client, dicom("1.2.3.1", pixels=514))
        assert other.status_code == 409
        assert other.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0110]
        counts = client.get("/_simulator/state").json()
    assert (counts["repeats"], counts["conflicts"], counts["instances"], counts["requests"]) == (2, 1, 1, 4)
    received = sim.received()
    assert (received.repeats, received.conflicts) == (2, 1)
    assert received.instances["1.2.3.1"].read_bytes() == first


def test_the_content_type_and_accept_of_a_store_request_are_checked(client: httpx.Client) -> None:
    _, body = related(dicom())
    wrong = {"Content-Type": "multipart/related; boundary=BB"}
    assert client.post(STOW_PATH, content=body, headers=signed() | wrong).status_code == 415
    headers, _ = related()
    picky = signed() | headers | {"Accept": "application/dicom+xml"}
    assert client.post(STOW_PATH, content=body, headers=picky).status_code == 406


def test_a_multipart_body_without_its_end_stores_nothing(client: httpx.Client, sim: Simulator) -> None:
    headers, body = related(dicom(), dicom())
    answer = client.post(STOW_PATH, content=body[:-6], headers=headers | signed())
    assert answer.status_code == 400
    assert sim.received().instances == {}


def test_memory_does_not_grow_with_a_file(client: httpx.Client, sim: Simulator) -> None:
    head, tail = related(dicom(pixels=24_000_000))[1], b""
    (sim.state_dir / "body").write_bytes(head + tail)
    del head

    def pieces() -> Iterator[bytes]:
        with (sim.state_dir / "body").open("rb") as file:
            while piece := file.read(256 * 1024):
                yield piece

    tracemalloc.start()
    try:
        headers = related()[0] | signed()
        assert client.post(STOW_PATH, content=pieces(), headers=headers).status_code == 200
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lengths", [True, False])
def test_discard_mode_knows_the_instances_and_keeps_no_bytes(tmp_path: Path, lengths: bool) -> None:
    with Simulator(tmp_path, discard=True) as sim, trusting(sim) as client:
        parts = [dicom("1.2.3.1", pixels=3_000_000), dicom("1.2.3.2"), dicom("1.2.3.3", pixels=20_000)]
        answer = stow(client, *parts, lengths=lengths)
        assert answer.status_code == 200
        assert len(answer.json()["00081199"]["Value"]) == 3
        assert add(client, EXAM | {"studyUid": STUDY, "imageCnt": 3}).json()["code"] == 0
        stored = sim.received().instances
        assert list(stored) == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
        assert not any(path.exists() for path in stored.values())
        sizes = [item["size"] for item in sim.received().requests[0]["instances"]]
        assert sizes == [len(part) for part in parts]


# Forms


def test_an_uploaded_file_and_its_text_parts_are_kept(client: httpx.Client, sim: Simulator) -> None:
    content = b"%PDF-1.4" + os.urandom(300_000) + b"%%EOF"
    digest = hashlib.sha256(content).hexdigest()
    answer = upload(client, content, patientId="P1", sha256=digest, note="多谢")
    assert answer.json() == {"code": 0, "message": "success"}
    (file,) = sim.received().files
    assert file.path is not None
    assert (file.access_number, file.name, file.sha256) == ("A1", "报告.pdf", digest)
    assert file.path.read_bytes() == content
    beside = json.loads(file.path.with_name(file.path.name + ".json").read_text(encoding="utf-8"))
    assert beside == file.fields == {"accessNumber": "A1", "patientId": "P1", "sha256": digest, "note": "多谢"}


def test_a_repeated_upload_is_counted_and_not_stored_twice(client: httpx.Client, sim: Simulator) -> None:
    assert [upload(client).json()["code"] for _ in range(2)] == [0, 0]
    assert (len(sim.received().files), sim.received().repeats) == (1, 1)


def test_an_upload_that_lacks_something_is_100001(client: httpx.Client, sim: Simulator) -> None:
    assert "sha256" in upload(client, sha256="0" * 64).json()["message"]
    assert "accessNumber" in upload(client, accessNumber="").json()["message"]
    wrong = client.post(FORM_PATH, data={"accessNumber": "A1"}, files={"image": b"x"}, headers=signed())
    assert "named file" in wrong.json()["message"]
    bare = client.post(FORM_PATH, files={"accessNumber": (None, "A1")}, headers=signed())
    assert bare.json() == {"code": 100001, "message": "parameter error: file is missing"}
    assert client.post(FORM_PATH, data={"accessNumber": "A1"}, headers=signed()).status_code == 415
    assert sim.received().files == []
    assert list((sim.state_dir / "tmp").iterdir()) == []


KEY = {"Upload-Key": "6f1c", "Upload-Length": "9000"}


def held(client: httpx.Client, key: str = "6f1c") -> httpx.Response:
    return client.head(FORM_PATH, headers=signed() | {"Upload-Key": key, "Range": "bytes=0-"})


def upload_rest(client: httpx.Client, content: bytes, start: int, total: int) -> httpx.Response:
    said = {"Content-Range": f"bytes {start}-{total - 1}/{total}"}
    parts = {"accessNumber": (None, "ACC1"), "file": ("r.pdf", content[start:])}
    return client.post(FORM_PATH, files=parts, headers=signed() | KEY | said)


def test_an_upload_that_broke_off_is_gone_on_with(sim: Simulator, client: httpx.Client) -> None:
    content = b"%PDF" + bytes(8996)
    assert (held(client).status_code, held(client).headers["Content-Range"]) == (416, "bytes */0")
    sim.misbehave(do="cut-body", match=FORM_PATH, bytes=5000)
    parts = {"accessNumber": (None, "ACC1"), "file": ("r.pdf", content)}
    with pytest.raises(httpx.TransportError):
        client.post(FORM_PATH, files=parts, headers=signed() | KEY)
    answer = held(client)
    assert answer.status_code == 206
    size = int(re.fullmatch(r"bytes 0-(\d+)/9000", answer.headers["Content-Range"])[1]) + 1  # type: ignore[index]
    assert 4000 < size < 5000
    assert upload_rest(client, content, size + 1, 9000).status_code == 416
    assert not sim.received().files
    assert upload_rest(client, content, size - 1, 9000).json()["code"] == 0
    (file,) = sim.received().files
    assert file.path is not None
    assert file.path.read_bytes() == content
    assert held(client).status_code == 416
    assert client.head(FORM_PATH, headers=signed()).status_code == 400
    sim.misbehave(do="no-resume", match=FORM_PATH)
    assert held(client).status_code == 405


@pytest.mark.parametrize("name", ["Content-Digest", "Digest"])
def test_a_body_that_is_not_the_announced_one_is_refused(client: httpx.Client, name: str) -> None:
    wrong = {"Content-Digest": "sha-256=:AAAA:", "Digest": "sha-256=AAAA"}[name]
    assert client.post(FORM_PATH, files={"file": ("a", b"x")}, headers=signed() | {name: wrong}).status_code == 400


def test_dicom_by_form_counts_as_an_image(client: httpx.Client) -> None:
    assert upload(client, dicom(), "1.dcm").json()["code"] == 0
    assert add(client, EXAM | {"studyUid": STUDY, "imageCnt": 1}).json()["code"] == 0


@pytest.mark.parametrize("raw", ["../../x", "a:b", "CON", "nul.txt", "..", "x" * 300 + ".pdf", "trail. ", "a/b\\c"])
def test_a_stored_name_is_safe_everywhere(raw: str) -> None:
    safe = safe_name(raw)
    assert not set(safe) & set('<>:"/\\|?*')
    assert safe not in (".", "..")
    assert len(safe) <= 120
    assert not safe.endswith((".", " "))


# HTTP


def test_an_unknown_path_is_404_and_another_method_405(client: httpx.Client) -> None:
    answer = client.post("/ris/other", json={}, headers=signed())
    assert (answer.status_code, answer.json()["code"]) == (404, 404)
    for path in (STUDY_PATH, STOW_PATH, "/"):
        assert client.get(path, headers=signed()).status_code == 405
        assert client.put(path).status_code == 405


def test_one_connection_carries_many_requests(sim: Simulator, client: httpx.Client) -> None:
    ports = set()
    for answer in (add(client), add(client, {}), stow(client, dicom()), upload(client), add(client, EXAM, appId="9")):
        ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(ports) == 1


def test_a_chunked_body_is_as_good(sim: Simulator, client: httpx.Client) -> None:
    headers, body = related(dicom("1.2.3.1"), dicom("1.2.3.2"))
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    assert client.post(STOW_PATH, content=pieces, headers=headers | signed()).status_code == 200
    raw = json.dumps(EXAM).encode()
    kind = {"Content-Type": "application/json"}
    answer = client.post(STUDY_PATH, content=iter([raw[:9], raw[9:]]), headers=signed() | kind)
    assert answer.json()["code"] == 0
    assert len(sim.received().instances) == 2


def _raw_connection(sim: Simulator) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=sim.ca_file)
    plain = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def _head(path: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


def test_100_continue_comes_before_the_body_and_not_for_a_refused_request(sim: Simulator) -> None:
    raw = json.dumps(EXAM).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(raw)), "Expect": "100-continue"}
    with _raw_connection(sim) as wire:
        wire.sendall(_head(STUDY_PATH, headers | signed()))
        assert wire.recv(1000).startswith(b"HTTP/1.1 100")
        wire.sendall(raw)
        assert b'"code": 0' in wire.recv(1000)
    with _raw_connection(sim) as wire:
        wire.sendall(_head(STUDY_PATH, headers))
        answer = wire.recv(1000)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"Connection: close" in answer


def test_a_client_that_goes_away_leaves_nothing_half_stored(sim: Simulator) -> None:
    headers, body = related(dicom(), dicom(pixels=100_000))
    with _raw_connection(sim) as wire:
        wire.sendall(_head(STOW_PATH, headers | signed() | {"Content-Length": str(len(body))}) + body[:50_000])
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
    for _ in range(200):
        if sim.received().requests:
            break
        time.sleep(0.01)
    assert sim.received().requests[0]["outcome"] == "broken"
    assert sim.received().instances == {}
    assert list((sim.state_dir / "tmp").iterdir()) == []


def test_broken_framing_is_refused(sim: Simulator) -> None:
    for headers, status in (
        ({}, b"411"),
        ({"Content-Length": "x"}, b"400"),
        ({"Content-Length": "1", "Transfer-Encoding": "chunked"}, b"400"),
    ):
        with _raw_connection(sim) as wire:
            wire.sendall(_head(STUDY_PATH, headers | signed()))
            assert wire.recv(1000).split()[1] == status


def test_the_certificate_is_kept_for_the_next_start(tmp_path: Path) -> None:
    first = ensure_certificate(tmp_path)
    assert ensure_certificate(tmp_path) == first
    der = ssl.PEM_cert_to_DER_cert(first.cert_file.read_text(encoding="ascii"))
    assert first.fingerprint == "sha256:" + hashlib.sha256(der).hexdigest()
    first.cert_file.write_text("damaged", encoding="ascii")
    assert ensure_certificate(tmp_path).fingerprint != first.fingerprint


def test_plain_http_works_without_tls(tmp_path: Path) -> None:
    with Simulator(tmp_path, tls=False) as sim, trusting(sim) as client:
        assert sim.url.startswith("http://")
        assert add(client).json()["code"] == 0


# Misbehaviour


def test_delay_answers_later_and_rightly(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(match=STUDY_PATH, do="delay", seconds=0.2)
    began = time.monotonic()
    assert add(client).json()["code"] == 0
    assert time.monotonic() - began >= 0.2
    assert sim.received().requests[0]["do"] == "delay"


@pytest.mark.parametrize("do", ["refuse", "reset", "reset-in-body"])
def test_a_broken_connection_stores_nothing_and_the_next_request_works(
    sim: Simulator, client: httpx.Client, do: str
) -> None:
    sim.misbehave(match=STUDY_PATH, do=do)
    with pytest.raises(httpx.RemoteProtocolError if do == "refuse" else httpx.TransportError):
        add(client)
    assert sim.received().posts == []
    assert sim.received().requests[0]["outcome"] == "misbehaved"
    assert add(client).json()["code"] == 0


@pytest.mark.parametrize("do", ["refuse", "reset"])
def test_after_means_that_only_the_answer_is_lost(sim: Simulator, client: httpx.Client, do: str) -> None:
    sim.misbehave(match="*", do=do, after=True, times=2)
    with pytest.raises(httpx.TransportError):
        stow(client, dicom("1.2.3.1"))
    with pytest.raises(httpx.TransportError):
        add(client)
    assert list(sim.received().instances) == ["1.2.3.1"]
    assert len(sim.received().posts) == 1
    assert stow(client, dicom("1.2.3.1")).status_code == 200


def test_truncate_stores_and_breaks_off_the_answer(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="truncate")
    with pytest.raises(httpx.TransportError):
        add(client)
    assert len(sim.received().posts) == 1


def test_status_carries_its_headers(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="status", status=429, headers={"Retry-After": "7"}, times=2)
    answers = [add(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert len(sim.received().posts) == 1


def test_code_garbage_and_redirect_answer_without_storing(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="code", code=100002)
    sim.misbehave(do="garbage")
    sim.misbehave(do="redirect")
    assert add(client).json()["code"] == 100002
    with pytest.raises(ValueError, match="Expecting value"):
        add(client).json()
    moved = add(client)
    assert (moved.status_code, moved.headers["Location"]) == (307, "https://127.0.0.1:9/elsewhere")
    assert sim.received().posts == []


def test_stow_fail_refuses_that_many_instances(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(match="/dicom-web", do="stow-fail", times=2, reason=0xA700)
    parts = [dicom(f"1.2.3.{number}") for number in range(3)]
    answer = stow(client, *parts)
    assert answer.status_code == 202
    assert [item["00081197"]["Value"] for item in answer.json()["00081198"]["Value"]] == [[0xA700], [0xA700]]
    assert list(sim.received().instances) == ["1.2.3.2"]
    assert stow(client, *parts).status_code == 200


def test_a_search_finds_what_is_kept_page_by_page(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qido, "MOST", 3)
    stow(client, *(dicom(f"1.2.3.{number}") for number in range(5)))
    pages = []
    while True:
        query = f"limit=100&offset={sum(map(len, pages))}"
        answer = client.get(f"{STOW_PATH}/{STUDY}/instances?{query}", headers=signed())
        if answer.status_code == 204:
            break
        assert ("1 additional" if pages else "2 additional") in answer.headers.get("Warning", "1 additional")
        pages.append([found["00080018"]["Value"][0] for found in answer.json()])
    assert pages == [["1.2.3.0", "1.2.3.1", "1.2.3.2"], ["1.2.3.3", "1.2.3.4"]]
    assert client.get(f"{STOW_PATH}/9.9.9/instances", headers=signed()).status_code == 204
    assert client.get(f"{STOW_PATH}/{STUDY}/instances?limit=x", headers=signed()).status_code == 400
    assert client.get(f"{STOW_PATH}/{STUDY}/instances").status_code == 401


def test_forget_says_stored_and_keeps_nothing(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(match="/dicom-web", do="forget", times=1)
    answer = stow(client, dicom("1.2.3.1"), dicom("1.2.3.2"))
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 2
    assert list(sim.received().instances) == ["1.2.3.2"]


def test_too_large_refuses_larger_bodies_alone_and_takes_none_of_them(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="too-large", match="/dicom-web", bytes=2000, times=-1)
    parts = [dicom(f"1.2.3.{number}") for number in range(9)]
    assert stow(client, parts[0]).status_code == 200
    assert stow(client, *parts).status_code == 413
    assert len(sim.received().instances) == 1


@pytest.mark.parametrize(
    ("style", "media_type", "said"),
    [
        ("xml", "application/dicom+xml", b'<Value number="1">1.2.3.1</Value>'),
        ("text", "text/plain", b"OK"),
        ("empty", "text/plain", b""),
        ("other-failures", "application/dicom+json", b"0008119A"),
        ("unreferenced", "application/dicom+json", b"00081198"),
    ],
)
def test_a_store_request_is_answered_in_other_styles(
    sim: Simulator, client: httpx.Client, style: str, media_type: str, said: bytes
) -> None:
    sim.misbehave(do="stow-fail", match="/dicom-web", reason=0xA700)
    sim.misbehave(do="stow-answer", match="/dicom-web", style=style)
    answer = stow(client, dicom("1.2.3.0"), dicom("1.2.3.1"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, media_type)
    assert said in answer.content
    assert (b"00081199" in answer.content) == (style in ("xml", "other-failures"))
    assert list(sim.received().instances) == ["1.2.3.1"]


def test_early_answers_before_the_body(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="status", status=503, early=True)
    answer = client.post(STUDY_PATH, json=EXAM, headers=signed())
    assert (answer.status_code, answer.headers["Connection"]) == (503, "close")
    assert add(client).json()["code"] == 0


@pytest.mark.parametrize(
    "rule", [{"do": "stow-answer", "style": "yaml"}, {"do": "hang", "early": True}, {"do": "status", "early": 1}]
)
def test_what_is_no_such_misbehaviour_is_said(rule: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"style|early"):
        parse_rules(rule)


def test_hang_never_answers_and_a_stop_ends_it(tmp_path: Path) -> None:
    with Simulator(tmp_path, rules=[Rule("hang")]) as sim, trusting(sim) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(STUDY_PATH, json=EXAM, headers=signed(), timeout=0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert sim.received().posts == []


def test_huge_is_bounded(sim: Simulator, client: httpx.Client) -> None:
    sim.misbehave(do="huge")
    with client.stream("POST", STUDY_PATH, json=EXAM, headers=signed()) as answer:
        assert sum(len(piece) for piece in answer.iter_raw()) == 64 * 1024 * 1024
    sim.misbehave(do="huge")
    with client.stream("POST", STUDY_PATH, json=EXAM, headers=signed()) as answer:
        assert next(answer.iter_raw())
    assert add(client).json()["code"] == 0


def test_rules_can_be_replaced_while_it_runs(sim: Simulator, client: httpx.Client) -> None:
    rules = [{"match": "/ris/file/add", "do": "status", "status": 500, "times": -1}]
    assert client.post("/_simulator/rules", json=rules).json()["code"] == 0
    assert add(client).status_code == 200
    assert [upload(client).status_code for _ in range(2)] == [500, 500]
    assert len(client.get("/_simulator/state").json()["rules"]) == 1
    assert client.post("/_simulator/rules", json=[{"do": "dance"}]).status_code == 400
    assert client.post("/_simulator/rules", json=[]).json()["code"] == 0
    assert upload(client).status_code == 200


@pytest.mark.parametrize(
    "raw", [3, {"match": "*"}, {"do": "dance"}, {"do": "reset", "often": 1}, {"do": "hang", "times": "1"}]
)
def test_a_rule_that_makes_no_sense_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"rule|do|times"):
        parse_rules(raw)


def test_it_can_stop_and_start_again_on_the_same_port(tmp_path: Path) -> None:
    sim = Simulator(tmp_path)
    with sim, trusting(sim) as client:
        url = sim.url
        assert add(client).json()["code"] == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sim.port), timeout=2)
    with sim, trusting(sim) as client:
        assert (sim.url, add(client).json()["code"]) == (url, 0)
    assert len(sim.received().posts) == 2


# Its own process


def test_as_a_process_it_says_where_it_is_in_one_line_and_ends_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "folder_agent.simulator", "--state", str(tmp_path), "--app-id", APP]
    rule = ["--misbehave", '{"do": "status", "status": 502}']
    environment = os.environ | {"FOLDER_AGENT_SIMULATOR_TOKEN": "from-the-environment"}
    with subprocess.Popen(
        [*command, *rule], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            context = ssl.create_default_context(cafile=said["ca_file"])
            with httpx.Client(base_url=said["url"], verify=context, trust_env=False) as client:
                headers = signed(token="from-the-environment")
                answers = [client.post(STUDY_PATH, json=EXAM, headers=headers) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [502, 200]
            assert said["fingerprint"].startswith("sha256:")
            assert Path(said["state"]) == tmp_path.resolve()
        finally:
            process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=10)
    assert (rest, errors) == (b"", b"")
    if os.name != "nt":  # there, SIGTERM ends a process outright
        assert process.returncode == 0
