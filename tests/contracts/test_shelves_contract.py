"""What every implementation of the Shelves port keeps: in memory, on one disk, and between two disks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.notes import why_note
from folder_agent.core.ports import Shelves
from folder_agent.core.records import Stamp
from folder_agent.edges.paths import as_text, from_text, stamp_of
from folder_agent.edges.shelves import RealShelves
from tests.contracts.fake_shelves import FakeShelves, Held

DAY = "2026-01-31"
NOTE = why_note("CT1", [], "2026-01-31 10:00", "D:\\drop")
OTHER_NOTE = why_note("CT1", [], "2026-02-01 10:00", "D:\\drop")


class World:
    """A drop folder with its shelves, seen by the test."""

    shelves: Shelves

    def put(self, path: str, content: bytes, mtime_ns: int = 1_700_000_000_000_000_000) -> Stamp:
        raise NotImplementedError

    def dropped(self) -> dict[str, bytes]:
        raise NotImplementedError

    def put_on_shelf(self, target: str, inside: str, content: bytes) -> None:
        raise NotImplementedError

    def new_target(self, shelf: str = "done", name: str = "CT1") -> str:
        target = self.shelves.choose(shelf, DAY, name, 1)
        self.shelves.prepare(target)
        return target


class FakeWorld(World):
    def __init__(self) -> None:
        self.shelves = self.fake = FakeShelves()

    def put(self, path: str, content: bytes, mtime_ns: int = 1_700_000_000_000_000_000) -> Stamp:
        self.fake.drop[path] = Held(content, mtime_ns)
        return self.fake.drop[path].stamp

    def dropped(self) -> dict[str, bytes]:
        return {path: held.content for path, held in self.fake.drop.items()}

    def put_on_shelf(self, target: str, inside: str, content: bytes) -> None:
        self.fake.shelved[target][inside] = Held(content)


class RealWorld(World):
    def __init__(self, root: Path, shelf: Path) -> None:
        self.root, self.shelf = root, shelf
        self.shelves = RealShelves(root, shelf / "done", shelf / "failed")

    def put(self, path: str, content: bytes, mtime_ns: int = 1_700_000_000_000_000_000) -> Stamp:
        place = self.root / from_text(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, ns=(mtime_ns, mtime_ns))
        return stamp_of(place.lstat())

    def dropped(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file() and self.shelf not in path.parents)
        return {as_text(path.relative_to(self.root).as_posix()): path.read_bytes() for path in files}

    def put_on_shelf(self, target: str, inside: str, content: bytes) -> None:
        (Path(target) / inside).write_bytes(content)


@pytest.fixture(params=["fake", "real", "across"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    (tmp_path / "drop").mkdir()
    if request.param == "real":
        yield RealWorld(tmp_path / "drop", tmp_path / "drop" / "shelf")
        return
    other = other_volume(tmp_path)
    try:
        yield RealWorld(tmp_path / "drop", other)
    finally:
        shutil.rmtree(other)


def other_volume(here: Path) -> Path:
    """A new folder on another volume than `here`."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == here.stat().st_dev:
        if os.environ.get("FOLDER_AGENT_CI") == "1":
            pytest.fail("no second volume to move to")
        pytest.skip("no second volume to move to")
    return Path(tempfile.mkdtemp(dir=shm)).absolute()  # on Windows with its drive


_WINDOWS = {"ENOENT": ("WinError 2", "WinError 3")}  # how Windows' errors are told: by their own numbers


def refused(error: pytest.ExceptionInfo[AgentError], detail: str | None = None) -> bool:
    told = error.value
    same = told.problem.code == "FA-SHELF" and told.disposition is Disposition.RETRY
    return same and (detail is None or dict(told.problem.values)["detail"] in {detail, *_WINDOWS.get(detail, ())})


def test_a_place_is_chosen_by_shelf_day_and_safe_name(world: World) -> None:
    first = world.shelves.choose("done", DAY, "CT:1/x", 1)
    assert [Path(first).parts[-3:], Path(world.shelves.choose("failed", DAY, "CT1", 3)).parts[-3:]] == [
        ("done", DAY, "CT_1_x"),
        ("failed", DAY, "CT1 (3)"),
    ]
    assert Path(first).root  # the fake's has no drive on Windows


