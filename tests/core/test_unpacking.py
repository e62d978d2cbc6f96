"""Whether a ZIP may be unpacked, by what its directory says: names, bounds, and what cannot be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.bundling import BundleRules, Refused, Waiting, judge
from folder_agent.core.errors import problem
from folder_agent.core.grouping import Member, group
from folder_agent.core.naming import safe_name
from folder_agent.core.records import FileKind, Finding, Stamp
from folder_agent.core.settling import Watched
from folder_agent.core.unpacking import Entry, Limits, Unfit, folder_for, kept_as, places

LIMITS = Limits()


def entry(name: str | bytes, **more: object) -> Entry:
    raw = name if isinstance(name, bytes) else name.encode()
    return replace(Entry(raw, is_utf8=isinstance(name, str), size=10, packed=10), **more)  # type: ignore[arg-type]


def refused(*entries: Entry, limits: Limits = LIMITS) -> str:
    with pytest.raises(Unfit) as caught:
        places(entries, "x.zip", limits)
    return caught.value.reason.code


def test_files_go_where_they_are_called_and_folders_and_resources_nowhere() -> None:
    found = places([entry("CT1/"), entry("CT1/IM1"), entry("__MACOSX/CT1/._IM1"), entry("a\\b.pdf")], "x.zip", LIMITS)
    assert found == [None, "CT1/IM1", None, "a/b.pdf"]


def test_a_name_may_begin_with_the_folder_itself() -> None:
    """As bsdtar and Java's archivers write them."""
    assert places([entry("./"), entry("./CT1/"), entry("./CT1/IM1"), entry(".\\IM2")], "x.zip", LIMITS) == [
        *(None, None, "CT1/IM1"),
        "IM2",
    ]
    for name in ("./../x", "././x", ".//x", "a/./b", "."):
        assert refused(entry("good"), entry(name)) == "FA-ZIP-NAME"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("检查/影像.dcm".encode("gbk"), "检查/影像.dcm"),
        ("检查/影像.dcm".encode(), "检查/影像.dcm"),  # the Finder sets no flag
        ("𠮷.dcm".encode("gb18030"), "𠮷.dcm"),
        ("诚乗.dcm".encode("gbk"), "诚乗.dcm"),  # the second byte of 乗 is a backslash
        ("e\u0301.pdf".encode(), "é.pdf"),
    ],
)
def test_names_are_read_as_they_were_written(raw: bytes, name: str) -> None:
    assert places([entry(raw)], "x.zip", LIMITS) == [name]


def test_the_unicode_path_field_counts_more_than_the_name() -> None:
    assert places([entry(b"??.dcm", unicode_name="影像.dcm")], "x.zip", LIMITS) == ["影像.dcm"]


_NAMES_OUTSIDE = ("/etc/x", "../x", "a/../../x", "a/..", "C:/x", "C:x", "\\\\host\\x", "a//b", ".", "a:b")


@pytest.mark.parametrize(
    "name",
    [
        *_NAMES_OUTSIDE,
        "NUL",
        "a/con.txt",
        "a\0b",
        "a.",
        "b /c",
        "x" * 300,
        "a/" * 499 + "bcd",
        "a\nb",
        b"\xff\xff",
        "a\u202eb",
    ],
)
def test_a_name_that_is_not_safe_everywhere_refuses_the_archive(name: str | bytes) -> None:
    assert refused(entry("good"), entry(name)) in ("FA-ZIP-NAME", "FA-ZIP-LARGE")


@pytest.mark.parametrize("names", [("a", "A"), ("é", "e\u0301"), ("a", "a/b"), ("a/b/c", "A/B"), ("a", "a")])
def test_two_files_that_would_share_a_place_refuse_the_archive(names: tuple[str, str]) -> None:
    assert refused(*map(entry, names)) == "FA-ZIP-NAME"


def test_each_bound_is_told_with_both_numbers() -> None:
    small = Limits(entries=3, total=1024**2, ratio=10, free=1000, depth=2)
    assert refused(*(entry(f"{n}") for n in range(4)), limits=small) == "FA-ZIP-LARGE"
    assert refused(entry("a", size=2 * 1024**2, packed=1024**2), limits=small) == "FA-ZIP-LARGE"
    assert refused(entry("a", size=2000, packed=10), limits=small) == "FA-ZIP-LARGE"
    assert refused(entry("a/b/c"), limits=small) == "FA-ZIP-LARGE"
    assert places([entry("a/b", size=900, packed=1)], "x.zip", small) == ["a/b"]


def test_what_cannot_be_read_refuses_the_archive() -> None:
    assert refused(entry("a", is_encrypted=True)) == "FA-ZIP-LOCKED"
    assert refused(entry("a", method=9)) == "FA-ZIP-METHOD"
    assert refused(entry("a", is_link=True)) == "FA-ZIP-NAME"
    assert refused(entry("more.ZIP")) == "FA-ZIP-NESTED"
    assert refused(entry("folder/")) == "FA-ZIP-EMPTY"
    assert refused() == "FA-ZIP-EMPTY"


def test_the_name_inside_is_private() -> None:
    with pytest.raises(Unfit) as caught:
        places([entry("../Li Si.dcm")], "x.zip", LIMITS)
    assert "Li Si" not in str(caught.value.reason.masked())
    assert "Li Si" not in str(caught.value)


@given(st.lists(st.builds(Entry, st.binary(max_size=40), st.booleans(), st.just(1), st.just(1)), max_size=5))
def test_whatever_the_names_every_place_is_inside_and_safe(entries: list[Entry]) -> None:
    try:
        found = [place for place in places(entries, "x.zip", LIMITS) if place is not None]
    except Unfit:
        return
    assert len({place.casefold() for place in found}) == len(found)
    for place in found:
        for part in place.split("/"):
            assert part not in ("", ".", "..")
            assert safe_name(part) == part


def test_the_folder_is_named_after_the_archive_and_the_archive_is_known_again() -> None:
    assert [folder_for("a/CT 1.zip", n) for n in (1, 2)] == ["CT 1.unpacked", "CT 1 (2).unpacked"]
    assert kept_as("a/CT 1.ZIP") == "CT 1.unpacked.zip"


def archive(since: float = 0.0) -> Member:
    return Member("x.zip", FileKind.FOREIGN, Watched(Stamp(1, 1, 1), since), Finding(FileKind.FOREIGN))


def test_an_archive_that_is_cut_short_may_still_grow_and_is_refused_when_all_is_quiet() -> None:
    (one,) = group([archive()], unzip=True).groups
    broken = problem("FA-ZIP-BROKEN", "x.zip", detail="BadZipFile")
    assert isinstance(judge(one, BundleRules(), 10.0, 0.0), Waiting)
    assert isinstance(judge(one, BundleRules(), 10.0, 0.0, trouble=broken), Waiting)
    assert isinstance(judge(one, BundleRules(), 61.0, 0.0, trouble=broken), Refused)
    assert isinstance(judge(one, BundleRules(), 1.0, 0.0, trouble=problem("FA-ZIP-LOCKED", "x.zip")), Refused)
    full = judge(one, BundleRules(), 1e5, 0.0, trouble=problem("FA-DISK-FULL", where="drop"))
    assert isinstance(full, Waiting)
    assert full.reasons[0].code == "FA-DISK-FULL"
