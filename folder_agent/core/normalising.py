"""What hospitals write, turned into the form that the gateway asks for: one small function per kind of value.

Each takes a raw JSON value and gives the gateway's form, None for "not given", or raises Unfit, which says what was
expected. Free text is only cleaned and stripped; in codes, numbers and dates full-width characters are understood.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

MAX_TEXT = 4096  # characters of one field; nothing that belongs into one is longer
MAX_COUNT = 2**31 - 1  # the gateway's int
EARLIEST_YEAR = 1850  # databases write "no date" as 0001-01-01

# Words that a Chinese and an English sentence can both hold.
TEXT_FORM, UID_FORM, COUNT_FORM = f"文本/text (≤ {MAX_TEXT})", "DICOM UID", "0, 1, 2, …"
DATE_FORM, MOMENT_FORM = "yyyy-MM-dd", "yyyy-MM-dd HH:mm:ss"
AGE_FORM, AGE_UNIT_FORM, SIZE_FORM, WEIGHT_FORM = "45 + Y/M/D", "Y/M/D", "1.75 (m)", "70.5 (kg)"


class Unfit(ValueError):
    """A value that cannot be understood; `expected` says what was. It never holds the value itself."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def _words(table: dict[str, str]) -> dict[str, str]:
    return {word: form for form, words in table.items() for word in words.split()}


# GB/T 2261.1: 0 unknown, 1 male, 2 female, 9 not said.
_SEX = _words({
    "M": "m male man 男 男性 1",
    "F": "f female woman 女 女性 2",
    "O": "o other others 其他 其它 u unknown 未知 未说明 未说明的性别 未知的性别 不详 0 9",
})  # fmt: skip
_CATEGORY = _words({"normal": "normal 平诊 普通", "emergency": "emergency urgent 急诊"})
_STATUS = _words({
    "registered": "registered 登记 已登记",
    "partial": "partial 初诊 已初诊",
    "preliminary": "preliminary 审核 已审核",
    "print": "print printed 打印 已打印",
    "final": "final 最终 最终状态",
})  # fmt: skip
_AGE_UNIT = _words({
    "Y": "y yr yrs year years 岁 周岁 年",
    "M": "m mo mos mon month months 月 个月 月龄",
    "D": "d day days 天 日 日龄",
    "W": "w wk wks week weeks 周 星期",
})  # fmt: skip
_PER_METRE = {"m": 1, "米": 1, "cm": 100, "厘米": 100, "公分": 100, "mm": 1000, "毫米": 1000}
_PER_KILOGRAM = {"": 1, "kg": 1, "kgs": 1, "公斤": 1, "千克": 1, "斤": 2, "g": 1000, "克": 1000}

_MOST_PLACES = 600  # behind the point; as many as a number in a sidecar may have characters
_UNWANTED: dict[int, str | None] = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"}
_UNWANTED |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # half of a character: no encoder takes it
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_COUNT = re.compile(r"([0-9]{1,19})(?:\.0+)?")
_AGE = re.compile(r"([0-9]{1,5})(?:\.0+)?\s*([^\W\d]*)")
_MEASURE = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,6})?)\s*([^\W\d]*)")
_CHINESE_MOMENT = str.maketrans({"年": "-", "月": "-", "日": " ", "时": ":", "点": ":", "分": ":", "秒": ""})
_MOMENT = re.compile(
    r"""(?P<year>\d{4}) (?: (?P<mark>[-/.]) (?P<month>\d{1,2}) (?P=mark) (?P<day>\d{1,2}) (?!\d) | (\d{2})(\d{2}) )
        (?: [t\s]* (?: (\d{1,2}):(\d{1,2})(?::(\d{1,2}))? | (\d{2})(\d{2})(\d{2})? )
            (?:[.,]\d+)? \s* (?: z | [-+]\d{2}:?\d{2} )? )?""",
    re.VERBOSE | re.ASCII,
)


def clean(value: str) -> str:
    """Without control characters (tab and line ends stay), and such that every encoder takes it."""
    return value.translate(_UNWANTED)


def plain(value: str) -> str:
    """For comparing: without differences of width and case."""
    return unicodedata.normalize("NFKC", value).strip().lower()


def text(raw: object) -> str | None:
    """Free text, stripped. Numbers are taken as they would be written by hand: 12 and 12.0 are "12"."""
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float, Decimal)):
        raise Unfit(TEXT_FORM)
    value = clean(raw).strip() if isinstance(raw, str) else _number_as_text(raw)
    if len(value) > MAX_TEXT:
        raise Unfit(TEXT_FORM)
    return None if value.upper() in {"", "NULL"} else value


def is_absent(raw: object) -> bool:
    """Whether nothing is given: null, blanks, or a database's NULL."""
    try:
        return text(raw) is None
    except Unfit:
        return False


def _number_as_text(number: int | float | Decimal) -> str:
    """Exact and without an exponent, or not at all: in 1.1E+17 the last digits of a long id are lost."""
    if isinstance(number, int) and number.bit_length() < 2000:  # far below where str() of an int gives up
        return str(number)
    if isinstance(number, Decimal) and number.is_finite() and -_MOST_PLACES <= _places(number) <= 0:
        return str(int(number)) if number == int(number) else f"{number:f}"
    if isinstance(number, float) and math.isfinite(number) and abs(number) < 1e15:
        written = str(int(number)) if number.is_integer() else repr(number)
        if "e" not in written:
            return written
    raise Unfit(TEXT_FORM)


def _places(number: Decimal) -> int:
    """The place of its last digit: 0 for units, negative behind the point, positive where digits are left open."""
    return int(number.as_tuple().exponent)