def test_a_place_is_free_until_it_is_prepared_and_preparing_repeats(world: World) -> None:
    target = world.shelves.choose("done", DAY, "CT1", 1)
    assert world.shelves.is_free(target)
    world.shelves.prepare(target)
    world.shelves.prepare(target)
    assert not world.shelves.is_free(target)


def test_a_file_is_moved_and_moving_it_again_says_so_again(world: World) -> None:
    stamp, target = world.put("CT1/影像/1.dcm", b"pixels"), world.new_target()
    assert world.shelves.move("CT1/影像/1.dcm", target, "影像/1.dcm", stamp)
    assert world.shelves.move("CT1/影像/1.dcm", target, "影像/1.dcm", stamp)
    world.shelves.sync(target, ["CT1/影像", "CT1"])
    assert world.shelves.read(target, "影像/1.dcm") == b"pixels"
    assert world.dropped() == {}


def test_a_file_that_is_neither_here_nor_there_is_told(world: World) -> None:
    assert world.shelves.move("CT1/1.dcm", world.new_target(), "1.dcm", Stamp(6, 1, 0)) is False


def test_a_newcomer_of_the_same_name_stays(world: World) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.new_target()
    assert world.shelves.move("1.dcm", target, "1.dcm", stamp)
    world.put("1.dcm", b"others", mtime_ns=5_000_000_000)
    assert world.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert world.shelves.read(target, "1.dcm") == b"pixels"
    assert world.dropped() == {"1.dcm": b"others"}


def test_a_copy_whose_original_was_not_removed_is_finished(world: World) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.new_target()
    world.put_on_shelf(target, "1.dcm", b"pixels")
    assert world.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert (world.dropped(), world.shelves.read(target, "1.dcm")) == ({}, b"pixels")


@pytest.mark.parametrize("theirs", [b"longer than ours", b"slexip", b""])
def test_what_is_not_ours_is_never_overwritten(world: World, theirs: bytes) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.new_target()
    world.put_on_shelf(target, "1.dcm", theirs)
    with pytest.raises(AgentError) as error:
        world.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert refused(error, "EEXIST")
    assert (world.dropped(), world.shelves.read(target, "1.dcm")) == ({"1.dcm": b"pixels"}, theirs)


@pytest.mark.parametrize("newcomer", [None, b"newcomer"])
def test_another_file_at_the_target_is_not_taken_for_ours(world: World, newcomer: bytes | None) -> None:
    target = world.new_target()
    world.put_on_shelf(target, "1.dcm", b"not our size")
    if newcomer is not None:
        world.put("1.dcm", newcomer)
    with pytest.raises(AgentError) as error:
        world.shelves.move("1.dcm", target, "1.dcm", Stamp(6, 1, 0))
    assert refused(error, "EEXIST")


def test_a_file_that_changed_before_it_was_moved_is_not_moved(world: World) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.new_target()
    world.put("1.dcm", b"others", mtime_ns=5_000_000_000)
    with pytest.raises(AgentError) as error:
        world.shelves.move("1.dcm", target, "1.dcm", stamp)
    assert (error.value.problem.code, error.value.disposition) == ("FA-CHANGED", Disposition.WAIT)
    assert error.value.problem.path == "1.dcm"
    assert (world.dropped(), world.shelves.read(target, "1.dcm")) == ({"1.dcm": b"others"}, None)


@pytest.mark.parametrize("path", ["../1.dcm", "a/../../1.dcm", "/etc/passwd", "", ".", "a//b", "a/./b"])
def test_paths_that_lead_out_are_refused(world: World, path: str) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.new_target()
    for source, inside in ((path, "1.dcm"), ("1.dcm", path)):
        with pytest.raises(AgentError) as error:
            world.shelves.move(source, target, inside, stamp)
        assert refused(error, "EINVAL")
    with pytest.raises(AgentError):
        world.shelves.read(target, path)
    assert world.dropped() == {"1.dcm": b"pixels"}


def test_nothing_moves_into_a_folder_that_was_not_prepared(world: World) -> None:
    stamp, target = world.put("1.dcm", b"pixels"), world.shelves.choose("failed", DAY, "CT1", 1)
    for inside in ("1.dcm", "sub/1.dcm"):
        with pytest.raises(AgentError) as error:
            world.shelves.move("1.dcm", target, inside, stamp)
        assert refused(error, "ENOENT")
        assert dict(error.value.problem.values)["shelf"] == "failed"
    assert world.dropped() == {"1.dcm": b"pixels"}


