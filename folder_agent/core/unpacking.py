"""Whether a ZIP may be unpacked, judged by its listing alone, and where each of its files goes. Pure.

A listing is somebody else's word: whoever unpacks must hold each file to what is said of it here. Format: PKWARE
APPNOTE 6.3.10; the Unicode Path extra field is Info-ZIP's (APPNOTE 4.6.9).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from folder_agent.core.catalogue import disposition
from folder_agent.core.errors import Disposition, Problem, problem
from folder_agent.core.folders import UNPACKED
from folder_agent.core.naming import UNPACKED_ZIP, numbered, safe_name, stem_of

READABLE = frozenset({0, 8, 12, 14})  # stored, Deflate, bzip2, LZMA
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_RESOURCES = "__MACOSX"  # where the Finder puts what nobody else wants
_LONGEST = 1000  # characters of a path inside


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one archive may be."""

    entries: int = 20_000
    total: int = 64 * 1024**3  # bytes, unpacked
    ratio: int = 200  # unpacked to packed, beyond `free`
    free: int = 256 * 1024**2  # bytes that may come of however little
    depth: int = 16  # folders below each other


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as the archive's directory tells it."""

    raw_name: bytes
    is_utf8: bool  # the flag that says so (bit 11)
    size: int  # bytes, unpacked
    packed: int  # bytes
    unicode_name: str | None = None  # from the Unicode Path field, if that is of this name
    method: int = 8
    is_encrypted: bool = False
    is_link: bool = False


class Unfit(Exception):
    """The archive must not or cannot be unpacked."""

    def __init__(self, reason: Problem) -> None:
        super().__init__(reason.code)
        self.reason = reason


def folder_for(path: str, attempt: int) -> str:
    """The name of the folder that the archive is unpacked to; attempt n adds ` (n)`."""
    return numbered(stem_of(path), attempt) + UNPACKED


def kept_as(path: str) -> str:
    """The archive's own name in that folder."""
    return safe_name(stem_of(path)) + UNPACKED_ZIP


def places(entries: Sequence[Entry], path: str, limits: Limits) -> list[str | None]:
    """Where each entry goes in the folder, with `/` between parts; None for what is no file. Raises Unfit."""
    _check_size(entries, path, limits)
    found = [_place(entry, path, limits) for entry in entries]
    files = [place for place in found if place is not None]
    if not files:
        raise Unfit(problem("FA-ZIP-EMPTY", path))
    _check_apart(files, path)
    return found


def decoded(entry: Entry) -> str | None:
    """The entry's name. Chinese Windows writes GBK without a word, others UTF-8; None if it is neither."""
    if entry.unicode_name is not None:
        return entry.unicode_name
    for encoding in ("utf-8",) if entry.is_utf8 else ("utf-8", "gb18030"):
        try:
            return entry.raw_name.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def may_grow(reason: Problem) -> bool:
    """Whether it may only be that the archive has not come whole yet."""
    return reason.code == "FA-ZIP-BROKEN"


def is_final(reason: Problem) -> bool:
    """Whether the archive itself is at fault, so that trying again is of no use."""
    return disposition(reason) is Disposition.REFUSE


def _check_size(entries: Sequence[Entry], path: str, limits: Limits) -> None:
    total, packed = sum(entry.size for entry in entries), sum(entry.packed for entry in entries)
    for zh, en, found, limit in (
        ("文件数", "files", len(entries), limits.entries),
        ("解压后大小(MB)", "MB unpacked", _megabytes(total), _megabytes(limits.total)),
        ("压缩比", "times its packed size", total // max(packed, 1) if total > limits.free else 0, limits.ratio),
    ):
        if found > limit:
            raise Unfit(problem("FA-ZIP-LARGE", path, zh=zh, en=en, found=found, limit=limit))


def _place(entry: Entry, path: str, limits: Limits) -> str | None:
    name = decoded(entry)
    if name is None or "\0" in name or len(name) > _LONGEST:
        raise Unfit(problem("FA-ZIP-NAME", path, {"name": repr(entry.raw_name[:80])}))
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
    if parts[0] == "." and len(parts) > 1:  # as some archivers begin every name
        parts = parts[1:]
        if parts == [""]:
            return None
    is_folder = parts[-1] == ""
    parts = parts[:-1] if is_folder else parts
    if any(part in ("", ".", "..") or safe_name(part) != part for part in parts) or not parts:
        raise Unfit(problem("FA-ZIP-NAME", path, {"name": name}))
    if len(parts) > limits.depth:
        raise Unfit(problem("FA-ZIP-LARGE", path, zh="层数", en="levels", found=len(parts), limit=limits.depth))
    if is_folder or parts[0] == _RESOURCES:
        return None
    if entry.is_encrypted:
        raise Unfit(problem("FA-ZIP-LOCKED", path))
    if entry.is_link:
        raise Unfit(problem("FA-ZIP-NAME", path, {"name": name}))
    if parts[-1].casefold().endswith(_ARCHIVES):
        raise Unfit(problem("FA-ZIP-NESTED", path, {"name": name}))
    if entry.method not in READABLE:
        raise Unfit(problem("FA-ZIP-METHOD", path, method=entry.method))
    return "/".join(parts)


def _check_apart(files: Iterable[str], path: str) -> None:
    """No two at one place, as Windows compares; no file where another needs a folder."""
    there: dict[str, str] = {}
    for place in files:
        if place.casefold() in there:
            raise Unfit(problem("FA-ZIP-NAME", path, {"name": place}))
        there[place.casefold()] = place
    for folded, place in there.items():
        folder = folded.rpartition("/")[0]
        while folder:
            if folder in there:
                raise Unfit(problem("FA-ZIP-NAME", path, {"name": place}))
            folder = folder.rpartition("/")[0]


def _megabytes(size: int) -> int:
    return -(-size // 1024**2)
