"""Promises of the exam: the page's 50 fields, the body that is sent, and what must never reach a log."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, TEXT_FIELDS, Exam, exam_from, personal_values, scrub
from folder_agent.core.records import Counts, SidecarReading

# name:class in the order of the gateway's page
PAGE = """patientId:A patientName:A patientSex:A studyId:A accessNumber:A modality:A patientAge:B patientAgeUnit:B
patientBirthday:B size:B weight:B phoneNum:B medicalInsuranceNum:B idCardNum:B hkAndMarcoPermitNum:B passportNum:B
otherInfo:B homeAddress:C bodyPart:B studyDesc:B studyDate:B appointDate:C scanMode:B studyCategory:B applyDept:B
applyDoctor:B applyDeptId:B applyDoctorId:B hisNum:B clinicNum:C inpatientNum:C healthScreenNum:C examDept:B
examDoctor:B examDeptId:B examDoctorId:B examInfo:C inpatientWard:C bedNum:C diagnosis:C symptom:C allergies:C
studyRequirement:C equipment:C status:B studyUid:B imageCnt:B reportCnt:B pdfCnt:B seriesCnt:B"""

REQUIRED = {
    "patientId": "P1",
    "patientName": "张三",
    "patientSex": "M",
    "studyId": "S1",
    "accessNumber": "A1",
    "modality": "CT",
}
READING = SidecarReading(fields=(*REQUIRED.items(), ("hkAndMarcoPermitNum", "H12345678")))


def test_the_fields_their_classes_and_their_order_are_those_of_the_page() -> None:
    assert [f"{name}:{field_class}" for name, field_class in FIELD_CLASSES.items()] == PAGE.split()
    assert len(FIELD_CLASSES) == 50
    assert (*TEXT_FIELDS, *COUNT_FIELDS) == tuple(FIELD_CLASSES)


def test_only_what_is_present_is_sent_and_the_four_actual_counts_always() -> None:
    body = exam_from(SidecarReading(fields=tuple(REQUIRED.items())), Counts(images=2)).body()
    assert body == {**REQUIRED, "imageCnt": 2, "reportCnt": 0, "pdfCnt": 0, "seriesCnt": 0}
    assert all(type(body[name]) is int for name in COUNT_FIELDS)


def test_declared_counts_are_never_sent_in_place_of_the_actual_ones() -> None:
    reading = SidecarReading(fields=tuple(REQUIRED.items()), declared=Counts(9, 9, 9, 9))
    assert exam_from(reading, Counts(1, 0, 1, 1)).body()["imageCnt"] == 1


def test_the_permit_travels_under_the_spelling_that_is_set_and_in_its_place() -> None:
    exam = exam_from(READING, Counts())
    assert exam.body()["hkAndMarcoPermitNum"] == "H12345678"
    other = exam.body(permit_field="hkAndMacauPermitNum")
    assert other["hkAndMacauPermitNum"] == "H12345678"
    assert "hkAndMarcoPermitNum" not in other
    assert [*other.values()] == [*exam.body().values()]


@pytest.mark.parametrize("name", REQUIRED)
def test_an_exam_without_a_class_a_field_cannot_be_made(name: str) -> None:
    fields = tuple((other, value) for other, value in REQUIRED.items() if other != name)
    with pytest.raises(ValidationError) as caught:
        exam_from(SidecarReading(fields=fields), Counts())
    assert "张三" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("patientSex", "男"), ("imageCnt", -1), ("patientBirthday", "1990/3/7"), ("status", "done"), ("surprise", "x")],
)
def test_an_exam_holds_only_the_gateways_forms(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Exam.model_validate({**REQUIRED, name: value})


def test_an_exam_cannot_be_changed_and_names_nobody_when_printed() -> None:
    exam = exam_from(READING, Counts())
    with pytest.raises(ValidationError):
        setattr(exam, "patientName", "李四")  # noqa: B010 - mypy knows that it cannot be set
    assert "张三" not in f"{exam} {exam!r} {[exam]}"


def test_personal_values_are_those_that_point_at_a_person() -> None:
    fields = {**REQUIRED, "patientBirthday": "1990-03-07", "idCardNum": "110101199003071234", "bodyPart": "胸部"}
    values = personal_values(SidecarReading(fields=tuple(fields.items())))
    assert set(values) == {"P1", "张三", "1990-03-07", "19900307", "110101199003071234"}
    assert set(personal_values(READING)) == {"P1", "张三", "H12345678"}


def test_scrubbing_masks_the_longest_value_first_and_leaves_single_characters() -> None:
    assert scrub("张三丰 and 张三 (P1) x", ["张三", "张三丰", "x", "", "P1"]) == "张*** and 张*** (P***) x"
    assert scrub("a+b (c)", ["a+b"]) == "a*** (c)"
    assert scrub("text", []) == "text"


WORDS = st.text("ab1张", max_size=6)


@settings(deadline=None, max_examples=200)
@given(st.text("ab1张 ", max_size=40), st.lists(WORDS, max_size=6))
def test_no_value_of_two_characters_or_more_outlives_scrubbing(text: str, values: list[str]) -> None:
    scrubbed = scrub(text, values)
    assert not [value for value in values if len(value) > 1 and value in scrubbed]
