"""Who receives: a gateway that discards, DCMTK's storescp that discards, and Orthanc. Each in processes of its own,
fresh for every client, and ended with its measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

from tests.bench.processes import APP_ID, ROOT, TOKEN
from tests.servers import orthanc
from tests.servers.storescp import dcmtk

GATEWAY, STORESCP, ORTHANC = "discarding gateway", "storescp --ignore", "Orthanc"
# DCMTK, which Orthanc is built on, leaves Nagle's algorithm on: each answer waits up to 40 ms for the sender's delayed
# acknowledgement, unless the environment says otherwise (DCMTK, config/docs/envvars.txt).
PROMPTLY = {"TCP_NODELAY": "1"}
PROMPT_STORESCP, PROMPT_ORTHANC = "storescp, TCP_NODELAY=1", "Orthanc, TCP_NODELAY=1"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where the gateway listens, with the certificate that it shows; and where images go, if not to it."""

    url: str
    ca_file: Path
    stow_url: str | None = None
    dicom_port: int | None = None


def missing(name: str) -> str | None:
    """Why there is none of that name here; None if there is."""
    if name in (STORESCP, PROMPT_STORESCP):
        return None if dcmtk("storescp") else "DCMTK is not installed (Debian: apt-get install dcmtk)"
    return orthanc.missing() if name in (ORTHANC, PROMPT_ORTHANC) else None


@contextmanager
def running(name: str, place: Path) -> Iterator[Receiver]:
    """Start it; all that it keeps lies in `place`."""
    place.mkdir(parents=True)
    environment = PROMPTLY if name in (PROMPT_STORESCP, PROMPT_ORTHANC) else {}
    with _gateway(place / "gateway") as gateway:
        if name == GATEWAY:
            yield gateway
        elif name in (STORESCP, PROMPT_STORESCP):
            with _storescp(place, environment) as port:
                yield Receiver(gateway.url, gateway.ca_file, None, port)
        else:
            with orthanc.running_orthanc(place, environment=environment) as server:
                stow = f"http://127.0.0.1:{server.http_port}/dicom-web/studies"  # its own HTTPS is not what is measured
                yield Receiver(gateway.url, gateway.ca_file, stow, server.dicom_port)


@contextmanager
def _gateway(state: Path) -> Iterator[Receiver]:
    """A simulated gateway over TLS that keeps no bytes of images."""
    line = [sys.executable, "-m", "folder_agent.simulator", "--discard", "--no-strict-counts"]
    line += ["--state", str(state), "--app-id", APP_ID, "--token", TOKEN]
    with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            found = json.loads(process.stdout.readline())
            yield Receiver(found["url"], Path(found["ca_file"]))
        finally:
            process.terminate()


@contextmanager
def _storescp(place: Path, environment: Mapping[str, str]) -> Iterator[int]:
    port = orthanc.free_port()
    line = [dcmtk("storescp") or "storescp", "--ignore", "--fork", str(port)]
    env = {**os.environ, **environment}
    with (place / "storescp.log").open("wb") as log, subprocess.Popen(line, stdout=log, stderr=log, env=env) as process:
        try:
            for _ in range(100):
                if process.poll() is not None:
                    raise RuntimeError(f"storescp ended with {process.returncode}: see {place / 'storescp.log'}")
                with suppress(OSError), create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
