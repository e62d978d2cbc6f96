"""Files as Windows handles them: who keeps whom out, names and paths that only Windows finds odd.

All parties to a lock are in this process: Windows judges handles, not processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

assert sys.platform == "win32"

import win32con
import win32file

from folder_agent.core.errors import AgentError
from folder_agent.core.records import FileKind
from folder_agent.edges import durable
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.drop_folder.watching import Watcher
from folder_agent.edges.paths import is_busy, is_link, openable, retrying
from folder_agent.edges.shelves import RealShelves
from tests.site import PDF, dicom

READ, WRITE, DELETE = win32con.FILE_SHARE_READ, win32con.FILE_SHARE_WRITE, win32con.FILE_SHARE_DELETE
NETWORK_DRIVE = Path("R:\\")  # made by tests/windows/suite.py
DAY = "2026-01-31"


@contextlib.contextmanager
def held(path: Path, shares: int = 0, access: int = win32con.GENERIC_READ) -> Iterator[None]:
    """As another program holds it: `shares` says what it lets others do meanwhile."""
    handle = win32file.CreateFile(str(openable(path)), access, shares, None, win32con.OPEN_EXISTING, 0, None)
    try:
        yield
    finally:
        handle.Close()


@contextlib.contextmanager
def held_for(seconds: float, path: Path, shares: int = 0) -> Iterator[None]:
    """Held from now on, and let go by itself."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(path, shares))
        timer = threading.Timer(seconds, stack.pop_all().close)
        timer.start()
        yield
        timer.join()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "drop" / "报告.pdf"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(PDF)
    return file


@pytest.fixture
def drop(tmp_path: Path) -> RealDropFolder:
    root = tmp_path / "drop"
    root.mkdir(exist_ok=True)
    return RealDropFolder("ct", root, (root / "done", root / "failed"))


@pytest.fixture
def shelves(tmp_path: Path) -> RealShelves:
    root = tmp_path / "drop"
    root.mkdir(exist_ok=True)
    return RealShelves(root, root / "done", root / "failed")


def seen(drop: RealDropFolder) -> set[str]:
    return {sighting.path for sighting in drop.look()}


def move(drop: RealDropFolder, shelves: RealShelves, name: str, path: str) -> Path:
    """Shelve the drop's only file; where it is then."""
    (sighting,) = drop.look()
    target = shelves.choose("done", DAY, name, 1)
    shelves.prepare(target)
    assert shelves.move(path, target, path, sighting.stamp)
    shelves.sync(target, [])
    return Path(target, path)


# --- who keeps whom out -----------------------------------------------------------------------------------------------


def test_a_file_that_somebody_writes_to_has_not_settled(drop: RealDropFolder, report: Path) -> None:
    (sighting,) = drop.look()
    for shares in (0, READ, READ | WRITE | DELETE):
        with held(report, shares, win32con.GENERIC_WRITE):
            finding = drop.inspect(report.name, sighting.stamp)
            assert finding is not None
            assert finding.problem is not None
            assert (finding.kind, finding.problem.code) == (FileKind.UNKNOWN, "FA-FILE-LOCKED")
    finding = drop.inspect(report.name, sighting.stamp)
    assert finding is not None
    assert finding.kind is FileKind.PDF


def test_somebody_who_only_reads_it_is_no_hindrance(drop: RealDropFolder, report: Path) -> None:
    (sighting,) = drop.look()
    with held(report, READ):
        finding = drop.inspect(report.name, sighting.stamp)
        assert finding is not None
        assert finding.kind is FileKind.PDF


def test_while_we_read_nobody_writes(report: Path) -> None:
    with open_for_reading(report) as reader:
        with pytest.raises(PermissionError):
            report.open("r+b")
        assert reader.read() == PDF


def test_while_we_read_the_pacs_may_rename_and_delete(report: Path) -> None:
    with open_for_reading(report) as reader:
        report.rename(report.with_name("later.pdf"))
        report.with_name("later.pdf").unlink()
        assert reader.read() == PDF
    assert list(report.parent.iterdir()) == []


