"""What the gateway's tests share: a certificate, a still clock, links to scripted servers, files to send."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from folder_agent.core.records import FileKind, Outgoing
from folder_agent.edges.gateway.client import Link, make_client
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.paths import stamp_of
from tests.servers.certificates import TestCertificate, make_certificate
from tests.servers.scripted import Answer, ScriptedServer

APP_ID, TOKEN = "1251", "0123456789abcdef0123456789abcdef"
_FOLDER = tempfile.TemporaryDirectory(prefix="folder-agent-tls-")


@dataclass
class StillClock:
    """A clock that moves when it is told to."""

    time: float = 1741338450.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@cache
def certificate() -> TestCertificate:
    """One for all tests: making keys takes time."""
    return make_certificate(Path(_FOLDER.name))


def serving(*answers: Answer, keep_body: bool = True) -> ScriptedServer:
    """A TLS server with that certificate."""
    return ScriptedServer(certificate().pem, list(answers), keep_body)


@contextlib.contextmanager
def linked(clock: StillClock | None = None, timeout_s: float = 5, workers: int = 2) -> Iterator[Link]:
    """A link that trusts that certificate."""
    clock = clock or StillClock()
    auth = SignedHeaders(APP_ID, TOKEN, clock)
    link = Link(make_client(auth, make_context(certificate().public), timeout_s, workers), clock, timeout_s)
    try:
        yield link
    finally:
        link.close()


def outgoing(folder: Path, name: str, content: bytes, number: int = 1, kind: FileKind = FileKind.DICOM) -> Outgoing:
    """A file on disk, as the agent hands it to a transport; its SOPInstanceUID is `1.2.<number>`."""
    file = folder / name
    file.write_bytes(content)
    uid = f"1.2.{number}" if kind is FileKind.DICOM else None
    return Outgoing(number, name, file, stamp_of(file.stat()), kind, sop_instance=uid)
