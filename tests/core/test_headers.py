"""An exam by its headers alone: certain of all that is required, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from folder_agent.core.exam import TEXT_FIELDS
from folder_agent.core.filling import UNCLEAR, origins
from folder_agent.core.headers import REQUIRED, exam_of
from folder_agent.core.records import DicomFacts, SidecarReading

CERTAIN = (
    ("patientName", "王小东"),
    ("patientSex", "M"),
    ("studyId", "S1"),
    ("accessNumber", "ACC1"),
    ("modality", "CT"),
    ("studyUid", "1.2.3"),
)


def facts(patient: str | None = "P1", *, is_image: bool = True, **said: str) -> DicomFacts:
    told = tuple({**dict(CERTAIN), **said}.items())
    return DicomFacts("1.2", "1.2.3.4.5", "1.2.3", "1.2.3.4", "1.2.1", patient, "ACC1", is_image, not is_image, told)


def exam(of: Sequence[DicomFacts]) -> SidecarReading:
    reading = exam_of([(f"IM{number}", one) for number, one in enumerate(of)])
    assert reading is not None
    return reading


def missing(of: Sequence[DicomFacts]) -> str:
    reading = exam(of)
    return str(dict(reading.problems[0].values)["fields"]) if reading.problems else ""


def test_what_all_say_alike_is_an_exam_without_a_sidecar() -> None:
    reading = exam([facts(), facts(patientBirthday="1980-01-02")])
    assert dict(reading.fields) == {**dict(CERTAIN), "patientId": "P1", "patientBirthday": "1980-01-02"}
    assert (reading.problems, reading.encoding) == ((), None)
    assert set(REQUIRED) <= dict(reading.fields).keys()
    assert origins(reading)["patientId"] == "PatientID"
    assert set(reading.absent) | dict(reading.fields).keys() == set(TEXT_FIELDS)


def test_without_headers_nothing_is_known() -> None:
    assert exam_of([]) is None


@pytest.mark.parametrize("name", ["patientName", "patientSex", "studyId", "accessNumber"])
@pytest.mark.parametrize("other", ["another", UNCLEAR])
def test_a_required_field_on_which_two_files_disagree_is_left_to_a_person(name: str, other: str) -> None:
    assert missing([facts(), facts(**{name: other})]) == name


@pytest.mark.parametrize("other", ["P2", None, " "])
def test_who_the_patient_is_must_be_said_by_every_file(other: str | None) -> None:
    assert missing([facts(), facts(other)]) == "patientId"
    assert missing([facts(other or None)]) == ("" if other == "P2" else "patientId")


def test_everything_that_is_missing_is_named_at_once() -> None:
    nothing = replace(facts(None), said=())
    assert missing([nothing]) == ", ".join(REQUIRED)
