"""QIDO-RS: which instances of a study have been kept, page by page.

Source: DICOM PS3.18 section 10.6 (Search transaction), 8.3.4.4 (paging), annex F (JSON).
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from folder_agent.simulator.messages import Answer, JsonObject, Request, fault
from folder_agent.simulator.state import State

MOST = 200  # instances of a page, however many are asked for


def search(request: Request, state: State, study: str) -> Answer:
    """The page of the study's instances that the query asks for; 204 if there are none."""
    asked = parse_qs(request.query)
    try:
        limit, offset = (int(asked.get(name, [usual])[0]) for name, usual in (("limit", str(MOST)), ("offset", "0")))
    except ValueError:
        return fault(400, "limit and offset are numbers")
    if limit < 0 or offset < 0:
        return fault(400, "limit and offset are not negative")
    found = state.instances_of(study)[offset:]
    page = found[: min(limit, MOST)]
    if not page:
        return Answer(204, b"", "application/dicom+json", entry={"found": 0})
    more = len(found) - len(page)
    headers = {"Warning": f'299 - "There are {more} additional results that can be requested"'} if more else {}
    body = json.dumps([_attributes(study, sop) for sop in page]).encode()
    return Answer(200, body, "application/dicom+json", headers, entry={"found": len(page)})


def _attributes(study: str, sop: str) -> JsonObject:
    values = {"00080018": sop, "0020000D": study}
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}