def test_what_is_let_go_within_two_seconds_was_never_a_problem(report: Path, tmp_path: Path) -> None:
    with held_for(0.3, report):
        durable.rename_new(report, tmp_path / "renamed")
    with held_for(0.3, tmp_path / "renamed"):
        assert durable.digest_of(tmp_path / "renamed")
    with held_for(0.3, tmp_path / "renamed"):
        durable.write_whole(tmp_path / "renamed", b"other")
    with held_for(0.3, tmp_path / "renamed"), retrying(lambda: (tmp_path / "renamed").open("r+b")) as file:
        assert file.read() == b"other"
    with held_for(0.3, tmp_path / "renamed"):
        durable.remove(tmp_path / "renamed")
    assert not (tmp_path / "renamed").exists()


def test_what_is_held_for_longer_is_given_back_with_its_reason(report: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    with held(report), pytest.raises(OSError, match="WinError 32") as caught:
        retrying(lambda: durable._rename(report, tmp_path / "x"), total_s=0.2)
    assert is_busy(caught.value)
    assert time.monotonic() - begun < 30
    assert report.read_bytes() == PDF


def test_a_bundle_with_a_held_file_stays_until_it_is_let_go(
    drop: RealDropFolder, shelves: RealShelves, report: Path
) -> None:
    (sighting,) = drop.look()
    target = shelves.choose("done", DAY, "CT1", 1)
    shelves.prepare(target)
    with held(report, READ), pytest.raises(AgentError) as caught:
        shelves.move(report.name, target, report.name, sighting.stamp)
    assert caught.value.problem.code == "FA-SHELF"
    assert report.read_bytes() == PDF
    assert shelves.move(report.name, target, report.name, sighting.stamp)


def test_a_read_only_file_is_moved_and_removed_as_any_other(
    drop: RealDropFolder, shelves: RealShelves, report: Path
) -> None:
    report.chmod(0o444)
    there = move(drop, shelves, "CT1", report.name)
    assert there.read_bytes() == PDF
    durable.remove(there)
    assert not there.exists()


# --- names and paths --------------------------------------------------------------------------------------------------


def test_a_path_of_any_length_is_seen_read_and_shelved(drop: RealDropFolder, shelves: RealShelves) -> None:
    path = "/".join([*("很长的文件夹名" * 4 for _ in range(9)), "1.dcm"])
    place = drop.locate(path)
    assert len(str(place)) > 260
    dicom(place)
    assert seen(drop) == {path}
    (sighting,) = drop.look()
    finding = drop.inspect(path, sighting.stamp)
    assert finding is not None
    assert finding.kind is FileKind.DICOM
    there = move(drop, shelves, "CT1", path)
    assert openable(there).is_file()
    assert seen(drop) == set()
    shelves.tidy([path.rpartition("/")[0]])


@pytest.mark.parametrize("name", ["AUX.dcm", "con", "nul.txt.dcm", "COM1.txt", "1.dcm.", "1.dcm ", "a ."])
def test_a_name_that_windows_reserves_or_would_cut_is_that_very_file(
    name: str, drop: RealDropFolder, shelves: RealShelves
) -> None:
    dicom(Path("C:\\") / "plain.dcm")
    content = Path("C:\\plain.dcm").read_bytes()
    folder = f"{openable(drop.root)}\\CT1"
    Path(folder).mkdir()
    with open(f"{folder}\\{name}", "wb") as file:
        file.write(content)
    assert seen(drop) == {f"CT1/{name}"}
    (sighting,) = drop.look()
    finding = drop.inspect(f"CT1/{name}", sighting.stamp)
    assert finding is not None
    assert finding.kind is FileKind.DICOM
    there = move(drop, shelves, "CT1", f"CT1/{name}")
    assert drop.look() == []
    with open(f"{openable(there.parent)}\\{name}", "rb") as file:
        assert file.read() == content


@pytest.mark.parametrize("name", ["CON", "NUL.", "COM1.txt", "a.", "a ", "x:y", 'a"b', "LPT¹", "a?b"])
def test_a_bundle_of_any_name_gets_a_folder_that_explorer_can_open(name: str, shelves: RealShelves) -> None:
    target = Path(shelves.choose("done", DAY, name, 1))
    shelves.prepare(str(target))
    assert target.name in [path.name for path in target.parent.iterdir()]  # by the ordinary path, as any program would
    assert not set(target.name) & set('<>:"|?*')
    assert target.name.rstrip(". ") == target.name


def test_what_differs_in_case_alone_is_taken(shelves: RealShelves) -> None:
    shelves.prepare(shelves.choose("done", DAY, "CT1", 1))
    assert not shelves.is_free(shelves.choose("done", DAY, "ct1", 1))
    assert shelves.is_free(shelves.choose("done", DAY, "ct1", 2))


def test_the_shelves_are_passed_over_in_any_case(tmp_path: Path) -> None:
    root = tmp_path / "drop"
    (root / "DONE" / DAY / "CT1").mkdir(parents=True)
    (root / "DONE" / DAY / "CT1" / "1.pdf").write_bytes(PDF)
    assert RealDropFolder("ct", root, (root / "done",)).look() == []


def test_a_root_by_its_short_name_is_the_same_folder(tmp_path: Path) -> None:
    root = tmp_path / "投放目录 with a long name"
    (root / "done" / "x").mkdir(parents=True)
    (root / "done" / "x" / "old.pdf").write_bytes(PDF)
    (root / "报告 with a long name.pdf").write_bytes(PDF)
    buffer = ctypes.create_unicode_buffer(1024)
    assert ctypes.windll.kernel32.GetShortPathNameW(str(root), buffer, 1024)
    short = Path(buffer.value)
    assert "~" in short.name
    assert seen(RealDropFolder("ct", short, (short / "done",))) == {"报告 with a long name.pdf"}
    told = threading.Event()
    watcher = Watcher(short, (short / "done",), told.set, "native", False)
    watcher.start()
    try:
        assert watcher.check() is None
        told.clear()
        (root / "new with a long name.pdf").write_bytes(PDF)
        assert told.wait(30)
    finally:
        watcher.stop()


def test_a_file_beside_a_junction_is_seen_and_what_lies_behind_is_not(tmp_path: Path) -> None:
    import _winapi

    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.pdf").write_bytes(PDF)
    (tmp_path / "drop").mkdir()
    try:
        _winapi.CreateJunction(str(tmp_path / "outside"), str(tmp_path / "drop" / "way out"))
    except OSError:
        pytest.skip("Wine makes no junctions: to be seen on Windows itself")
    (sighting,) = RealDropFolder("ct", tmp_path / "drop").look()
    assert (sighting.path, sighting.is_link) == ("way out", True)


@pytest.mark.parametrize(
    ("tag", "is_followed"),
    [(stat.IO_REPARSE_TAG_MOUNT_POINT, False), (stat.IO_REPARSE_TAG_SYMLINK, False), (0x9000001A, True)],
    ids=["junction", "link", "OneDrive"],
)
def test_a_junction_is_a_link_and_what_a_driver_keeps_is_an_ordinary_file(tag: int, is_followed: bool) -> None:
    """By its numbers, as Windows' stat gives them, since Wine makes none."""
    found: Any = SimpleNamespace(
        st_mode=stat.S_IFDIR, st_file_attributes=stat.FILE_ATTRIBUTE_REPARSE_POINT, st_reparse_tag=tag
    )
    assert is_link(found) is not is_followed
    found.st_file_attributes = stat.FILE_ATTRIBUTE_DIRECTORY
    assert not is_link(found)


@pytest.mark.parametrize("path", ["a:b", "CT1/1.dcm:stream", "C:/x", "a\\..\\b", "//server/share"])
def test_a_drive_a_stream_or_a_share_in_a_path_leads_nowhere(path: str, drop: RealDropFolder) -> None:
    with pytest.raises(AgentError) as caught:
        drop.locate(path)
    assert caught.value.problem.code == "FA-FILE-LINK"
