"""DICOM storage receivers for tests: DCMTK's storescp as it is, and one by pynetdicom that does what a test scripts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import UID
from pynetdicom import AE, evt

from folder_agent.edges.gateway.dimse.node import Node
from tests.servers.certificates import TestCertificate
from tests.servers.orthanc import free_port

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
EXPLICIT = "1.2.840.10008.1.2.1"
PLAIN = ("1.2.840.10008.1.2", EXPLICIT)


def node(port: int, **changes: Any) -> Node:
    """How a client sees a receiver on this machine."""
    return Node(
        **{
            "host": "127.0.0.1",
            "port": port,
            "called_ae": "GATEWAY",
            "calling_ae": "FOLDERAGENT",
            "context": None,
            "timeout_s": 5,
        }
        | changes
    )


def dcmtk(tool: str) -> str | None:
    """Where DCMTK's tool is. pynetdicom brings scripts of the same names, which lie beside this Python or another."""
    found = (shutil.which(tool, path=place) for place in os.get_exec_path())
    return next((one for one in found if one is not None and not _is_script(one)), None)


def _is_script(program: str) -> bool:
    with open(program, "rb") as file:
        return file.read(2) == b"#!"


def need_dcmtk(*tools: str) -> None:
    """Skip where DCMTK is not installed (a failure under FOLDER_AGENT_CI=1)."""
    if missing := [tool for tool in tools if dcmtk(tool) is None]:
        pytest.skip(f"DCMTK's {', '.join(missing)} is not installed (Debian: apt-get install dcmtk)")


@dataclass
class Dcmtk:
    """A running storescp, and where it puts what it gets, as it gets it."""

    port: int
    folder: Path
    log: Path

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def instances(self) -> dict[str, Path]:
        """What is there, by SOPInstanceUID."""
        return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in self.files()}


@contextlib.contextmanager
def running_storescp(folder: Path, *options: str, tls: TestCertificate | None = None) -> Iterator[Dcmtk]:
    """Start one; with a certificate it speaks TLS, and shows that one."""
    need_dcmtk("storescp")
    received, log, port = folder / "received", folder / "storescp.log", free_port()
    received.mkdir(parents=True)
    line = [dcmtk("storescp") or "storescp", "-d", "-od", str(received), "+B", *options]
    if tls is not None:
        line += ["+tls", str(tls.pem), str(tls.public)] + ([] if "+cf" in options else ["-ic"])
    with log.open("wb") as out:
        process = subprocess.Popen([*line, str(port)], stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(port, process, log)
        yield Dcmtk(port, received, log)
    finally:
        process.terminate()
        process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"storescp did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


Event = Any
Deed = int | Callable[[Event], int]  # a status, or what is done instead (and the status after it)


@dataclass
class ScriptedScp:
    """Stores what it gets in memory, and answers each C-STORE with the next deed, or success."""

    takes: dict[str, tuple[str, ...]] = field(default_factory=lambda: {CT: PLAIN, PDF: PLAIN, VERIFICATION: PLAIN})
    max_pdu: int = 16384
    associations: int = 0
    most_associations: int = 10
    called: str | None = None
    coming: deque[Deed] = field(default_factory=deque)
    stored: list[pydicom.Dataset] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    proposed: list[list[tuple[str, list[str]]]] = field(default_factory=list)
    port: int = 0
    _is_stopped: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> ScriptedScp:
        ae = AE("GATEWAY")
        ae.maximum_pdu_size = self.max_pdu
        ae.maximum_associations = self.most_associations
        ae.require_called_aet = self.called is not None
        ae.ae_title = self.called or "GATEWAY"
        for sop_class, syntaxes in self.takes.items():
            ae.add_supported_context(sop_class, [UID(syntax) for syntax in syntaxes])
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_CONN_OPEN, self._opened),
        ]
        handlers += self._more(ae)
        self._lock = threading.Lock()
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        if not self._is_stopped:
            self._is_stopped = True
            self._server.shutdown()
            for sock in self._sockets:  # pynetdicom leaves one open whose other end is gone
                sock.close()

    def _more(self, ae: AE) -> list[Any]:
        """What else it can do: its contexts are added, its handlers returned."""
        return []

    def node(self, **changes: Any) -> Node:
        return node(self.port, **changes)

    def _opened(self, event: Event) -> None:
        self._sockets.append(event.assoc.dul.socket.socket)

    def _requested(self, event: Event) -> None:
        with self._lock:
            self.associations += 1
            contexts = event.assoc.requestor.requested_contexts
            self.proposed.append([(str(c.abstract_syntax), [str(s) for s in c.transfer_syntax]) for c in contexts])

    def _store(self, event: Event) -> int:
        with self._lock:
            deed = self.coming.popleft() if self.coming else 0
        status = deed if isinstance(deed, int) else deed(event)
        if status == 0 or status & 0xF000 == 0xB000:
            with self._lock:
                self.stored.append(event.dataset)
                self.bodies.append(event.request.DataSet.getvalue())
        return status


def abort(event: Event) -> int:
    """A deed: abort the association instead of answering."""
    event.assoc.abort()
    return 0x0110


def keep_and_abort(scp: ScriptedScp) -> Deed:
    """A deed: store, and abort instead of answering."""

    def deed(event: Event) -> int:
        scp.stored.append(event.dataset)
        scp.bodies.append(event.request.DataSet.getvalue())
        event.assoc.abort()
        return 0x0110

    return deed
