"""`study/add`: one exam's information, checked field by field and, if told so, against the files that have come.

Source: the gateway's page, "接口说明": the exam information is sent once its images have been received.
"""

from __future__ import annotations

from dataclasses import dataclass

from folder_agent.simulator.bodies import read_all
from folder_agent.simulator.dicom import Kind
from folder_agent.simulator.fields import BadBodyError, parse, violations
from folder_agent.simulator.messages import Answer, JsonObject, Request, fault, verdict
from folder_agent.simulator.multipart import parse_parameters
from folder_agent.simulator.state import State

_LONGEST_BODY = 1024 * 1024
_BAD_PARAMETER, _DUPLICATE, _NOT_VALID = 100001, 10004, 10005
_SAID: dict[Kind, str] = {"image": "images", "report": "reports", "pdf": "PDFs"}


@dataclass(frozen=True, slots=True)
class ExamPolicy:
    """`counted`: for which count fields the files must have come. `duplicate_code`: an exact repeat answers 10004."""

    counted: dict[str, Kind]
    duplicate_code: bool = False


def add(request: Request, state: State, policy: ExamPolicy) -> Answer:
    """Answers one exam: 0, or 100001 naming the fields, 10005 if files are missing, 10004 for a repeat if set."""
    raw = read_all(request.body, _LONGEST_BODY)
    if raw is None:
        return fault(413, "the body is longer than 1 MB")
    kind, parameters = parse_parameters(request.headers.get("content-type"))
    if kind != "application/json" or parameters.get("charset", "utf-8").lower() != "utf-8":
        return verdict(_BAD_PARAMETER, "parameter error: Content-Type must be application/json", raw=_shown(raw))
    try:
        body = parse(raw)
    except BadBodyError as error:
        return verdict(_BAD_PARAMETER, str(error), raw=_shown(raw))
    wrong = violations(body)
    if wrong:
        return verdict(_BAD_PARAMETER, "parameter error: " + "; ".join(wrong), body=body)
    missing = _missing(body, state, policy)
    if missing:
        return verdict(_NOT_VALID, "data not valid: " + "; ".join(missing), body=body)
    same = state.keep_exam(body)
    if same and policy.duplicate_code:
        return verdict(_DUPLICATE, "data duplicate", body=body)
    return verdict(0, "success", body=body, accepted=True)


def _missing(body: JsonObject, state: State, policy: ExamPolicy) -> list[str]:
    study, number = str(body.get("studyUid", "")), str(body["accessNumber"])
    found = []
    for name, kind in policy.counted.items():
        declared = body.get(name)
        if isinstance(declared, int) and (came := state.received(kind, study, number)) < declared:
            found.append(f"{_SAID[kind]} not received: {came} of {declared} ({name})")
    return found


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
