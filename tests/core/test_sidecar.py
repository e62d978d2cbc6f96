"""Promises of reading a sidecar: whatever the bytes are, it ends in a reading that says everything at once."""

import json
import time
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from folder_agent.core.catalogue import explain
from folder_agent.core.errors import Problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, TEXT_FIELDS, FieldClass, exam_from
from folder_agent.core.records import Counts, ListedFile, Origin, SidecarReading
from folder_agent.core.sidecar import MAX_BYTES, MAX_DEPTH, MAX_LISTED, MAX_TOLD, read_sidecar
from tests.core.soundness import is_sound

VALID: dict[str, object] = {
    "patientId": "P1",
    "patientName": "张三",
    "patientSex": "男",
    "studyId": "S1",
    "accessNumber": "A1",
    "modality": "CT",
}


def read(**changes: object) -> SidecarReading:
    return read_sidecar(json.dumps({**VALID, **changes}).encode())


def said(problems: tuple[Problem, ...]) -> list[tuple[str, object]]:
    """Code and first value of each; the warnings about what is merely absent are left out."""
    return [(p.code, p.values[0][1] if p.values else None) for p in problems if p.code != "FA-FIELD-ABSENT"]


def only(reading: SidecarReading) -> Problem:
    [problem] = reading.problems
    assert reading.fields == ()
    assert reading.listed is None
    return problem


# --- bytes ------------------------------------------------------------------------------------------------------------

CHINESE = json.dumps({**VALID, "bodyPart": "胸部"}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (CHINESE.encode(), "utf-8"),
        (CHINESE.encode("utf-8-sig"), "utf-8-sig"),
        (b"\xff\xfe" + CHINESE.encode("utf-16-le"), "utf-16-le"),
        (b"\xfe\xff" + CHINESE.encode("utf-16-be"), "utf-16-be"),
        (CHINESE.encode("utf-16-le"), "utf-16-le"),
        (CHINESE.encode("utf-16-be"), "utf-16-be"),
        (CHINESE.encode("utf-32"), "utf-32-le"),
        (CHINESE.encode("gb18030"), "gb18030"),
        (CHINESE.encode("gbk"), "gb18030"),
    ],
)
def test_every_encoding_that_hospitals_write_gives_the_same_exam(content: bytes, encoding: str) -> None:
    reading = read_sidecar(content)
    assert reading.encoding == encoding
    assert reading.problems == ()
    assert (reading.get("patientName"), reading.get("bodyPart")) == ("张三", "胸部")


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(min_codepoint=0x20, codec="utf-8"), min_size=1), st.sampled_from(["utf-8", "utf-16"]))
def test_any_name_comes_through_utf8_and_utf16_unharmed(name: str, encoding: str) -> None:
    expected = read(patientName=name).get("patientName")
    written = json.dumps({**VALID, "patientName": name}, ensure_ascii=False)
    assert read_sidecar(written.encode(encoding)).get("patientName") == expected


COMMON = st.sampled_from([bytes(pair).decode("gb2312") for pair in product(range(0xB0, 0xD7), range(0xA1, 0xFF))])
COMMON_OR_ASCII = COMMON | st.characters(min_codepoint=0x20, max_codepoint=0x7E)
EVERY = {  # what Python calls it, and what the reading does
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8-sig",
    "utf-16": "utf-16-le",  # with a byte order mark
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-32": "utf-32-le",
    "gbk": "gb18030",
    "gb18030": "gb18030",
}


@settings(deadline=None, max_examples=200)
@given(st.text(COMMON_OR_ASCII), st.text(COMMON_OR_ASCII), st.sampled_from(sorted(EVERY)))
def test_every_text_of_hanzi_and_ascii_comes_through_every_encoding(name: str, part: str, encoding: str) -> None:
    expected = read(patientName=name, bodyPart=f"{part}放")
    written = json.dumps({**VALID, "patientName": name, "bodyPart": f"{part}放"}, ensure_ascii=False)
    reading = read_sidecar(written.encode(encoding))
    assert reading.encoding == EVERY[encoding]
    assert reading.fields == expected.fields


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=20))
def test_any_chinese_name_comes_through_gb18030_unless_its_bytes_are_utf8_as_well(name: str) -> None:
    content = json.dumps({**VALID, "patientName": name}, ensure_ascii=False).encode("gb18030")
    reading = read_sidecar(content)
    assume(reading.encoding == "gb18030")
    assert reading.get("patientName") == name


