"""What an answer means: the vendor's code table (gateway.md, "Error codes") and the table of HTTP statuses.

Touches nothing. `code` alone decides wherever there is one, whatever the HTTP status says; but 401 and 403 always hold,
so that a wrong token never pushes the day's exams into failed/.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlsplit

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, Value, problem
from folder_agent.core.records import Answer
from folder_agent.edges.gateway.client import Reply

CLOCK_TOLERANCE_S = 120  # beyond this, a rejected signature is blamed on the clock
MESSAGE_LIMIT = 500  # characters
DUPLICATE = 10004

_AGAIN, _REFUSED, _PERMISSION = "FA-GW-AGAIN", "FA-GW-REFUSED", "FA-GW-PERMISSION"
SUCCESSES = {0, DUPLICATE}  # "data duplicate": it is there already
CODES = {
    1: _AGAIN,  # other internal error
    10001: _AGAIN,  # file save failed
    10002: _AGAIN,  # file delete failed
    10003: _REFUSED,  # no data found
    10005: _REFUSED,  # data not valid
    20008: _PERMISSION,  # no permission
    20010: _PERMISSION,  # user disabled
    100001: _REFUSED,  # parameter error
    100002: _AGAIN,  # failed to save
    100003: _AGAIN,  # data sync failed
    100004: _REFUSED,  # no data found
}
STATUSES = {
    401: "FA-GW-AUTH",
    403: "FA-GW-AUTH",
    407: "FA-GW-AUTH",
    404: "FA-GW-ADDRESS",
    405: "FA-GW-ADDRESS",
    413: "FA-GW-TOO-LARGE",
}
STATUS_CLASSES = {2: "FA-GW-ANSWER", 3: "FA-GW-REDIRECT", 4: "FA-GW-HTTP", 5: "FA-GW-HTTP"}

# The vendor publishes no code for a bad signature. An unknown code that speaks of one must hold, not exhaust retries.
_SIGNATURE_WORDS = ("signature", "签名", "鉴权", "token")
_CLOCK_WORDS = ("timestamp", "时间戳", "clock")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode categories: controls, surrogates, line separators
# Ways of signing in for people and programs (RFC 9110 11, RFC 6750, RFC 4559) that are surely not the gateway's own.
_SIGN_INS = frozenset({"basic", "digest", "bearer", "negotiate", "ntlm"})
_CHALLENGE_LIMIT = 80  # characters
_CODE = re.compile(r"\s*(-?[0-9]{1,9})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Told:
    """The gateway's own form of answer."""

    code: int
    message: str


def judge(reply: Reply) -> Answer:
    """Success, or AgentError with what is to be done (gateway.md, "Error codes that the vendor publishes")."""
    found = told(reply.body)
    if STATUSES.get(reply.status) == "FA-GW-AUTH" or found is None:
        raise by_status(reply)
    if found.code in SUCCESSES:
        return Answer(found.code, found.message, duplicate=found.code == DUPLICATE)
    raise by_code(reply, found)


def by_code(reply: Reply, found: Told) -> AgentError:
    """The failure that a code other than success stands for; a code that nobody has published is tried again."""
    code = CODES.get(found.code) or (_PERMISSION if _mentions(found.message, _SIGNATURE_WORDS) else _AGAIN)
    if _is_clock_trouble(reply, found, code):
        return _clock(reply)
    return failure(Problem(code, None, (("code", found.code), *_when(reply)), (("message", found.message),)))


