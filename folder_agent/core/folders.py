"""What a folder's name says of it: a day of the calendar, a kind of file, an unpacked archive, or an exam.

Pure; paths are relative to the drop folder, with `/` between parts, and without a slash at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from folder_agent.core.naming import stem_of

UNPACKED = ".unpacked"  # how the folder's name ends that an archive was unpacked to: made by us, for that alone

# The key of a bundle that its headers hold together: the folder that came as a whole, if any, and StudyInstanceUID.
STUDY_KEY = re.compile(r"(?:(.+)/)?#([0-9.]+)")

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH_2, _DAY_2 = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_WHOLE_DAY = rf"{_YEAR}(?:{_MONTH_2}{_DAY_2}|[-_.]{_MONTH}[-_.]{_DAY}|年{_MONTH}月{_DAY}日?)"
_MONTH_OF_YEAR = rf"{_YEAR}(?:{_MONTH_2}|[-_.]{_MONTH}|年{_MONTH}月?)"
_CALENDAR = re.compile(
    rf"(?:.*/)?(?:{_WHOLE_DAY}|{_YEAR}年?(?:/{_MONTH}月?(?:/{_DAY}日?)?)?|{_MONTH_OF_YEAR}(?:/{_DAY}日?)?)\Z"
)
# Systems that sort an exam's files by kind call the folders so; such a name says nothing of the exam.
_KINDS_OF_FILES = """json dicom dcm dicoms image images img info data meta metadata sidecar pdf report reports
影像 图像 报告 信息"""
_KINDS = frozenset(_KINDS_OF_FILES.split())


def is_calendar(folder: str) -> bool:
    """Whether the folder is one of a calendar (`2025/03/07`, `2025-03/7`, `20250307`), also on the way to its days:
    it is shared by all exams of that time."""
    return _CALENDAR.match(folder) is not None


def is_for_a_kind(folder: str) -> bool:
    """Whether the folder is named for the kind of the files in it."""
    return folder.rpartition("/")[2].casefold() in _KINDS


def home_of(folder: str) -> str:
    """The exam's own folder, of which this one holds a part: `ACC123` for `ACC123/json`. Where the exam has none
    (`json`, `2025/03/07/json`), the folder itself."""
    home = folder
    while is_for_a_kind(home):
        home = home.rpartition("/")[0]
    return folder if not home or is_calendar(home) else home


def exam_name(folder: str) -> str:
    """What people call the exam that is in the folder."""
    name = home_of(folder).rpartition("/")[2]
    return name.removesuffix(UNPACKED) or name


def top_of(path: str) -> str:
    """The topmost folder of the path that may be one exam's, below folders of the calendar; "" if there is none."""
    folder = path.rpartition("/")[0]
    parts = folder.split("/") if folder else []
    for count in range(1, len(parts) + 1):
        if not is_calendar("/".join(parts[:count])):
            return "/".join(parts[:count])
    return ""


def place_of(path: str, depth: int | None = None) -> str:
    """The folder that came as a whole, such as a CD's, in which the file lies; "" for a loose one. `depth` as in
    grouping."""
    return top_of(path) if depth is None else at_depth(path, depth) or ""


def study_key(place: str, uid: str) -> str:
    """The key of a study without a sidecar. No file or folder has one of this form: a sidecar ends in .json."""
    return f"{place}/#{uid}" if place else f"#{uid}"


def at_depth(path: str, depth: int) -> str | None:
    """The folder so many levels below the drop folder in which the file lies; None for a file above that."""
    parts = path.split("/")
    return "/".join(parts[:depth]) if len(parts) > depth else None


def above(folder: str) -> list[str]:
    """The folder and those that hold it, innermost first, but not the drop folder."""
    found = []
    while folder:
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found


def left_by(paths: Sequence[str], key: str) -> tuple[list[str], list[str]]:
    """The folders from which a bundle's files are moved away, deepest first: its own, which go with it if they are
    empty, and those that may be shared with other exams. `key` is the bundle's."""
    folders = {folder for path in paths for folder in above(path.rpartition("/")[0])}
    own = {folder for folder in folders if _is_own(folder, key)}
    return _deepest_first(own), _deepest_first(folders - own)


def _is_own(folder: str, key: str) -> bool:
    if is_calendar(folder):
        return False
    if any(one.endswith(UNPACKED) for one in above(folder)):
        return True
    if key.endswith("/"):
        home = home_of(key[:-1])
        return folder == home or folder.startswith(f"{home}/")
    if (study := STUDY_KEY.fullmatch(key)) is not None:
        home = study[1] or ""
        return home != "" and not is_for_a_kind(home) and (folder == home or folder.startswith(f"{home}/"))
    place, stem = key.rpartition("/")[0], stem_of(key).casefold()
    inner = folder[len(place) + 1 if place else 0 :] if folder.startswith(place and f"{place}/") else ""
    head = inner.partition("/")[0].casefold()
    return head.startswith(stem) and not head[len(stem) : len(stem) + 1].isalnum()


def _deepest_first(folders: set[str]) -> list[str]:
    return sorted(folders, key=lambda folder: (-folder.count("/"), folder))
