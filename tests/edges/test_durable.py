"""Whole writes, renames that never overwrite, copies that are compared before they count."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.core.records import FileKind, Stamp
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.names import kind_by_name
from folder_agent.edges.paths import stamp_of

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
LONG = "长" * 85  # 255 bytes


class Crash(BaseException):
    """The process ends here: no handler runs but those for everything."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real volume of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small volume here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["A1.dcm", "x", ".hidden", LONG, "n" * 255])
def test_what_we_leave_beside_a_file_is_temporary_to_every_scan(name: str, tmp_path: Path) -> None:
    for beside in (durable.part_of(tmp_path / name), durable.aside_of(tmp_path / name)):
        assert kind_by_name(beside.name, None) is FileKind.TEMPORARY
        beside.write_bytes(b"it fits")
    assert len(names(tmp_path)) == 2


def test_two_long_names_have_two_temporary_names(tmp_path: Path) -> None:
    assert durable.part_of(tmp_path / ("n" * 254 + "1")) != durable.part_of(tmp_path / ("n" * 254 + "2"))


# --- rename ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["native", "checked", "refused"])
def rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With renameat2, without it, and on a file system that does not know the flag."""
    if request.param == "native":
        return
    if sys.platform == "win32":
        pytest.skip("Windows has one way")

    def einval(*args: object) -> int:
        import ctypes

        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(durable, "_renameat2", None if request.param == "checked" else einval)


@pytest.mark.usefixtures("rename")
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_a_rename_never_overwrites(make: object, tmp_path: Path) -> None:
    assert callable(make)
    source, taken, free = tmp_path / "source", tmp_path / "taken", tmp_path / "free"
    make(source)
    make(taken)
    with pytest.raises(FileExistsError):
        durable.rename_new(source, taken)
    durable.rename_new(source, free)
    assert names(tmp_path) == ["free", "taken"]


@POSIX
@pytest.mark.usefixtures("rename")
def test_a_dangling_link_is_not_overwritten_either(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    (tmp_path / "taken").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        durable.rename_new(tmp_path / "source", tmp_path / "taken")


@pytest.mark.usefixtures("rename")
def test_what_is_not_there_cannot_be_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.rename_new(tmp_path / "a", tmp_path / "b")


# --- whole writes ----------------------------------------------------------------------------------------------------


def test_a_note_is_written_whole_and_replaced_whole(tmp_path: Path) -> None:
    durable.write_whole(tmp_path / "n", b"one")
    durable.write_whole(tmp_path / "n", b"two")
    assert (tmp_path / "n").read_bytes() == b"two"
    assert names(tmp_path) == ["n"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_what_was_there(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise Crash

    durable.write_whole(tmp_path / "n", b"one")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(*((os, "fsync") if step == "fsync" else (durable, "_replace")), crash)
        durable.write_whole(tmp_path / "n", b"two")
    assert (tmp_path / "n").read_bytes() == b"one"
    durable.write_whole(tmp_path / "n", b"three")
    assert names(tmp_path) == ["n"], "the leftover was used again"


def test_a_full_disk_leaves_no_half_note(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space") as error:
        durable.write_whole(small_disk / "n", bytes(2 * 1024 * 1024))
    assert error.value.errno == errno.ENOSPC
    assert names(small_disk) == []


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_has_the_bytes_and_the_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(durable.CHUNK * 2 + 17))
    os.utime(source, ns=(1_600_000_000_123_456_700, 1_500_000_000_123_456_700))
    durable.copy_whole(source, target, stamp_of(source.lstat()))
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert durable.digest_of(target) == hashlib.sha256(source.read_bytes()).hexdigest()
    assert names(tmp_path) == ["source", "target"]


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"ours")
    (tmp_path / "target").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        durable.copy_whole(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"theirs"
    assert names(tmp_path) == ["source", "target"]


def test_another_file_than_was_meant_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"others")
    with pytest.raises(durable.SourceChanged):
        durable.copy_whole(tmp_path / "source", tmp_path / "target", Stamp(6, 1, 0))
    assert names(tmp_path) == ["source"]


def test_a_file_that_changes_while_it_is_copied_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"pixels")
    pump = durable._pump

    def touched(*args: object) -> str:
        digest = pump(*args)  # type: ignore[arg-type]
        os.utime(source, ns=(1, 1))
        return digest

    monkeypatch.setattr(durable, "_pump", touched)
    with pytest.raises(durable.SourceChanged):
        durable.copy_whole(source, tmp_path / "target")
    assert names(tmp_path) == ["source"]


def test_a_copy_that_came_out_otherwise_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"pixels")
    write = durable._write_part

    def rotten(source: Path, part: Path, stamp: Stamp | None) -> str:
        digest = write(source, part, stamp)
        part.write_bytes(b"pixelz")
        return digest

    monkeypatch.setattr(durable, "_write_part", rotten)
    with pytest.raises(OSError, match="differs"):
        durable.copy_whole(tmp_path / "source", tmp_path / "target")
    assert names(tmp_path) == ["source"]


@POSIX
def test_a_copy_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "source").symlink_to("secret")
    with pytest.raises(OSError, match="link"):
        durable.copy_whole(tmp_path / "source", tmp_path / "target")
    (tmp_path / "source").unlink()
    (tmp_path / "source").write_bytes(b"pixels")
    durable.part_of(tmp_path / "target").symlink_to("secret")  # planted where the copy is written
    durable.copy_whole(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_full_disk_leaves_no_half_copy(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(2 * 1024 * 1024))
    with pytest.raises(OSError, match="No space") as error:
        durable.copy_whole(tmp_path / "source", small_disk / "target")
    assert error.value.errno == errno.ENOSPC
    assert names(small_disk) == []


# --- folders ---------------------------------------------------------------------------------------------------------


def test_folders_are_made_with_those_above(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b" / "c")
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        durable.make_folder(tmp_path / "file")


@POSIX
@pytest.mark.parametrize(("number", "is_told"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_sync_folders_is_no_error_but_a_broken_one_is(
    number: int, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    if is_told:
        with pytest.raises(OSError, match="no"):
            durable.sync_folder(tmp_path)
    else:
        durable.sync_folder(tmp_path)


def test_among_the_edges_fsync_lives_here_alone() -> None:
    edges = Path(durable.__file__).parent
    users = {
        path.relative_to(edges).as_posix() for path in edges.rglob("*.py") if "os.fsync" in path.read_text("utf-8")
    }
    assert users == {"durable.py"}
