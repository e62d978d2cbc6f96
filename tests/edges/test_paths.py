"""Paths as text that any database keeps, as the platform opens them, and compared alike everywhere."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from folder_agent.core.records import Stamp
from folder_agent.edges.paths import (
    as_text,
    extended,
    from_text,
    is_gone,
    is_inside,
    is_link,
    matches,
    normal,
    openable,
    plain,
    retrying,
    stamp_of,
)
from tests.marks import LINKS

POSIX_NAMES = st.binary(min_size=1, max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
ANY_STRINGS = st.text(st.characters(min_codepoint=1, exclude_categories=()), max_size=60)  # lone surrogates, too


@given(POSIX_NAMES | ANY_STRINGS)
@example("a\\udc80b")
@example("\udc80")
@example("\\\udc80\\\\")
@example("CT/张三/IM 1.dcm")
def test_every_path_comes_back_from_its_text(path: str) -> None:
    text = as_text(path)
    assert from_text(text) == path
    assert text.encode("utf-8").decode("utf-8") == text


@given(POSIX_NAMES, POSIX_NAMES)
def test_two_paths_never_have_one_text(one: str, other: str) -> None:
    assert (as_text(one) == as_text(other)) == (one == other)


def test_ordinary_names_are_their_own_text() -> None:
    assert as_text("CT/张三 (2)/IM'\"*?.dcm") == "CT/张三 (2)/IM'\"*?.dcm"


def test_the_text_of_a_name_that_is_no_unicode_can_be_stored_and_printed() -> None:
    text = as_text(os.fsdecode(b"\xd5\xc5\xc8\xfd.dcm") if sys.platform != "win32" else "\udcd5.dcm")
    (kept,) = sqlite3.connect(":memory:").execute("select ?", [text]).fetchone()
    assert kept == text
    assert kept.isascii()


@pytest.mark.parametrize("text", ["a\\b", "\\", "\\u1234", "\\udc8", "\\uDC80", "\udc80"])
def test_text_that_no_path_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text form"):
        from_text(text)


@pytest.mark.parametrize(
    ("path", "long"),
    [
        ("C:\\drop\\a.dcm", "\\\\?\\C:\\drop\\a.dcm"),
        ("\\\\server\\share\\a.dcm", "\\\\?\\UNC\\server\\share\\a.dcm"),
        ("\\\\?\\C:\\drop", "\\\\?\\C:\\drop"),
        ("\\\\.\\pipe\\x", "\\\\.\\pipe\\x"),
        ("drop\\a.dcm", "drop\\a.dcm"),
        ("C:a.dcm", "C:a.dcm"),
    ],
)
def test_windows_paths_are_extended_when_absolute(path: str, long: str) -> None:
    assert extended(path) == long
    assert plain(long) == path or long == path


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX opens every path as it is")
def test_elsewhere_every_path_is_openable_as_it_is(tmp_path: Path) -> None:
    assert openable(tmp_path / "a. ") == tmp_path / "a. "


def test_a_folder_is_inside_of_itself_but_not_of_its_namesake(tmp_path: Path) -> None:
    shelves = frozenset({normal(tmp_path / "done")})
    assert is_inside(normal(tmp_path / "x" / ".." / "done" / "a"), shelves)
    assert is_inside(normal(tmp_path / "done"), shelves)
    assert not is_inside(normal(tmp_path / "done2"), shelves)
    assert is_inside(normal(tmp_path), frozenset({normal(tmp_path.anchor)}))


def test_a_stamp_matches_only_its_own_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1")
    stamp = stamp_of(file.stat())
    assert matches(stamp, file.stat())
    os.utime(file, ns=(1, stamp.mtime_ns + 100))
    assert not matches(stamp, file.stat())
    file.write_bytes(b"12")
    assert not matches(stamp, file.stat())


def test_an_unknown_identity_matches_any_and_a_known_one_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    found = (tmp_path / "a").stat()
    stamp = stamp_of(found, with_identity=False)
    assert stamp.identity == 0
    assert matches(stamp, found)
    if sys.platform != "win32":
        assert not matches(Stamp(stamp.size, stamp.mtime_ns, found.st_ino + 1), found)


@LINKS
def test_a_link_is_told_from_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_link((tmp_path / "link").lstat())
    assert not is_link(tmp_path.lstat())


class WindowsRefusal(OSError):
    def __init__(self, winerror: int) -> None:
        super().__init__(13, "held")
        self.winerror = winerror


class LostShare(FileNotFoundError):
    winerror = 53  # ERROR_BAD_NETPATH, which Python calls "no such file"


def test_a_lost_share_is_not_a_deleted_file() -> None:
    assert is_gone(FileNotFoundError(2, "gone"))
    assert is_gone(NotADirectoryError(20, "gone"))
    assert not is_gone(LostShare(2, "lost"))
    assert not is_gone(PermissionError(13, "denied"))


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_a_held_file_is_tried_again_until_it_is_free(winerror: int) -> None:
    answers, pauses = [WindowsRefusal(winerror), WindowsRefusal(winerror), None], list[float]()

    def action() -> str:
        if error := answers.pop(0):
            raise error
        return "done"

    assert retrying(action, sleep=pauses.append) == "done"
    assert pauses == [0.02, 0.04]


def test_a_file_that_stays_held_is_given_up_after_two_seconds() -> None:
    pauses = list[float]()

    def action() -> None:
        raise WindowsRefusal(32)

    with pytest.raises(WindowsRefusal):
        retrying(action, sleep=pauses.append)
    assert sum(pauses) == pytest.approx(2.0)
    assert len(pauses) < 10


# What Python's `open` says there of a file that is held.
DENIED = () if sys.platform == "win32" else (PermissionError(13, "denied"),)


@pytest.mark.parametrize("error", [*DENIED, WindowsRefusal(2), OSError(5, "EIO")])
def test_other_errors_are_told_at_once(error: OSError) -> None:
    def action() -> None:
        raise error

    with pytest.raises(OSError, match=r"denied|held|EIO"):
        retrying(action, sleep=lambda _: pytest.fail("waited"))
