"""The answer to a Store request, and its journal entry, from what became of each part: pure.

Source: DICOM PS3.18 section 10.5.3 (statuses 200, 202, 409; Store Instances Response Module), annex F (JSON).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from folder_agent.simulator.dicom import Instance
from folder_agent.simulator.messages import Answer, JsonObject

PROCESSING_FAILURE = 0x0110
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: `reason` 0 is stored, or there already with the same bytes (`repeat`)."""

    size: int
    sha256: str
    instance: Instance | None
    reason: int = 0
    why: str = ""
    repeat: bool = False
    conflict: bool = False
    forgotten: bool = False  # answered as stored, and not kept

    def entry(self) -> JsonObject:
        """As the journal says it."""
        known = self.instance or Instance("", "", "", "", "other")
        return {
            "sop": known.sop,
            "study": known.study,
            "accession": known.accession,
            "kind": known.kind,
            "sha256": self.sha256,
            "size": self.size,
            "stored": not self.reason and not self.repeat and not self.forgotten,
            "repeat": self.repeat,
            "conflict": self.conflict,
            **({"forgotten": True} if self.forgotten else {}),
            **({"reason": f"{self.reason:04X}", "why": self.why} if self.reason else {}),
        }


def build(outcomes: list[Outcome], base: str) -> Answer:
    """200 if all were taken, 202 if some, 409 if none; the sequences that are not empty."""
    taken = [outcome for outcome in outcomes if not outcome.reason]
    failed = [outcome for outcome in outcomes if outcome.reason and outcome.instance]
    other = [outcome for outcome in outcomes if outcome.reason and not outcome.instance]
    sequences = {
        "00081198": [_failure(outcome) for outcome in failed],
        "00081199": [_reference(outcome, base) for outcome in taken],
        "0008119A": [{"00081197": _value("US", outcome.reason)} for outcome in other],
    }
    dataset = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    status = 409 if not taken else 200 if len(taken) == len(outcomes) else 202
    entry: JsonObject = {"code": 0 if status == 200 else status, "instances": [one.entry() for one in outcomes]}
    return Answer(status, json.dumps(dataset).encode(), "application/dicom+json", entry=entry)


def _reference(outcome: Outcome, base: str) -> JsonObject:
    instance = outcome.instance
    if instance is None:
        return {}
    url = f"{base}/studies/{instance.study}/instances/{instance.sop}"
    return {**_identity(instance), "00081190": _value("UR", url)}


def _failure(outcome: Outcome) -> JsonObject:
    named = _identity(outcome.instance) if outcome.instance else {}
    return {**named, "00081197": _value("US", outcome.reason)}


def _identity(instance: Instance) -> JsonObject:
    return {"00081150": _value("UI", instance.sop_class), "00081155": _value("UI", instance.sop)}


def _value(vr: str, value: object) -> JsonObject:
    return {"vr": vr, "Value": [value]}


def restyled(answer: Answer, style: str) -> Answer:
    """The same answer as other servers give it: in XML; as plain text; with no body; with failures that name no
    instance; or without naming what was stored."""
    if style in ("text", "empty"):
        said = b"OK" if style == "text" else b""
        return Answer(answer.status, said, "text/plain", answer.headers, answer.entry)
    module = json.loads(answer.body)
    if style == "xml":
        body = f'<?xml version="1.0"?><NativeDicomModel>{_elements(module)}</NativeDicomModel>'
        return Answer(answer.status, body.encode(), "application/dicom+xml", answer.headers, answer.entry)
    if style == "unreferenced":
        module.pop("00081199", None)
    elif "00081198" in module:
        failures = [{"00081197": item["00081197"]} for item in module.pop("00081198")["Value"]]
        module["0008119A"] = {"vr": "SQ", "Value": failures}
    return Answer(answer.status, json.dumps(module).encode(), answer.content_type, answer.headers, answer.entry)


def _elements(attributes: dict[str, Any]) -> str:
    """The Native DICOM Model (PS3.19 A.1)."""
    return "".join(
        f'<DicomAttribute tag="{tag}" vr="{element["vr"]}">'
        + "".join(_value_element(number, value) for number, value in enumerate(element["Value"], 1))
        + "</DicomAttribute>"
        for tag, element in attributes.items()
    )


def _value_element(number: int, value: Any) -> str:
    if isinstance(value, dict):
        return f'<Item number="{number}">{_elements(value)}</Item>'
    return f'<Value number="{number}">{escape(str(value))}</Value>'
