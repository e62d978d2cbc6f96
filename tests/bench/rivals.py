"""The barest clients that move the same bytes: httpx without hashing or ledger, curl, DCMTK's storescu, rclone.

They read the same files, but know nothing of settling, of receipts, or of what to do when something goes wrong. Each
runs in a process of its own: `python -m tests.bench.rivals PLAN` is the httpx one, and prints the seconds that it took.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from folder_agent.edges.clock import SystemClock
from folder_agent.edges.gateway.multipart import BLOCK
from folder_agent.edges.gateway.signing import SignedHeaders, sign
from folder_agent.edges.gateway.stow import BATCH_BYTES, BATCH_FILES
from tests.bench.materials import Exam
from tests.bench.processes import APP_ID, TOKEN, Ran, run_module, run_program
from tests.bench.receivers import PROMPTLY, Receiver
from tests.servers.orthanc import free_port
from tests.servers.storescp import dcmtk

STOW_PATH, ADD_PATH = "/dicom-web/studies", "/ris/study/add"
LINES = 4  # as many as the agent has workers
_BOUNDARY = "bench-9a1f"
_TYPE = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
_HEAD = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n"
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


def httpx_loop(receiver: Receiver, exams: Sequence[Exam], place: Path) -> Ran:
    """For one exam after the other its images, in batches of the agent's size streamed in blocks of its size, and then
    its sidecar."""
    plan = {
        "url": receiver.url,
        "stow": receiver.stow_url or receiver.url + STOW_PATH,
        "ca": str(receiver.ca_file),
        "exams": [[[str(image) for image in exam.images], str(exam.sidecar)] for exam in exams],
    }
    place.mkdir(parents=True)
    (place / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return run_module("tests.bench.rivals", str(place / "plan.json"))


def curl(receiver: Receiver, exams: Sequence[Exam], place: Path) -> Ran | None:
    """`curl --parallel` with one Store request an image, whose bodies are made beforehand. None: no curl, or none that
    has --parallel."""
    program = shutil.which("curl")
    if (
        program is None
        or b"--parallel-max" not in subprocess.run([program, "--help", "all"], capture_output=True).stdout
    ):
        return None
    place.mkdir(parents=True)
    images = [image for exam in exams for image in exam.images]
    config = place / "transfers"
    config.write_text("next\n".join(_transfer(receiver, image, place) for image in images), encoding="utf-8")
    ran = run_program([program, "--parallel", "--parallel-max", str(LINES), "--config", str(config)])
    shutil.rmtree(place)
    return ran


def storescu(receiver: Receiver, folder: Path, *, no_delay: bool) -> Ran:
    """DCMTK's, with all images below the folder in one association."""
    line = [dcmtk("storescu") or "storescu", "-aec", "GATEWAY", "+sd", "+r", "+sp", "*.dcm", "127.0.0.1"]
    return run_program([*line, str(receiver.dicom_port), str(folder)], PROMPTLY if no_delay else {})


def rclone(folder: Path, place: Path) -> Ran | None:
    """`rclone copy` to a WebDAV server of its own, which writes to the disk: plain files, nothing of DICOM. None: there
    is no rclone."""
    program = shutil.which("rclone")
    if program is None:
        return None
    with _webdav(program, place) as port:
        remote = f':webdav,url="http://127.0.0.1:{port}":'
        line = [program, "copy", str(folder), remote, "--transfers", str(LINES), "--config", str(place / "none")]
        ran = run_program([*line, "--no-check-dest"])
    shutil.rmtree(place)
    return ran


@contextmanager
def _webdav(program: str, place: Path) -> Iterator[int]:
    (place / "received").mkdir(parents=True)
    port = free_port()
    line = [program, "serve", "webdav", str(place / "received"), "--addr", f"127.0.0.1:{port}"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def _httpx_main(plan_file: str) -> None:
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    context = ssl.create_default_context(cafile=plan["ca"])
    auth = SignedHeaders(APP_ID, TOKEN, SystemClock())
    cpu, began = time.process_time(), time.perf_counter()
    with httpx.Client(verify=context, auth=auth, trust_env=False, timeout=120) as client:
        for images, sidecar in plan["exams"]:
            for batch in _batches([Path(image) for image in images]):
                _post(client, plan["stow"], batch)
            body = json.loads(Path(sidecar).read_bytes())
            client.post(plan["url"] + ADD_PATH, json=body).raise_for_status()
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}))


def _batches(images: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    batch: list[tuple[Path, int]] = []
    total = 0
    for image in images:
        size = image.stat().st_size
        if batch and (len(batch) == BATCH_FILES or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append((image, size))
        total += size
    yield batch


def _post(client: httpx.Client, url: str, batch: Sequence[tuple[Path, int]]) -> None:
    heads = sum(len(_HEAD % size) for _, size in batch)
    length = heads + sum(size for _, size in batch) + 2 * (len(batch) - 1) + len(_TAIL)
    headers = {"Content-Type": _TYPE, "Content-Length": str(length), "Accept": "application/dicom+json"}
    client.post(url, headers=headers, content=_stream(batch)).raise_for_status()


def _stream(batch: Sequence[tuple[Path, int]]) -> Iterator[bytes]:
    for number, (image, size) in enumerate(batch):
        yield (b"\r\n" if number else b"") + (_HEAD % size).encode()
        with image.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                yield block
    yield _TAIL


def _transfer(receiver: Receiver, image: Path, place: Path) -> str:
    body = place / f"{image.parent.name}-{image.name}.body"
    body.write_bytes((_HEAD % image.stat().st_size).encode() + image.read_bytes() + _TAIL)
    now_ms = int(time.time() * 1000)
    headers = {
        "Content-Type": _TYPE.replace('"', '\\"'),
        "Accept": "application/dicom+json",
        "appId": APP_ID,
        "timestamp": str(now_ms),
        "signature": sign(APP_ID, TOKEN, now_ms),
        "Expect": "",
    }
    url = receiver.stow_url or receiver.url + STOW_PATH
    lines = [f'url = "{url}"', f'cacert = "{receiver.ca_file.as_posix()}"', 'request = "POST"']
    lines += [f'upload-file = "{body.as_posix()}"', f'output = "{(place / "answer").as_posix()}"']
    lines += [f'header = "{name}: {value}"' for name, value in headers.items()]
    return "\n".join(["silent", "fail", *lines, ""])  # `next` forgets what was said before it


if __name__ == "__main__":
    _httpx_main(sys.argv[1])
