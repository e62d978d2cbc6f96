"""An exam without a sidecar: what its own DICOM headers are certain of, and what only a person can say. Pure.

Nothing stands against the headers here, so that who the patient is must be said by every single file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from folder_agent.core import filling, normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import FIELD_CLASSES, TEXT_FIELDS, FieldClass
from folder_agent.core.filling import Headers
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Origin, SidecarReading

PATIENT = "patientId"
KEYWORDS = {**filling.KEYWORDS, PATIENT: "PatientID"}
REQUIRED = tuple(name for name, class_ in FIELD_CLASSES.items() if class_ is FieldClass.A)
_OF_CLASS_B = tuple(name for name in TEXT_FIELDS if FIELD_CLASSES[name] is FieldClass.B)
NOTHING = SidecarReading(
    encoding=None,
    absent=TEXT_FIELDS,
    warnings=tuple(problem("FA-FIELD-ABSENT", field=name) for name in _OF_CLASS_B),
)


def exam_of(headers: Headers, unsaid: SidecarReading = NOTHING) -> SidecarReading | None:
    """What the headers say of the exam, with the problems that keep it from being sent; None without headers. `unsaid`
    is what the site says of every exam, of which the headers say nothing."""
    if not headers:
        return None
    facts = [one for _, one in headers]
    certain = filling.certain(facts)
    patient, odd = _patient(headers)
    if patient is not None:
        certain[PATIENT] = patient
    reading = filling.filled_with(NOTHING, certain, Origin.HEADER, KEYWORDS)
    odd += filling.at_odds(headers, reading.absent)
    reading = _with_unsaid(reading, unsaid)
    missing = [name for name in REQUIRED if reading.get(name) is None]
    needs = [problem("FA-NEEDS-SIDECAR", fields=", ".join(missing))] if missing else []
    refuse = [one for one in odd if dict(one.values)["field"] in missing]
    warn = tuple(one for one in odd if one not in refuse)
    return replace(reading, problems=(*needs, *refuse), warnings=(*reading.warnings, *warn))


def mixed(headers: Headers, match: Iterable[str]) -> list[Problem]:
    """Two patients in one study: the first two files that say so."""
    if PATIENT not in match:
        return []
    said = [(path, facts.patient_id) for path, facts in headers if facts.patient_id is not None]
    for path, theirs in said:
        first, ours = said[0]
        if ours != theirs:
            return [problem("FA-MIXED", path, {"ours": ours, "theirs": theirs}, field=PATIENT, other=first)]
    return []


def unsaid_by(reading: SidecarReading) -> SidecarReading:
    """Of what a site's mapping says of every exam, that which no header can say."""
    names = {source.field for source in reading.sources} - KEYWORDS.keys()
    return replace(
        NOTHING,
        fields=tuple((name, value) for name, value in reading.fields if name in names),
        sources=tuple(source for source in reading.sources if source.field in names),
    )


def _with_unsaid(reading: SidecarReading, unsaid: SidecarReading) -> SidecarReading:
    values, sources = dict(unsaid.fields), {source.field: source for source in unsaid.sources}
    if not values:
        return reading
    values |= dict(reading.fields)
    sources |= {source.field: source for source in reading.sources}
    return replace(
        reading,
        fields=tuple((name, values[name]) for name in TEXT_FIELDS if name in values),
        sources=tuple(sources[name] for name in TEXT_FIELDS if name in sources),
        absent=tuple(name for name in reading.absent if name not in values),
        warnings=tuple(one for one in reading.warnings if dict(one.values).get("field") not in values),
    )


def _patient(headers: Headers) -> tuple[str | None, list[Problem]]:
    """Said by every file alike, or by none; and what is odd about it."""
    said = {facts.patient_id for _, facts in headers}
    silent = next((path for path, facts in headers if facts.patient_id is None), None)
    if len(said) > 1:
        who = mixed(headers, (PATIENT,))
        return None, [_differ(who[0])] if who else [_unclear(silent)]
    try:
        return normalising.text(said.pop()), []
    except Unfit:
        return None, [_unclear(headers[0][0])]


def _differ(one: Problem) -> Problem:
    return replace(one, code="FA-HEADERS-DIFFER", values=(*one.values, ("keyword", KEYWORDS[PATIENT])))


def _unclear(path: str | None) -> Problem:
    return problem("FA-HEADERS-UNCLEAR", path, field=PATIENT, keyword=KEYWORDS[PATIENT])