def _code(raw: object, expected: str) -> str | None:
    """A value in which width and case carry no meaning."""
    try:
        value = text(raw)
    except Unfit:
        raise Unfit(expected) from None
    return value and plain(value)


def _looked_up(raw: object, table: dict[str, str], expected: str) -> str | None:
    value = _code(raw, expected)
    if value is not None and value not in table:
        raise Unfit(expected)
    return value and table[value]


def sex(raw: object) -> str | None:
    """M, F or O."""
    return _looked_up(raw, _SEX, "M/F/O")


def study_category(raw: object) -> str | None:
    """normal or emergency. 门诊 and the like say where a patient comes from, not how urgent it is."""
    return _looked_up(raw, _CATEGORY, "normal/emergency")


def status(raw: object) -> str | None:
    """registered, partial, preliminary, print or final."""
    return _looked_up(raw, _STATUS, "registered/partial/preliminary/print/final")


def uid(raw: object) -> str | None:
    """A DICOM UID (PS3.5 chapter 9): digits and dots, at most 64. Leading zeros are common and taken."""
    value = _code(raw, UID_FORM)
    if value is not None and (len(value) > 64 or not _UID.fullmatch(value)):
        raise Unfit(UID_FORM)
    return value


def count(raw: object, most: int = MAX_COUNT) -> int | None:
    """A whole number from 0 to `most`."""
    value = _code(raw, COUNT_FORM)
    if value is None:
        return None
    found = _COUNT.fullmatch(value)
    if not found or int(found[1]) > most:
        raise Unfit(COUNT_FORM)
    return int(found[1])


def date(raw: object) -> str | None:
    """yyyy-MM-dd; a time of day behind it is left out."""
    moment = _moment(raw, DATE_FORM)
    return moment.date().isoformat() if moment else None


def date_time(raw: object) -> str | None:
    """yyyy-MM-dd HH:mm:ss, 24 h. The wall time stays as written: fraction and zone are left out, never converted."""
    moment = _moment(raw, MOMENT_FORM)
    return moment.isoformat(" ", "seconds") if moment else None


def _moment(raw: object, expected: str) -> datetime | None:
    value = _code(raw, expected)
    if value is None:
        return None
    found = _MOMENT.fullmatch(value.translate(_CHINESE_MOMENT).strip(": "))
    parts = [int(part) for part in found.groups("") if part.isdigit()] if found else [0]
    return wall_time((*parts, 0, 0, 0, 0, 0)[:6], expected)


def wall_time(numbers: Sequence[int], expected: str) -> datetime:
    """Year, month, day, hour, minute and second as one moment without a zone; Unfit if there was no such moment."""
    year, month, day, hour, minute, second = numbers
    try:
        moment = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the gateway takes wall time
    except ValueError:
        raise Unfit(expected) from None
    if year < EARLIEST_YEAR:
        raise Unfit(expected)
    return moment


def age_unit(raw: object) -> str | None:
    """Y, M or D."""
    unit = _looked_up(raw, _AGE_UNIT, AGE_UNIT_FORM)
    if unit == "W":  # only together with its number, which becomes days
        raise Unfit(AGE_UNIT_FORM)
    return unit


def age(raw: object) -> tuple[str | None, str | None]:
    """The number, and the unit if one is written behind it ("45岁", DICOM's "045Y"); weeks become days."""
    value = _code(raw, AGE_FORM)
    if value is None:
        return None, None
    found = _AGE.fullmatch(value)
    if not found or (found[2] and found[2] not in _AGE_UNIT):
        raise Unfit(AGE_FORM)
    number, unit = int(found[1]), _AGE_UNIT.get(found[2])
    return (str(number * 7), "D") if unit == "W" else (str(number), unit)


def age_with_unit(raw: object, raw_unit: object) -> tuple[str | None, str | None]:
    """Age and unit from two fields. A unit that makes no sense, or another one than the age's own, spoils the age:
    days taken for years are worse than no age."""
    number, own = age(raw)
    unit = _code(raw_unit, AGE_FORM)
    if number is None or unit is None:
        return number, own or age_unit(raw_unit)
    if own is None:
        return age(f"{number} {unit}")
    given = _looked_up(raw_unit, _AGE_UNIT, AGE_FORM)
    if own != ("D" if given == "W" else given):
        raise Unfit(f"45 + {given}")
    return number, own


def size(raw: object) -> str | None:
    """Height in metres. Nobody is taller than 3 m, so that a larger bare number is in centimetres."""
    found = _measure(raw, SIZE_FORM)
    if found is None:
        return None
    number, unit = found
    return _scaled(number, _PER_METRE | {"": 100 if Decimal(number) > 3 else 1}, unit, Decimal(3), SIZE_FORM)


def weight(raw: object) -> str | None:
    """Kilograms."""
    found = _measure(raw, WEIGHT_FORM)
    return found and _scaled(found[0], _PER_KILOGRAM, found[1], Decimal(700), WEIGHT_FORM)


def _measure(raw: object, expected: str) -> tuple[str, str] | None:
    value = _code(raw, expected)
    if value is None:
        return None
    found = _MEASURE.fullmatch(value)
    if not found:
        raise Unfit(expected)
    return found[1], found[2]


def _scaled(number: str, per_unit: dict[str, int], unit: str, most: Decimal, expected: str) -> str:
    """The number as it stands if its unit is the gateway's, else converted; 0 means "not measured"."""
    divisor = per_unit.get(unit)
    scaled = round(Decimal(number) / divisor, 6) if divisor is not None else Decimal(0)  # a micrometre, a milligram
    if not 0 < scaled <= most:
        raise Unfit(expected)
    return number if divisor == 1 else f"{scaled.normalize():f}"
