"""An exam without a sidecar: what its own DICOM headers are certain of, and what only a person can say. Pure.

Nothing stands against the headers here, so that who the patient is must be said by every single file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from folder_agent.core import filling, normalising
from folder_agent.core.errors import problem
from folder_agent.core.exam import FIELD_CLASSES, TEXT_FIELDS, FieldClass
from folder_agent.core.grouping import Group
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import DicomFacts, Origin, SidecarReading

PATIENT = "patientId"
KEYWORDS = {**filling.KEYWORDS, PATIENT: "PatientID"}
REQUIRED = tuple(name for name, class_ in FIELD_CLASSES.items() if class_ is FieldClass.A)
_OF_CLASS_B = tuple(name for name in TEXT_FIELDS if FIELD_CLASSES[name] is FieldClass.B)
NOTHING = SidecarReading(
    encoding=None,
    absent=TEXT_FIELDS,
    warnings=tuple(problem("FA-FIELD-ABSENT", field=name) for name in _OF_CLASS_B),
)


def exam_of(facts: Sequence[DicomFacts]) -> SidecarReading | None:
    """What the headers say of the exam, with a problem if they are not certain of all that is required; None if there
    are no headers."""
    if not facts:
        return None
    certain = filling.certain(facts)
    if (patient := _patient(facts)) is not None:
        certain[PATIENT] = patient
    return requiring(filling.filled_with(NOTHING, certain, Origin.HEADER, KEYWORDS))


def exam_of_group(group: Group) -> SidecarReading | None:
    """The same of a group's files."""
    return exam_of([member.finding.dicom for member in group.files if member.finding and member.finding.dicom])


def requiring(reading: SidecarReading) -> SidecarReading:
    """The reading of an exam without a sidecar, with the problem that required fields are missing, if some are."""
    missing = [name for name in REQUIRED if reading.get(name) is None]
    if not missing:
        return reading
    return replace(reading, problems=(problem("FA-NEEDS-SIDECAR", fields=", ".join(missing)),))


def _patient(facts: Iterable[DicomFacts]) -> str | None:
    said = {one.patient_id for one in facts}
    try:
        return normalising.text(said.pop()) if len(said) == 1 else None
    except Unfit:
        return None
