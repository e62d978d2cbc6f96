"""done/ and failed/ on real disks: crashes at every step, full and read-only disks, links, and awkward names."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.notes import why_note
from folder_agent.core.records import Stamp
from folder_agent.edges import durable
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.paths import as_text, openable, stamp_of
from folder_agent.edges.shelves import RealShelves, moving, returning
from folder_agent.edges.shelves.places import below, crosses_volumes, shelf_failure, target_path, target_text
from tests.contracts.test_shelves_contract import other_volume
from tests.marks import LONG_UNDER_WINE

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
DAY = "2026-01-31"
NOBODY = 65534


class Crash(BaseException):
    """The process ends here."""


class Site:
    """A drop folder, its shelves, and one prepared bundle."""

    def __init__(self, root: Path, shelf: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root, self.shelf = root, shelf
        self.shelves = RealShelves(root, shelf / "done", shelf / "failed")

    def put(self, path: str, content: bytes = b"pixels") -> Stamp:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, ns=(1_700_000_000_000_000_000, 1_700_000_000_000_000_000))
        return stamp_of(place.lstat())

    def target(self, shelf: str = "done") -> str:
        target = self.shelves.choose(shelf, DAY, "CT1", 1)
        self.shelves.prepare(target)
        return target

    def everything(self) -> list[Path]:
        """Every file, wherever it lies."""
        return [path for top in {self.root, self.shelf} for path in top.rglob("*") if not path.is_dir()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "drop", tmp_path / "drop")


@pytest.fixture
def across(tmp_path: Path) -> Iterator[Site]:
    other = other_volume(tmp_path)
    try:
        yield Site(tmp_path / "drop", other)
    finally:
        shutil.rmtree(other)


def told(error: pytest.ExceptionInfo[AgentError]) -> tuple[str, Disposition, dict[str, object]]:
    return error.value.problem.code, error.value.disposition, dict(error.value.problem.values)


def absent(winerror: int) -> str:
    """How it is told that something is not there, on Windows by its own number."""
    return f"WinError {winerror}" if sys.platform == "win32" else "ENOENT"


# --- crashes ---------------------------------------------------------------------------------------------------------

STEPS: list[tuple[Any, str]] = [
    (durable, "_write_part"),
    (durable, "_compare"),
    (durable, "rename_new"),
    (durable, "sync_folder"),
    (durable, "remove"),
    (durable, "write_whole"),
    (moving, "take_away"),
    (Path, "mkdir"),
    (Path, "rmdir"),
    (Path, "unlink"),
    (os, "utime"),
    (os, "fsync"),
]


class Tripwire:
    """Ends the process before or after the n-th of the steps that change something."""

    def __init__(self, patch: pytest.MonkeyPatch, fatal: int, after: bool) -> None:
        self.count, self.fatal, self.after = 0, fatal, after
        for owner, name in STEPS:
            patch.setattr(owner, name, self.guard(getattr(owner, name)))

    def guard(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count != self.fatal:
                return step(*args, **kwargs)
            if self.after:
                with suppress(OSError):
                    step(*args, **kwargs)
            raise Crash

        return guarded


def crashing_everywhere(action: Callable[[], object], after: bool) -> Iterator[int]:
    """Run the action with a crash at the first step, then at the second …, until it gets through."""
    for fatal in range(1, 500):
        with pytest.MonkeyPatch.context() as patch:
            Tripwire(patch, fatal, after)
            try:
                action()
            except Crash:
                pass
            else:
                return
        yield fatal
    pytest.fail("it never got through")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_step_of_a_move_between_volumes_loses_nothing(across: Site, after: bool) -> None:
    content = os.urandom(durable.CHUNK + 3)
    target = across.target()
    stamps: list[Stamp] = []

    def move() -> None:
        across.shelves.move("CT1/1.dcm", target, "sub/1.dcm", stamps[0])

    def fresh() -> None:
        for path in across.everything():
            path.unlink()
        shutil.rmtree(Path(target) / "sub", ignore_errors=True)
        stamps[:] = [across.put("CT1/1.dcm", content)]

    fresh()
    crashes = 0
    for _ in crashing_everywhere(move, after):
        crashes += 1
        assert any(path.read_bytes() == content for path in across.everything()), "the only copy is gone"
        assert across.shelves.move("CT1/1.dcm", target, "sub/1.dcm", stamps[0])
        assert across.everything() == [Path(target) / "sub" / "1.dcm"]
        assert (Path(target) / "sub" / "1.dcm").read_bytes() == content
        fresh()
    assert crashes > 10


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_two_crashes_in_a_row_lose_nothing(across: Site, after: bool) -> None:
    target = across.target()
    for first in range(1, 40):
        for path in across.everything():
            path.unlink()
        stamp = across.put("1.dcm")
        for fatal in (first, 1, 2, 3):
            with pytest.MonkeyPatch.context() as patch:
                Tripwire(patch, fatal, after)
                try:
                    across.shelves.move("1.dcm", target, "1.dcm", stamp)
                except Crash:
                    continue
        assert across.shelves.move("1.dcm", target, "1.dcm", stamp)
        assert across.everything() == [Path(target) / "1.dcm"]


@LONG_UNDER_WINE
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_step_on_the_way_back_loses_nothing(across: Site, after: bool) -> None:
    contents = {"a.json": b"{}", "1.dcm": b"pixels", "sub/2.dcm": b"more pixels", "WHY.txt": b"why"}
    target = across.target("failed")

    def fresh() -> None:
        shutil.rmtree(across.root)
        across.root.mkdir()
        across.shelves.prepare(target)
        for path, content in contents.items():
            (Path(target) / path).parent.mkdir(exist_ok=True)
            (Path(target) / path).write_bytes(content)

    fresh()
    crashes = 0
    for _ in crashing_everywhere(lambda: across.shelves.put_back(target, "CT1"), after):
        crashes += 1
        found = [path.read_bytes() for path in across.everything()]
        assert all(content in found for content in contents.values()), "the only copy is gone"
        back = "CT1"
        with suppress(AgentError):  # it may have been through
            back = across.shelves.put_back(target, "CT1")
        assert {path: (across.root / back / path).read_bytes() for path in contents} == contents
        assert not Path(target).exists()
        whole = [path for path in across.everything() if path.name == "1.dcm"]
        assert len(whole) == 1, "one copy, in one place"
        assert not across.shelves.has_failed()
        fresh()
    assert crashes > 20


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("volumes", ["one", "two"])
def test_a_crash_at_any_step_of_a_correction_loses_and_doubles_nothing(
    site: Site, across: Site, volumes: str, after: bool
) -> None:
    place = across if volumes == "two" else site
    target = place.target("failed")

    def fresh() -> Stamp:
        shutil.rmtree(target, ignore_errors=True)
        place.shelves.prepare(target)
        for path, content in {"a.json": b"old", "b.json": b"older", "1.dcm": b"pixels"}.items():
            (Path(target) / path).write_bytes(content)
        return place.put("CT1/a.json")

    stamp = fresh()
    whole = sorted([*(b"old", b"older", b"pixels"), (place.root / "CT1/a.json").read_bytes()])
    crashes = 0
    for _ in crashing_everywhere(lambda: place.shelves.correct(target, "CT1/a.json", stamp), after):
        crashes += 1
        found = [path.read_bytes() for path in place.everything()]
        assert all(content in found for content in whole), "the only copy is gone"
        assert place.shelves.correct(target, "CT1/a.json", stamp)
        assert sorted(path.read_bytes() for path in place.everything()) == whole
        names = {path.name for path in Path(target).iterdir()}
        assert names == {"a.json", "a.json.replaced", "b.json.replaced", "1.dcm"}
        fresh()
    assert crashes >= 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_on_the_way_back_the_agent_sees_all_of_it_or_nothing(across: Site, after: bool) -> None:
    contents = {"a.json": b"{}", "1.dcm": b"pixels", "sub/2.dcm": b"more pixels"}
    drop = RealDropFolder("ct", across.root)
    target = across.target("failed")

    def fresh() -> None:
        shutil.rmtree(across.root)
        across.root.mkdir()
        across.shelves.prepare(target)
        for path, content in contents.items():
            (Path(target) / path).parent.mkdir(exist_ok=True)
            (Path(target) / path).write_bytes(content)

    fresh()
    for _ in crashing_everywhere(lambda: across.shelves.put_back(target, "CT1"), after):
        seen = {sighting.path for sighting in drop.look()}
        assert seen in (set(), {f"CT1/{path}" for path in contents})
        if seen:  # the agent delivers it before somebody repeats what was interrupted
            shutil.rmtree(across.root / "CT1")
        with suppress(AgentError):
            assert across.shelves.put_back(target, "CT1") == "CT1"
        assert seen or {sighting.path for sighting in drop.look()} == {f"CT1/{path}" for path in contents}
        assert not across.shelves.has_failed()
        assert not any(across.shelf.rglob("*.dcm")), "what was delivered lies in failed/, too"
        fresh()


@pytest.mark.parametrize("fails", ["the second copy", "the plan"])
def test_without_room_for_the_way_back_no_copies_are_left_to_fill_the_drop_folder(across: Site, fails: str) -> None:
    target = across.target("failed")
    contents = {"1.dcm": b"pixels", "a.json": b"{}", "sub/2.dcm": b"more pixels"}
    for path, content in contents.items():
        (Path(target) / path).parent.mkdir(exist_ok=True)
        (Path(target) / path).write_bytes(content)
    copies: list[Path] = []

    def copy(source: Path, place: Path, *more: Any) -> None:
        copies.append(place)
        if len(copies) == 2 and fails == "the second copy":
            raise OSError(errno.ENOSPC, "full")
        moving.copy(source, place, *more)

    def write_whole(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(AgentError) as error:
        patch.setattr(returning, "copy", copy)
        if fails == "the plan":
            patch.setattr(durable, "write_whole", write_whole)
        across.shelves.put_back(target, "CT1")
    assert told(error)[0] == "FA-DISK-FULL"
    assert len(copies) >= 2
    assert list(across.root.iterdir()) == []
    assert {path: (Path(target) / path).read_bytes() for path in contents} == contents
    assert across.shelves.put_back(target, "CT1") == "CT1"
    assert {path: (across.root / "CT1" / path).read_bytes() for path in contents} == contents


def test_what_was_corrected_in_failed_before_all_was_copied_goes_back_corrected(across: Site) -> None:
    target = across.target("failed")
    for name in ("1.dcm", "a.json"):
        (Path(target) / name).write_bytes(b"wrong")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(durable, "sync_folders", lambda *args: (_ for _ in ()).throw(Crash))
        across.shelves.put_back(target, "CT1")
    (Path(target) / "a.json").write_bytes(b"right")
    assert across.shelves.put_back(target, "CT1") == "CT1"
    assert (across.root / "CT1" / "a.json").read_bytes() == b"right"
    assert set(across.everything()) == {across.root / "CT1" / "1.dcm", across.root / "CT1" / "a.json"}


def test_what_was_corrected_in_failed_after_a_crash_on_the_way_back_is_kept(across: Site) -> None:
    target = across.target("failed")
    (Path(target) / "a.json").write_bytes(b"wrong")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(returning, "take_away", lambda *args: (_ for _ in ()).throw(Crash))
        across.shelves.put_back(target, "CT1")
    (Path(target) / "a.json").write_bytes(b"right")
    assert across.shelves.put_back(target, "CT1") == "CT1"
    assert (Path(target) / "a.json").read_bytes() == b"right"
    assert (across.root / "CT1" / "a.json").read_bytes() == b"wrong"


# --- newcomers -------------------------------------------------------------------------------------------------------


def test_a_newcomer_in_the_moment_of_the_rename_goes_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, target = site.put("1.dcm"), site.target()
    rename = durable.rename_new

    def replaced(source: Path, place: Path) -> None:
        if source.name == "1.dcm" and source.parent == openable(site.root):
            source.write_bytes(b"newcomer")
        rename(source, place)

    monkeypatch.setattr(durable, "rename_new", replaced)
    with pytest.raises(AgentError) as error:
        site.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert told(error)[0] == "FA-CHANGED"
    assert [path.read_bytes() for path in site.everything()] == [b"newcomer"]
    assert (site.root / "1.dcm").exists()


def test_a_newcomer_in_the_moment_of_the_removal_goes_back(across: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, target = across.put("1.dcm"), across.target()
    take_away = moving.take_away

    def replaced(source: Path, stamp: Stamp) -> None:
        source.write_bytes(b"newcomer")
        take_away(source, stamp)

    monkeypatch.setattr(moving, "take_away", replaced)
    assert across.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert (across.root / "1.dcm").read_bytes() == b"newcomer"
    assert (Path(target) / "1.dcm").read_bytes() == b"pixels"
    assert len(across.everything()) == 2


def test_an_original_left_aside_is_removed_though_a_newcomer_has_its_name(across: Site) -> None:
    stamp, target = across.put("1.dcm"), across.target()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(durable, "remove", lambda path: (_ for _ in ()).throw(Crash))
        across.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert durable.aside_of(across.root / "1.dcm").exists()
    across.put("1.dcm", b"newcomer")
    assert across.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert sorted(path.read_bytes() for path in across.everything()) == [b"newcomer", b"pixels"]


# --- outages and full disks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "x"), "FA-DISK-FULL"),
        (OSError(errno.EDQUOT, "x"), "FA-DISK-FULL"),
        (PermissionError(errno.EACCES, "x", "/drop/王小明.dcm"), "FA-SHELF"),
        (OSError(errno.EROFS, "x", "/drop/王小明.dcm"), "FA-SHELF"),
        (FileNotFoundError(errno.ENOENT, "x"), "FA-SHELF"),
    ],
)
def test_errors_are_retried_and_name_no_file(error: OSError, code: str) -> None:
    found = shelf_failure(error, "done")
    assert (found.problem.code, found.disposition) == (code, Disposition.RETRY)
    assert "王小明" not in repr(found.problem)
    assert code == "FA-DISK-FULL" or dict(found.problem.values)["detail"] == errno.errorcode[error.errno or 0]


@pytest.mark.parametrize(("winerror", "code"), [(112, "FA-DISK-FULL"), (39, "FA-DISK-FULL"), (5, "FA-SHELF")])
def test_windows_errors_are_told_by_their_number(winerror: int, code: str) -> None:
    error = OSError(errno.EINVAL, "x")
    error.winerror = winerror  # type: ignore[attr-defined]
    assert shelf_failure(error, "failed").problem.code == code
    error.winerror = 17  # type: ignore[attr-defined]
    assert crosses_volumes(error)


def test_a_full_disk_loses_nothing_and_the_move_goes_on_afterwards(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small volume here")
    try:
        site = Site(tmp_path / "drop", small)
        stamp, target = site.put("1.dcm", bytes(900_000)), site.target()
        (small / "ballast").write_bytes(bytes(500_000))
        for _ in range(2):
            with pytest.raises(AgentError) as error:
                site.shelves.move("1.dcm", target, "1.dcm", stamp)
            assert told(error) == ("FA-DISK-FULL", Disposition.RETRY, {"where": "done"})
            assert list(Path(target).iterdir()) == []
        (small / "ballast").unlink()
        assert site.shelves.move("1.dcm", target, "1.dcm", stamp)
        assert [path.stat().st_size for path in site.everything()] == [900_000]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def as_nobody(action: Callable[[], str]) -> str:
    """What the action returns in a process that no permission is waived for."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, action().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


