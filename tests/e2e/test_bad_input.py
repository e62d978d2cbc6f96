"""Bad input ends in a clear state of that bundle alone; the others go on, and nothing is lost."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from folder_agent.core.records import Finding, Stamp
from folder_agent.edges.drop_folder import RealDropFolder
from tests.e2e.test_run_once import make_ct
from tests.marks import LINKS
from tests.site import Site, dicom, sidecar

# On Windows nobody can make these by an ordinary path; tests/windows/inside/test_files.py has such ones.
POSIX_ALONE = () if sys.platform == "win32" else ("q'uo\"te", "dot.", "new\nline", "tab\t", os.fsdecode(b"\xff\xfe"))
FOLDERS_OF_POSIX = () if sys.platform == "win32" else ("CON", "aux.", "with space ")
GOOD = {"accessNumber": "GOOD", "studyUid": "1.2.840.77"}
Spoil = Callable[[Path], object]


def write(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def cut(name: str, keep: int) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return spoil


def listed(entry: object) -> Spoil:
    return lambda folder: sidecar(folder / "exam.json", files=[entry])


def link(folder: Path) -> None:
    secret = folder.parent.parent / "secret.dcm"
    dicom(secret)
    (folder / "images/IM0001").unlink()
    (folder / "images/IM0001").symlink_to(secret)


def twin(folder: Path) -> None:
    uid = dicom(folder / "images/IM0000", pixels=b"\1" * 2048)
    dicom(folder / "images/IM0001", instance=uid, pixels=b"\2" * 2048)
    sidecar(folder / "exam.json", imageCnt=1, pdfCnt=1)


CASES: dict[str, tuple[Spoil, str]] = {
    "an empty sidecar": (write("exam.json", b""), "FA-SIDECAR-EMPTY"),
    "white space for a sidecar": (write("exam.json", b" \r\n\t"), "FA-SIDECAR-EMPTY"),
    "a huge sidecar": (write("exam.json", b'{"a":"' + b"x" * 100_000_000 + b'"}'), "FA-SIDECAR-LARGE"),
    "a deeply nested sidecar": (write("exam.json", b'{"a":' * 5000 + b"1" + b"}" * 5000), "FA-SIDECAR-DEEP"),
    "a sidecar that is a list": (write("exam.json", b"[1, 2]"), "FA-SIDECAR-SHAPE"),
    "a sidecar that is null": (write("exam.json", b"null"), "FA-SIDECAR-SHAPE"),
    "a sidecar cut short": (cut("exam.json", 20), "FA-SIDECAR-JSON"),
    "duplicate keys": (write("exam.json", b'{"patientId": "1", "patientId": "2"}'), "FA-SIDECAR-DUPLICATE"),
    "a zero-byte image": (write("images/IM0001", b""), "FA-FILE-EMPTY"),
    "a zero-byte image with an extension": (write("extra.dcm", b""), "FA-FILE-EMPTY"),
    "an image cut short": (cut("images/IM0001", 1500), "FA-FILE-TRUNCATED"),
    "a PDF cut short": (cut("report.pdf", 30), "FA-FILE-TRUNCATED"),
    "noise called dcm": (write("noise.dcm", os.urandom(4096)), "FA-FILE-UNREADABLE"),
    "a link out of the drop": (link, "FA-FILE-LINK"),
    "a listed path that leads out": (listed("../secret.dcm"), "FA-LISTED-PATH"),
    "a listed absolute path": (listed("/etc/passwd"), "FA-LISTED-PATH"),
    "a listed drive": (listed("C:\\x.dcm"), "FA-LISTED-PATH"),
    "a listed digest that differs": (
        lambda folder: sidecar(
            folder / "exam.json",
            files=["images/IM0000", "images/IM0001", {"path": "report.pdf", "sha256": "0" * 64}],
        ),
        "FA-LISTED-DIFFERS",
    ),
    "two sidecars for one study": (
        lambda folder: sidecar(folder / "again.json", studyUid="1.2.840.1"),
        "FA-TWO-SIDECARS",
    ),
    "one instance with two contents": (twin, "FA-SAME-INSTANCE"),
    "more images than declared": (lambda folder: dicom(folder / "images/IM9999"), "FA-TOO-MANY"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=LINKS) if "link" in name else name for name in CASES])
def test_bad_input_ends_in_failed_with_its_reason_and_the_others_go_on(site: Site, name: str) -> None:
    spoil, code = CASES[name]
    site.drop_lines = "quiet_s = 0.3\n"
    make_ct(site.drop / "BAD", images=2)
    spoil(site.drop / "BAD")
    make_good(site)
    before = everything(site)
    assert site.once() == 4
    ended = {name: state for name, state in site.states().items() if state != "WITHDRAWN"}
    assert ended == {"BAD": "REFUSED", "GOOD": "DONE"}
    assert f"[{code}]" in (site.shelf("failed")["BAD"] / "WHY.txt").read_text(encoding="utf-8-sig")
    assert set(site.received().exams) == {"GOOD"}
    assert everything(site) == before
    assert site.once() == 4
    assert everything(site) == before


def test_a_pdf_named_dcm_goes_as_the_pdf_it_is(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2)
    (site.drop / "CT1/report.pdf").rename(site.drop / "CT1/report.dcm")
    assert site.once() == 0
    assert [file.name for file in site.received().files] == ["report.dcm"]


@LINKS
def test_a_link_to_a_folder_is_never_followed(site: Site) -> None:
    make_ct(site.drop.parent / "outside")
    (site.drop / "inside").symlink_to(site.drop.parent / "outside")
    make_good(site)
    site.once()
    assert set(site.received().exams) == {"GOOD"}
    assert (site.drop.parent / "outside/exam.json").exists()


@pytest.mark.parametrize(
    "name",
    ["with space", "100%", "#1;2", "-dash", "影像", "😀", "a" * 255, *POSIX_ALONE],
    ids=lambda name: ascii(name)[:20],
)
def test_any_file_name_is_delivered_and_kept(site: Site, name: str) -> None:
    dicom(site.drop / "CT1" / "x")
    (site.drop / "CT1" / "x").rename(site.drop / "CT1" / name)
    sidecar(site.drop / "CT1/exam.json", imageCnt=1)
    assert site.once() == 0
    assert len(site.received().instances) == 1
    assert name in {path.name for path in site.shelf()["CT1"].iterdir()}


@pytest.mark.parametrize("name", ["患者 1", "a" * 250, *FOLDERS_OF_POSIX, *POSIX_ALONE[-1:]], ids=ascii)
def test_any_folder_name_is_delivered(site: Site, name: str) -> None:
    make_ct(site.drop / name)
    assert site.once() == 0
    assert len(site.received().instances) == 3
    assert len(site.shelf()) == 1


def test_a_file_that_vanishes_between_look_and_open_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ct(site.drop / "CT1")
    make_good(site)
    real = RealDropFolder.inspect

    def inspect(self: RealDropFolder, path: str, stamp: object) -> object:
        if path == "CT1/images/IM0001":
            (site.drop / path).unlink(missing_ok=True)
        return real(self, path, stamp)  # type: ignore[arg-type]

    monkeypatch.setattr(RealDropFolder, "inspect", inspect)
    assert site.once() == 3
    assert site.states() == {"CT1": "GATHERING", "GOOD": "DONE"}
    assert json.loads(site.command("status", "--json").stdout)["waiting"][0]["for"] == "waiting for 1 of 3 images"


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_a_file_that_may_not_be_read_waits_alone(site: Site, tmp_path: Path) -> None:
    make_good(site)
    assert site.once() == 0
    make_ct(site.drop / "CT1")
    make_ct(site.drop / "CT2", accessNumber="ACC2", studyUid=None, imageCnt=0)
    (site.drop / "CT1/images/IM0001").chmod(0o000)
    for image in (site.drop / "CT2/images").iterdir():
        image.unlink()
    with as_nobody(tmp_path, site.drop / "CT1/images/IM0001"):
        assert site.once() == 3
    assert site.states() == {"CT1": "GATHERING", "CT2": "DONE", "GOOD": "DONE"}
    waiting = json.loads(site.command("status", "--json").stdout)["waiting"]
    assert [one["code"] for one in waiting] == ["FA-FILE-DENIED"]


@contextmanager
def as_nobody(folder: Path, denied: Path) -> Iterator[None]:
    """Root may read anything: give everything but the denied file to nobody, and be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        if path != denied:
            os.chown(path, 65534, 65534)
    for path in folder.parents:
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def make_good(site: Site) -> None:
    make_ct(site.drop / "GOOD", images=1, **GOOD)
    dicom(site.drop / "GOOD/images/IM0000", accession="GOOD", study="1.2.840.77", patient="P7001")


def everything(site: Site) -> list[tuple[int, bytes]]:
    """The content of every file below the drop folder but our notes, wherever it lies; links by where they lead."""
    found = []
    for path in site.drop.rglob("*"):
        if path.is_symlink():
            found.append((0, os.fsencode(path.readlink())))
        elif path.is_file() and path.name not in ("WHY.txt", "receipt.json"):
            content = path.read_bytes()
            found.append((len(content), content[:4096]))
    return sorted(found)


def test_a_file_that_breaks_our_own_reader_waits_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ct(site.drop / "CT1")
    make_good(site)
    real = RealDropFolder.inspect

    def inspect(self: RealDropFolder, path: str, stamp: Stamp) -> Finding | None:
        if path == "CT1/images/IM0001":
            raise RecursionError
        return real(self, path, stamp)

    monkeypatch.setattr(RealDropFolder, "inspect", inspect)
    assert site.once() == 3
    assert site.states() == {"CT1": "GATHERING", "GOOD": "DONE"}
