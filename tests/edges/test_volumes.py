"""What kind of volume a path lies on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from folder_agent.edges import volumes
from folder_agent.edges.volumes import file_system, free_bytes, is_remote, same_volume

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt rw,relatime - tmpfs tmpfs rw
31 30 0:41 / /mnt/pacs\\040export rw,relatime shared:7 master:2 - cifs //server/export rw,vers=3.1.1
32 22 0:42 / /data rw - nfs4 10.0.0.9:/data rw
33 32 254:1 / /data rw - ext4 /dev/vdb rw
34 22 0:43 / /mnt/ssh rw - fuse.sshfs a@b:/ rw
a line that makes no sense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", "ext4"),
        ("/mnt/pacs export/CT1", "cifs"),
        ("/mnt/pacs export", "cifs"),
        ("/mnt/pacs exports", "tmpfs"),
        ("/data/x", "ext4"),  # mounted over
        ("/mnt/ssh/a", "fuse.sshfs"),
    ],
)
def test_the_longest_and_latest_mount_point_counts(path: str, kind: str) -> None:
    assert file_system(path, MOUNTS) == kind


@pytest.mark.skipif(sys.platform == "win32", reason="asks the drive there")
@pytest.mark.parametrize(("mount", "remote"), [("cifs", True), ("nfs4", True), ("ext4", False), ("tmpfs", False)])
def test_a_share_is_remote_and_a_disk_is_not(
    mount: str, remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / / rw - ext4 x rw\n23 22 0:9 / {tmp_path.resolve()} rw - {mount} y rw\n", "utf-8")
    monkeypatch.setattr(volumes, "_MOUNTS", table)
    assert is_remote(tmp_path / "not" / "there") is remote


@pytest.mark.skipif(sys.platform == "win32", reason="asks the drive there")
def test_what_cannot_be_known_counts_as_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "_MOUNTS", tmp_path / "nothing")
    assert not is_remote(tmp_path)


@pytest.mark.skipif(sys.platform != "win32", reason="UNC paths are Windows'")
def test_a_unc_path_is_remote() -> None:
    assert is_remote(Path(r"\\server\share\x"))


def test_the_free_space_of_a_folder_that_is_yet_to_be_made_is_its_volumes(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "done" / "2026-01-01") > 0


def test_one_volume_is_told_from_two(tmp_path: Path) -> None:
    assert same_volume(tmp_path, tmp_path / "done" / "x")
    if sys.platform == "linux" and Path("/proc").stat().st_dev != tmp_path.stat().st_dev:
        assert not same_volume(tmp_path, Path("/proc"))
