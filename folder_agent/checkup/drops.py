"""Checks of one drop folder: there, listable, files can be made, renamed, moved to the shelves and removed again.

Touches probe files of its own name in the drop folder and its shelves, which it makes if they are missing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from folder_agent.assembly import LOCAL_SETTLE_S, REMOTE_SETTLE_S
from folder_agent.checkup.findings import Check, Outcome, fault, guarded, of_problem, ok, warning
from folder_agent.checkup.own_side import space
from folder_agent.core.errors import problem
from folder_agent.edges import durable
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.drop_folder.watching import Watcher
from folder_agent.edges.paths import openable
from folder_agent.edges.volumes import is_remote, same_volume, share_of
from folder_agent.settings import DropSettings

_NOTICED_S = 3.0  # how long a notification may take


def examine(drop: DropSettings) -> list[Check]:
    """All checks of one drop folder; the later ones only where the earlier ones let them."""
    return guarded(f"drop {drop.name}", lambda: _examine(drop))


def _examine(drop: DropSettings) -> Iterator[Check]:
    name = f"drop {drop.name}"
    yield from _drives(drop)
    if not drop.path.is_dir():
        yield fault(
            name,
            f"{drop.path} 不存在,或不是文件夹",
            f"{drop.path} is not there, or is no folder",
            "请创建它,或更正设置中的 path;网络共享请核对登录与权限",
            "Make it, or correct path in the settings; for a share, check login and rights.",
        )
        return
    with os.scandir(openable(drop.path)) as entries:
        count = sum(1 for _ in entries)
    yield ok(name, f"{drop.path} 可读取({count} 项)", f"{drop.path} can be listed ({count} entries)")
    yield _rights(drop)
    for shelf, place in (("done", drop.done_dir), ("failed", drop.failed_dir)):
        yield from guarded(f"{name} {shelf}", partial(_shelf, drop, shelf, place))
    if drop.status is not None:
        yield _status_area(drop, drop.status)
    yield _settling(drop)
    yield _noticing(drop)
    yield space(f"{name} space", drop.path)


def _drives(drop: DropSettings) -> Iterator[Check]:
    """A mapped drive is this person's alone: a service, at night, does not have it."""
    for place in dict.fromkeys((drop.path, drop.done_dir, drop.failed_dir)):
        if (share := share_of(place)) is not None:
            yield warning(
                f"drop {drop.name} drive",
                f"{place.drive} 是映射的网络驱动器,只属于您的登录会话,服务看不到它",
                f"{place.drive} is a mapped network drive: it belongs to your session, and a service does not see it",
                f"请在设置中改为 '{share}'",
                f"Write '{share}' in the settings instead.",
            )


def _rights(drop: DropSettings) -> Check:
    """Make a file, rename it, remove it."""
    name = f"drop {drop.name} rights"
    first, second = _probes(drop.path)
    try:
        with _clean((first, second)):
            first.open("xb").close()
            durable.rename_new(first, second)
            durable.remove(second)
    except OSError as error:
        return of_problem(name, problem("FA-SHELF", shelf=str(drop.path), detail=name_of(error)))
    return ok(name, "可以新建、改名和删除文件", "files can be made, renamed and removed")


def _shelf(drop: DropSettings, shelf: str, place: Path) -> Iterator[Check]:
    """Move a file there as a bundle's files would be, or copy it where that is another volume."""
    name, was_there = f"drop {drop.name} {shelf}", place.is_dir()
    first, _ = _probes(drop.path)
    _, second = _probes(place)
    near = True
    try:
        durable.make_folder(openable(place))
        near = same_volume(drop.path, place)
        with _clean((first, second)):
            (first if near else second).open("xb").close()
            if near:
                durable.rename_new(first, second)
            durable.remove(second)
    except OSError as error:
        yield of_problem(name, problem("FA-SHELF", shelf=str(place), detail=name_of(error)))
        return
    made_zh, made = ("", "") if was_there else (",已创建", ", made just now")
    if near:
        yield ok(name, f"{place} 可移入{made_zh}", f"{place} takes what is moved there{made}")
        return
    yield ok(
        name,
        f"{place} 可写入{made_zh};位于另一个卷,文件将被复制并核对后再删除原件",
        f"{place} can be written{made}; it is another volume: files are copied and compared before they leave",
    )


def _status_area(drop: DropSettings, place: Path) -> Check:
    """Make a file there and remove it; the one inside of the drop folder is made when it is needed."""
    name = f"drop {drop.name} status"
    first, _ = _probes(place)
    try:
        durable.make_folder(openable(place))
        with _clean((first,)):
            first.open("xb").close()
            durable.remove(first)
    except OSError as error:
        return of_problem(name, problem("FA-STATUS-AREA", where=str(place), detail=name_of(error)))
    return ok(name, f"{place} 可写入", f"{place} can be written")


def _settling(drop: DropSettings) -> Check:
    name = f"drop {drop.name} settle"
    remote = is_remote(drop.path)
    if remote and drop.settle_s is not None and drop.settle_s < REMOTE_SETTLE_S:
        return warning(
            name,
            f"在网络共享上,settle_s = {drop.settle_s:g} 过短",
            f"settle_s = {drop.settle_s:g} is short for a network share, whose sizes are told up to 10 s late",
            f"请删去 settle_s,或设为 {REMOTE_SETTLE_S:g}",
            f"Leave settle_s out, or set it to {REMOTE_SETTLE_S:g}.",
        )
    settle_s = drop.settle_s if drop.settle_s is not None else (REMOTE_SETTLE_S if remote else LOCAL_SETTLE_S)
    zh, en = ("网络共享", "a network share") if remote else ("本地磁盘", "a local disk")
    return ok(name, f"{zh};文件 {settle_s:g} 秒不变视为写完", f"{en}; a file settles when unchanged for {settle_s:g} s")


def _noticing(drop: DropSettings) -> Check:
    """Whether the system tells of a new file; where it does not, the scan finds it."""
    name = f"drop {drop.name} notifications"
    remote = is_remote(drop.path)
    if drop.observer == "scan" or (remote and drop.observer == "auto"):
        return ok(name, f"每 {drop.scan_s:g} 秒扫描一次", f"looked at every {drop.scan_s:g} s")
    noticed = threading.Event()
    watcher = Watcher(drop.path, drop.own_dirs, noticed.set, drop.observer, remote)
    try:
        watcher.start()
        if (trouble := watcher.check()) is not None:
            return of_problem(name, trouble, Outcome.WARNING)
        noticed.clear()  # a new watch hints by itself
        first, _ = _probes(drop.path)
        with _clean((first,)):
            first.open("xb").close()
            was_told = noticed.wait(_NOTICED_S)
    finally:
        watcher.stop()
    if was_told:
        return ok(name, "系统会立即通知新文件", "the system tells of new files at once")
    return of_problem(name, problem("FA-WATCHER", detail="a new file was not noticed"), Outcome.WARNING)


def _probes(folder: Path) -> tuple[Path, Path]:
    """Two names that the agent takes for somebody's temporary files, and leaves alone."""
    stem = f".folder-agent-probe-{os.getpid()}"
    return openable(folder / f"{stem}.tmp"), openable(folder / f"{stem}-2.tmp")


class _clean:  # noqa: N801 - used as a verb
    """Remove our own probes, whatever happened; the names hold our process id, so that they are nobody else's."""

    def __init__(self, probes: tuple[Path, ...]) -> None:
        self._probes = probes

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, *_: object) -> None:
        for probe in self._probes:
            with suppress(OSError):
                durable.remove(probe)