def written_in(encoding: str, *values: str) -> bytes:
    """A sidecar in which these values are all that is not ASCII."""
    return json.dumps(
        {**VALID, "patientName": values[0], "x": values[1:], "patientSex": "M"}, ensure_ascii=False
    ).encode(encoding)


@pytest.mark.parametrize(
    "name",
    ["钱石", "毛毛", "史莫", "施薇", "姚颖", "谢颖", "肖笑笑", "谢小小", "郑志", "石女", "毛玫", "谢魏", "莫愁之"],
)
def test_a_short_name_in_gbk_whose_bytes_are_utf8_as_well_is_read_as_the_name_it_is(name: str) -> None:
    content = written_in("gbk", name)
    reading = read_sidecar(content)
    assert (reading.encoding, reading.get("patientName")) == ("gb18030", name)
    assert read_sidecar(written_in("utf-8", name)).get("patientName") == name


def test_the_names_in_doubt_are_few() -> None:
    both = [bytes(pair).decode("gb2312") for pair in product(range(0xC2, 0xD8), range(0xA1, 0xC0))]
    names = [first + second for first, second in product(both[::7], both[::5])]
    assert all(written_in("gbk", name).decode("utf-8") for name in names)  # every one of them is in doubt at first
    taken_for_utf8 = [name for name in names if read_sidecar(written_in("gbk", name)).encoding == "utf-8"]
    assert len(taken_for_utf8) < len(names) * 0.03


@pytest.mark.parametrize(
    "values",
    [
        *(("Müller",), ("José María",), ("Łukasz Żak",), ("Nguyễn Hữu Đạt",), ("lǚ",), ("Ștefan",), ("à",), ("Åse",)),
        *(("РОМАН",), ("Роман",), ("Санин",), ("Соня",), ("ГОМБО",), ("Ресенина", "ре"), ("мама",), ("δειλία",)),
        *(("ئابلەت",), ("محمد",), ("홍길동",), ("さくら",), ("½·±°µ",), ("α",), ("β-blocker", "γ"), ("37.5°C", "10µg")),
        *(("Müller", "ʯ"), ("Äpfel", "ä")),
    ],
)
def test_utf8_that_some_language_writes_is_never_taken_for_gbk(values: tuple[str, ...]) -> None:
    reading = read_sidecar(written_in("utf-8", *values))
    assert (reading.encoding, reading.get("patientName")) == ("utf-8", values[0])


