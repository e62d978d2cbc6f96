"""The barest clients that move the same bytes to the same server: httpx without hashing or ledger, and curl.

They read the same files, but know nothing of settling, of receipts, or of what to do when something goes wrong.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from folder_agent.edges.clock import SystemClock
from folder_agent.edges.gateway.multipart import BLOCK
from folder_agent.edges.gateway.signing import SignedHeaders, sign
from folder_agent.edges.gateway.stow import BATCH_BYTES, BATCH_FILES
from tests.bench.materials import Image
from tests.bench.processes import APP_ID, TOKEN, Server

STOW_PATH, ADD_PATH = "/dicom-web/studies", "/ris/study/add"
CURL_LINES = 4  # as many as the agent has workers
_BOUNDARY = "bench-9a1f"
_TYPE = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
_HEAD = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n"
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


def bare_client(server: Server) -> httpx.Client:
    """httpx as it comes, with the gateway's certificate and signature."""
    context = ssl.create_default_context(cafile=server.ca_file)
    auth = SignedHeaders(APP_ID, TOKEN, SystemClock())
    return httpx.Client(verify=context, auth=auth, base_url=server.url, trust_env=False, timeout=60)


def httpx_study(server: Server, images: Sequence[Image]) -> float:
    """Seconds for the images in batches of the agent's size, streamed in blocks of its size, one after the other."""
    began = time.perf_counter()
    with bare_client(server) as client:
        for batch in _batches(images):
            _post(client, batch)
    return time.perf_counter() - began


def httpx_exams(server: Server, exams: Sequence[tuple[Image, Path]]) -> float:
    """Seconds for exams of one image each: the image, and then its sidecar, one exam after the other."""
    began = time.perf_counter()
    with bare_client(server) as client:
        for image, sidecar in exams:
            _post(client, [image])
            client.post(ADD_PATH, json=json.loads(sidecar.read_bytes())).raise_for_status()
    return time.perf_counter() - began


def curl_study(server: Server, images: Sequence[Image], place: Path) -> float | None:
    """Seconds for `curl --parallel` with one Store request an image, whose bodies are made beforehand. None: no curl,
    or none that has --parallel."""
    curl = shutil.which("curl")
    if curl is None or b"--parallel-max" not in subprocess.run([curl, "--help", "all"], capture_output=True).stdout:
        return None
    place.mkdir()
    config = place / "transfers"
    config.write_text("next\n".join(_transfer(server, image, place) for image in images), encoding="utf-8")
    line = [curl, "--parallel", "--parallel-max", str(CURL_LINES), "--config", str(config)]
    began = time.perf_counter()
    subprocess.run(line, check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # its meter
    seconds = time.perf_counter() - began
    shutil.rmtree(place)
    return seconds


def _batches(images: Sequence[Image]) -> Iterator[list[Image]]:
    batch: list[Image] = []
    for image in images:
        if batch and (len(batch) == BATCH_FILES or sum(one.size for one in batch) + image.size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(image)
    yield batch


def _post(client: httpx.Client, batch: Sequence[Image]) -> None:
    pieces = [(_HEAD % image.size).encode() for image in batch]
    length = sum(map(len, pieces)) + sum(image.size for image in batch) + 2 * (len(batch) - 1) + len(_TAIL)
    headers = {"Content-Type": _TYPE, "Content-Length": str(length), "Accept": "application/dicom+json"}
    client.post(STOW_PATH, headers=headers, content=_stream(batch)).raise_for_status()


def _stream(batch: Sequence[Image]) -> Iterator[bytes]:
    for number, image in enumerate(batch):
        yield (b"\r\n" if number else b"") + (_HEAD % image.size).encode()
        with image.path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                yield block
    yield _TAIL


def _transfer(server: Server, image: Image, place: Path) -> str:
    body = place / f"{image.path.name}.body"
    body.write_bytes((_HEAD % image.size).encode() + image.path.read_bytes() + _TAIL)
    now_ms = int(time.time() * 1000)
    headers = {
        "Content-Type": _TYPE.replace('"', '\\"'),
        "Accept": "application/dicom+json",
        "appId": APP_ID,
        "timestamp": str(now_ms),
        "signature": sign(APP_ID, TOKEN, now_ms),
        "Expect": "",
    }
    lines = [f'url = "{server.url}{STOW_PATH}"', f'cacert = "{server.ca_file.as_posix()}"', 'request = "POST"']
    lines += [f'upload-file = "{body.as_posix()}"', f'output = "{(place / "answer").as_posix()}"']
    lines += [f'header = "{name}: {value}"' for name, value in headers.items()]
    return "\n".join(["silent", "fail", *lines, ""])  # `next` forgets what was said before it
