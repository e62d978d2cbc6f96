"""Looking at a drop folder: everything that is there, nothing that is elsewhere, and no half-truth."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Stamp
from folder_agent.edges import drop_folder
from folder_agent.edges.drop_folder import RealDropFolder, scanning
from tests.rights import as_nobody, public_folder

NO_NAME = "\\ud800" if sys.platform != "win32" else "\0"  # half a pair: text of no name but on Windows
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names, pipes or rights")


@pytest.fixture
def open_root() -> Iterator[Path]:
    with public_folder() as root:
        yield root


def drop(root: Path, *excluded: str) -> RealDropFolder:
    return RealDropFolder("ct", root, [root / name for name in excluded])


def paths(folder: RealDropFolder) -> set[str]:
    return {sighting.path for sighting in folder.look()}


def put(file: Path, content: bytes = b"x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_every_file_at_every_depth_is_seen_with_its_stamp(tmp_path: Path) -> None:
    for name in ("a.json", "CT1/a.dcm", "CT1/s1/s2/s3/b.dcm"):
        put(tmp_path / name, b"12345")
    found = {one.path: one for one in drop(tmp_path).look()}
    assert set(found) == {"a.json", "CT1/a.dcm", "CT1/s1/s2/s3/b.dcm"}
    state = (tmp_path / "CT1/a.dcm").stat()
    assert found["CT1/a.dcm"].stamp.size == 5
    assert found["CT1/a.dcm"].stamp.mtime_ns == state.st_mtime_ns
    assert not any(one.is_link for one in found.values())
    assert found["CT1/a.dcm"].stamp == drop(tmp_path).stamp("CT1/a.dcm")


def test_done_and_failed_are_not_looked_into_but_their_namesakes_are(tmp_path: Path) -> None:
    for name in ("done/x/a.dcm", "failed/b.dcm", "CT1/done/c.dcm", "done2/d.dcm"):
        put(tmp_path / name)
    folder = RealDropFolder("ct", tmp_path, [tmp_path / "CT1" / ".." / "done", tmp_path / "failed"])
    assert paths(folder) == {"CT1/done/c.dcm", "done2/d.dcm"}
    assert list(folder.below("done/x")) == []


@posix_only
def test_links_to_files_and_folders_are_told_and_never_followed(tmp_path: Path) -> None:
    put(tmp_path / "outside" / "secret.dcm")
    root = tmp_path / "drop"
    root.mkdir()
    (root / "file.dcm").symlink_to(tmp_path / "outside" / "secret.dcm")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to(tmp_path / "nothing")
    (root / "loop").symlink_to(root)
    folder = drop(root)
    assert {(one.path, one.is_link) for one in folder.look()} == {
        ("file.dcm", True),
        ("folder", True),
        ("dangling", True),
        ("loop", True),
    }
    assert list(folder.below("folder")) == []
    assert folder.stamp("folder/secret.dcm") is None
    assert folder.stamp("file.dcm") is None


@posix_only
def test_a_folder_that_became_a_link_since_it_was_listed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "outside" / "secret.dcm")
    put(tmp_path / "drop" / "CT1" / "a.dcm")
    listed = scanning._entries

    def swapping(folder: scanning._Folder) -> Iterator[os.DirEntry[str]]:
        yield from listed(folder)
        if not folder.prefix:
            shutil.rmtree(tmp_path / "drop" / "CT1")
            (tmp_path / "drop" / "CT1").symlink_to(tmp_path / "outside")

    monkeypatch.setattr(scanning, "_entries", swapping)
    assert paths(drop(tmp_path / "drop")) == set()


@posix_only
def test_a_root_that_is_itself_a_link_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "real" / "a.dcm")
    put(tmp_path / "real" / "done" / "b.dcm")
    (tmp_path / "drop").symlink_to(tmp_path / "real")
    assert paths(drop(tmp_path / "drop", "done")) == {"a.dcm"}


@posix_only
def test_pipes_sockets_and_devices_are_passed_over_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        put(tmp_path / "a.dcm")
        assert paths(drop(tmp_path)) == {"a.dcm"}
        assert drop(tmp_path).stamp("pipe.dcm") is None
        assert drop(tmp_path).inspect("pipe.dcm", Stamp(0, 0, 0)) is None


AWKWARD = [
    "a b",
    "a\tb",
    "a\nb",
    "-rf",
    "张三",
    "é",
    "e\u0301",
    "'\"`$&;|<>*?[]{}!#~%",
    "a\\b",
    "\\udc80",
    ".hidden",
    "😀",
]


@posix_only
@pytest.mark.parametrize("name", [*AWKWARD, "x" * 255, "张" * 85])
def test_a_file_of_any_name_is_seen_located_and_read(tmp_path: Path, name: str) -> None:
    put(tmp_path / name / name, b"content")
    folder = drop(tmp_path)
    (sighting,) = folder.look()
    assert folder.locate(sighting.path) == tmp_path / name / name
    assert folder.stamp(sighting.path) == sighting.stamp
    assert folder.digest(sighting.path) == hashlib.sha256(b"content").hexdigest()
    assert [one.path for one in folder.below(sighting.path.split("/")[0])] == [sighting.path]
    assert folder.inspect(sighting.path, sighting.stamp) is not None


@posix_only
def test_a_name_that_is_no_utf8_is_seen_located_and_read(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xd5\xc5\xc8\xfd\\.dcm"
    with open(raw, "wb") as file:
        file.write(b"content")
    (sighting,) = drop(tmp_path).look()
    assert sighting.path.isascii()
    assert os.fsencode(drop(tmp_path).locate(sighting.path)) == raw
    assert drop(tmp_path).digest(sighting.path) == hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    "path", ["../a", "CT1/../../a", "/etc/passwd", "", ".", "CT1//a", "a\0b", "a\\b", NO_NAME, "a/"]
)
def test_a_path_that_leads_out_or_that_no_look_gave_is_refused(tmp_path: Path, path: str) -> None:
    folder = drop(tmp_path)
    for ask in (folder.locate, folder.stamp, folder.digest):
        with pytest.raises(AgentError) as caught:
            ask(path)
        assert caught.value.disposition is Disposition.REFUSE


@posix_only
def test_a_file_that_vanishes_while_looking_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.dcm")
    put(tmp_path / "gone.dcm")
    put(tmp_path / "CT1" / "b.dcm")
    listed = scanning._entries

    def vanishing(folder: scanning._Folder) -> Iterator[os.DirEntry[str]]:
        for entry in listed(folder):
            if entry.name == "gone.dcm":
                (tmp_path / "gone.dcm").unlink()
            yield entry
        shutil.rmtree(tmp_path / "CT1", ignore_errors=True)

    monkeypatch.setattr(scanning, "_entries", vanishing)
    folder = drop(tmp_path)
    assert paths(folder) == {"a.dcm"}
    assert folder.unlisted() == frozenset()


@pytest.mark.parametrize("make", ["nothing", "file"])
def test_a_root_that_cannot_be_listed_is_an_outage(tmp_path: Path, make: str) -> None:
    root = tmp_path / "drop"
    if make == "file":
        put(root)
    for ask in (drop(root).look, lambda: drop(root).stamp("a.dcm"), lambda: drop(root).below("CT1")):
        with pytest.raises(AgentError) as caught:
            ask()
        assert caught.value.problem.code == "FA-DROP-GONE"
        assert caught.value.disposition is Disposition.RETRY


@posix_only
def test_a_root_without_rights_is_an_outage(open_root: Path) -> None:
    put(open_root / "a.dcm")
    open_root.chmod(0)
    with as_nobody(), pytest.raises(AgentError) as caught:
        drop(open_root).look()
    assert caught.value.problem.values == (("detail", "EACCES"),)


def test_a_share_that_is_unmounted_is_an_outage_and_not_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "is_remote", lambda _: True)
    folder = drop(tmp_path)
    assert folder.is_remote
    put(tmp_path / "a.dcm")
    (sighting,) = folder.look()
    assert sighting.stamp.identity == 0  # inodes on shares change with a remount
    monkeypatch.setattr(drop_folder, "is_remote", lambda _: False)
    with pytest.raises(AgentError):
        folder.look()


@posix_only
@pytest.mark.parametrize("rights", [0o000, 0o444])  # not to be listed; to be listed, but not searched
def test_a_subfolder_that_cannot_be_listed_is_named_and_hinders_no_other(open_root: Path, rights: int) -> None:
    put(open_root / "CT1" / "a.dcm")
    put(open_root / "CT2" / "closed" / "b.dcm")
    (open_root / "CT2" / "closed").chmod(rights)
    folder = drop(open_root)
    with as_nobody():
        assert paths(folder) == {"CT1/a.dcm"}
        assert folder.unlisted() == {"CT2/closed"}
        assert [one.path for one in folder.below("CT1")] == ["CT1/a.dcm"]
        with pytest.raises(AgentError):
            folder.below("CT2")
    (open_root / "CT2" / "closed").chmod(0o755)
    assert paths(folder) == {"CT1/a.dcm", "CT2/closed/b.dcm"}
    assert folder.unlisted() == frozenset()


@posix_only
def test_a_tree_without_end_is_looked_into_as_far_as_64_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 64)
    put(deep / "seen.dcm")
    put(deep / "d" / "deeper" / "unseen.dcm")
    folder = drop(tmp_path)
    assert [Path(path).name for path in paths(folder)] == ["seen.dcm"]
    assert folder.unlisted() == {"/".join(["d"] * 65)}


def test_below_tells_one_folder_and_nothing_of_one_that_is_not_there(tmp_path: Path) -> None:
    put(tmp_path / "CT1" / "s" / "a.dcm")
    put(tmp_path / "b.dcm")
    folder = drop(tmp_path)
    assert [one.path for one in folder.below("CT1")] == ["CT1/s/a.dcm"]
    assert [one.path for one in folder.below("CT1/s")] == ["CT1/s/a.dcm"]
    assert {one.path for one in folder.below("")} == {"CT1/s/a.dcm", "b.dcm"}
    assert list(folder.below("CT9/x")) == []
    assert list(folder.below("b.dcm")) == []


def test_a_digest_of_what_is_not_there_waits(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        drop(tmp_path).digest("a.dcm")
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-CHANGED", Disposition.WAIT)
    assert drop(tmp_path).stamp("a.dcm") is None


def test_a_digest_of_many_blocks_is_that_of_the_whole(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 7)
    put(tmp_path / "a.dcm", content)
    assert drop(tmp_path).digest("a.dcm") == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_a_hundred_thousand_files_are_all_seen(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / f"CT{number}"
        folder.mkdir()
        for image in range(1000):
            os.close(os.open(folder / f"{image}.dcm", os.O_CREAT | os.O_WRONLY))
    begun = time.perf_counter()
    found = drop(tmp_path, "done", "failed").look()
    print(f"100,000 files in 100 folders: {time.perf_counter() - begun:.2f} s")
    assert len({sighting.path for sighting in found}) == 100_000