def test_a_note_replaces_our_own_and_no_other(world: World) -> None:
    target = world.new_target("failed")
    world.shelves.write_note(target, "WHY.txt", NOTE)
    world.shelves.write_note(target, "WHY.txt", OTHER_NOTE)
    assert world.shelves.read(target, "WHY.txt") == OTHER_NOTE
    world.put_on_shelf(target, "receipt.json", b'{"sum": 12}')
    with pytest.raises(AgentError) as error:
        world.shelves.write_note(target, "receipt.json", b'{\n  "receipt": 1,')
    assert refused(error, "EEXIST")
    assert world.shelves.read(target, "receipt.json") == b'{"sum": 12}'


def test_reading_what_is_not_there(world: World) -> None:
    target = world.shelves.choose("done", DAY, "CT1", 1)
    assert world.shelves.read(target, "receipt.json") is None
    world.shelves.prepare(target)
    assert world.shelves.read(target, "receipt.json") is None


def test_tidying_never_raises(world: World) -> None:
    world.put("CT1/left.txt", b"x")
    world.shelves.tidy(["CT1", "", "not there", "../out", "not/there"])
    assert world.dropped() == {"CT1/left.txt": b"x"}


def test_failed_bundles_are_known_by_their_files(world: World) -> None:
    assert not world.shelves.has_failed()
    world.new_target("done")
    world.new_target("failed")
    assert not world.shelves.has_failed()
    world.shelves.write_note(world.new_target("failed"), "WHY.txt", NOTE)
    assert world.shelves.has_failed()


def test_a_bundle_goes_back_whole_under_a_free_name(world: World) -> None:
    target = world.new_target("failed", "CT1 (2)")
    stamps = {path: world.put(f"x/{path}", path.encode()) for path in ("a.json", "1.dcm", "sub/2.dcm")}
    for path, stamp in stamps.items():
        world.shelves.move(f"x/{path}", target, path, stamp)
    world.shelves.write_note(target, "WHY.txt", NOTE)
    world.put("CT1/other.dcm", b"other")
    assert world.shelves.put_back(target, "CT1") == "CT1 (2)"
    back = {f"CT1 (2)/{path}": path.encode() for path in stamps}
    assert world.dropped() == {**back, "CT1 (2)/WHY.txt": NOTE, "CT1/other.dcm": b"other"}
    assert world.shelves.is_free(target)
    assert not world.shelves.has_failed()


def test_a_bundle_goes_back_into_a_folder_of_the_drop_folder(world: World) -> None:
    target = world.new_target("failed")
    world.put_on_shelf(target, "1.dcm", b"pixels")
    world.put("2026/03/CT1/other.dcm", b"other")
    assert world.shelves.put_back(target, "CT1", "2026/03") == "2026/03/CT1 (2)"
    assert world.dropped() == {"2026/03/CT1 (2)/1.dcm": b"pixels", "2026/03/CT1/other.dcm": b"other"}
    target = world.new_target("failed", "CT2")
    world.put_on_shelf(target, "1.dcm", b"pixels")
    assert world.shelves.put_back(target, "CT2", "new/folder") == "new/folder/CT2"


def refused_bundle(world: World, old: str = "json/a.json") -> str:
    target = world.new_target("failed")
    for inside, content in ((old, b"old"), ("dicom/1.dcm", b"pixels")):
        world.shelves.move(f"x/{inside}", target, inside, world.put(f"x/{inside}", content))
    return target


def test_a_corrected_sidecar_takes_the_old_ones_place_and_that_is_kept(world: World) -> None:
    target = refused_bundle(world)
    stamp = world.put("CT1/a.json", b"corrected", mtime_ns=1_800_000_000_000_000_000)
    for _ in range(2):
        assert world.shelves.correct(target, "CT1/a.json", stamp)
    kept = {name: world.shelves.read(target, name) for name in ("json/a.json", "json/a.json.replaced", "dicom/1.dcm")}
    assert kept == {"json/a.json": b"corrected", "json/a.json.replaced": b"old", "dicom/1.dcm": b"pixels"}
    assert world.dropped() == {}
    again = world.put("CT1/a.json", b"corrected again", mtime_ns=1_900_000_000_000_000_000)
    assert world.shelves.correct(target, "CT1/a.json", again)
    assert world.shelves.read(target, "json/a.json (2).replaced") == b"corrected"


