"""The exam information that study/add takes: the gateway's 50 fields, in its page's order, names and forms.

Touches nothing outside: a decoded sidecar and the actual counts go in, the JSON body comes out.
"""
# ruff: noqa: N815 - the names are the gateway's own

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from folder_agent.core.errors import mask
from folder_agent.core.records import Counts, SidecarReading


class FieldClass(StrEnum):
    """How much the gateway needs a field (its page: 接口参数类型说明)."""

    A = "A"  # missing: the gateway refuses the exam
    B = "B"  # must be sent where the hospital has it; without it the exam is accepted, with less use
    C = "C"  # optional


A = Annotated[str, FieldClass.A, Field(min_length=1)]
B = Annotated[str | None, FieldClass.B]
C = Annotated[str | None, FieldClass.C]
Count = Annotated[int | None, FieldClass.B, Field(ge=0)]
Date = Annotated[str | None, FieldClass.B, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Moment = Annotated[str | None, FieldClass.B, Field(pattern=r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$")]

PERMIT, PERMIT_MAINLAND = "hkAndMarcoPermitNum", "hkAndMacauPermitNum"  # the vendor's two pages differ


class Exam(BaseModel):
    """The body of `POST /ris/study/add` (the gateway's page, 请求参数); every field but class A may be absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    patientId: A  # 患者 ID
    patientName: A  # 患者姓名
    patientSex: Annotated[Literal["M", "F", "O"], FieldClass.A]  # male, female, other
    studyId: A  # 检查 ID
    accessNumber: A  # the RIS's accession number
    modality: A  # 设备类型: CT, MR, …
    patientAge: B = None  # a whole number of patientAgeUnit
    patientAgeUnit: Annotated[Literal["Y", "M", "D"] | None, FieldClass.B] = None  # years, months, days
    patientBirthday: Date = None
    size: B = None  # the patient's height in metres
    weight: B = None  # in kilograms
    phoneNum: B = None
    medicalInsuranceNum: B = None  # 医保号
    idCardNum: B = None  # 身份证号
    hkAndMarcoPermitNum: B = None  # 港澳通行证号, whatever it is called on the wire
    passportNum: B = None
    otherInfo: B = None  # any other proof of identity
    homeAddress: C = None
    bodyPart: B = None
    studyDesc: B = None
    studyDate: Moment = None  # when the exam took place, the hospital's wall time, 24 h
    appointDate: C = None  # appointment; the page gives no form
    scanMode: B = None  # 扫描方式
    studyCategory: Annotated[Literal["normal", "emergency"] | None, FieldClass.B] = None
    applyDept: B = None  # who asked for the exam
    applyDoctor: B = None
    applyDeptId: B = None
    applyDoctorId: B = None
    hisNum: B = None  # HIS 号
    clinicNum: C = None  # 门诊号, outpatient
    inpatientNum: C = None  # 住院号
    healthScreenNum: C = None  # 体检号
    examDept: B = None  # who carries it out
    examDoctor: B = None
    examDeptId: B = None
    examDoctorId: B = None
    examInfo: C = None  # exposures, cost
    inpatientWard: C = None
    bedNum: C = None
    diagnosis: C = None
    symptom: C = None
    allergies: C = None
    studyRequirement: C = None
    equipment: C = None
    status: Annotated[Literal["registered", "partial", "preliminary", "print", "final"] | None, FieldClass.B] = None
    studyUid: B = None  # StudyInstanceUID
    imageCnt: Count = None  # for reconciliation: image instances
    reportCnt: Count = None  # structured reports (SR)
    pdfCnt: Count = None  # PDF reports
    seriesCnt: Count = None  # distinct series

    def body(self, permit_field: str = PERMIT) -> dict[str, str | int]:
        """The JSON body of study/add: the fields that are present, the permit under the spelling that is asked for."""
        present = self.model_dump(exclude_none=True)
        return {permit_field if name == PERMIT else name: value for name, value in present.items()}

    def __repr__(self) -> str:
        return "Exam(…)"  # a traceback must not name a patient

    __str__ = __repr__


COUNT_FIELDS = {"imageCnt": "images", "reportCnt": "reports", "pdfCnt": "pdfs", "seriesCnt": "series"}
FIELD_CLASSES: dict[str, FieldClass] = {
    name: next(entry for entry in field.metadata if isinstance(entry, FieldClass))
    for name, field in Exam.model_fields.items()
}
TEXT_FIELDS = tuple(name for name in FIELD_CLASSES if name not in COUNT_FIELDS)

# Numbers of the patient or of one visit, and what else points at a person. The exam's own numbers (studyId,
# accessNumber) stay readable: they are how people look for an exam.
_PERSONAL = (
    *("patientId", "patientName", "patientBirthday", "phoneNum", "medicalInsuranceNum", "idCardNum", PERMIT),
    *("passportNum", "otherInfo", "homeAddress", "hisNum", "clinicNum", "inpatientNum", "healthScreenNum"),
)


def exam_from(reading: SidecarReading, counts: Counts) -> Exam:
    """The exam of a sidecar without problems, with the actual counts: all four are sent, one not counted as 0.

    Raises pydantic.ValidationError for a reading with problems, which nobody should send.
    """
    actual = {field: getattr(counts, name) or 0 for field, name in COUNT_FIELDS.items()}
    return Exam.model_validate({**dict(reading.fields), **actual})


def personal_values(reading: SidecarReading) -> tuple[str, ...]:
    """The values that may identify the patient, for `scrub`; a birthday also as DICOM writes it (PS3.5 6.2, DA)."""
    values = [value for name, value in reading.fields if name in _PERSONAL]
    birthday = reading.get("patientBirthday")
    return (*values, birthday.replace("-", "")) if birthday else tuple(values)


def scrub(text: str, values: Iterable[str]) -> str:
    """The text with each of the values masked, the longest first; single characters are left alone."""
    wanted = sorted({value for value in values if len(value) > 1}, key=len, reverse=True)
    if not wanted:
        return text
    return re.sub("|".join(map(re.escape, wanted)), lambda found: mask(found[0]), text)