@POSIX
@pytest.mark.parametrize("read_only", ["done", "drop"])
def test_what_we_may_not_write_to_is_told_and_nothing_is_lost(read_only: str) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become nobody")
    top = Path(tempfile.mkdtemp())
    try:
        top.chmod(0o755)
        site = Site(top / "drop", top / "shelf")
        stamp, target = site.put("1.dcm"), site.target()
        for path in top.rglob("*"):
            os.chown(path, NOBODY, NOBODY)
        shut = Path(target) if read_only == "done" else site.root
        shut.chmod(0o555)

        def move() -> str:
            try:
                return str(site.shelves.move("1.dcm", target, "1.dcm", stamp))
            except AgentError as error:
                return f"{error.problem.code} {error.disposition} {dict(error.problem.values)}"

        assert as_nobody(move) == "FA-SHELF retry {'shelf': 'done', 'detail': 'EACCES'}"
        assert (site.root / "1.dcm").read_bytes() == b"pixels"
        shut.chmod(0o755)
        assert as_nobody(move) == "True"
        assert site.everything() == [Path(target) / "1.dcm"]
    finally:
        shutil.rmtree(top)


def test_a_drop_that_went_away_is_an_outage_and_not_a_loss(tmp_path: Path) -> None:
    site = Site(tmp_path / "drop", tmp_path / "shelf")
    stamp, target = site.put("1.dcm"), site.target()
    site.root.rename(tmp_path / "away")
    with pytest.raises(AgentError) as error:
        site.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert told(error) == ("FA-DROP-GONE", Disposition.RETRY, {"detail": absent(2)})
    (tmp_path / "away").rename(site.root)
    assert site.shelves.move("1.dcm", target, "1.dcm", stamp)