def test_a_corrected_sidecar_may_have_another_name_and_the_old_one_be_missing(world: World) -> None:
    target = refused_bundle(world)
    stamp = world.put("CT1/b.json", b"corrected")
    assert world.shelves.correct(target, "CT1/b.json", stamp)
    assert world.shelves.read(target, "json/b.json") == b"corrected"
    assert world.shelves.read(target, "json/a.json") is None
    target = world.new_target("failed", "CT2")
    world.put_on_shelf(target, "1.dcm", b"pixels")
    assert world.shelves.correct(target, "CT2.json", world.put("CT2.json", b"the first"))
    assert world.shelves.read(target, "CT2.json") == b"the first"


def test_a_corrected_sidecar_that_is_gone_or_another_one_changes_nothing(world: World) -> None:
    target = refused_bundle(world)
    stamp = world.put("CT1/a.json", b"corrected")
    newer = world.put("CT1/a.json", b"written anew")
    with pytest.raises(AgentError) as error:
        world.shelves.correct(target, "CT1/a.json", stamp)
    assert error.value.problem.code == "FA-CHANGED"
    assert not world.shelves.correct(target, "CT1/gone.json", newer)
    assert world.shelves.read(target, "json/a.json") == b"old"
    assert world.dropped() == {"CT1/a.json": b"written anew"}


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_bundle_that_is_not_there_cannot_go_back(world: World, is_prepared: bool) -> None:
    target = world.shelves.choose("failed", DAY, "CT1", 1)
    if is_prepared:
        world.shelves.prepare(target)
    with pytest.raises(AgentError) as error:
        world.shelves.put_back(target, "CT1")
    assert refused(error, "ENOENT")
    assert world.dropped() == {}


# --- purging ----------------------------------------------------------------------------------------------------------


def test_days_and_their_bundles_are_listed_in_order(world: World) -> None:
    assert world.shelves.days() == []
    targets = [world.shelves.choose("done", day, name, 1) for day in ("2026-02-01", DAY) for name in ("CT2", "检查1")]
    for target in targets:
        world.shelves.prepare(target)
        world.put_on_shelf(target, "1.dcm", b"x")
    world.new_target("failed", "CT9")
    assert list(world.shelves.days()) == [DAY, "2026-02-01"]
    assert list(world.shelves.on_day(DAY)) == targets[2:]
    assert world.shelves.free_bytes() > 0


def test_a_purged_bundle_is_gone_with_its_receipt_and_its_day(world: World) -> None:
    target = world.new_target()
    world.put_on_shelf(target, "1.dcm", b"pixels")
    world.put_on_shelf(target, "receipt.json", b"{}")
    assert world.shelves.purge(target, {"1.dcm": 6, "gone.pdf": 9}) == 6
    assert world.shelves.is_free(target)
    assert list(world.shelves.days()) == []


def test_what_is_not_listed_or_is_of_another_size_stays_with_the_receipt(world: World) -> None:
    target = world.new_target()
    for inside, content in {"1.dcm": b"pixels", "2.dcm": b"other", "note.txt": b"mine", "receipt.json": b"{}"}.items():
        world.put_on_shelf(target, inside, content)
    assert world.shelves.purge(target, {"1.dcm": 6, "2.dcm": 6, "receipt.json": 2}) == 6
    assert world.shelves.read(target, "1.dcm") is None
    kept = [world.shelves.read(target, name) for name in ("2.dcm", "note.txt", "receipt.json")]
    assert kept == [b"other", b"mine", b"{}"]


def test_nothing_is_purged_from_failed(world: World) -> None:
    target = world.new_target("failed")
    world.put_on_shelf(target, "1.dcm", b"pixels")
    with pytest.raises(AgentError) as error:
        world.shelves.purge(target, {"1.dcm": 6})
    assert refused(error, "EINVAL")
    assert world.shelves.read(target, "1.dcm") == b"pixels"


def test_a_purge_never_leads_out_of_its_bundle(world: World) -> None:
    target, other = world.new_target(), world.new_target(name="CT2")
    world.put_on_shelf(other, "1.dcm", b"pixels")
    world.put_on_shelf(target, "receipt.json", b"{}")
    with pytest.raises(AgentError):
        world.shelves.purge(target, {"../CT2/1.dcm": 6})
    assert world.shelves.read(other, "1.dcm") == b"pixels"