LATIN = st.text(
    st.sampled_from("abcdefghijklmnopqrstuvwxyzàáâãäåæçèéêëìíîïðñòóôõöùúûüýþāăąćčďēęěīłńňōřśšťūůźžǎǐǒǔǚ"), min_size=1
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.builds("{}{}{}".format, LATIN, st.sampled_from("aeioulnrst"), LATIN), min_size=1, max_size=4))
def test_no_latin_names_in_utf8_are_ever_taken_for_gbk(names: list[str]) -> None:
    assert read_sidecar(written_in("utf-8", *names)).get("patientName") == names[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
@pytest.mark.parametrize("padding", ["\0", "\0" * 513, "\x1a", "\r\n\x1a\0\0"])
def test_padding_behind_the_last_bracket_says_nothing(encoding: str, padding: str) -> None:
    content = json.dumps(VALID, ensure_ascii=False).encode(encoding)
    padded = json.dumps(VALID, ensure_ascii=False) + padding
    assert read_sidecar(padded.encode(encoding)).fields == read_sidecar(content).fields != ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_may_have_been_written_twice(encoding: str) -> None:
    text = "\ufeff" + json.dumps(VALID, ensure_ascii=False)
    assert read_sidecar(text.encode(encoding)).problems == ()


def test_a_half_written_sidecar_is_none_whatever_zeros_follow() -> None:
    """CopyFile sets the length first."""
    content = json.dumps(VALID, ensure_ascii=False).encode()
    for length in range(1, len(content)):
        assert read_sidecar(content[:length] + b"\0" * (len(content) - length)).problems


@pytest.mark.parametrize("content", [b'{"a": "\xff\xff"}', b"\xff\xfe{\x00a", b"\xef\xbb\xbf\xd5\xc5", b"\x80\xff"])
def test_bytes_that_are_no_text_are_told_as_such(content: bytes) -> None:
    assert only(read_sidecar(content)).code == "FA-SIDECAR-ENCODING"


def test_one_broken_byte_in_utf8_never_turns_a_name_into_other_characters() -> None:
    content = json.dumps({**VALID, "patientName": "欧阳娜娜", "bodyPart": "胸部"}, ensure_ascii=False).encode()
    for at in range(len(content)):
        if content[at] > 0x7F:
            assert only(read_sidecar(content[:at] + b"\xc5" + content[at + 1 :])).code == "FA-SIDECAR-ENCODING"
            assert only(read_sidecar(content[:at] + content[at + 1 :])).code == "FA-SIDECAR-ENCODING"


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe \x00", b"\x00" * 4096])
def test_an_empty_sidecar_is_told_as_empty(content: bytes) -> None:
    assert only(read_sidecar(content)).code == "FA-SIDECAR-EMPTY"


def test_the_size_limit_is_exact() -> None:
    content = json.dumps(VALID).encode().ljust(MAX_BYTES)
    assert read_sidecar(content).problems == ()
    problem = only(read_sidecar(content + b" "))
    assert (problem.code, problem.values) == ("FA-SIDECAR-LARGE", (("limit", MAX_BYTES),))


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("{", 1, 2),
        ('{"a": 1,\n  "b": }', 2, 8),
        ("{'a': 1}", 1, 2),
        ('{"a": 1} x', 1, 10),
        ('{"a": "NaN",\r\n "b": NaN}', 2, 7),
        ('{"a": -Infinity}', 1, 7),
        ('{"a": ["Infinity", Infinity]}', 1, 20),
        ('{\n"b": ' + "9" * 5000 + "}", 2, 6),
        ('{"a": "' + "9" * 5000 + '", "b": -' + "9" * 5000 + ".5}", 1, 5016),
    ],
)
def test_bad_json_is_told_with_its_line_and_column(text: str, line: int, column: int) -> None:
    problem = only(read_sidecar(text.encode()))
    assert (problem.code, dict(problem.values)) == ("FA-SIDECAR-JSON", {"line": line, "column": column})


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.deferred(lambda: st.dictionaries(KEYS, VALUES, max_size=12)), st.booleans())
def test_an_object_that_stands_alone_in_a_list_is_that_object(document: dict[str, object], is_based: bool) -> None:
    whole = json.dumps({**(VALID if is_based else {}), **document})
    assert read_sidecar(f"[\n{whole}\n]".encode()) == read_sidecar(f"\n{whole}".encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", "[…]"),
        ("[{}, {}]", "[…]"),
        ("[1]", "[…]"),
        ("[[{}]]", "[…]"),
        ('"text 张三"', '"…"'),
        ("12345", "0…9"),
        ("1.5", "0…9"),
        ("true", "true/false"),
        ("null", "null"),
    ],
)
def test_anything_but_one_object_is_told_by_its_kind_and_not_by_its_value(text: str, found: str) -> None:
    problem = only(read_sidecar(text.encode()))
    assert (problem.code, problem.values) == ("FA-SIDECAR-SHAPE", (("found", found),))


def test_the_depth_limit_is_exact_and_brackets_in_text_do_not_count() -> None:
    def nested(levels: int) -> bytes:
        inner = "[" * (levels - 1) + "]" * (levels - 1)
        return json.dumps({**VALID, "patientName": '"\\[[{'})[:-1].encode() + f', "x": {inner}}}'.encode()

    assert read_sidecar(nested(MAX_DEPTH)).problems == ()
    assert only(read_sidecar(nested(MAX_DEPTH + 1))).code == "FA-SIDECAR-DEEP"
    assert read_sidecar(json.dumps({**VALID, "patientName": "[" * 100}).encode()).problems == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"[" * MAX_BYTES, "FA-SIDECAR-DEEP"),
        (b'{"a":' * (MAX_BYTES // 5), "FA-SIDECAR-DEEP"),
        (b"]" * MAX_BYTES, "FA-SIDECAR-JSON"),
        (b'"' * MAX_BYTES, "FA-SIDECAR-JSON"),
        (b'"' + b"\\" * (MAX_BYTES - 1), "FA-SIDECAR-JSON"),
        (b'{"a": "' + b"[" * (MAX_BYTES - 7), "FA-SIDECAR-JSON"),
        (b"9" * MAX_BYTES, "FA-SIDECAR-JSON"),
        (b"[" + b"1" * 500 + b"," + b"9" * (MAX_BYTES - 502), "FA-SIDECAR-JSON"),
        (b"\xff" * MAX_BYTES, "FA-SIDECAR-ENCODING"),
    ],
)
def test_four_megabytes_of_malice_end_quickly_in_a_clean_problem(content: bytes, code: str) -> None:
    start = time.process_time()
    assert only(read_sidecar(content)).code == code
    assert time.process_time() - start < 1