def by_status(reply: Reply) -> AgentError:
    """The failure that an answer without a code stands for."""
    code = STATUSES.get(reply.status) or STATUS_CLASSES.get(reply.status // 100, "FA-GW-HTTP")
    if code == "FA-GW-AUTH":
        return _clock(reply) if _clock_is_off(reply) else _denied(reply)
    if code == "FA-GW-REDIRECT":
        return failure(problem(code, status=reply.status, where=_shown_place(reply.location)))
    if code == "FA-GW-ANSWER":
        return failure(problem(code, detail="no code in it" if reply.body.strip() else "it is empty"))
    return failure(Problem(code, None, (("status", reply.status), *_when(reply))))


def about_asking(reply: Reply) -> AgentError:
    """What an answer to the question which images are there means, if it is none: nothing of it is any exam's fault,
    unless we may not ask, or are sent elsewhere."""
    if STATUSES.get(reply.status) == "FA-GW-AUTH" or reply.status // 100 == 3:
        return by_status(reply)
    found = told(reply.body)
    if found is not None and (error := by_code(reply, found)).disposition is Disposition.HOLD:
        return error
    return failure(Problem("FA-GW-UNPROVEN", None, (("detail", f"HTTP {reply.status}"), *_when(reply))))


def about(error: AgentError, path: str) -> AgentError:
    """A refusal names the file that it is about; anything else concerns more than one file."""
    if error.disposition is not Disposition.REFUSE:
        return error
    return AgentError(replace(error.problem, path=path), error.disposition)


def told(body: bytes) -> Told | None:
    """`{"code": …, "message": …}`; None for anything else. A code in digits counts, true and false do not."""
    content = parsed(body)
    if not isinstance(content, dict):
        return None
    code, message = content.get("code"), content.get("message")
    if isinstance(code, str) and (digits := _CODE.fullmatch(code)):
        code = int(digits[1])
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    return Told(code, clean(message) if isinstance(message, str) else "")


def parsed(body: bytes) -> object:
    """The body as JSON, or None. A byte order mark and GB18030 occur in the field."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _parsed_as_gb18030(body)
    except (ValueError, RecursionError):
        return None


def clean(message: str) -> str:
    """At most 500 characters of it, without anything that could move a cursor or break a line."""
    visible = (char for char in message[: 4 * MESSAGE_LIMIT] if unicodedata.category(char) not in _INVISIBLE)
    return "".join(visible)[:MESSAGE_LIMIT].strip()


def _parsed_as_gb18030(body: bytes) -> object:
    try:
        return json.loads(body.decode("gb18030", "replace"))
    except (ValueError, RecursionError):
        return None


def _is_clock_trouble(reply: Reply, found: Told, code: str) -> bool:
    blamed = code == _PERMISSION or (code == _AGAIN and found.code not in CODES)
    unknown = reply.clock_offset_s is None and _mentions(found.message, _CLOCK_WORDS)
    return blamed and (_clock_is_off(reply) or unknown)


def _clock_is_off(reply: Reply) -> bool:
    return reply.clock_offset_s is not None and abs(reply.clock_offset_s) > CLOCK_TOLERANCE_S


def _clock(reply: Reply) -> AgentError:
    seconds: Value = "?" if reply.clock_offset_s is None else round(abs(reply.clock_offset_s))
    return failure(problem("FA-GW-CLOCK", seconds=seconds))


def _denied(reply: Reply) -> AgentError:
    wanted = clean(reply.challenge or "")[:_CHALLENGE_LIMIT]
    if wanted.partition(" ")[0].lower() in _SIGN_INS:
        return failure(problem("FA-GW-SIGN-IN", status=reply.status, wanted=wanted))
    found = told(reply.body)
    said = found.message if found and found.message else HTTPStatus(reply.status).phrase
    return failure(problem("FA-GW-AUTH", status=reply.status, private={"message": said}))


def _shown_place(location: str | None) -> str:
    """Where a redirect leads, without what may name an exam: the rest of its path, and the query."""
    parts = urlsplit(location or "")
    first, _, rest = parts.path.lstrip("/").partition("/")
    return clean(f"{parts.scheme}://{parts.netloc}/{first}{'/…' if rest else ''}") if parts.netloc else "…"


def _when(reply: Reply) -> tuple[tuple[str, Value], ...]:
    return () if reply.retry_after_s is None else (("retry_after_s", reply.retry_after_s),)


def _mentions(message: str, words: tuple[str, ...]) -> bool:
    return any(word in message.lower() for word in words)
