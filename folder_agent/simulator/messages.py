"""What the endpoints work on: a signed request and the answer to it, apart from the sockets that carry them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from folder_agent.simulator.bodies import Body

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` has lower-case names; `path` has no query, which is in `query`, without its `?`."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body
    query: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`entry` is what the journal shall say of it, beside time, method, path and status."""

    status: int
    body: bytes
    content_type: str = "application/json;charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    entry: JsonObject = field(default_factory=dict)


def verdict(code: int, message: str, status: int = 200, **entry: object) -> Answer:
    """The gateway's own form of answer: `{"code": int, "message": string}` (its page, "请求返回")."""
    body = json.dumps({"code": code, "message": message}, ensure_ascii=False).encode("utf-8", "replace")
    return Answer(status, body, entry={"code": code, "message": message, **entry})


def fault(status: int, message: str) -> Answer:
    """An HTTP error, said in the same form."""
    return verdict(status, message, status)