def test_four_megabytes_of_small_values_are_read_without_trouble() -> None:
    content = json.dumps(VALID)[:-1].encode() + b', "x": [' + b"[]," * 1_300_000 + b"1]}"
    assert read_sidecar(content).problems == ()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"patientId": 1, "patientId": 1}', "patientId"),
        ('{"x": [{"deep": 1, "deep": 2}]}', "deep"),
        ('{"\\ud800": 1, "\\ud800": 2}', "\ufffd"),
    ],
)
def test_a_key_that_stands_twice_anywhere_is_refused(text: str, field: str) -> None:
    problem = only(read_sidecar(text.encode()))
    assert (problem.code, problem.values) == ("FA-SIDECAR-DUPLICATE", (("field", field),))


# --- fields -----------------------------------------------------------------------------------------------------------


def test_a_whole_sidecar_is_read_in_the_pages_order_and_makes_an_exam() -> None:
    every = {name: f"{name} 值" for name in TEXT_FIELDS} | VALID
    every |= {"patientAge": "45岁", "patientAgeUnit": "Y", "patientBirthday": "1980/3/7", "size": 175, "weight": "70kg"}
    every |= {"studyDate": "20250307170730", "studyCategory": "急诊", "status": "最终状态", "studyUid": "1.2.3"}
    reading = read_sidecar(json.dumps(dict(reversed(every.items()))).encode())
    assert (reading.problems, reading.warnings) == ((), ())
    assert tuple(name for name, _ in reading.fields) == TEXT_FIELDS
    body = exam_from(reading, Counts(1, 0, 1, 1)).body()
    assert list(body) == list(FIELD_CLASSES)
    assert (body["size"], body["patientAge"], body["studyDate"]) == ("1.75", "45", "2025-03-07 17:07:30")


def test_names_are_understood_in_any_case_with_spaces_around_and_in_both_permit_spellings() -> None:
    reading = read(**{" StudyUID ": "1.2.3\x00", "HKANDMACAUPERMITNUM": " H1 ", "ImageCnt": 2})
    assert (reading.get("studyUid"), reading.get("hkAndMarcoPermitNum")) == ("1.2.3", "H1")
    assert (reading.declared, reading.unknown_keys) == (Counts(images=2), ())


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"PatientID": "P2"}, "patientId"),
        ({"hkAndMarcoPermitNum": "1", "hkAndMacauPermitNum": "1"}, "hkAndMarcoPermitNum"),
        ({"files": [], "Files": []}, "files"),
    ],
)
def test_two_keys_for_one_field_are_refused(more: dict[str, object], field: str) -> None:
    assert said(read(**more).problems) == [("FA-SIDECAR-DUPLICATE", field)]


@pytest.mark.parametrize("empty", [None, "", " ", "NULL"])
def test_two_keys_for_one_field_are_one_where_the_other_is_empty(empty: object) -> None:
    for more in ({"patientId": empty, "PatientID": "P2"}, {"patientId": "P2", "PatientID": empty}):
        reading = read(**more)
        assert (reading.get("patientId"), reading.problems) == ("P2", ())


def test_where_a_field_comes_from_is_told_of_each_that_is_given() -> None:
    reading = read(**{" StudyUID ": "1.2.3", "weight": None, "size": "tall", "imageCnt": 2, "patientAge": "45岁"})
    assert [(source.field, source.key) for source in reading.sources] == [
        *((name, name) for name in VALID),
        *(("patientAge", "patientAge"), ("patientAgeUnit", "patientAge"), ("studyUid", " StudyUID ")),
        ("imageCnt", "imageCnt"),
    ]
    assert {source.origin for source in reading.sources} == {Origin.KEY}


