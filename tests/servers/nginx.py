"""A private nginx that ends TLS in front of a plain local server, with a bound on bodies, as hospitals have it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.certificates import TestCertificate
from tests.servers.orthanc import free_port

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
  log_format short '$status $request_length $request_method $uri';
  access_log {folder}/access.log short;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {pem};
    ssl_certificate_key {pem};
    client_max_body_size {most};
    location / {{
      proxy_pass http://127.0.0.1:{target};
      proxy_set_header Host $http_host;
      proxy_next_upstream off;
      {more}
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A line of its access log. `length`: bytes that were received of it, head and body."""

    status: int
    length: int
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running one."""

    port: int
    certificate: TestCertificate
    folder: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def requests(self, path: str) -> list[Request]:
        """What came to that path or below, in the order of its ending."""
        lines = (self.folder / "access.log").read_text(encoding="utf-8").splitlines()
        found = [line.split(" ", 3) for line in lines]
        made = [Request(int(status), int(length), method, uri) for status, length, method, uri in found]
        return [one for one in made if one.path.startswith(path)]


def _binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def running_nginx(
    folder: Path, target: int, certificate: TestCertificate, most: str = "1m", more: str = ""
) -> Iterator[Nginx]:
    """Start one in front of the port `target`; `most` is its bound on bodies, `more` stands in its location."""
    binary = _binary()
    if binary is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    folder.mkdir(parents=True)
    port, config = free_port(), folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not write into our folder
    pem = certificate.pem
    config.write_text(
        CONFIG.format(user=user, folder=folder, port=port, pem=pem, most=most, target=target, more=more), "utf-8"
    )
    line = [binary, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(port, process, folder)
        yield Nginx(port, certificate, folder)
    finally:
        process.terminate()
        process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    logs = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.log"))
    raise AssertionError(f"nginx did not start:\n{logs[-3000:]}")