def test_a_drop_that_went_away_is_not_made_anew(tmp_path: Path) -> None:
    shelves = RealShelves(tmp_path / "drop", tmp_path / "drop" / "done", tmp_path / "drop" / "failed")
    with pytest.raises(AgentError) as error:
        shelves.prepare(shelves.choose("done", DAY, "CT1", 1))
    assert told(error)[0] == "FA-SHELF"
    assert list(tmp_path.iterdir()) == []


def test_a_shelf_that_went_away_is_an_outage_and_not_a_loss(tmp_path: Path) -> None:
    site = Site(tmp_path / "drop", tmp_path / "shelf")
    stamp, target = site.put("1.dcm"), site.target()
    assert site.shelves.move("1.dcm", target, "1.dcm", stamp)
    site.shelf.rename(tmp_path / "away")
    with pytest.raises(AgentError) as error:
        site.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert told(error) == ("FA-SHELF", Disposition.RETRY, {"shelf": "done", "detail": absent(3)})


def test_a_shelf_that_cannot_be_asked_is_not_free(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def lstat(path: Path) -> os.stat_result:
        raise OSError(errno.EIO, "x")

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(AgentError) as error:
        site.shelves.is_free(site.shelves.choose("done", DAY, "CT1", 1))
    assert told(error) == ("FA-SHELF", Disposition.RETRY, {"shelf": "done", "detail": "EIO"})


# --- links -----------------------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../nowhere", "."])
def test_a_link_moves_as_a_link(site: Site, leads_to: str) -> None:
    check_link(site, leads_to)


@POSIX
@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../nowhere", "."])
def test_a_link_moves_as_a_link_between_volumes(across: Site, leads_to: str) -> None:
    check_link(across, leads_to)


def check_link(site: Site, leads_to: str) -> None:
    link, target = site.root / "link.dcm", site.target()
    link.symlink_to(leads_to)
    stamp = stamp_of(link.lstat())
    for _ in range(2):
        assert site.shelves.move("link.dcm", target, "link.dcm", stamp)
    assert os.fspath((Path(target) / "link.dcm").readlink()) == leads_to
    assert not os.path.lexists(link)
    assert site.shelves.read(target, "link.dcm") is None, "links are never followed"


@POSIX
def test_a_crash_between_making_a_link_and_removing_the_old_one(across: Site) -> None:
    link, target = across.root / "l", across.target()
    link.symlink_to("/etc/passwd")
    stamp = stamp_of(link.lstat())
    (Path(target) / "l").symlink_to("/etc/passwd")
    assert across.shelves.move("l", target, "l", stamp)
    assert not os.path.lexists(link)


@POSIX
def test_a_folder_that_became_a_link_leads_nowhere(site: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.dcm").write_bytes(b"secret")
    (site.root / "CT1").symlink_to(tmp_path / "outside")
    stamp, target = stamp_of((tmp_path / "outside" / "1.dcm").lstat()), site.target()
    with pytest.raises(AgentError) as error:
        site.shelves.move("CT1/1.dcm", target, "1.dcm", stamp)
    assert told(error)[2]["detail"] == "ELOOP"
    site.shelves.tidy(["CT1"])
    assert (site.root / "CT1").is_symlink()
    (Path(target) / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(AgentError):
        site.shelves.move("CT1/1.dcm", target, "sub/2.dcm", stamp)
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["1.dcm"]


# --- awkward names ---------------------------------------------------------------------------------------------------

LONG_FOLDERS = "/".join(["深" * 40] * 4)  # more than 300 characters with what is above it, more than 480 bytes


@pytest.mark.parametrize("name", ["长" * 85, "n" * 251 + ".dcm", f"{LONG_FOLDERS}/1.dcm", "a b/ (2) .x/%s{}'.dcm"])
def test_awkward_names_move_on_one_volume(site: Site, name: str) -> None:
    check_name(site, name)


@pytest.mark.parametrize("name", ["长" * 85, "n" * 251 + ".dcm", f"{LONG_FOLDERS}/1.dcm", "a b/ (2) .x/%s{}'.dcm"])
def test_awkward_names_move_between_volumes(across: Site, name: str) -> None:
    check_name(across, name)


@POSIX
@pytest.mark.parametrize("raw", [b"caf\xe9.dcm", b"back\\slash.dcm", b"line\nbreak", b"\xff" * 255])
def test_names_that_are_no_text_move_on_one_volume(site: Site, raw: bytes) -> None:
    check_name(site, os.fsdecode(raw))


@POSIX
@pytest.mark.parametrize("raw", [b"caf\xe9.dcm", b"back\\slash.dcm", b"line\nbreak", b"\xff" * 255])
def test_names_that_are_no_text_move_between_volumes(across: Site, raw: bytes) -> None:
    check_name(across, os.fsdecode(raw))


def check_name(site: Site, name: str) -> None:
    stamp, target, text = site.put(name), site.target(), as_text(name)
    for _ in range(2):
        assert site.shelves.move(text, target, text, stamp)
    site.shelves.sync(target, [text.rpartition("/")[0]])
    assert site.everything() == [Path(target) / name]
    assert site.shelves.read(target, text) == b"pixels"


@POSIX
def test_a_drop_folder_whose_own_name_is_no_text(tmp_path: Path) -> None:
    site = Site(tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"caf\xe9"))
    stamp, target = site.put("1.dcm"), site.target()
    target.encode()  # a ledger can keep it
    assert site.shelves.move("1.dcm", target, "1.dcm", stamp)


@POSIX
@given(st.binary(max_size=30).map(os.fsdecode), st.text(max_size=30))
def test_a_jailed_path_stays_below_and_a_target_survives_its_text(raw: str, text: str) -> None:
    base = Path("/nowhere/base")
    for relative in (as_text(raw), text):
        try:
            place = below(base, relative)
        except OSError as error:
            assert error.errno in {errno.EINVAL, errno.ENAMETOOLONG}
        else:
            assert base in place.parents
            assert ".." not in place.parts
    place = Path("/shelf") / raw.replace("\0", "") / "x"
    assert target_path(target_text(place)) == place


@pytest.mark.parametrize("target", ["", "relative/path", "/nul\0l", "/bad\\text"])
def test_what_is_no_place_is_refused(site: Site, target: str) -> None:
    if sys.platform == "win32" and target.startswith("/bad"):
        pytest.skip("a path there")
    with pytest.raises(AgentError) as error:
        site.shelves.prepare(target)
    assert told(error)[:2] == ("FA-SHELF", Disposition.RETRY)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_a_copy_between_volumes_keeps_the_time(across: Site) -> None:
    stamp, target = across.put("1.dcm"), across.target()
    across.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert (Path(target) / "1.dcm").stat().st_mtime_ns == stamp.mtime_ns


def test_tidying_removes_what_it_is_told_deepest_first_and_nothing_else(site: Site) -> None:
    for folder in ("CT1/a/b", "CT1/other", "CT2", "done", "failed"):
        (site.root / folder).mkdir(parents=True)
    site.put("CT2/left.txt")
    site.shelves.tidy(["CT1", "CT1/a", "CT1/a/b", "CT2", "done", "failed", ""])
    assert sorted(path.relative_to(site.root).as_posix() for path in site.root.rglob("*")) == [
        *("CT1", "CT1/other", "CT2", "CT2/left.txt", "done", "failed")
    ]


@POSIX
def test_syncing_reaches_every_folder_that_was_written_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    stamp, target = site.put("CT1/a/1.dcm"), site.target()
    place = Path(target)
    assert {place.parent, place.parent.parent} <= set(synced)  # by `prepare`
    synced.clear()
    site.shelves.move("CT1/a/1.dcm", target, "a/1.dcm", stamp)
    site.shelves.sync(target, ["CT1/a", "CT1", "tidied/before"])
    assert set(synced) == {place, place / "a", site.root / "CT1", site.root / "CT1" / "a"}
    synced.clear()
    site.shelves.sync(target, [""])
    assert set(synced) == {place, place / "a", site.root}


@POSIX
def test_a_days_folder_is_synced_once_for_all_its_bundles(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    day = Path(site.target()).parent
    assert day.parent in synced
    synced.clear()
    site.shelves.prepare(str(day / "another"))
    assert day in synced
    assert day.parent not in synced
    (day / "CT1").rmdir()
    (day / "another").rmdir()
    day.rmdir()
    site.shelves.prepare(str(day / "another"))  # somebody removed it: it is a new one
    assert day.parent in synced


def test_beside_the_bundles_nothing_counts_as_failed(site: Site) -> None:
    target = Path(site.target("failed"))
    (target.parent / "Thumbs.db").touch()
    (target.parent.parent / ".DS_Store").touch()
    assert not site.shelves.has_failed()


def test_a_bundle_never_goes_back_as_a_shelf(tmp_path: Path) -> None:
    site = Site(tmp_path / "drop", tmp_path / "drop")
    target = site.target("failed")
    (Path(target) / "a.json").write_bytes(b"{}")
    assert site.shelves.put_back(target, "done") == "done (2)"


def test_a_note_survives_a_crash_before_and_after(site: Site) -> None:
    target, note = site.target("failed"), why_note("CT1", [], "now", "drop")
    for after in (False, True):
        for _ in crashing_everywhere(lambda: site.shelves.write_note(target, "WHY.txt", note), after):
            assert site.shelves.read(target, "WHY.txt") in {None, note}
    assert [path.name for path in Path(target).iterdir()] == ["WHY.txt"]


def test_a_read_only_file_moves_between_volumes(across: Site) -> None:
    stamp, target = across.put("1.dcm"), across.target()
    (across.root / "1.dcm").chmod(stat.S_IREAD)
    assert across.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert across.everything() == [Path(target) / "1.dcm"]