def test_every_problem_is_told_at_once_in_the_pages_order() -> None:
    content = {"patientSex": "X", "studyId": True, "modality": [], "imageCnt": "many", "files": ["../a", 5]}
    assert said(read_sidecar(json.dumps(content).encode()).problems) == [
        ("FA-FIELD-MISSING", "patientId"),
        ("FA-FIELD-MISSING", "patientName"),
        ("FA-FIELD-INVALID", "patientSex"),
        ("FA-FIELD-INVALID", "studyId"),
        ("FA-FIELD-MISSING", "accessNumber"),
        ("FA-FIELD-INVALID", "modality"),
        ("FA-FIELD-INVALID", "imageCnt"),
        ("FA-LISTED-PATH", None),
        ("FA-LISTED-SHAPE", 2),
    ]


@pytest.mark.parametrize("empty", [None, "", "  \u3000", "NULL", "null", "\u0000"])
@pytest.mark.parametrize("name", VALID)
def test_an_empty_required_field_is_missing(name: str, empty: object) -> None:
    assert said(read(**{name: empty}).problems) == [("FA-FIELD-MISSING", name)]


def test_a_missing_class_b_field_is_a_warning_and_a_class_c_field_nothing() -> None:
    absent = [dict(p.values)["field"] for p in read().warnings if p.code == "FA-FIELD-ABSENT"]
    assert absent == [name for name in TEXT_FIELDS if FIELD_CLASSES[name] is FieldClass.B]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patientBirthday", "2025-02-30"),
        ("studyUid", "张三"),
        ("status", "?"),
        ("weight", []),
        ("diagnosis", "长" * 4097),
        ("symptom", {"text": "x"}),
        ("allergies", False),
    ],
)
def test_an_optional_value_that_cannot_be_understood_is_left_out_with_one_warning(name: str, value: object) -> None:
    reading = read(**{name: value})
    assert (reading.problems, reading.get(name)) == ((), None)
    assert said(reading.warnings) == [("FA-FIELD-DROPPED", name)]
    assert not [p for p in reading.warnings if p.code == "FA-FIELD-ABSENT" and ("field", name) in p.values]


@pytest.mark.parametrize("name", COUNT_FIELDS)
@pytest.mark.parametrize("value", [-1, 1.5, "x", True, [], 1e300, 10**500])
def test_a_wrong_count_refuses_because_it_decides_what_is_complete(name: str, value: object) -> None:
    assert said(read(**{name: value}).problems) == [("FA-FIELD-INVALID", name)]


def test_declared_counts_are_kept_and_empty_ones_are_not_declared() -> None:
    assert read(imageCnt="12", reportCnt=0, pdfCnt=1.0, seriesCnt=" ").declared == Counts(12, 0, 1, None)


@pytest.mark.parametrize(
    ("age", "unit", "expected", "dropped"),
    [
        ("45岁", None, ("45", "Y"), []),
        (45, "岁", ("45", "Y"), []),
        ("2W", None, ("14", "D"), []),
        ("45", None, ("45", None), []),
        ("3月", "Y", (None, "Y"), ["patientAge"]),
        ("45", "?", (None, None), ["patientAge", "patientAgeUnit"]),
        (None, "?", (None, None), ["patientAgeUnit"]),
        ("old", "Y", (None, "Y"), ["patientAge"]),
    ],
)
def test_days_are_never_taken_for_years(
    age: object, unit: object, expected: tuple[object, object], dropped: list[str]
) -> None:
    reading = read(patientAge=age, patientAgeUnit=unit)
    assert (reading.get("patientAge"), reading.get("patientAgeUnit")) == expected
    assert sorted(str(name) for _, name in said(reading.warnings)) == dropped


def test_control_characters_and_half_characters_never_leave_the_reading() -> None:
    written = json.dumps(VALID)[:-1] + ', "diagnosis": "a\\u0000\\u001b\\ud800\\tb\n c", "\\ud800\\u0001k": 1}'
    reading = read_sidecar(written.encode())
    assert reading.get("diagnosis") == "a\ufffd\tb\n c"
    assert reading.unknown_keys == ("\ufffdk",)


def test_of_unknown_keys_the_name_is_told_and_the_value_forgotten() -> None:
    reading = read(secret="王五", **{"k" * 100: 1})
    assert reading.unknown_keys == ("secret", "k" * 63 + "…")
    assert said(reading.warnings) == [("FA-FIELD-UNKNOWN", name) for name in reading.unknown_keys]
    assert "王五" not in repr(reading)
    many = read(**{f"key{n}": n for n in range(1000)})
    assert len(many.unknown_keys) == len(said(many.warnings)) == MAX_TOLD


