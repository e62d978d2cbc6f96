"""Promises of a site's mapping: what it says is found wherever it stands, and what it cannot mean is told at once."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folder_agent.core.catalogue import explain
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, TEXT_FIELDS
from folder_agent.core.mapping import NO_MAPPING, WrongMapping, site_mapping
from folder_agent.core.records import Counts, ListedFile, Origin, SidecarReading
from folder_agent.core.sidecar import read_sidecar
from folder_agent.core.sidecar.locating import MAX_LOOKS, Ambiguous, Tree
from tests.core.soundness import is_sound
from tests.core.test_sidecar import ENTRIES, KEYS, VALID, VALUES, said


def read(document: object, **table: Any) -> SidecarReading:
    return read_sidecar(json.dumps(document).encode(), site_mapping(table))


def beside(*fields: str, **more: object) -> dict[str, object]:
    """The required fields without some, and more."""
    return {key: value for key, value in VALID.items() if key not in fields} | more


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "more", "key"),
    [
        ("Patient.ID", {"Patient": {"ID": "7"}}, "Patient.ID"),
        ("Patient.ID", {"Patient.ID": "7", "Patient": {"ID": "8"}}, "Patient.ID"),
        ("a.b.c", {"a": {"b.c": "7"}}, "a.b.c"),
        ("a.b.c", {"a.b": {"c": "7"}, "a": {"b": {"c": "8"}}}, "a.b.c"),
        ("a.b.c", {"a.b": {"x": 1}, "a": {"b": {"c": "7"}}}, "a.b.c"),
        ("No.", {"No.": "7"}, "No."),
        ("Patient.ID", {"PATIENT": {" id ": "7"}}, "PATIENT. id "),
        ("ID", {"ID": "7", "id": "8", "Id": "9"}, "ID"),
        ("Patient.ID", {"PATIENT": {"ID": "7", "id": "8"}}, "PATIENT.ID"),
        ("Exams.1.ID", {"Exams": [{"ID": "6"}, {"ID": "7"}]}, "Exams.1.ID"),
        ("Exams.ID", {"Exams": [{"ID": "7"}]}, "Exams.ID"),
        ("Exams.ID", {"Exams": [{"x": 1}, {"ID": "7"}]}, "Exams.ID"),
        ("00100020.Value.0", {"00100020": {"vr": "LO", "Value": ["7"]}}, "00100020.Value.0"),
        ("0.1", {"0": {"1": "7"}}, "0.1"),
        ("病人.编号", {"病人": {"编号": 7}}, "病人.编号"),
    ],
)
def test_a_path_leads_to_its_value_and_the_key_is_told_as_it_is_written(
    path: str, more: dict[str, object], key: str
) -> None:
    reading = read(beside("patientId") | more, **{path: "patientId"})
    assert (reading.get("patientId"), reading.problems) == ("7", ())
    [source] = [source for source in reading.sources if source.field == "patientId"]
    assert (source.origin, source.key, source.written) == (Origin.KEY, key, None)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("ID", {"Id": "7", "id": "8"}),
        ("Patient.ID", {"Patient": {"Id": "7", "id": "8"}}),
        ("Exams.ID", {"Exams": [{"ID": "6"}, {"ID": "7"}]}),
    ],
)
def test_a_path_that_leads_to_two_places_is_refused(path: str, more: dict[str, object]) -> None:
    reading = read(beside("patientId") | more, **{path: "patientId"})
    assert said(reading.problems)[0] == ("FA-SIDECAR-DUPLICATE", f"patientId ({path})")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Patient": None},
        {"Patient": "7"},
        {"Patient": []},
        {"Patient": ["7"]},
        {"Patient": {"ID": None}},
        {"Patient": {"ID": " "}},
        {"Patient": {"ID": "null"}},
        {"patientId": "9"},
    ],
)
def test_what_a_path_does_not_find_is_missing_and_the_path_is_told(more: dict[str, object]) -> None:
    reading = read(beside("patientId") | more, **{"Patient.ID": "patientId"})
    assert said(reading.problems) == [("FA-FIELD-MISSING", "patientId (Patient.ID)")]


def test_several_paths_may_lead_to_a_field_but_only_one_may_find_something() -> None:
    paths = {"PID": "patientId", "Patient.ID": "patientId"}
    assert read(beside("patientId", PID="7", Patient={"ID": ""}), **paths).get("patientId") == "7"
    assert read(beside("patientId", PID=None, Patient={"ID": "7"}), **paths).get("patientId") == "7"
    both = read(beside("patientId", PID="7", Patient={"ID": "8"}), **paths)
    assert said(both.problems) == [("FA-SIDECAR-DUPLICATE", "patientId")]


def test_one_path_may_lead_to_several_fields() -> None:
    reading = read(beside("studyId", "accessNumber", ExamNo="7"), ExamNo=["studyId", "accessNumber"])
    assert (reading.get("studyId"), reading.get("accessNumber"), reading.problems) == ("7", "7", ())


def test_a_mapped_field_is_not_taken_from_its_own_name_and_others_are() -> None:
    reading = read(VALID | {"patientId": "row 5", "PID": "7"}, PID="patientId")
    assert (reading.get("patientId"), reading.get("patientName"), reading.problems) == ("7", "张三", ())
    assert ("FA-FIELD-UNUSED", "patientId") in said(reading.warnings)


def test_a_key_that_is_mapped_elsewhere_is_not_the_field_of_its_name() -> None:
    reading = read(VALID | {"status": "machine 3"}, status="equipment")
    assert (reading.get("equipment"), reading.get("status")) == ("machine 3", None)
    assert ("FA-FIELD-DROPPED", "status") not in said(reading.warnings)


def test_keys_beside_the_mapped_ones_are_told_with_their_place_and_without_their_values() -> None:
    document = beside("patientId", Patient={"ID": "7", "Row": "王五"}, Exams=[{"A": "李四"}], Other={"B": {"C": 1}})
    reading = read(document, **{"Patient.ID": "patientId"})
    assert reading.unknown_keys == ("Patient.Row", "Exams", "Other")
    assert "王五" not in repr(reading)


def test_counts_and_the_list_of_files_can_be_mapped() -> None:
    reading = read(
        VALID | {"Series": {"Images": "12"}, "Files": [{"Path": "a.dcm", "Size": 5}]},
        **{"Series.Images": "imageCnt", "Files": "files"},
    )
    assert (reading.declared, reading.listed) == (Counts(images=12), (ListedFile("a.dcm", 5),))
    assert {source.field for source in reading.sources} >= {"imageCnt"}


def test_a_wrong_value_is_told_with_the_sites_own_key() -> None:
    reading = read(beside("patientSex", Sex="?", Birth="soon"), Sex="patientSex", Birth="patientBirthday")
    assert said(reading.problems) == [("FA-FIELD-INVALID", "patientSex (Sex)")]
    assert ("FA-FIELD-DROPPED", "patientBirthday (Birth)") in said(reading.warnings)


# --- values, constants, dates, defaults -------------------------------------------------------------------------------

CATEGORY = {
    "门诊": "normal",
    "急诊(A)": "emergency",
    "true": "emergency",
    "false": "normal",
    "3": "emergency",
    "无": "",
}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("门诊", "normal"),
        ("急诊(a) ", "emergency"),
        ("急诊（A）", "emergency"),
        (True, "emergency"),
        (False, "normal"),
        (3, "emergency"),
        (3.0, "emergency"),
        ("无", None),
        ("平诊", "normal"),
        ("normal", "normal"),
    ],
)
def test_values_are_translated_and_others_are_read_as_ever(written: object, expected: str | None) -> None:
    reading = read(VALID | {"Type": written}, Type="studyCategory", values={"studyCategory": CATEGORY})
    assert reading.get("studyCategory") == expected
    assert ("FA-FIELD-DROPPED", "studyCategory (Type)") not in said(reading.warnings)


def test_a_translated_value_says_what_it_was() -> None:
    reading = read(VALID | {"Type": "门诊"}, Type="studyCategory", values={"studyCategory": CATEGORY})
    [source] = [source for source in reading.sources if source.field == "studyCategory"]
    assert (source.key, source.written) == ("Type", "门诊")
    assert "门诊" not in repr(source)


def test_a_value_that_differs_from_two_entries_in_case_alone_is_neither() -> None:
    table = {"a": "normal", "A": "emergency"}
    for written, expected in (("a", "normal"), ("A", "emergency"), ("Ａ", None)):
        reading = read(VALID | {"studyCategory": written}, values={"studyCategory": table})
        assert reading.get("studyCategory") == expected


def test_truth_values_are_no_text_unless_the_mapping_says_what_they_mean() -> None:
    assert said(read(VALID | {"modality": True}).problems) == [("FA-FIELD-INVALID", "modality")]
    assert read(VALID | {"modality": True}, values={"modality": {"true": "CT"}}).get("modality") == "CT"


@pytest.mark.parametrize("given", ["MR", None, ["?"]])
def test_a_constant_holds_whatever_the_sidecar_says(given: object) -> None:
    reading = read(beside("modality", modality=given), constants={"modality": "CT", "pdfCnt": 1})
    assert (reading.get("modality"), reading.declared, reading.problems) == ("CT", Counts(pdfs=1), ())
    assert [s.origin for s in reading.sources if s.field in ("modality", "pdfCnt")] == [Origin.CONSTANT] * 2
    assert (("FA-FIELD-UNUSED", "modality") in said(reading.warnings)) == (given is not None)


@pytest.mark.parametrize(("given", "expected"), [("急诊", "emergency"), (None, "normal"), (" ", "normal"), ("?", None)])
def test_a_default_stands_in_for_what_is_absent_and_not_for_what_is_wrong(given: object, expected: str | None) -> None:
    reading = read(VALID | {"studyCategory": given}, defaults={"studyCategory": "normal"})
    assert reading.get("studyCategory") == expected
    origins = [source.origin for source in reading.sources if source.field == "studyCategory"]
    assert origins == ([] if expected is None else [Origin.KEY if given == "急诊" else Origin.DEFAULT])


def test_a_value_that_means_nothing_gives_way_to_the_default() -> None:
    reading = read(
        VALID | {"Type": "无"},
        Type="studyCategory",
        values={"studyCategory": CATEGORY},
        defaults={"studyCategory": "normal"},
    )
    [source] = [source for source in reading.sources if source.field == "studyCategory"]
    assert (reading.get("studyCategory"), source.origin, source.written) == ("normal", Origin.DEFAULT, None)


def test_dates_are_read_by_their_patterns_alone() -> None:
    dates = {"studyDate": "dd/MM/yyyy HH:mm", "patientBirthday": "ddMMyyyy", "appointDate": "yyyyMMdd"}
    good = read(
        VALID | {"studyDate": "07/03/2025 17:07", "patientBirthday": "07031980", "appointDate": 20250306}, dates=dates
    )
    assert (good.get("studyDate"), good.get("patientBirthday")) == ("2025-03-07 17:07:00", "1980-03-07")
    assert good.get("appointDate") == "2025-03-06 00:00:00"
    bad = read(VALID | {"studyDate": "2025-03-07 17:07:30"}, dates=dates)
    [dropped] = [one for one in bad.warnings if one.code == "FA-FIELD-DROPPED"]
    assert dict(dropped.values)["expected"] == "dd/MM/yyyy HH:mm"


def test_constants_defaults_and_translated_values_are_dates_in_the_gateways_form() -> None:
    reading = read(
        VALID | {"appointDate": "soon"},
        dates={"studyDate": "yyyyMMdd", "patientBirthday": "yyyyMMdd", "appointDate": "yyyyMMdd"},
        constants={"studyDate": "2025-03-07 00:00:00"},
        defaults={"patientBirthday": "1980-01-01"},
        values={"appointDate": {"soon": "2025-03-08"}},
    )
    assert reading.get("studyDate") == "2025-03-07 00:00:00"
    assert (reading.get("patientBirthday"), reading.get("appointDate")) == ("1980-01-01", "2025-03-08")


def test_a_unit_behind_an_age_comes_from_the_ages_key() -> None:
    reading = read(VALID | {"Age": "45岁"}, Age="patientAge")
    keys = {source.field: source.key for source in reading.sources}
    assert (keys["patientAge"], keys["patientAgeUnit"]) == ("Age", "Age")


def test_weeks_can_be_meant_by_a_units_value() -> None:
    reading = read(VALID | {"patientAge": 2, "patientAgeUnit": "5"}, values={"patientAgeUnit": {"5": "W"}})
    assert (reading.get("patientAge"), reading.get("patientAgeUnit")) == ("14", "D")


# --- what a mapping cannot mean ---------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once_with_its_place() -> None:
    table = {
        "": "patientId",
        "a.b.c.d.e.f.g.h.i": "patientId",
        "PID": "patientID",
        "Sex": ["patientSex", "sexx"],
        "Patient": {"ID": "patientId"},
        "Row": 5,
        "values": {"studyCategory": {"x": "sometimes"}, "nonsense": {}, "files": {}, "modality": "CT"},
        "constants": {"modality": "", "patientId": "1", "pdfCnt": -1, "status": True, "studyDesc": "CT"},
        "dates": {"studyDate": "%Y", "modality": "yyyyMMdd", "patientBirthday": 5},
        "defaults": {"studyUid": "1.2", "weight": "heavy", "studyDesc": "MR"},
    }
    with pytest.raises(WrongMapping) as caught:
        site_mapping(table)
    told = {".".join(fault.location): fault.message for fault in caught.value.faults}
    assert {place: message.split(";")[0][:40] for place, message in told.items()} == {
        "": "is no path of 1 to 8 keys and at most 25",
        "a.b.c.d.e.f.g.h.i": "is no path of 1 to 8 keys and at most 25",
        "PID": "'patientID' is none of the gateway's fie",
        "Sex": "'sexx' is none of the gateway's fields",
        "Patient": "must be the name of a field",
        "Row": "'5' is none of the gateway's fields",
        "values.studyCategory.x": "is not what studyCategory may be (normal",
        "values.nonsense": "'nonsense' is none of the gateway's fiel",
        "values.files": "the list of files can only be mapped by ",
        "values.modality": "must be a table of at most 1000 values: ",
        "constants.modality": "must not be empty",
        "constants.patientId": "tells one patient or exam from another: ",
        "constants.pdfCnt": "is not what pdfCnt may be (0, 1, 2, …)",
        "constants.status": "is not what status may be (registered/pa",
        "constants.studyDesc": "has defaults, too",
        "dates.studyDate": "'Y' is none of yyyy MM M dd d HH H hh h ",
        "dates.modality": "is no date",
        "dates.patientBirthday": 'must be a pattern such as "yyyyMMddHHmms',
        "defaults.studyUid": "tells one patient or exam from another: ",
        "defaults.weight": "is not what weight may be (70.5 (kg))",
    }
    assert "did you mean patientId?" in told["PID"]


@pytest.mark.parametrize("kind", ["values", "constants", "dates", "defaults"])
def test_the_four_tables_must_be_tables(kind: str) -> None:
    with pytest.raises(WrongMapping) as caught:
        site_mapping({kind: "patientId"})
    assert [fault.location for fault in caught.value.faults] == [(kind,)]


def test_a_constant_that_has_a_path_is_a_contradiction() -> None:
    with pytest.raises(WrongMapping):
        site_mapping({"Mod": "modality", "constants": {"modality": "CT"}})


@pytest.mark.parametrize("field", [*FIELD_CLASSES, "files", "hkAndMacauPermitNum"])
def test_every_field_can_be_mapped(field: str) -> None:
    assert site_mapping({"x": field}).paths == (("x", field.replace("Macau", "Marco")),)


def test_an_empty_mapping_changes_nothing() -> None:
    assert site_mapping({}) == NO_MAPPING


TABLES = st.dictionaries(
    st.text(max_size=6) | st.sampled_from(["values", "constants", "dates", "defaults"]),
    st.sampled_from(list(FIELD_CLASSES))
    | VALUES
    | st.dictionaries(st.sampled_from(list(FIELD_CLASSES)), VALUES, max_size=4),
    max_size=6,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(TABLES | VALUES)
def test_any_table_is_a_mapping_or_told_to_be_none(table: object) -> None:
    try:
        site_mapping(table)
    except WrongMapping as error:
        assert error.faults


# --- for any document -------------------------------------------------------------------------------------------------

STEPS = st.sampled_from(["a", "b", "A", "0", "1", "patientId", "Patient"])
MAPPINGS = st.builds(
    lambda paths, values, constants, dates, defaults: site_mapping(
        {
            **paths,
            "values": {name: table for name, table in values.items() if name not in constants},
            "constants": {name: value for name, value in constants.items() if name not in paths.values()},
            "dates": dates,
            "defaults": {name: value for name, value in defaults.items() if name not in constants},
        }
    ),
    st.dictionaries(
        st.lists(STEPS, min_size=1, max_size=4).map(".".join), st.sampled_from([*FIELD_CLASSES, "files"]), max_size=6
    ),
    st.dictionaries(
        st.sampled_from(["modality", "patientName", "bodyPart"]),
        st.dictionaries(st.text(max_size=2), st.text("ab", max_size=2)),
    ),
    st.fixed_dictionaries({}, optional={"modality": st.just("CT"), "imageCnt": st.integers(0, 5)}),
    st.fixed_dictionaries({}, optional={"studyDate": st.just("yyyyMMdd"), "patientBirthday": st.just("d/M/yyyy")}),
    st.fixed_dictionaries({}, optional={"modality": st.just("MR"), "patientAge": st.just("45岁")}),
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STEPS | KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(STEPS | KEYS, TREES, max_size=8), st.none() | ENTRIES, st.booleans(), MAPPINGS)
def test_any_document_under_any_mapping_ends_in_a_sound_reading(
    document: dict[str, object], files: object, is_based: bool, mapping: Any
) -> None:
    whole = {**(VALID if is_based else {}), **document, **({"files": files} if files is not None else {})}
    reading = read_sidecar(json.dumps(whole).encode(), mapping)
    is_sound(reading)
    present = {name for name, _ in reading.fields}
    present |= {name for name, count in COUNT_FIELDS.items() if getattr(reading.declared, count) is not None}
    assert [source.field for source in reading.sources] == [name for name in FIELD_CLASSES if name in present]


NESTED_KEYS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=1, max_size=4)
PLAIN = [name for name in TEXT_FIELDS if name in ("patientId", "patientName", "diagnosis", "studyDesc", "bedNum")]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(PLAIN), NESTED_KEYS, min_size=1), st.data())
def test_whatever_is_written_under_a_path_is_what_the_field_gets(ways: dict[str, list[str]], data: Any) -> None:
    """Each field in an object of its own, so that no two paths meet."""
    document: dict[str, Any] = {}
    table: dict[str, str] = {}
    expected = {}
    for number, (field, keys) in enumerate(ways.items()):
        value = data.draw(st.text("张三ab1", min_size=1, max_size=5))
        here = document.setdefault(f"n{number}", {})
        for key in keys[:-1]:
            here = here.setdefault(key, {})
        here[keys[-1]] = value
        path = ".".join([f"n{number}", *keys])
        if path.count(".") >= 8:
            return
        table[path], expected[field] = field, value
    reading = read_sidecar(json.dumps(document).encode(), site_mapping(table))
    assert {field: reading.get(field) for field in expected} == expected
    assert reading.unknown_keys == ()


@pytest.mark.parametrize(
    "document",
    [
        {"a": [{"a": [{"a": [{"a": 1}] * 10}] * 30}] * 900},
        {"a": [[[[1]] * 30] * 30] * 100},
        {".".join("aaaaa"[:n]): [{"A": [{"a": 1}] * 300}] * 300 for n in range(1, 6)},
        {f"k{n}": {"a": n} for n in range(100_000)},
    ],
)
def test_a_search_has_an_end_whatever_the_document_is(document: dict[str, object]) -> None:
    tree = Tree(document)
    for name in TEXT_FIELDS:
        try:
            assert tree.find(f"a.a.a.a.a.a.a.{name}") is None
        except Ambiguous:
            pytest.fail("there is nothing to be found")
    assert tree.looks < 2 * MAX_LOOKS


def test_numbers_of_the_settings_are_values_like_others() -> None:
    assert read(beside("modality"), constants={"modality": 5}).get("modality") == "5"
    assert read(VALID, defaults={"weight": 70.5}).get("weight") == "70.5"
    assert Decimal(read(VALID | {"weight": 70.25}).get("weight") or "0") == Decimal("70.25")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_unused_key_is_explained(language: Any) -> None:
    reading = read(VALID, constants={"modality": "MR"})
    [unused] = [one for one in reading.warnings if one.code == "FA-FIELD-UNUSED"]
    assert "modality" in explain(unused, language)
