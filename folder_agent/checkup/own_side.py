"""Checks of our own side: ledger, logs, free space. The ledger and the log folder are not made here: whoever runs
doctor may be somebody else than the service, who could not write to them then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from folder_agent.checkup.findings import Check, fault, guarded, ok, warning
from folder_agent.core.errors import AgentError
from folder_agent.edges.ledger import open_ledger, require_sound
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.edges.volumes import free_bytes
from folder_agent.settings import Settings

_GIB = 1024**3
_SCARCE, _TOO_LITTLE = 5 * _GIB, _GIB // 4  # bytes


def ledger(settings: Settings) -> list[Check]:
    """Its place (a local disk), that it opens, its version, that it can be written."""
    url = settings.ledger.url or ""
    return guarded("ledger", lambda: _ledger(url))


def log(settings: Settings) -> list[Check]:
    """That the log can be written."""
    folder = settings.log.dir
    return [] if folder is None else guarded("log", lambda: _log(folder))


def space(name: str, place: Path) -> Check:
    """How much is free on the volume of a place."""
    free = free_bytes(place)
    size = f"{free / _GIB:.1f} GiB"
    if free >= _SCARCE:
        return ok(name, f"剩余空间 {size}", f"{size} are free")
    texts = (f"剩余空间只有 {size}", f"only {size} are free", "请清理磁盘空间", "Free some space.")
    return fault(name, *texts) if free < _TOO_LITTLE else warning(name, *texts)


def _ledger(url: str) -> Iterator[Check]:
    file = path_of(url) if url.startswith("sqlite:") else None
    shown = file if file is not None else "PostgreSQL"
    require_sound(url, lambda: False)
    try:
        open_ledger(url, readonly=True).close()
    except AgentError as error:
        detail = dict(error.problem.values).get("detail")
        if detail != "there is none yet":
            raise
        yield from _not_yet(file)
        return
    opened = open_ledger(url)
    try:
        opened.remember("doctor", "can write")
        opened.remember("doctor", None)
    finally:
        opened.close()
    yield ok("ledger", f"{shown} 可读写,版本正确", f"{shown} can be read and written, and is of this version")
    if file is not None:
        yield space("ledger space", file)


def _not_yet(file: Path | None) -> Iterator[Check]:
    if file is None:
        yield ok("ledger", "PostgreSQL 可连接;首次运行时建表", "PostgreSQL answers; the first run makes the tables")
    elif (place := _writable(file.parent)) is None:
        yield ok("ledger", f"首次运行时创建 {file}", f"the first run makes {file}")
        yield space("ledger space", file)
    else:
        yield _denied("ledger", place)


def _log(folder: Path) -> Iterator[Check]:
    place = _writable(folder)
    if place is not None:
        yield _denied("log", place)
        return
    yield ok("log", f"日志写入 {folder}", f"logs go to {folder}")
    yield space("log space", folder)


def _writable(folder: Path) -> Path | None:
    """None if the folder can be written or made; else the place that denies it."""
    place = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    return None if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else place


def _denied(name: str, place: Path) -> Check:
    return fault(
        name,
        f"无权写入 {place}",
        f"{place} cannot be written",
        "请给服务账户写入权限,或在设置中改用其他位置",
        "Let the service's account write there, or set another place.",
    )
