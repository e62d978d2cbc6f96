"""Which form each of the gateway's fields has: the one place that says by what a raw value is read."""

from __future__ import annotations

from collections.abc import Callable

from folder_agent.core import normalising
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT, PERMIT_MAINLAND

AGE, AGE_UNIT = "patientAge", "patientAgeUnit"  # they explain each other: see normalising.age_with_unit
FILES = "files"  # the sidecar's own list; the gateway knows nothing of it
MOMENTS = ("studyDate", "appointDate")
DATES = ("patientBirthday", *MOMENTS)  # for which a site may say how it writes them
IDENTIFYING = frozenset({"patientId", "studyId", "accessNumber", "studyUid"})  # of one patient or exam, never of all
NAMES = {name.lower(): name for name in (*FIELD_CLASSES, FILES)} | {PERMIT_MAINLAND.lower(): PERMIT}

_TEXTS: dict[str, Callable[[object], str | None]] = {
    "patientSex": normalising.sex,
    "patientBirthday": normalising.date,
    AGE: lambda raw: normalising.age(raw)[0],
    AGE_UNIT: normalising.age_unit,
    "size": normalising.size,
    "weight": normalising.weight,
    "studyDate": normalising.date_time,
    "studyCategory": normalising.study_category,
    "status": normalising.status,
    "studyUid": normalising.uid,
}


def text_form(field: str) -> Callable[[object], str | None]:
    """How a raw value of one of the text fields is read. The form raises Unfit."""
    return _TEXTS.get(field, normalising.text)


def check(field: str, raw: object) -> None:
    """Raises Unfit for a value that the field cannot have. Weeks are a unit that an age may have."""
    if field in COUNT_FIELDS:
        normalising.count(raw)
    elif field == AGE_UNIT:
        normalising.age_with_unit("1", raw)
    else:
        text_form(field)(raw)
