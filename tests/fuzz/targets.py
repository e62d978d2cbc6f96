"""What must hold of any bytes: each target takes some, and raises where a promise is broken. Needs no atheris.

The real edges, on real folders below the one for temporary files; nothing is faked.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

from folder_agent.core.catalogue import CATALOGUE, explain
from folder_agent.core.errors import AgentError, Disposition, Problem
from folder_agent.core.filling import UNCLEAR, filled
from folder_agent.core.mapping import WrongMapping, site_mapping
from folder_agent.core.naming import safe_name
from folder_agent.core.records import DicomFacts, FileKind, Finding
from folder_agent.core.sidecar import read_sidecar
from folder_agent.core.unpacking import Limits
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.dicom import HEAD, data_set_begins, may_be_dicom, read_texts
from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Unreadable
from folder_agent.edges.gateway.part10 import file_head
from folder_agent.edges.gateway.pdf_object import IDENTITY
from folder_agent.edges.unpacking import RealUnpacker
from tests.core.soundness import is_in_form, is_sound

LIMITS = Limits(entries=64, total=4 * 1024**2, ratio=50, free=256 * 1024, depth=4)
SEPARATOR = b"\0"  # between a mapping's table and the sidecar: TOML can hold none


def sidecar(data: bytes) -> None:
    """Any bytes give a sound reading; what was understood means the same when it is written as the gateway asks."""
    reading = read_sidecar(data)
    is_sound(reading)
    again = read_sidecar(json.dumps(dict(reading.fields)).encode())
    assert again.fields == reading.fields


def mapping(data: bytes) -> None:
    """Any table is a mapping or says what is wrong with it; any sidecar read by it gives a sound reading."""
    table, _, content = data.partition(SEPARATOR)
    try:
        settings = tomllib.loads(table.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return  # no TOML: the settings say so before anybody asks for a mapping
    try:
        meant = site_mapping(settings)
    except WrongMapping as wrong:
        assert wrong.faults
        return
    reading = read_sidecar(content, meant)
    is_sound(reading)
    declared = {"imageCnt", "reportCnt", "pdfCnt", "seriesCnt"}
    if reading.sources:
        assert all(reading.get(name) is not None for name in meant.constants.keys() - declared)


def dicom(data: bytes) -> None:
    """Any file is looked into; what counts as an image can be told apart, filled from, and read again for sending."""
    finding = inspected("IM1", data)
    if finding.dicom is not None:
        assert finding.kind is FileKind.DICOM
        _are_sound(finding.dicom, data)
    if may_be_dicom(data[:HEAD]):
        for read in (
            lambda: read_texts(BytesIO(data), len(data), frozenset(IDENTITY)),
            lambda: data_set_begins(data[:4096]),
        ):
            try:
                read()
            except (CutShort, Unreadable) as told:
                assert len(str(told)) < 200


def pdf(data: bytes) -> None:
    """Any file is looked into; one that counts begins and ends as a PDF does."""
    finding = inspected("a.pdf", data)
    if finding.kind is FileKind.PDF and finding.problem is None:
        assert b"%PDF-" in data[:1024]
        assert b"%%EOF" in data[-2048:]


def archive(data: bytes) -> None:
    """Any ZIP is unpacked whole, within bounds, in its place alone; or it is left as it was, with a reason."""
    with tempfile.TemporaryDirectory() as place:
        root, outside = Path(place, "drop"), Path(place, "outside")
        for folder in (root, outside):
            folder.mkdir()
        (outside / "a").write_bytes(b"mine")
        (root / "x.zip").write_bytes(data)
        drop = RealDropFolder("fuzz", root)
        stamp = drop.stamp("x.zip")
        assert stamp is not None
        try:
            RealUnpacker(drop, LIMITS).unpack("x.zip", stamp)
        except AgentError as error:
            _is_told(error.problem)
            assert error.disposition is Disposition.REFUSE  # nothing here is the disk's fault
            assert _tree(Path(place)) == {"drop/x.zip": len(data), "outside/a": 4}
            return
        found = _tree(Path(place))
        assert found.pop("outside/a") == 4
        assert found.pop("drop/x.unpacked/x.unpacked.zip") == len(data)
        assert 0 < len(found) <= LIMITS.entries
        assert sum(found.values()) <= min(LIMITS.total, max(LIMITS.free, LIMITS.ratio * len(data)))
        for name in found:
            top, folder, *parts = name.split("/")
            assert (top, folder) == ("drop", "x.unpacked")
            assert 0 < len(parts) <= LIMITS.depth
            assert [safe_name(part) for part in parts] == parts


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sidecar": sidecar,
    "mapping": mapping,
    "dicom": dicom,
    "pdf": pdf,
    "archive": archive,
}


def inspected(name: str, data: bytes) -> Finding:
    """What the drop folder says of a file of that name."""
    root = _scratch()
    (root / name).write_bytes(data)
    drop = RealDropFolder("fuzz", root)
    stamp = drop.stamp(name)
    assert stamp is not None
    finding = drop.inspect(name, stamp)
    assert finding is not None
    if finding.problem is not None:
        _is_told(finding.problem)
    return finding


def _are_sound(facts: DicomFacts, data: bytes) -> None:
    repr(facts).encode("utf-8")
    if facts.data_at is not None:
        head = file_head(facts.sop_class, facts.sop_instance, facts.transfer_syntax)
        assert inspected("IM1", head + data[facts.data_at :]).dicom == replace(facts, data_at=None)
    assert not (facts.is_image and facts.is_report)
    assert all(0 < len(uid) <= 64 for uid in (facts.sop_class, facts.sop_instance, facts.study, facts.series))
    for name, value in facts.said:
        if value != UNCLEAR:
            is_in_form(name, value)
    is_sound(filled(read_sidecar(b"{}"), [facts]))


def _is_told(problem: Problem) -> None:
    assert problem.code in CATALOGUE
    for language in ("zh", "en"):
        told = explain(problem, language)
        told.encode("utf-8")
        assert len(told) < 2000


def _tree(place: Path) -> dict[str, int]:
    """Every file with its size; nothing else may be there but folders."""
    found = {}
    for folder, _, files in os.walk(place):
        for name in files:
            path = Path(folder, name)
            assert path.is_file()
            assert not path.is_symlink()
            found[path.relative_to(place).as_posix()] = path.lstat().st_size
    return found


@cache
def _scratch() -> Path:
    """One folder for a process; whoever starts it says where (`TMPDIR`), and removes it."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))
