"""What each kind of misbehaviour does on the wire: a table from a rule's `do` to the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from folder_agent.simulator.bodies import Body, BrokenBodyError, drain
from folder_agent.simulator.messages import Answer, JsonObject, Request, verdict
from folder_agent.simulator.rules import Rule
from folder_agent.simulator.stow_response import restyled

_FAR = "https://127.0.0.1:9/elsewhere"
_HUGE = 64 * 1024 * 1024
_PIECE = 64 * 1024


class Wire(Protocol):
    """One connection, as the misbehaviours need it."""

    def handle_request(self, request: Request) -> Answer: ...

    def record(self, request: Request, status: int, entry: Mapping[str, object]) -> None: ...

    def send(self, answer: Answer, upto: float = 1.0) -> None: ...

    def send_raw(self, piece: bytes) -> None: ...

    def hang_up(self) -> None: ...

    def reset(self) -> None: ...

    def keep_quiet(self) -> None: ...

    def wait(self, seconds: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Case:
    """One request that is to suffer one rule; `handled` is the true answer, where the request was let through."""

    wire: Wire
    rule: Rule
    request: Request
    handled: Answer | None

    def record(self, status: int) -> None:
        """Writes the journal's line, which must be there before the client notices anything."""
        known: JsonObject = dict(self.handled.entry) if self.handled else {}
        self.wire.record(self.request, status, {**known, "outcome": "misbehaved", "do": self.rule.do})

    def swallow(self) -> None:
        """Reads the body to its end."""
        drain(self.request.body)


def misbehave(wire: Wire, rule: Rule, request: Request) -> None:
    """Lets the request suffer the rule."""
    if rule.seconds and rule.do != "hang":
        wire.wait(rule.seconds)
    if rule.do == "no-continue":
        wire.keep_quiet()
    if rule.do == "cut-body":
        _cut_body(wire, rule, request)
        return
    lets_through = rule.after or rule.do in ("truncate", "delay", "stow-answer", "no-continue")
    _DEEDS[rule.do](Case(wire, rule, request, wire.handle_request(request) if lets_through else None))


def _cut_body(wire: Wire, rule: Rule, request: Request) -> None:
    """The endpoint sees the body break off, as when the line does."""
    try:
        wire.handle_request(replace(request, body=_Cut(request.body, rule.bytes or 0)))
    except BrokenBodyError:
        Case(wire, rule, request, None).record(0)
    wire.reset()


class _Cut:
    """A body that ends too early."""

    def __init__(self, body: Body, size: int) -> None:
        self.length, self._body, self._left = body.length, body, size

    def read(self, size: int) -> bytes:
        return self._took(self._body.read(min(size, self._left)) if self._left else b"")

    def readinto(self, view: memoryview) -> int:
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _took(self, piece: bytes) -> bytes:
        if not piece and not self._left:
            raise BrokenBodyError("the body ended early")
        self._left -= len(piece)
        return piece


def _no_resume(case: Case) -> None:
    """As a server that knows nothing of broken uploads."""
    case.swallow()
    case.record(405)
    case.wire.send(Answer(405, b"", headers={"Allow": "POST"}))


def _answer_with(make: Callable[[Rule], Answer]) -> Callable[[Case], None]:
    def deed(case: Case) -> None:
        if case.rule.early:
            _answer_early(case, make(case.rule))
            return
        case.swallow()
        answer = make(case.rule)
        case.record(answer.status)
        case.wire.send(answer)

    return deed


def _answer_early(case: Case, answer: Answer) -> None:
    """Before a byte of the body is asked for. What comes all the same is read, as well-behaved servers do: closing at
    once would be a reset, which may overtake the answer."""
    case.wire.hang_up()
    case.record(answer.status)
    case.wire.send(answer)
    case.wire.keep_quiet()
    case.swallow()


def _status(rule: Rule) -> Answer:
    return Answer(rule.status, rule.message.encode(), "text/plain;charset=UTF-8", rule.headers)


def _garbage(_rule: Rule) -> Answer:
    return Answer(200, b"<html><body>It works!</body>", "text/html")


def _code(rule: Rule) -> Answer:
    return verdict(rule.code, rule.message)


def _redirect(rule: Rule) -> Answer:
    status = rule.status if 300 <= rule.status < 400 else 307
    return Answer(status, b"", "text/plain", {"Location": _FAR, **rule.headers})


def _delay(case: Case) -> None:
    if case.handled:
        case.record(case.handled.status)
        case.wire.send(case.handled)


def _too_large(case: Case) -> None:
    _answer_early(case, Answer(413, b"<html>413 Request Entity Too Large</html>", "text/html"))


def _stow_answer(case: Case) -> None:
    if case.handled:
        answer = restyled(case.handled, case.rule.style)
        case.record(answer.status)
        case.wire.send(answer)


def _refuse(case: Case) -> None:
    # Read it all first: closing on unread bytes would be a reset, which is another misbehaviour.
    case.swallow()
    case.record(0)
    case.wire.hang_up()


def _reset(case: Case) -> None:
    case.record(0)
    case.wire.reset()


def _reset_in_body(case: Case) -> None:
    half = (case.request.body.length or 2) // 2
    left = min(half, _PIECE) if case.rule.bytes is None else case.rule.bytes
    while left > 0 and (piece := case.request.body.read(left)):
        left -= len(piece)
    case.record(0)
    case.wire.reset()


def _truncate(case: Case) -> None:
    if case.handled:
        case.record(case.handled.status)
        case.wire.send(case.handled, upto=0.5)
    case.wire.reset()


def _hang(case: Case) -> None:
    case.swallow()
    case.record(0)
    case.wire.wait(case.rule.seconds)
    case.wire.hang_up()


def _huge(case: Case) -> None:
    case.swallow()
    case.record(200)
    case.wire.send_raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n" % _PIECE + b" " * _PIECE + b"\r\n"
    for _ in range(max(1, (case.rule.bytes or _HUGE) // _PIECE)):
        case.wire.send_raw(chunk)
    case.wire.send_raw(b"0\r\n\r\n")


_DEEDS: dict[str, Callable[[Case], None]] = {
    "delay": _delay,
    "refuse": _refuse,
    "status": _answer_with(_status),
    "reset": _reset,
    "reset-in-body": _reset_in_body,
    "garbage": _answer_with(_garbage),
    "code": _answer_with(_code),
    "truncate": _truncate,
    "hang": _hang,
    "redirect": _answer_with(_redirect),
    "huge": _huge,
    "too-large": _too_large,
    "stow-answer": _stow_answer,
    "no-continue": _delay,
    "no-resume": _no_resume,
}
