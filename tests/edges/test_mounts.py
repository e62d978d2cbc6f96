"""A share that goes away leaves an empty folder where it was: real volumes, mounted and unmounted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.mounts import Anchor
from folder_agent.edges.shelves import RealShelves
from folder_agent.edges.volumes import mount_point
from tests.volumes import bind, mount, mounted, unmount


@dataclass
class Memory:
    """What the ledger keeps for the anchor."""

    note: str | None = None
    known: list[str] = field(default_factory=list)
    asked: int = 0

    def remember(self, text: str) -> None:
        self.note = text

    def files(self) -> list[str]:
        self.asked += 1
        return self.known

    def drop(self, root: Path) -> RealDropFolder:
        """The drop folder of a new process."""
        return RealDropFolder("ct", root, anchor=self.anchor(root))

    def anchor(self, root: Path) -> Anchor:
        return Anchor(root, lambda: self.note, self.remember, self.files)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A volume that holds `a.dcm`, and is to be shown elsewhere as a share is."""
    with mounted(tmp_path / "store") as place:
        (place / "a.dcm").write_bytes(b"x")
        yield place


@pytest.fixture
def share(tmp_path: Path, store: Path) -> Iterator[Path]:
    """The mount point, with the share in it."""
    place = tmp_path / "share"
    place.mkdir()
    bind(store, place)
    try:
        yield place
    finally:
        while place.is_mount():
            unmount(place)


def found(drop: RealDropFolder) -> list[str]:
    return sorted(sighting.path for sighting in drop.look())


def outage(drop: RealDropFolder) -> tuple[str, object]:
    with pytest.raises(AgentError) as caught:
        drop.look()
    return caught.value.problem.code, dict(caught.value.problem.values)["detail"]


@pytest.mark.parametrize("restarts", [False, True])
def test_an_unmounted_share_is_an_outage_though_its_empty_mount_point_is_there(share: Path, restarts: bool) -> None:
    memory = Memory(known=["a.dcm"])
    drop = memory.drop(share)
    assert found(drop) == ["a.dcm"]
    unmount(share)
    drop = memory.drop(share) if restarts else drop
    assert outage(drop) == ("FA-DROP-GONE", "not mounted")
    assert outage(drop) == ("FA-DROP-GONE", "not mounted")


def test_the_share_that_is_back_is_believed_at_once(share: Path, store: Path) -> None:
    memory = Memory(known=["a.dcm"])
    drop = memory.drop(share)
    drop.look()
    unmount(share)
    outage(drop)
    bind(store, share)
    assert found(drop) == ["a.dcm"]
    assert drop.stamp("gone.dcm") is None


def test_a_file_that_is_asked_for_while_the_share_is_away_is_not_gone(share: Path) -> None:
    drop = Memory(known=["a.dcm"]).drop(share)
    drop.look()
    unmount(share)
    for ask in (lambda: drop.stamp("a.dcm"), lambda: drop.below("CT1"), lambda: drop.below("")):
        with pytest.raises(AgentError) as caught:
            ask()
        assert caught.value.problem.code == "FA-DROP-GONE"


def test_what_is_put_into_the_empty_mount_point_does_not_make_it_the_share(share: Path) -> None:
    memory = Memory(known=["a.dcm"])
    drop = memory.drop(share)
    drop.look()
    unmount(share)
    (share / "stray.dcm").write_bytes(b"y")
    assert outage(drop) == ("FA-DROP-GONE", "not mounted")


def test_a_volume_that_is_mounted_over_the_files_is_an_outage_until_it_goes(tmp_path: Path) -> None:
    root = tmp_path / "drop"
    root.mkdir()
    (root / "a.dcm").write_bytes(b"x")
    memory = Memory(known=["a.dcm"])
    drop = memory.drop(root)
    drop.look()
    with mounted(root):
        assert outage(drop) == ("FA-DROP-GONE", "another volume is mounted over it")
        assert outage(memory.drop(root)) == ("FA-DROP-GONE", "another volume is mounted over it")
    assert found(drop) == ["a.dcm"]


def test_a_share_that_is_mounted_for_the_first_time_is_believed(tmp_path: Path) -> None:
    root = tmp_path / "drop"
    root.mkdir()
    memory = Memory()
    drop = memory.drop(root)
    assert found(drop) == []
    with mounted(root):
        (root / "a.dcm").write_bytes(b"x")
        assert found(drop) == ["a.dcm"]
        memory.known = ["a.dcm"]
        unmount(root)
        assert outage(memory.drop(root)) == ("FA-DROP-GONE", "not mounted")
        mount(root)


def test_a_folder_that_moved_to_another_volume_with_its_files_goes_on(share: Path) -> None:
    memory = Memory(known=["a.dcm", "b.dcm"])
    drop = memory.drop(share)
    drop.look()
    unmount(share)
    (share / "a.dcm").write_bytes(b"x")
    assert found(drop) == ["a.dcm"]
    assert found(memory.drop(share)) == ["a.dcm"]


def test_without_known_files_there_is_nothing_to_doubt(share: Path) -> None:
    drop = Memory().drop(share)
    drop.look()
    unmount(share)
    assert found(drop) == []


def test_a_drop_folder_that_is_set_elsewhere_is_another_one(share: Path, tmp_path: Path) -> None:
    memory = Memory(known=["a.dcm"])
    memory.drop(share).look()
    assert found(memory.drop(tmp_path / "share" / ".." / "share")) == ["a.dcm"]
    other = tmp_path / "other"
    other.mkdir()
    assert found(memory.drop(other)) == []


def test_the_ledger_is_not_asked_while_nothing_changes(share: Path) -> None:
    memory = Memory(known=["a.dcm"])
    drop = memory.drop(share)
    for _ in range(5):
        drop.look()
    assert memory.asked == 0


def test_a_share_that_is_away_is_no_home_for_shelves(share: Path) -> None:
    memory = Memory(known=["a.dcm"])
    anchor = memory.anchor(share)
    RealDropFolder("ct", share, anchor=anchor).look()
    assert anchor.is_home()
    unmount(share)
    assert not memory.anchor(share).is_home()
    shelves = RealShelves(share, share / "done", share / "failed", anchor.check)
    with pytest.raises(AgentError) as caught:
        shelves.prepare(shelves.choose("done", "2026-01-31", "CT1", 1))
    assert caught.value.problem.code == "FA-DROP-GONE"
    assert list(share.iterdir()) == []


def test_the_mount_point_is_the_nearest_one_above(share: Path) -> None:
    (share / "below").mkdir()
    assert mount_point(share / "below") == str(share.resolve())
