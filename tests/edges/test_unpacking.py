"""A real ZIP in a real drop folder: unpacked whole or not at all, within bounds that no header can lie about, and
finished or undone after a death at any moment."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Stamp
from folder_agent.core.unpacking import Limits
from folder_agent.edges import durable
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.unpacking import RealUnpacker

FILES = {"CT1/exam.json": b"{}", "CT1/a/IM1": b"1" * 3000, "CT1/a/IM2": b"2" * 3000}


def packed(path: Path, files: dict[str, bytes] | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in (FILES if files is None else files).items():
            archive.writestr(name, content)
    return path.read_bytes()


class Place:
    """A drop folder with an unpacker."""

    def __init__(self, root: Path, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.drop = RealDropFolder("ct", root)
        self.unpacker = RealUnpacker(self.drop, limits)

    def unpack(self, path: str = "x.zip") -> None:
        self.unpacker.unpack(path, self.stamp(path))

    def stamp(self, path: str) -> Stamp:
        found = self.drop.stamp(path)
        assert found is not None
        return found

    def refused(self, path: str = "x.zip") -> str:
        before = self.there()
        with pytest.raises(AgentError) as caught:
            self.unpack(path)
        assert self.there() == before
        return caught.value.problem.code

    def there(self) -> dict[str, bytes]:
        return {
            one.relative_to(self.root).as_posix(): one.read_bytes() for one in self.root.rglob("*") if one.is_file()
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "drop")


def expected(content: bytes, folder: str = "x.unpacked") -> dict[str, bytes]:
    files = {f"{folder}/{name}": body for name, body in FILES.items()}
    return {**files, f"{folder}/{folder.removesuffix('.unpacked')}.unpacked.zip": content}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_everything_is_in_one_folder_beside_it_with_the_archive(place: Place, method: int) -> None:
    content = packed(place.root / "x.zip", method=method)
    place.unpack()
    assert place.there() == expected(content)


def test_it_appears_where_the_archive_was_and_overwrites_nothing(place: Place) -> None:
    (place.root / "sub/x.unpacked").mkdir(parents=True)
    (place.root / "sub/x.unpacked/mine").write_bytes(b"mine")
    content = packed(place.root / "sub/x.zip")
    place.unpack("sub/x.zip")
    found = place.there()
    assert found.pop("sub/x.unpacked/mine") == b"mine"
    assert found["sub/x (2).unpacked/x.unpacked.zip"] == content
    assert found["sub/x (2).unpacked/CT1/a/IM1"] == FILES["CT1/a/IM1"]


def test_names_as_chinese_windows_writes_them(place: Place) -> None:
    names = ["检查/影像.dcm", "诚乗.pdf"]
    raws = [name.encode("gbk") for name in names]
    content = packed(place.root / "x.zip", {f"{n}" * len(raw): b"x" for n, raw in enumerate(raws)})
    for n, raw in enumerate(raws):
        content = content.replace(f"{n}".encode() * len(raw), raw)
    (place.root / "x.zip").write_bytes(content)
    place.unpack()
    assert {f"x.unpacked/{name}" for name in names} < place.there().keys()


def test_no_look_sees_a_part_of_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(place.root / "x.zip")
    seen = []
    sync = durable.sync_file
    monkeypatch.setattr(
        durable, "sync_file", lambda file: (sync(file), seen.append({s.path for s in place.drop.look()}))
    )
    place.unpack()
    assert seen
    assert all(paths == {"x.zip"} for paths in seen)


def corrupt(path: Path, at: bytes, offset: int, new: bytes) -> None:
    raw = bytearray(path.read_bytes())
    where = raw.index(at) + offset
    raw[where : where + len(new)] = new
    path.write_bytes(raw)


def test_an_archive_that_is_cut_short_anywhere_is_broken_and_leaves_nothing(place: Place) -> None:
    content = packed(place.root / "x.zip")
    for length in range(0, len(content), 37):
        (place.root / "x.zip").write_bytes(content[:length])
        assert place.refused() == "FA-ZIP-BROKEN"


@pytest.mark.parametrize("size", [5, 2900, 2**31])
def test_a_header_that_lies_about_a_size_is_found_out(place: Place, size: int) -> None:
    packed(place.root / "x.zip", {"IM1": b"1" * 3000})
    corrupt(place.root / "x.zip", b"PK\1\2", 24, struct.pack("<L", size))
    assert place.refused() in ("FA-ZIP-BROKEN", "FA-ZIP-LARGE")


def test_flipped_bytes_are_found_by_the_checksum(place: Place) -> None:
    packed(place.root / "x.zip", {"IM1": b"1" * 3000}, zipfile.ZIP_STORED)
    corrupt(place.root / "x.zip", b"1111", 100, b"0")
    assert place.refused() == "FA-ZIP-BROKEN"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_data_is_the_archives_fault_whatever_it_was_packed_by(place: Place, method: int) -> None:
    content = packed(place.root / "x.zip", {"IM1": bytes(range(256)) * 3}, method)
    for at in range(content.index(b"IM1") + 12, content.index(b"PK\1\2"), 23):
        (place.root / "x.zip").write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        assert place.refused() == "FA-ZIP-BROKEN"


@pytest.mark.parametrize(("at", "offset"), [(b"PK\1\2", 42), (b"PK\5\6", 16), (b"PK\5\6", 12)])
@pytest.mark.parametrize("value", [1, 5000, 2**31 - 1, 2**32 - 2, 2**32 - 1])
def test_a_place_outside_of_the_file_is_the_archives_fault_and_not_the_disks(
    place: Place, at: bytes, offset: int, value: int
) -> None:
    packed(place.root / "x.zip")
    corrupt(place.root / "x.zip", at, offset, struct.pack("<L", value))
    assert place.refused() in ("FA-ZIP-BROKEN", "FA-ZIP-EMPTY")


@pytest.mark.parametrize("value", [1, 2**40, 2**63, 2**64 - 1])
def test_a_place_beyond_every_file_is_the_archives_fault_too(place: Place, value: int) -> None:
    content = packed(place.root / "x.zip")
    end = content.index(b"PK\5\6")
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, value, 1)
    tail = content[end : end + 8] + b"\xff" * 12 + content[end + 20 :]
    (place.root / "x.zip").write_bytes(content[:end] + locator + tail)
    assert place.refused() == "FA-ZIP-BROKEN"


def test_entries_that_share_their_bytes_are_held_to_the_bounds(tmp_path: Path) -> None:
    """As in a bomb without nesting: every entry of the directory leads to the same data."""
    place = Place(tmp_path / "drop", Limits(total=1024**2, free=1024**2))
    packed(place.root / "x.zip", {f"{n}": bytes(300_000) for n in range(5)})
    assert place.refused() == "FA-ZIP-LARGE"


def test_a_directory_that_announces_too_many_is_not_read(place: Place) -> None:
    packed(place.root / "x.zip")
    corrupt(place.root / "x.zip", b"PK\5\6", 10, struct.pack("<H", 60_000))
    assert place.refused() == "FA-ZIP-LARGE"


def test_one_with_nothing_in_it_says_so(place: Place) -> None:
    packed(place.root / "x.zip", {})
    assert place.refused() == "FA-ZIP-EMPTY"


def test_what_is_no_zip_at_all_is_broken(place: Place) -> None:
    for content in (b"", b"PK\3\4", b"Rar!\x1a\x07\x00" * 100, os.urandom(3000)):
        (place.root / "x.zip").write_bytes(content)
        assert place.refused() == "FA-ZIP-BROKEN"


def test_an_encrypted_one_says_so(place: Place) -> None:
    packed(place.root / "x.zip", {"IM1": b"1"})
    corrupt(place.root / "x.zip", b"PK\1\2", 8, b"\1")
    assert place.refused() == "FA-ZIP-LOCKED"


def test_links_inside_are_not_made(place: Place) -> None:
    with zipfile.ZipFile(place.root / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("IM1")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert place.refused() == "FA-ZIP-NAME"


def test_another_version_under_our_hands_is_left_alone(place: Place) -> None:
    packed(place.root / "x.zip")
    stamp = place.stamp("x.zip")
    content = packed(place.root / "x.zip", {"IM1": b"newer"})
    with pytest.raises(AgentError) as caught:
        place.unpacker.unpack("x.zip", stamp)
    assert (caught.value.problem.code, place.there()) == ("FA-CHANGED", {"x.zip": content})


def test_a_full_disk_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed(place.root / "x.zip")
    full = shutil.disk_usage(place.root)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        with pytest.raises(AgentError) as caught:
            place.unpack()
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-DISK-FULL", Disposition.RETRY)
    place.unpack()
    assert place.there() == expected(content)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this platform has no links")
def test_an_archive_behind_a_link_is_not_touched(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    packed(outside / "x.zip")
    (place.root / "link").symlink_to(outside, target_is_directory=True)
    found = (outside / "x.zip").stat()
    with pytest.raises(AgentError):
        place.unpacker.unpack("link/x.zip", Stamp(found.st_size, found.st_mtime_ns, found.st_ino))
    assert list(outside.iterdir()) == [outside / "x.zip"]


class Died(BaseException):
    """The process is gone."""


def dying_at(number: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Die before the n-th call that changes the disk (or just after it, for odd ones); how many there were."""
    calls = 0
    mine = threading.get_ident()  # another test's agent may live in this process

    def around(function: Callable[..., object]) -> Callable[..., object]:
        def called(*args: object, **more: object) -> object:
            nonlocal calls
            if threading.get_ident() != mine:
                return function(*args, **more)
            calls += 1
            if calls * 2 == number:
                raise Died
            result = function(*args, **more)
            if calls * 2 + 1 == number:
                raise Died
            return result

        return called

    for owner, name in (
        *((os, one) for one in ("mkdir", "rmdir", "unlink", "replace", "rename", "fsync", "open")),
        *((durable, one) for one in ("_rename", "_replace", "sync_file", "sync_folder")),
    ):
        patch.setattr(owner, name, around(getattr(owner, name)))
    return lambda: calls


