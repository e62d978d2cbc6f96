"""Promises of date patterns: what a site says is how it writes a date is read so and not otherwise."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folder_agent.core.date_patterns import WrongPattern, date_pattern
from folder_agent.core.normalising import Unfit

READ = [
    ("yyyyMMddHHmmss", "20250307170730", "2025-03-07 17:07:30"),
    ("yyyyMMddHHmmss", 20250307170730, "2025-03-07 17:07:30"),
    ("yyyy年MM月dd日 HH时mm分", "2025年03月07日 17时07分", "2025-03-07 17:07:00"),
    ("yyyy年M月d日 H时m分s秒", "２０２５年3月7日  9时5分1秒", "2025-03-07 09:05:01"),
    ("dd/MM/yyyy", "07/03/2025", "2025-03-07 00:00:00"),
    ("M/d/yyyy h:mm:ss a", "3/7/2025 5:07:30 PM", "2025-03-07 17:07:30"),
    ("M/d/yyyy h:mm a", "3/7/2025 12:07 am", "2025-03-07 00:07:00"),
    ("yyyy-MM-dd ah:mm", "2025-03-07 下午5:07", "2025-03-07 17:07:00"),
    ("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", "2025-03-07t17:07:30.123Z", "2025-03-07 17:07:30"),
    ("'/Date('yyyyMMdd')/'", "/Date(20250307)/", "2025-03-07 00:00:00"),
    ("yyyyMMdd", " 20250307 ", "2025-03-07 00:00:00"),
    ("ddMMyyyy", "07032025", "2025-03-07 00:00:00"),
    ("yyyyMMdd", None, None),
    ("yyyyMMdd", "NULL", None),
]


@pytest.mark.parametrize(("pattern", "raw", "expected"), READ)
def test_a_value_of_the_pattern_becomes_the_gateways_form(pattern: str, raw: object, expected: str | None) -> None:
    assert date_pattern(pattern).read(raw, with_time=True) == expected
    assert date_pattern(pattern).read(raw, with_time=False) == (expected and expected[:10])


@pytest.mark.parametrize(
    ("pattern", "raw"),
    [
        ("yyyyMMdd", "2025-03-07"),
        ("yyyyMMdd", "20250230"),
        ("yyyyMMdd", "20250307 "[:7]),
        ("yyyyMMdd", "00010101"),
        ("yyyyMMdd", ["20250307"]),
        ("yyyyMMdd", True),
        ("dd/MM/yyyy", "03/17/2025"),
        ("M/d/yyyy h:mm a", "3/7/2025 13:07 PM"),
        ("M/d/yyyy h:mm a", "3/7/2025 0:07 PM"),
        ("M/d/yyyy h:mm a", "3/7/2025 5:07"),
        ("yyyyMMddHHmm", "202503072460"),
        ("yyyy.MM.dd", "2025x03x07"),
    ],
)
def test_anything_else_is_unfit_and_the_pattern_is_what_was_expected(pattern: str, raw: object) -> None:
    with pytest.raises(Unfit) as caught:
        date_pattern(pattern).read(raw, with_time=True)
    assert caught.value.expected == pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "has no year; a date needs"),
        ("yyyy-MM", "no day"),
        ("yy-MM-dd", "'yy' is none of"),
        ("YYYY-MM-DD", "'YYYY' is none of"),
        ("%Y-%m-%d", "'Y' is none of"),
        ("yyyy-MM-ddTHH", "'T' is none of"),
        ("yyyy-MM-dd yyyy", "the year twice"),
        ("yyyy-MM-dd HH h a", "hour twice"),
        ("yyyy-MM-dd h", "h and a together"),
        ("yyyy-MM-dd HH a", "h and a together"),
        ("yyyy-MM-dd HH ss", "no minute"),
        ("yyyy-MM-dd mm", "no hour"),
        ("yyyy-MM-dd SSS", "no second"),
        ("yyyyMd", "right before another number"),
        ("yyyy-MM-dd" + " " * 60, "longer than 64"),
        ("yyyy-MM-dd 'at", "not closed"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused_with_why(pattern: str, why: str) -> None:
    with pytest.raises(WrongPattern) as caught:
        date_pattern(pattern)
    assert why in str(caught.value)


PIECES = st.sampled_from(
    ["yyyy", "MM", "M", "dd", "d", "HH", "H", "h", "mm", "m", "ss", "s", "SSS", "a", "-", "/", "年"]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join), st.text(max_size=24) | st.integers())
def test_no_pattern_and_no_value_raise_anything_else(written: str, raw: object) -> None:
    try:
        pattern = date_pattern(written)
        found = pattern.read(raw, with_time=True)
    except (WrongPattern, Unfit):
        return
    assert found is None or dt.datetime.fromisoformat(found)


FORMATS = {  # not for strftime, which takes no hanzi on Windows
    "yyyyMMddHHmmss": "{0.year:04}{0.month:02}{0.day:02}{0:%H%M%S}",
    "dd.MM.yyyy HH:mm:ss": "{0.day:02}.{0.month:02}.{0.year:04} {0:%H:%M:%S}",
    "yyyy年MM月dd日 HH时mm分ss秒": "{0.year:04}年{0.month:02}月{0.day:02}日 {0:%H}时{0:%M}分{0:%S}秒",
    "'on' MM/dd/yyyy 'at' hh:mm:ss": "on {0.month:02}/{0.day:02}/{0.year:04} at {0:%I:%M:%S}",
}


@settings(deadline=None, max_examples=200)
@given(st.datetimes(dt.datetime.fromisoformat("1850-01-01")), st.sampled_from(sorted(FORMATS)))
def test_every_moment_survives_every_pattern(moment: dt.datetime, pattern: str) -> None:
    moment = moment.replace(microsecond=0)
    written, half = FORMATS[pattern].format(moment), ""
    if "hh" in pattern:
        half, pattern = ("下午" if moment.hour >= 12 else "AM"), f"{pattern} a"
    found = date_pattern(pattern).read(f"{written} {half}".strip(), with_time=True)
    assert found == moment.isoformat(" ")
