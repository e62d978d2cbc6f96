"""What kind of volume a path lies on: remote or local, how much is free, one volume or two.

Asks the operating system only (mount table, drive type, statvfs); opens no file of anyone's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from folder_agent.edges.paths import plain

# File systems whose files another machine can change, so that neither notifications nor inodes can be relied on.
_SHARES = (
    "cifs smb3 smbfs smb2 nfs nfs4 afs ncpfs coda 9p ceph glusterfs lustre beegfs gfs2 ocfs2 davfs virtiofs vboxsf "
    "vmhgfs prl_fs fuse.sshfs fuse.smbnetfs fuse.glusterfs fuse.ceph fuse.rclone fuse.s3fs fuse.davfs2 "
    "fuse.vmhgfs-fuse fuse.cifs fuse.nfs fuse.gvfsd-fuse"
)
_REMOTE_TYPES = frozenset(_SHARES.split())
_MOUNTS = Path("/proc/self/mountinfo")


def mount_point(path: Path) -> str:
    """The mount point that holds the path; "" on Windows, and where the system does not say."""
    return _mount_point(path)


def share_of(path: Path) -> str | None:
    """The UNC path of one on a mapped drive of Windows, which exists for the person who mapped it, and not for a
    service; None for any other path."""
    return _share_of(path)


def is_remote(path: Path) -> bool:
    """Whether the path lies on a network share (or a folder of the host machine); False where that is unknown."""
    return _is_remote(path)


if sys.platform == "win32":
    import ctypes

    _DRIVE_REMOTE = 4  # GetDriveTypeW
    _connection_of = ctypes.WinDLL("mpr").WNetGetConnectionW
    _connection_of.argtypes = (ctypes.c_wchar_p, ctypes.c_wchar_p, ctypes.POINTER(ctypes.c_uint32))
    _KNOWN = frozenset({0, 1201})  # NO_ERROR, ERROR_CONNECTION_UNAVAIL: remembered, and away at the moment

    def _is_remote(path: Path) -> bool:
        text = plain(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."
        return _is_on_network(text) or _is_on_network(_without_links(text))

    def _is_on_network(text: str) -> bool:
        return text.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(text[:3]) == _DRIVE_REMOTE

    def _without_links(text: str) -> str:
        """Where a folder that is a link, or lies in one, really is."""
        try:
            return plain(os.path.realpath(text))
        except OSError:  # too long for the call, or a share that is away
            return text

    def _share_of(path: Path) -> str | None:
        text = plain(os.path.abspath(path))  # noqa: PTH100
        if text[1:2] != ":":
            return None
        share, size = ctypes.create_unicode_buffer(1024), ctypes.c_uint32(1024)
        if _connection_of(text[:2], share, ctypes.byref(size)) not in _KNOWN or not share.value.startswith("\\\\"):
            return None
        return share.value.rstrip("\\") + text[2:].rstrip("\\")

    def _mount_point(path: Path) -> str:  # noqa: ARG001
        return ""

else:

    def _is_remote(path: Path) -> bool:
        return _holder(path)[1] in _REMOTE_TYPES

    def _share_of(path: Path) -> str | None:  # noqa: ARG001
        return None

    def _mount_point(path: Path) -> str:
        return _holder(path)[0]

    def _holder(path: Path) -> tuple[str, str | None]:
        try:
            table = os.fsdecode(_MOUNTS.read_bytes())
        except OSError:
            return "", None
        return holder(os.path.realpath(path), table)


def file_system(path: str, mountinfo: str) -> str | None:
    """The type of the file system that holds the path."""
    return holder(path, mountinfo)[1]


def holder(path: str, mountinfo: str) -> tuple[str, str | None]:
    """The longest mount point that holds the path, and its file system's type (proc(5), mountinfo: field 5 and the
    first after the dash). Of two mounts on one point the later one counts: it hides the other."""
    best, kind = "", None
    for line in mountinfo.splitlines():
        fields, dash, rest = line.partition(" - ")
        parts = fields.split(" ")
        if not dash or len(parts) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda hit: chr(int(hit[1], 8)), parts[4])
        holds = path == point or path.startswith(point.rstrip("/") + "/")
        if holds and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return best, kind


def free_bytes(path: Path) -> int:
    """Bytes that this process may still write on the path's volume; the path itself need not be there yet.

    Raises OSError when the volume cannot be asked.
    """
    return shutil.disk_usage(_nearest(path)).free


def same_volume(one: Path, other: Path) -> bool:
    """Whether a rename can lead from one path to the other; False when either volume cannot be asked."""
    try:
        return os.stat(_nearest(one)).st_dev == os.stat(_nearest(other)).st_dev  # noqa: PTH116 - st_dev alone
    except OSError:
        return False


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