def test_a_wrong_value_is_private_so_that_masking_hides_it() -> None:
    [wrong] = read(patientSex="王五的备注").problems
    [dropped] = [p for p in read(idCardNum=["x"], phoneNum="王五" * 4000).warnings if ("field", "phoneNum") in p.values]
    for problem in (wrong, dropped):
        assert "王五" in explain(problem, "zh")
        assert "王五" not in explain(problem.masked(), "zh") + repr(problem.masked())
        assert len(explain(problem, "zh")) < 400


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("110101199003071234", "110101199003071234"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
        ("12345678901234567890.0", "12345678901234567890"),
        ("20250307.000000000000000000001", "20250307.000000000000000000001"),
        ("1.10", "1.10"),
        ("1.2345e3", "1234.5"),
        ("-0.0", "0"),
        ("9" * 600, "9" * 600),
    ],
)
def test_a_number_keeps_every_digit_that_is_written(written: str, expected: str) -> None:
    content = json.dumps(VALID).replace('"P1"', written).encode()
    assert read_sidecar(content).get("patientId") == expected


@pytest.mark.parametrize("written", ["1.10101E+17", "1e3", "1e-700", "1e999999999999", "1e-999999999999"])
def test_digits_that_are_not_written_are_never_made_up(written: str) -> None:
    content = json.dumps(VALID).replace('"P1"', written).encode()
    [wrong] = read_sidecar(content).problems
    assert (wrong.code, dict(wrong.values)["field"]) == ("FA-FIELD-INVALID", "patientId")
    assert len(dict(wrong.private)["value"]) < 30


@settings(deadline=None, max_examples=200)
@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-(10**500), 10**500))
def test_any_number_comes_through_exactly_or_not_at_all(number: Decimal | int) -> None:
    content = json.dumps(VALID).replace('"P1"', str(number)).encode()
    value = read_sidecar(content).get("patientId")
    assert value is None or ("E" not in value and Decimal(value) == Decimal(number))


# --- the files list ---------------------------------------------------------------------------------------------------

SHA = "AB" * 32


def test_listed_files_are_paths_or_objects_with_facts() -> None:
    entries = ["./a.dcm", "sub\\b.dcm", {"path": "c.pdf", "size": "12", "SHA256": SHA}, {"path": "d", "size": 2**40}]
    reading = read(files=entries)
    assert reading.problems == ()
    assert reading.listed == (
        ListedFile("a.dcm"),
        ListedFile("sub/b.dcm"),
        ListedFile("c.pdf", 12, SHA.lower()),
        ListedFile("d", 2**40),
    )


@pytest.mark.parametrize("value", [None, "", "NULL", []])
def test_an_empty_list_lists_nothing(value: object) -> None:
    assert (read(files=value).listed, read(files=value).problems) == (None, ())


@pytest.mark.parametrize("value", ["a.dcm", 5, True, {"path": "a"}])
def test_files_must_be_a_list(value: object) -> None:
    assert said(read(files=value).problems) == [("FA-FIELD-INVALID", "files")]


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "../a",
            "a/../b",
            "..",
            ".",
            "",
            "/etc/passwd",
            "\\windows",
            "\\\\host\\share\\a",
            "//host/a",
            "C:\\a",
            "c:a",
        ),
        *("a//b", "a/", "a/./b", "././a", "a\x00", "a\nb", "a:stream", "\ud800", ".. /a", "a/.../b", ". .\\x", "a/ /b"),
        *("a\\..\\..\\b", ".\\..\\a", "x" * 4097, {"path": "../王五"}),
    ],
)
def test_no_listed_path_leaves_the_sidecars_folder(entry: object) -> None:
    reading = read(files=["good.dcm", entry])
    [problem] = reading.problems
    assert problem.code == "FA-LISTED-PATH"
    assert problem.values == ()
    assert len(problem.private[0][1]) <= 200
    assert reading.listed == (ListedFile("good.dcm"),)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 5, True, [], {}, {"size": 1}, {"path": None}, {"path": 5}, {"path": "a", "size": -1}),
        *({"path": "a", "sha256": "ab"}, {"path": "a", "sha256": "g" * 64}, {"path": "a", "size": 2**63}),
        *({"path": "a", "Path": "b"}, {"path": "a", "sha256": True}, {"path": "good.dcm", "size": 1}),
    ],
)
def test_a_malformed_entry_is_told_by_its_number(entry: object) -> None:
    assert said(read(files=["good.dcm", entry]).problems) == [("FA-LISTED-SHAPE", 2)]


