"""What a file is: told by content, whatever its name claims, and never by raising."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.records import FileKind, Finding, Stamp
from folder_agent.core.sidecar import MAX_BYTES
from folder_agent.edges.drop_folder import RealDropFolder, inspecting, opening
from folder_agent.edges.drop_folder.names import kind_by_name
from folder_agent.edges.paths import stamp_of
from tests.edges.test_drop_folder_scanning import as_nobody
from tests.marks import WRITERS_GET_IN

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such links, pipes or rights")
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\nstartxref\n9\n%%EOF\n"


def look_into(file: Path, content: bytes | None = None, marker: str | None = None) -> Finding:
    if content is not None:
        file.write_bytes(content)
    finding = inspecting.inspect(file, file.name, stamp_of(file.lstat()), marker)
    assert finding is not None
    assert finding.problem is None or finding.problem.code in CATALOGUE
    return finding


def code(finding: Finding) -> str | None:
    return finding.problem.code if finding.problem else None


def detail(finding: Finding) -> object:
    return dict(finding.problem.values).get("detail") if finding.problem else None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, FileKind.TEMPORARY) for name in ("~$a.docx", "a.TMP", "a.dcm.part", "x.partial", "y.crdownload")),
        *((name, FileKind.TEMPORARY) for name in (".~lock.a.odt#", "a.filepart", "a.json.tmp")),
        *((name, FileKind.JUNK) for name in ("Thumbs.db", "THUMBS.DB", ".DS_Store", "desktop.ini", "._a.dcm")),
        *((name, FileKind.JUNK) for name in ("DICOMDIR", "dicomdir", "WHY.txt", "receipt.json", "WHY (2).txt")),
        *((name, FileKind.JUNK) for name in ("receipt (2).json", "receipt (earlier).json", "WHY (earlier) (3).txt")),
        *((name, FileKind.SIDECAR) for name in ("A1.json", "A1.JSON", "receipt of A1.json", "why.json")),
        *((name, FileKind.MARKER) for name in ("a.ok", "A1.OK")),
        *((name, None) for name in ("a.dcm", "a.pdf", "a", "whynot.txt", "receipt.txt", "tmp", "part.dcm", "a.ok.dcm")),
    ],
)
def test_names_decide_only_what_names_can_decide(name: str, kind: FileKind | None) -> None:
    assert kind_by_name(name, "*.ok") is kind


def test_a_marker_may_be_called_anything() -> None:
    assert kind_by_name("Complete.json", "complete.*") is FileKind.MARKER
    assert kind_by_name("a.ok", None) is None


@pytest.mark.parametrize("name", ["a.part", "Thumbs.db", "a.ok"])
def test_what_the_name_tells_is_not_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "open_for_reading", lambda _: pytest.fail("opened"))
    assert look_into(tmp_path / name, b"x", "*.ok").kind in (FileKind.TEMPORARY, FileKind.JUNK, FileKind.MARKER)


@pytest.mark.parametrize("name", ["a.pdf", "a.dcm", "report", "a.txt", "1.2.840.3"])
def test_a_pdf_is_one_by_whatever_name(name: str, tmp_path: Path) -> None:
    finding = look_into(tmp_path / name, PDF)
    assert (finding.kind, finding.problem) == (FileKind.PDF, None)


@pytest.mark.parametrize("extra", [b"", b"\n", b"\r\n\0\0", b"\0" * 1000, b" " * 500 + b"\n"])
def test_a_pdf_may_end_in_a_little_padding_and_begin_with_a_little_noise(extra: bytes, tmp_path: Path) -> None:
    assert code(look_into(tmp_path / "a.pdf", b"\xef\xbb\xbfHTTP/1.1\r\n" + PDF + extra)) is None


@pytest.mark.parametrize("content", [PDF[:-7], PDF + b"\0" * 1025, PDF[:40], PDF.replace(b"%%EOF", b"\0" * 5)])
def test_a_pdf_without_its_end_is_cut_short(content: bytes, tmp_path: Path) -> None:
    finding = look_into(tmp_path / "a.pdf", content)
    assert (finding.kind, code(finding), detail(finding)) == (FileKind.PDF, "FA-FILE-TRUNCATED", "no %%EOF")


def test_a_linearized_pdf_is_held_to_the_length_that_it_tells(tmp_path: Path) -> None:
    def linearized(length: int) -> bytes:
        head = b"%%PDF-1.4\n9 0 obj\n<< /Linearized 1 /L %08d /H [ 1 2 ] >>\nendobj\nstartxref\n0\n%%%%EOF\n" % length
        return head + b"body" * 100 + b"\nstartxref\n0\n%%EOF\n"

    size = len(linearized(0))
    assert code(look_into(tmp_path / "a.pdf", linearized(size))) is None
    cut = linearized(size)[:200]
    assert b"%%EOF" in cut
    assert detail(look_into(tmp_path / "b.pdf", cut)) == f"{size} bytes announced, 200 there"
    assert code(look_into(tmp_path / "c.pdf", linearized(size) + b"5 0 obj\nendobj\n%%EOF\n")) is None  # added to later


@pytest.mark.parametrize("name", ["a.dcm", "a.pdf", "IM0001", "1.2.840.113619.2", "a.xyz"])
def test_an_empty_file_is_told_as_such(name: str, tmp_path: Path) -> None:
    finding = look_into(tmp_path / name, b"")
    assert (finding.kind, code(finding)) == (FileKind.UNKNOWN, "FA-FILE-EMPTY")


@pytest.mark.parametrize("name", ["a.txt", "a.ok", "autorun.inf", "a.xml", "A.JPG"])
def test_what_people_leave_beside_an_exam_is_foreign_even_if_empty(name: str, tmp_path: Path) -> None:
    for content in (b"", b"hello", b"\0" * 500):
        assert look_into(tmp_path / name, content) == Finding(FileKind.FOREIGN)


@pytest.mark.parametrize("name", ["a.dcm", "a.DICOM", "a.dic", "a.ima", "a.img", "a.pdf", "IM0001", "1.2.840.113619.2"])
def test_what_claims_to_be_of_an_exam_and_is_not_is_refused(name: str, tmp_path: Path) -> None:
    finding = look_into(tmp_path / name, b"<html>error 500</html>" * 20)
    assert (finding.kind, code(finding)) == (FileKind.UNKNOWN, "FA-FILE-UNREADABLE")


@pytest.mark.parametrize("name", ["a.dcm", "a.xyz"])
def test_a_file_of_zeros_is_a_broken_copy(name: str, tmp_path: Path) -> None:
    finding = look_into(tmp_path / name, b"\0" * 5000)
    assert (finding.kind, code(finding), detail(finding)) == (FileKind.UNKNOWN, "FA-FILE-UNREADABLE", "only zeros")


def test_anything_else_is_foreign(tmp_path: Path) -> None:
    assert look_into(tmp_path / "a.xyz", b"hello") == Finding(FileKind.FOREIGN)


@given(st.binary(max_size=600) | st.binary(max_size=300).map(lambda tail: bytes(128) + b"DICM" + tail))
def test_no_content_whatever_makes_it_raise(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.dcm", "a.json", "a"):
            look_into(Path(folder, name), content)


def test_a_sidecar_comes_with_its_reading(tmp_path: Path) -> None:
    finding = look_into(tmp_path / "A1.json", b'{"accessNumber": "A1"}')
    assert finding.kind is FileKind.SIDECAR
    assert finding.sidecar is not None
    assert finding.sidecar.get("accessNumber") == "A1"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "FA-SIDECAR-EMPTY"), (b'{"accessNumber": "A', "FA-SIDECAR-JSON"), (b"\xff\xff\xff", "FA-SIDECAR-ENCODING")],
)
def test_a_sidecar_that_may_still_be_written_is_a_problem_of_the_file(
    content: bytes, wanted: str, tmp_path: Path
) -> None:
    finding = look_into(tmp_path / "A1.json", content)
    assert (finding.kind, code(finding)) == (FileKind.SIDECAR, wanted)


def test_what_is_wrong_inside_of_a_sidecar_is_a_problem_of_the_exam_only(tmp_path: Path) -> None:
    finding = look_into(tmp_path / "A1.json", b"{}")
    assert finding.problem is None
    assert finding.sidecar is not None
    assert finding.sidecar.problems


def test_a_sidecar_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    with (tmp_path / "A1.json").open("wb") as file:
        file.truncate(50 * MAX_BYTES)
    finding = look_into(tmp_path / "A1.json")
    assert finding.sidecar is not None
    assert [one.code for one in finding.sidecar.problems] == ["FA-SIDECAR-LARGE"]


def test_a_file_of_another_stamp_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    stamp = stamp_of((tmp_path / "a.pdf").stat())
    for other in (Stamp(1, stamp.mtime_ns, stamp.identity), Stamp(stamp.size, 1, stamp.identity)):
        assert inspecting.inspect(tmp_path / "a.pdf", "a.pdf", other, None) is None


def test_a_file_that_vanished_since_the_look_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    folder = RealDropFolder("ct", tmp_path)
    (sighting,) = folder.look()
    (tmp_path / "a.pdf").unlink()
    assert folder.inspect("a.pdf", sighting.stamp) is None


def test_a_file_that_vanishes_between_two_steps_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    stamp = stamp_of((tmp_path / "a.pdf").stat())
    real = opening.open_for_reading

    def late(path: Path) -> object:
        path.unlink()
        return real(path)

    monkeypatch.setattr(inspecting, "open_for_reading", late)
    assert inspecting.inspect(tmp_path / "a.pdf", "a.pdf", stamp, None) is None


def test_a_file_that_is_replaced_before_it_is_opened_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    stamp = stamp_of((tmp_path / "a.pdf").stat())
    real = opening.open_for_reading

    def late(path: Path) -> object:
        path.write_bytes(b"another")
        return real(path)

    monkeypatch.setattr(inspecting, "open_for_reading", late)
    monkeypatch.setattr(inspecting, "_exam_file", lambda *_: pytest.fail("read"))
    assert inspecting.inspect(tmp_path / "a.pdf", "a.pdf", stamp, None) is None


@WRITERS_GET_IN
def test_a_file_that_changes_while_it_is_read_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    stamp = stamp_of((tmp_path / "a.pdf").stat())
    real = inspecting._exam_file

    def meanwhile(*given: object) -> Finding:
        finding = real(*given)  # type: ignore[arg-type]
        with (tmp_path / "a.pdf").open("ab") as file:
            file.write(b"more")
        return finding

    monkeypatch.setattr(inspecting, "_exam_file", meanwhile)
    assert inspecting.inspect(tmp_path / "a.pdf", "a.pdf", stamp, None) is None


@posix_only
def test_a_link_is_refused_even_to_a_file_that_would_do(tmp_path: Path) -> None:
    (tmp_path / "out.pdf").write_bytes(PDF)
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.pdf").symlink_to(tmp_path / "out.pdf")
    folder = RealDropFolder("ct", tmp_path / "drop")
    (sighting,) = folder.look()
    finding = folder.inspect("a.pdf", sighting.stamp)
    assert finding is not None
    assert (finding.kind, code(finding)) == (FileKind.UNKNOWN, "FA-FILE-LINK")
    with pytest.raises(opening.LinkRefused):
        opening.open_for_reading(tmp_path / "drop" / "a.pdf")


@posix_only
def test_a_file_behind_a_folder_that_is_a_link_by_now_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "drop" / "CT1").mkdir(parents=True)
    (tmp_path / "drop" / "CT1" / "a.pdf").write_bytes(PDF)
    folder = RealDropFolder("ct", tmp_path / "drop")
    (sighting,) = folder.look()
    (tmp_path / "drop" / "CT1").rename(tmp_path / "CT1")
    (tmp_path / "drop" / "CT1").symlink_to(tmp_path / "CT1")
    assert folder.inspect("CT1/a.pdf", sighting.stamp) is None


@posix_only
def test_a_pipe_in_the_file_s_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.dcm")
    ended = threading.Event()

    def try_it() -> None:
        with pytest.raises(opening.NotAFile):
            opening.open_for_reading(tmp_path / "a.dcm")
        assert inspecting.inspect(tmp_path / "a.dcm", "a", stamp_of((tmp_path / "a.dcm").stat()), None) is None
        ended.set()

    threading.Thread(target=try_it, daemon=True).start()
    assert ended.wait(5)


@pytest.fixture
def foreign_file() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="drop-"))
    folder.chmod(0o755)
    (folder / "a.pdf").write_bytes(PDF)
    (folder / "a.pdf").chmod(0)
    yield folder / "a.pdf"
    shutil.rmtree(folder)


@posix_only
def test_a_file_without_rights_waits_for_them(foreign_file: Path) -> None:
    with as_nobody():
        finding = look_into(foreign_file)
    assert (finding.kind, code(finding)) == (FileKind.UNKNOWN, "FA-FILE-DENIED")


class Held(PermissionError):
    winerror = 32


@pytest.mark.parametrize(
    ("error", "wanted", "words"),
    [
        (Held(13, "used by another process"), "FA-FILE-LOCKED", None),
        (BlockingIOError(errno.EWOULDBLOCK, "leased"), "FA-FILE-LOCKED", None),
        (PermissionError(errno.EACCES, "denied"), "FA-FILE-DENIED", None),
        (OSError(errno.EIO, "/drop/Zhang San.dcm"), "FA-FILE-IO", "EIO"),
        (OSError(errno.ESTALE, "stale"), "FA-FILE-IO", errno.errorcode[errno.ESTALE]),
    ],
)
def test_a_file_that_cannot_be_opened_waits_with_the_reason(
    error: OSError, wanted: str, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise error

    monkeypatch.setattr(inspecting, "open_for_reading", refuse)
    finding = look_into(tmp_path / "a.pdf", PDF)
    assert (finding.kind, code(finding), detail(finding)) == (FileKind.UNKNOWN, wanted, words)


@posix_only
def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for content in (PDF, b"", bytes(128) + b"DICM\0", b"{"):
        look_into(tmp_path / "a.dcm", content)
        look_into(tmp_path / "a.json", content)
    assert len(list(Path("/dev/fd").iterdir())) == before
