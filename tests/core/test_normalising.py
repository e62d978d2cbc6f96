"""Promises of normalising: every common way to write a value ends in the gateway's one form, the rest is refused."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folder_agent.core import normalising
from folder_agent.core.normalising import Unfit

FORMS: list[Callable[[object], object]] = [
    normalising.text,
    normalising.sex,
    normalising.study_category,
    normalising.status,
    normalising.uid,
    normalising.count,
    normalising.date,
    normalising.date_time,
    normalising.age,
    normalising.age_unit,
    normalising.size,
    normalising.weight,
]
UNDERSTOOD: list[tuple[Callable[[object], object], str, list[object]]] = [
    (normalising.text, "12", [12, 12.0, "12", " 12\u3000", "\x001\x1f2\x85"]),
    (normalising.text, "70.5", [70.5, "70.5", Decimal("70.5")]),
    (
        normalising.text,
        "12345678901234567890",
        [Decimal("12345678901234567890.00"), Decimal("1.2345678901234567890E+19")],
    ),
    (normalising.text, "-5", [-5, -5.0]),
    (normalising.text, "110101199003071234", [110101199003071234]),
    (normalising.text, "Ａ\tB\nC", ["Ａ\tB\nC "]),
    (normalising.text, "a\ufffd", ["a\ud800"]),
    (normalising.text, "\ufffd\ufffd", ["\ud83d\x00\ude00"]),
    (normalising.sex, "M", ["M", "m", "Male", "男", "男性", "1", 1, 1.0, "Ｍ", " 男 "]),
    (normalising.sex, "F", ["F", "FEMALE", "女", "女性", 2, "２"]),
    (normalising.sex, "O", ["O", "other", "其他", "unknown", "U", "未知", 0, 9, "9"]),
    (normalising.study_category, "normal", ["normal", "Normal", "平诊", "普通"]),
    (normalising.study_category, "emergency", ["emergency", "URGENT", "急诊"]),
    (normalising.status, "registered", ["registered", "登记"]),
    (normalising.status, "partial", ["Partial", "初诊"]),
    (normalising.status, "preliminary", ["preliminary", "审核"]),
    (normalising.status, "print", ["print", "打印"]),
    (normalising.status, "final", ["FINAL", "最终状态", "最终"]),
    (normalising.uid, "1.2.840.10008", ["1.2.840.10008", " 1.2.840.10008\x00", "１.2.840.10008"]),
    (
        normalising.date,
        "2025-03-07",
        [
            *("20250307", 20250307, 20250307.0, "2025/3/7", "2025-03-07", "2025-3-7", "2025.03.07", "2025年3月7日"),
            *(
                "２０２５年３月７日",
                "2025/3/7 0:00:00",
                "2025-03-07T00:00:00Z",
                "20250307170730",
                "2025年03月07日 17:07",
            ),
        ],
    ),
    (normalising.date, "2024-02-29", ["2024-2-29"]),
    (
        normalising.date_time,
        "2025-03-07 17:07:30",
        [
            *("20250307170730", 20250307170730, "2025-03-07 17:07:30", "2025-03-07T17:07:30", "2025/3/7 17:07:30"),
            *("2025-03-07T17:07:30.123Z", "2025-03-07T17:07:30.123456789+08:00", "2025-03-07t17:07:30 -0500"),
            *("20250307170730.123456", "20250307170730.5+0800", "20250307T170730", "20250307 17:07:30"),
            *(
                "2025年3月7日17时7分30秒",
                "2025年3月7日 17:07:30",
                "2025.03.07 17:07:30,5",
                "２０２５-０３-０７　１７：０７：３０",
            ),
        ],
    ),
    (normalising.date_time, "2025-03-07 09:05:00", ["2025/3/7 9:05", "202503070905", "2025-3-7T09:05"]),
    (normalising.date_time, "2025-03-07 00:00:00", ["2025-03-07", "20250307", 20250307]),
    (
        normalising.size,
        "1.75",
        ["1.75", 1.75, "1.75m", "1.75 米", 175, "175", "175cm", "175 厘米", "1750mm", "１７５ＣＭ"],
    ),
    (normalising.size, "0.5", ["50cm", 0.5, 50]),
    (normalising.size, "1.8", [180, "180cm"]),
    (normalising.weight, "70", ["70", 70, 70.0, "70kg", "70 KG", "70公斤", "140斤", "70㎏"]),
    (normalising.weight, "70.5", ["70.5", 70.5, "70.5千克"]),
    (normalising.weight, "3.2", ["3200g", "3200克"]),
    (normalising.age_unit, "Y", ["Y", "y", "岁", "years", "Year"]),
    (normalising.age_unit, "M", ["M", "月", "个月", "months"]),
    (normalising.age_unit, "D", ["D", "天", "日", "days"]),
]
AGES = [
    *[("45", None, raw) for raw in ("45", 45, 45.0, "045", "４５")],
    *[("45", "Y", raw) for raw in ("045Y", "45岁", "45 years", "45周岁", "45Ｙ")],
    *[("3", "M", raw) for raw in ("3月", "3 months", "003M", "3个月")],
    *[("10", "D", raw) for raw in ("10天", "010D", "10 日")],
    *[("14", "D", raw) for raw in ("2W", "002W", "2周")],
    ("0", "D", "0天"),
]
NOT_UNDERSTOOD: list[tuple[Callable[[object], object], list[object]]] = [
    (normalising.text, [Decimal("1E+3"), Decimal("1E-601"), Decimal("NaN"), Decimal("Infinity")]),
    (normalising.text, [1e400, float("nan"), 1e16, 1e-7, 10**1000, "x" * (normalising.MAX_TEXT + 1)]),
    (normalising.sex, ["X", "man?", 3, "M F", 1.5]),
    (normalising.study_category, ["门诊", "住院", "1"]),
    (normalising.status, ["done", "完成"]),
    (normalising.uid, ["1.2.", ".1", "1..2", "1.2.x", "1" * 65, "1 2"]),
    (normalising.count, [-1, 1.5, "many", "1e3", "12张", 2**31, 1e300, 1e400]),
    (
        normalising.date,
        ["2025-02-30", "2025-13-01", "07/03/2025", "2025", "2025-3", "2025-03/07", "0001-01-01", 0, "明天"],
    ),
    (normalising.date, ["2025-03-071", "2025-03-07 25:00", "2025-03-07T", "20250307-0800"]),
    (normalising.date_time, ["2025-03-07 24:00:00", "2025-03-07 12:60", "20250307 7", "12:00", "2025-03-07 12:00 PM"]),
    (normalising.age, ["abc", "-1", "45.5", "45X", "岁", 1e6, "1岁3月", "45 9"]),
    (normalising.age_unit, ["W", "H", "1"]),
    (normalising.size, [0, -1, 301, "175m", "1.75kg", "tall"]),
    (normalising.weight, [0, -1, 3200, "70m", "heavy"]),
]


@pytest.mark.parametrize(
    ("form", "expected", "raw"), [(form, expected, raw) for form, expected, raws in UNDERSTOOD for raw in raws]
)
def test_every_common_way_to_write_it_ends_in_the_gateways_form(
    form: Callable[[object], object], expected: str, raw: object
) -> None:
    assert form(raw) == expected


@pytest.mark.parametrize(("number", "unit", "raw"), AGES)
def test_an_age_is_split_from_the_unit_that_is_written_behind_it(number: str, unit: str | None, raw: object) -> None:
    assert normalising.age(raw) == (number, unit)


@pytest.mark.parametrize(("raw", "expected"), [(12, 12), ("12", 12), (12.0, 12), ("１２", 12), ("0", 0), ("12.0", 12)])
def test_a_count_is_a_whole_number_however_it_is_written(raw: object, expected: int) -> None:
    assert normalising.count(raw) == expected


@pytest.mark.parametrize(("form", "raw"), [(form, raw) for form, raws in NOT_UNDERSTOOD for raw in raws])
def test_what_cannot_be_understood_is_refused_with_what_was_expected(
    form: Callable[[object], object], raw: object
) -> None:
    with pytest.raises(Unfit) as caught:
        form(raw)
    assert caught.value.expected


def test_a_number_too_long_for_python_to_print_is_unfit_like_any_other() -> None:
    with pytest.raises(Unfit):
        normalising.text(10**5000)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("raw", [None, "", " \t\u3000", "NULL", "null", "\x00"])
def test_empty_means_not_given(form: Callable[[object], object], raw: object) -> None:
    assert form(raw) in (None, (None, None))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("raw", [True, False, [], ["x"], {}, {"a": 1}])
def test_truth_values_lists_and_objects_are_no_text(form: Callable[[object], object], raw: object) -> None:
    with pytest.raises(Unfit):
        form(raw)


@pytest.mark.parametrize(
    ("age", "unit", "expected"),
    [
        ("45", "岁", ("45", "Y")),
        (45, None, ("45", None)),
        ("45岁", None, ("45", "Y")),
        ("045Y", "Y", ("45", "Y")),
        ("2", "W", ("14", "D")),
        ("2周", "周", ("14", "D")),
        (None, "Y", (None, "Y")),
        (None, None, (None, None)),
    ],
)
def test_age_and_unit_are_read_together(age: object, unit: object, expected: tuple[str | None, str | None]) -> None:
    assert normalising.age_with_unit(age, unit) == expected


@pytest.mark.parametrize(("age", "unit"), [("3月", "Y"), ("45", "9"), ("45", "hours"), ("45", ["Y"]), ("x", "Y")])
def test_an_age_whose_unit_is_in_doubt_is_not_used(age: object, unit: object) -> None:
    with pytest.raises(Unfit):
        normalising.age_with_unit(age, unit)


@settings(deadline=None, max_examples=100)
@given(st.dates(min_value=dt.date(1850, 1, 1)), st.times())
def test_every_real_moment_survives_in_every_spelling(day: dt.date, time: dt.time) -> None:
    moment = dt.datetime.combine(day, time)
    expected = moment.isoformat(" ", "seconds")
    for spelling in (moment.isoformat(), f"{moment.isoformat()}+08:00", f"{moment:%Y%m%d%H%M%S.%f}", expected):
        assert normalising.date_time(spelling) == expected
        assert normalising.date(spelling) == expected[:10]


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.text("0123456789.-/年月日岁 TZ:+cmkg", max_size=24),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@settings(deadline=None, max_examples=300)
@given(ANYTHING, st.sampled_from(FORMS))
def test_nothing_but_unfit_is_ever_raised_and_a_form_is_its_own_form(
    raw: object, form: Callable[[object], object]
) -> None:
    try:
        first = form(raw)
    except Unfit:
        return
    if form is not normalising.age:
        assert form(first) == first


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_cleaned_text_can_be_written_anywhere(raw: str) -> None:
    cleaned = normalising.clean(raw)
    assert all(cleaned.encode(codec) or not cleaned for codec in ("utf-8", "utf-16", "gb18030"))
    assert not [c for c in cleaned if (ord(c) < 32 and c not in "\t\n\r") or 127 <= ord(c) < 160]


def test_a_height_of_many_places_is_in_the_form_that_is_asked_for() -> None:
    assert normalising.size("3.71154") == normalising.size(normalising.size("3.71154")) == "0.037115"