def test_the_same_file_listed_twice_is_one_file() -> None:
    twice = {"path": "a/b.dcm", "size": 1, "sha256": SHA}
    reading = read(files=[twice, {**twice, "path": ".\\a\\b.dcm", "sha256": SHA.lower()}])
    assert (reading.listed, reading.problems) == ((ListedFile("a/b.dcm", 1, SHA.lower()),), ())


def test_a_misspelt_fact_is_told_because_it_checks_nothing() -> None:
    reading = read(files=[{"path": "a", "sha265": SHA}, {"path": "b", "sha265": SHA}])
    assert (reading.unknown_keys, reading.problems) == (("files[].sha265",), ())


def test_the_list_is_bounded_and_so_are_its_problems() -> None:
    assert len(read(files=[f"{n}" for n in range(MAX_LISTED)]).listed or ()) == MAX_LISTED
    assert said(read(files=["a"] * (MAX_LISTED + 1)).problems) == [("FA-LISTED-SHAPE", MAX_LISTED + 1)]
    assert len(read(files=[".."] * 1000).problems) == MAX_TOLD


# --- for any bytes ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_sound_reading(content: bytes) -> None:
    reading = read_sidecar(content)
    assert reading.problems
    is_sound(reading)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.sampled_from(["男", "45岁", "2025/3/7", "1.2.3", "../a", "175cm", "NULL", 10**700, 1e308]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from([*FIELD_CLASSES, "files", "FILES", "hkAndMacauPermitNum", " patientId"]) | st.text(max_size=5)
ENTRIES = st.lists(
    st.text("./\\:a ", max_size=8)
    | st.fixed_dictionaries({"path": SCALARS}, optional={"size": SCALARS, "sha256": SCALARS}),
    max_size=4,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, max_size=12), st.booleans(), st.none() | ENTRIES)
def test_any_json_ends_in_a_sound_reading(document: dict[str, object], is_based: bool, files: object) -> None:
    whole = {**(VALID if is_based else {}), **document, **({"files": files} if files is not None else {})}
    is_sound(read_sidecar(json.dumps(whole).encode()))


@settings(deadline=None, max_examples=100)
@given(VALUES)
def test_any_json_value_ends_in_a_sound_reading(value: object) -> None:
    is_sound(read_sidecar(json.dumps(value).encode()))


MEGABYTE = 1_000_000
SHAPES = {
    "letters, and a word in GBK": b'{"a":"' + b"x" * MEGABYTE + '","b":"钱石"}'.encode("gbk"),
    "letters, and one with an accent": b'{"a":"' + b"x" * MEGABYTE + '","b":"é"}'.encode(),
    "quotes": b'"' * MEGABYTE,
    "backslashes": b'{"a":"' + b"\\" * MEGABYTE + b'"}',
    "brackets": b"[" * MEGABYTE,
    "lists": b"[]" * (MEGABYTE // 2),
    "blanks": b" " * MEGABYTE + b"{}",
    "digits": b'{"a":' + b"9" * MEGABYTE + b"}",
    "one key again and again": b"{" + b'"k":1,' * (MEGABYTE // 6) + b'"k":1}',
    "one wrong entry again and again": b'{"files":[' + b"1," * (MEGABYTE // 2) + b"1]}",
    "hanzi of two encodings": "钱石".encode("gbk") * (MEGABYTE // 4),
    "a date": b'{"studyDate":"' + b"2025-" * (MEGABYTE // 5) + b'"}',
    "half characters": b'{"patientName":"' + b"\\ud800" * (MEGABYTE // 6) + b'"}',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_however_it_is_made_a_large_sidecar_is_soon_read(shape: str) -> None:
    """A second for each at most; what takes ten times as long for twice as much would never end here."""
    began = time.process_time()
    read_sidecar(SHAPES[shape])
    assert time.process_time() - began < 20


BASE = json.dumps({**VALID, "patientAge": "45岁", "imageCnt": 2, "files": ["a", {"path": "b", "size": 1}]}).encode()


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(BASE)), st.integers(0, 4), st.binary(max_size=4), st.sampled_from(["", "gb18030", "utf-16"]))
def test_any_damage_to_a_valid_sidecar_ends_in_a_sound_reading(at: int, cut: int, put: bytes, encoding: str) -> None:
    content = BASE.decode("unicode_escape").encode(encoding) if encoding else BASE
    is_sound(read_sidecar(content[:at] + put + content[at + cut :]))
