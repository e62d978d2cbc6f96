"""Uploads that broke off, kept to be gone on with. HEAD says how much of one is here, a POST with Content-Range brings
the rest (Range and Content-Range as in RFC 9110 14; which upload it is says Upload-Key).
"""

from __future__ import annotations

import re
from pathlib import Path

from folder_agent.simulator.messages import Answer, Request, fault
from folder_agent.simulator.spool import Spool
from folder_agent.simulator.state import State

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)
Beginning = tuple[Path, int]  # where the first bytes are, and how many of them


def held(request: Request, state: State) -> Answer:
    """How much is here: 206 and Content-Range, or 416 for nothing."""
    if "upload-key" not in request.headers or "range" not in request.headers:
        return fault(400, "Upload-Key and Range say what is asked for")
    path, size = _kept(request, state)
    if not size:
        return Answer(416, b"", headers={"Content-Range": "bytes */0"}, entry={"held": 0})
    total = _total_of(path).read_text(encoding="ascii")
    return Answer(206, b"", headers={"Content-Range": f"bytes 0-{size - 1}/{total}"}, entry={"held": size})


def beginning_of(request: Request, state: State) -> Beginning | Answer | None:
    """What the upload goes on from; None: it is whole. A refusal if that is not here."""
    said = request.headers.get("content-range")
    if said is None:
        return None
    path, size = _kept(request, state)
    found = _RANGE.fullmatch(said)
    if found is None or int(found[1]) > size or int(found[2]) + 1 != int(found[3]):
        return Answer(416, b"", headers={"Content-Range": f"bytes */{size}"}, entry={"held": size})
    return path, int(found[1])


def put_by(spool: Spool, request: Request, state: State) -> None:
    """Keep what came before the break, if the upload can be known again."""
    spool.close()
    if "upload-key" in request.headers and spool.path is not None:
        path, _ = _kept(request, state)
        announced = request.headers.get("upload-length", "")
        _total_of(path).write_text(announced if announced.isdecimal() else "*", encoding="ascii")
        spool.path.replace(path)


def forget(request: Request, state: State) -> None:
    """It has come whole."""
    path, size = _kept(request, state)
    if size:
        path.unlink()


def _kept(request: Request, state: State) -> tuple[Path, int]:
    path = state.partial(request.headers.get("upload-key", ""))
    return path, path.stat().st_size if path.is_file() else 0


def _total_of(path: Path) -> Path:
    return path.with_suffix(".total")
