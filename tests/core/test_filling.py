"""What is filled in from DICOM headers: only what all say alike, never over what the sidecar gives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.errors import problem
from folder_agent.core.exam import TEXT_FIELDS, exam_from
from folder_agent.core.filling import KEYWORDS, UNCLEAR, filled, may_be_filled, origins, said, with_filled
from folder_agent.core.groups import Group, Member
from folder_agent.core.records import Counts, DicomFacts, FileKind, Finding, Origin, SidecarReading, Stamp
from folder_agent.core.settling import Watched
from folder_agent.core.sidecar import read_sidecar

STILL = Watched(Stamp(1, 1, 1), 0.0)
IMAGE = DicomFacts("1.2", "1.2.3", "1.2.4", "1.2.5", "1.2.1", "P1", "A1", is_image=True, is_report=False)
GIVEN = {"patientId": "P1", "patientName": "张三", "patientSex": "M", "studyId": "S1", "accessNumber": "A1"}
HEADER = {
    "PatientName": "Li^Si",
    "PatientSex": "F",
    "PatientBirthDate": "19800131",
    "PatientAge": "045Y",
    "PatientSize": "1.75",
    "PatientWeight": "70",
    "StudyID": "S9",
    "AccessionNumber": "A9",
    "StudyInstanceUID": "1.2.4",
    "StudyDescription": "CT HEAD",
    "StudyDate": "20260301",
    "StudyTime": "101500.123",
    "Modality": "CT",
    "BodyPartExamined": "HEAD",
}


def reading(**given: Any) -> SidecarReading:
    return read_sidecar(json.dumps(given).encode())


def facts(*, is_image: bool = True, **header: str | None) -> DicomFacts:
    return replace(IMAGE, said=said(tuple(header.items())), is_image=is_image)


def test_what_the_sidecar_lacks_is_filled_and_told_and_lacks_no_more() -> None:
    lacking = reading(**GIVEN)
    assert not may_be_filled([problem("FA-FIELD-INVALID", field="modality")])
    assert may_be_filled(lacking.problems)
    full = filled(lacking, [facts(**HEADER), facts(**HEADER)])
    assert full.problems == ()
    exam = exam_from(full, Counts(images=2)).body()
    assert {name: exam[name] for name in origins(full)} == {
        "modality": "CT",
        "patientAge": "45",
        "patientAgeUnit": "Y",
        "patientBirthday": "1980-01-31",
        "size": "1.75",
        "weight": "70",
        "bodyPart": "HEAD",
        "studyDesc": "CT HEAD",
        "studyDate": "2026-03-01 10:15:00",
        "studyUid": "1.2.4",
    }
    assert {name: exam[name] for name in GIVEN} == GIVEN
    assert origins(full) == {name: KEYWORDS[name] for name in origins(full)}
    assert not {dict(one.values)["field"] for one in full.warnings} & set(KEYWORDS)


def test_the_patients_id_is_never_filled() -> None:
    assert "patientId" not in KEYWORDS
    full = filled(reading(), [facts(**HEADER)])
    assert {dict(one.values)["field"] for one in full.problems} == {"patientId"}


_VALUES = st.sampled_from(["CT", "MR", "F", "045Y", "1.75", "20260301", "101500", "张^三", "1.2.4", "", None])
_HEADERS = st.dictionaries(st.sampled_from(list(HEADER)), _VALUES, max_size=6)


@given(st.lists(st.tuples(_HEADERS, st.booleans()), max_size=5), st.randoms(), st.sets(st.sampled_from(list(GIVEN))))
def test_never_over_a_given_value_and_in_whatever_order(
    headers: list[tuple[dict[str, str | None], bool]], random: Any, left_out: set[str]
) -> None:
    before = reading(**{name: value for name, value in GIVEN.items() if name not in left_out})
    files = [facts(is_image=is_image, **header) for header, is_image in headers]
    after = filled(before, files)
    assert {name: after.get(name) for name, _ in before.fields} == dict(before.fields)
    random.shuffle(files)
    assert filled(before, files) == after
    assert set(after.absent) | set(origins(after)) == set(before.absent)
    for name, keyword in origins(after).items():
        told = {header[keyword] for header, _ in headers if header.get(keyword, "") != ""}
        assert None not in told or name in ("modality", "bodyPart")
        assert [source.field for source in after.sources].count(name) == 1


@pytest.mark.parametrize("name", [name for name in KEYWORDS if name != "patientAgeUnit"])
def test_files_that_disagree_or_say_what_nobody_understands_are_not_certain(name: str) -> None:
    other = {"PatientSex": "M", "PatientAge": "046Y", "StudyInstanceUID": "1.9", "PatientBirthDate": "19800201"}
    keyword, lacking = KEYWORDS[name], reading()
    alike = [facts(**HEADER), facts(**HEADER)]
    assert name in origins(filled(lacking, alike))
    for value in (other.get(keyword, "2"), None):
        assert name not in origins(filled(lacking, [*alike, facts(**{**HEADER, keyword: value})]))
    assert name in origins(filled(lacking, [*alike, facts(**{k: v for k, v in HEADER.items() if k != keyword})]))


def test_reports_say_nothing_of_modality_and_body_part() -> None:
    report = facts(is_image=False, Modality="SR", BodyPartExamined="CHEST")
    full = filled(reading(), [facts(**HEADER), report])
    assert (full.get("modality"), full.get("bodyPart")) == ("CT", "HEAD")
    assert "modality" not in origins(filled(reading(), [report]))


def test_a_given_value_that_cannot_be_understood_is_not_replaced() -> None:
    before = reading(**GIVEN, patientBirthday="last year", weight="heavy", patientAgeUnit="Y")
    full = filled(before, [facts(**HEADER)])
    assert not {"patientBirthday", "weight", "patientAge", "patientAgeUnit"} & set(origins(full))
    assert full.get("patientAge") is None


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Wang^XiaoDong=王^小东", "王小东"),
        ("Wang^XiaoDong=王^小东=おう", "王小东"),
        ("王小东", "王小东"),
        ("SMITH^JOHN^Q^DR^JR", "DR SMITH JOHN Q JR"),
        ("Wang^XiaoDong=^", "Wang XiaoDong"),
        ("=王^小东", "王小东"),
        ("^^", None),
    ],
)
def test_a_name_is_read_as_people_write_it(written: str, name: str | None) -> None:
    assert dict(said((("PatientName", written),))).get("patientName") == name


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientAge", "45"), ("PatientSize", "0"), ("PatientBirthDate", "1980"), ("PatientSex", "X")],
)
def test_what_no_form_takes_is_unclear(keyword: str, value: str) -> None:
    assert UNCLEAR in dict(said(((keyword, value),))).values()


def test_a_day_without_its_time_is_no_moment() -> None:
    assert "studyDate" not in dict(said((("StudyDate", "20260301"),)))
    assert dict(said((("StudyDate", "20260301"), ("StudyTime", "10:15:00")))) == {"studyDate": "2026-03-01 10:15:00"}


def test_fields_that_may_be_filled_are_fields_of_the_gateway() -> None:
    assert set(KEYWORDS) <= set(TEXT_FIELDS)
    assert Origin.HEADER == "DICOM header"


def member(path: str, **header: str | None) -> Member:
    return Member(path, FileKind.DICOM, STILL, Finding(FileKind.DICOM, facts(**header)))


def in_group(lacking: SidecarReading, *files: Member) -> SidecarReading:
    first = Member("x.json", FileKind.SIDECAR, STILL, Finding(FileKind.SIDECAR, sidecar=lacking))
    found = with_filled(Group("x.json", "x", "", False, (first,), files)).sidecars[0].finding
    assert found is not None
    assert found.sidecar is not None
    return found.sidecar


def test_what_the_files_disagree_about_is_told_with_two_of_them_and_refuses_what_is_required() -> None:
    other = {**HEADER, "Modality": "MR", "StudyDescription": "CT NECK"}
    full = in_group(reading(**GIVEN), member("1", **HEADER), member("2", **HEADER), member("3", **other))
    (refuses,) = [one for one in full.problems if one.code == "FA-HEADERS-DIFFER"]
    (warns,) = [one for one in full.warnings if one.code == "FA-HEADERS-DIFFER"]
    assert (dict(refuses.values)["field"], dict(warns.values)["field"]) == ("modality", "studyDesc")
    assert (warns.path, dict(warns.values)["other"]) == ("3", "1")
    assert dict(warns.private) == {"ours": "CT HEAD", "theirs": "CT NECK"}
    assert may_be_filled(full.problems)  # so that what is still to come is waited for


def test_nothing_is_told_of_what_the_sidecar_gives() -> None:
    full = in_group(reading(**GIVEN, modality="CT"), member("1", **HEADER), member("2", Modality="MR"))
    assert not [one for one in (*full.problems, *full.warnings) if one.code.startswith("FA-HEADERS")]


def test_an_age_that_nobody_understands_is_told_once() -> None:
    full = in_group(reading(**GIVEN, modality="CT"), member("1", PatientAge="45"), member("2", PatientAge="045Y"))
    told = [one for one in full.warnings if one.code == "FA-HEADERS-UNCLEAR"]
    assert [(one.path, dict(one.values)["keyword"]) for one in told] == [("1", "PatientAge")]


def test_a_captured_screen_says_nothing_of_the_modality_beside_images_that_were_measured() -> None:
    screen = replace(facts(Modality="OT"), sop_class="1.2.840.10008.5.1.4.1.1.7.2")
    photo = replace(facts(Modality="XC"), sop_class="1.2.840.10008.5.1.4.1.1.77.1.4")
    assert filled(reading(), [facts(**HEADER), screen]).get("modality") == "CT"
    assert filled(reading(), [screen]).get("modality") == "OT"
    assert filled(reading(), [facts(**HEADER), photo]).get("modality") is None
