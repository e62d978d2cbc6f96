"""The simulator's own table of exam fields, and what is wrong with a `study/add` body against it: pure.

Source: the gateway's page, "请求参数". Deliberately written apart from the agent's own table, to check it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime

A_FIELDS = ("patientId", "patientName", "patientSex", "studyId", "accessNumber", "modality")
_B_TEXT = [
    "patientAge",
    "patientAgeUnit",
    "patientBirthday",
    "size",
    "weight",
    "phoneNum",
    "medicalInsuranceNum",
    "idCardNum",
    "hkAndMarcoPermitNum",
    "hkAndMacauPermitNum",
    "passportNum",
    "otherInfo",
    "bodyPart",
    "studyDesc",
    "studyDate",
    "scanMode",
    "studyCategory",
    "applyDept",
    "applyDoctor",
    "applyDeptId",
    "applyDoctorId",
    "hisNum",
    "examDept",
    "examDoctor",
    "examDeptId",
    "examDoctorId",
    "status",
    "studyUid",
]
_C_TEXT = [
    "homeAddress",
    "appointDate",
    "clinicNum",
    "inpatientNum",
    "healthScreenNum",
    "examInfo",
    "inpatientWard",
    "bedNum",
    "diagnosis",
    "symptom",
    "allergies",
    "studyRequirement",
    "equipment",
]
TEXT_FIELDS = frozenset((*A_FIELDS, *_B_TEXT, *_C_TEXT))
COUNT_FIELDS = frozenset(("imageCnt", "reportCnt", "pdfCnt", "seriesCnt"))

CHOICES = {
    "patientSex": ("M", "F", "O"),
    "patientAgeUnit": ("Y", "M", "D"),
    "studyCategory": ("normal", "emergency"),
    "status": ("registered", "partial", "preliminary", "print", "final"),
}
# strptime alone would let "2025-3-7" pass; the page's form has two digits.
_DATE_FORMS = {
    "patientBirthday": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), "%Y-%m-%d", "yyyy-MM-dd"),
    "studyDate": (
        re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"),
        "%Y-%m-%d %H:%M:%S",
        "yyyy-MM-dd HH:mm:ss",
    ),
}


class BadBodyError(ValueError):
    """The body is not one JSON object in UTF-8."""


def parse(raw: bytes) -> dict[str, object]:
    """The body's object. Raises BadBodyError: not UTF-8, a BOM, not JSON (RFC 8259), a name twice, no object."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadBodyError(f"parameter error: body is not JSON in UTF-8: {error}") from error
    if not isinstance(found, dict):
        raise BadBodyError("parameter error: body is not a JSON object")
    return found


def violations(body: dict[str, object]) -> list[str]:
    """Everything that is wrong with the fields, each entry naming its field; empty if the exam is acceptable."""
    found = [f"{name} is missing" for name in A_FIELDS if name not in body]
    for name, value in body.items():
        complaint = _judge(name, value)
        if complaint:
            found.append(f"{name} {complaint}")
    return found


def _judge(name: str, value: object) -> str | None:
    if name in COUNT_FIELDS:
        # bool is an int to Python, but not to the gateway's page.
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if whole else "must be a whole number, 0 or more"
    if name not in TEXT_FIELDS:
        return "is not a known field"
    if not isinstance(value, str):
        return "must be a string"
    if name in A_FIELDS and not value.strip():
        return "must not be empty"
    return _judge_form(name, value)


def _judge_form(name: str, value: str) -> str | None:
    if name in CHOICES and value not in CHOICES[name]:
        return f"must be one of {'/'.join(CHOICES[name])}"
    if name in _DATE_FORMS:
        pattern, form, spoken = _DATE_FORMS[name]
        if not pattern.fullmatch(value) or not _parses(lambda: datetime.strptime(value, form)):  # noqa: DTZ007 - no zone on the page
            return f"must be a real date as {spoken}"
    return None


def _parses(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ValueError:
        return False
    return True


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