def sums(place: Place) -> Counter[str]:
    return Counter(hashlib.sha256(body).hexdigest() for body in place.there().values())


def deaths(folder: Path) -> Iterator[tuple[Place, bytes, int, bool]]:
    """For each moment: a place in which an unpacking died there, until one is not reached any more."""
    for number in range(2, 2000):
        place = Place(folder / f"{number}")
        content = packed(place.root / "x.zip")
        died = False
        with pytest.MonkeyPatch.context() as patch:
            calls = dying_at(number, patch)
            try:
                place.unpack()
            except Died:
                died = True
        yield place, content, number, died
        if number > 2 * calls() + 1:
            return
    raise AssertionError("there is no end to it")


def test_a_death_at_any_moment_is_finished_or_undone_and_the_archive_is_always_there_once(tmp_path: Path) -> None:
    count = 0
    for place, content, number, died in deaths(tmp_path):
        digest = hashlib.sha256(content).hexdigest()
        assert sums(place)[digest] == 1, f"at {number} the archive is {sums(place)[digest]} times there"
        seen = {sighting.path for sighting in place.drop.look()}
        assert seen in ({"x.zip"}, set(), set(expected(content))), f"at {number} a look sees {seen}"
        place.unpacker.finish()
        found = place.there()
        assert found in ({"x.zip": content}, expected(content)), f"at {number} there is {sorted(found)}"
        if found == {"x.zip": content}:
            place.unpack()
        assert place.there() == expected(content)
        assert sorted(one.name for one in place.root.iterdir()) == ["x.unpacked"], number
        count += died
    assert count > 60


def test_a_second_death_while_finishing_is_finished_too(tmp_path: Path) -> None:
    for place, content, number, died in deaths(tmp_path):
        if not died or number % 5:
            continue
        for second in range(2, 40, 3):
            with pytest.MonkeyPatch.context() as patch:
                dying_at(second, patch)
                try:
                    place.unpacker.finish()
                except Died:
                    continue
            break
        place.unpacker.finish()
        assert place.there() in ({"x.zip": content}, expected(content)), number
