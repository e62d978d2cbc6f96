"""A private Orthanc with DICOMweb, on random ports, with its own certificate, in a folder that goes away with it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.certificates import make_certificate
from tests.servers.terminator import tls_in_front_of

PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    url: str
    dicom_port: int
    ca_file: Path
    http_port: int = 0  # behind the TLS terminator

    @property
    def stow_url(self) -> str:
        return f"{self.url}/dicom-web/studies"

    def get(self, path: str) -> bytes:
        """A resource of its REST API."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(self.url + path, context=context, timeout=10) as response:
            return response.read()

    def delete(self, path: str) -> None:
        """Delete a resource."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(self.url + path, method="DELETE")
        urllib.request.urlopen(request, context=context, timeout=10).close()

    def get_json(self, path: str) -> Any:
        return json.loads(self.get(path))


def missing() -> str | None:
    """Why there is no Orthanc to test against; None if there is one."""
    if _binary() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    if _plugin() is None:
        return "Orthanc's DICOMweb plugin is not installed (Debian: apt-get install orthanc-dicomweb)"
    return None


def _binary() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def _plugin() -> Path | None:
    found = (path for folder in PLUGIN_FOLDERS for path in sorted(folder.glob("libOrthancDicomWeb.so*")))
    return next(found, None)


def free_port() -> int:
    """A port where no system takes those of outgoing connections from: it is free when it is needed, too."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port


@contextlib.contextmanager
def running_orthanc(folder: Path, *, environment: Mapping[str, str] | None = None, **more: object) -> Iterator[Orthanc]:
    """Start one that keeps everything in `folder`, and end it with SIGTERM. `environment` is laid over ours; `more`:
    settings of its own."""
    binary, plugin = _binary(), _plugin()
    assert binary and plugin
    certificate = make_certificate(folder, "orthanc")
    http_port, dicom_port = free_port(), free_port()
    settings = {
        "Name": "folder-agent test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **more,
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        env = {**os.environ, **(environment or {})}
        process = subprocess.Popen([binary, str(file)], stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        with tls_in_front_of(http_port, certificate) as port:
            server = Orthanc(f"https://127.0.0.1:{port}", dicom_port, certificate.public, http_port)
            _wait(server, process, folder / "orthanc.log")
            yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(150):
        with contextlib.suppress(urllib.error.URLError, OSError):
            server.get("/system")
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"Orthanc did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
