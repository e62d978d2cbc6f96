"""What holds for every reading of a sidecar, whatever its bytes were."""

from __future__ import annotations

import json
import re
from datetime import datetime

from folder_agent.core.catalogue import CATALOGUE, explain
from folder_agent.core.exam import TEXT_FIELDS, exam_from
from folder_agent.core.records import Counts, SidecarReading
from folder_agent.core.sidecar import MAX_TOLD

# The forms that the gateway's page asks for, written down a second time: nothing here comes from the code under test.
_FORMS = {
    "patientSex": r"[MFO]",
    "patientAge": r"[0-9]{1,6}",
    "patientAgeUnit": r"[YMD]",
    "size": r"[0-9]{1,5}(\.[0-9]{1,6})?",
    "weight": r"[0-9]{1,5}(\.[0-9]{1,6})?",
    "studyCategory": r"normal|emergency",
    "status": r"registered|partial|preliminary|print|final",
    "studyUid": r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*",
}
_MOMENTS = {"patientBirthday": "%Y-%m-%d", "studyDate": "%Y-%m-%d %H:%M:%S"}


def is_sound(reading: SidecarReading) -> None:
    """What holds for every reading: it can be stored, shown, logged, and sent if nothing is wrong."""
    repr(reading).encode("utf-8")
    assert len(reading.unknown_keys) <= MAX_TOLD
    for problem in (*reading.problems, *reading.warnings):
        assert problem.code in CATALOGUE
        for language in ("zh", "en"):
            explained = explain(problem, language)
            explained.encode("utf-8")
            assert "?" not in explained or "?" in json.dumps([problem.values, problem.private])
    for name, value in reading.fields:
        assert value == value.strip()
        assert name in TEXT_FIELDS
        is_in_form(name, value)
    for file in reading.listed or ():
        assert ".." not in file.path.split("/")
        assert not file.path.startswith("/")
    if not reading.problems:
        exam_from(reading, Counts())


def is_in_form(name: str, value: str) -> None:
    """A field's value is as the gateway's page asks for it."""
    assert re.fullmatch(_FORMS.get(name, r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]+"), value)
    if name in _MOMENTS:
        assert datetime.strptime(value, _MOMENTS[name]).strftime(_MOMENTS[name]) == value  # noqa: DTZ007
