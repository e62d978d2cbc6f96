"""One connection to the simulated gateway: HTTP/1.1 in and out (RFC 9112), keep-alive, Expect: 100-continue.

Decides nothing about content: the gateway answers, the rules spoil, this carries.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast

from folder_agent.simulator.bodies import BadFramingError, drain, open_body, read_all
from folder_agent.simulator.messages import Answer, Request, fault, verdict
from folder_agent.simulator.misbehaving import misbehave
from folder_agent.simulator.rules import parse_rules

if TYPE_CHECKING:
    from folder_agent.simulator.listener import Listener

_RULES, _STATE = "/_simulator/rules", "/_simulator/state"
_CONTROL_LIMIT = 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """Runs in its connection's own thread, for as many requests as the client sends on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 64 * 1024
    timeout = 60.0

    def setup(self) -> None:
        """Shakes hands here, in the connection's thread, so that a silent client holds up nobody else."""
        self.listener = cast("Listener", self.server)
        self._continue_due = False
        self._in_hand = 0
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(self.timeout)
            self.request.do_handshake()
        super().setup()

    def do_POST(self) -> None:
        headers = {name.lower(): value.strip() for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        try:
            body = open_body(headers, self.rfile, self._continue)
            request = Request("POST", path, headers, body)
            if path == _RULES:
                self._take_rules(request)
            else:
                self._serve(request)
        except BadFramingError as error:
            self.close_connection = True
            self._answer(Request("POST", path, headers, _NoBody()), fault(error.status, str(error)))

    def do_GET(self) -> None:
        self._continue_due = False
        self.close_connection |= "content-length" in self.headers or "transfer-encoding" in self.headers
        if self.command == "GET" and self.path == _STATE and self._is_local():
            self.send(self._state())
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value.strip() for name, value in self.headers.items()}
        request = Request(self.command, path, headers, _NoBody(), query)
        if self.command in ("GET", "HEAD"):
            self._serve(request)
            return
        refusal = fault(405, "only POST is allowed")
        self._answer(request, Answer(405, refusal.body, headers={"Allow": "POST"}, entry=refusal.entry))

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815 - the base class looks for these names

    def handle_expect_100(self) -> bool:
        """Says Continue only when the body is wanted: a refusal can then come before it is sent."""
        self._continue_due = True
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the journal is the log."""

    # What the misbehaviours use.

    def handle_request(self, request: Request) -> Answer:
        """Lets the gateway answer, and leaves the connection at the next request."""
        answer = self.listener.gateway.handle(request)
        self._finish_body(request)
        return answer

    def record(self, request: Request, status: int, entry: Mapping[str, object]) -> None:
        self._recorded = True
        line = {"method": request.method, "path": request.path, "status": status, **entry}
        line["in_hand"] = self._in_hand  # requests, when this one came
        line["timestamp"] = request.headers.get("timestamp")  # when the client signed it, by its own clock
        self.listener.gateway.state.record(line)

    def send(self, answer: Answer, upto: float = 1.0) -> None:
        """Writes the answer in one piece; `upto` is the share of its body that really goes out."""
        gone = self.close_connection
        lines = {
            "Date": formatdate(self.listener.gateway.behaviour.now(), usegmt=True),
            "Server": "folder-agent-simulator",
            "Content-Type": answer.content_type,
            **({} if answer.status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(answer.body))}),
            "Connection": "close" if gone else "keep-alive",
            **answer.headers,
        }
        phrase = HTTPStatus(answer.status).phrase if answer.status in _KNOWN else "Unknown"
        head = f"HTTP/1.1 {answer.status} {phrase}\r\n" + "".join(f"{name}: {lines[name]}\r\n" for name in lines)
        body = b"" if self.command == "HEAD" else answer.body[: int(len(answer.body) * upto)]
        self.send_raw(head.encode("latin-1", "replace") + b"\r\n" + body)

    def send_raw(self, piece: bytes) -> None:
        self.wfile.write(piece)

    def hang_up(self) -> None:
        self.close_connection = True

    def reset(self) -> None:
        self.close_connection = True
        self.listener.abort(self.connection)

    def keep_quiet(self) -> None:
        """Do not say 100 Continue, whatever was expected."""
        self._continue_due = False

    def wait(self, seconds: float | None) -> None:
        """Until that time has passed, or the simulator stops."""
        self.listener.stopping.wait(seconds)

    # The ordinary way.

    def _serve(self, request: Request) -> None:
        self._recorded = False
        with self.listener.gateway.attending() as self._in_hand:
            self._attend(request)

    def _attend(self, request: Request) -> None:
        rule = self.listener.gateway.rules.take(request.path, request.body.length, self._in_hand)
        try:
            if rule:
                misbehave(self, rule, request)
            else:
                self._answer(request, self.handle_request(request))
        except OSError as error:
            self.close_connection = True
            if not self._recorded:
                self.record(request, 0, {"outcome": "broken", "error": str(error)})

    def _answer(self, request: Request, answer: Answer) -> None:
        self.record(request, answer.status, answer.entry)
        self.send(answer)

    def _finish_body(self, request: Request) -> None:
        """Reads what is left of the body, or marks the connection for closing where the body was never asked for."""
        if self._continue_due:
            self.close_connection = True
        else:
            drain(request.body)

    def _continue(self) -> None:
        if self._continue_due:
            self._continue_due = False
            self.send_raw(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take_rules(self, request: Request) -> None:
        raw = read_all(request.body, _CONTROL_LIMIT)
        if not self._is_local():
            self.send(fault(403, "only from this machine"))
            return
        try:
            self.listener.gateway.rules.replace(parse_rules(json.loads(raw or b"")))
        except ValueError as error:
            self.send(fault(400, str(error)))
        else:
            self.send(verdict(0, "success"))

    def _state(self) -> Answer:
        gateway = self.listener.gateway
        counts = {**gateway.state.counts, "exams": len(gateway.state.exams), "rules": gateway.rules.left()}
        return Answer(200, json.dumps(counts).encode())

    def _is_local(self) -> bool:
        address = ipaddress.ip_address(self.client_address[0].partition("%")[0])
        return address.is_loopback


_KNOWN = frozenset(HTTPStatus)


class _NoBody:
    length: int | None = 0

    def read(self, _size: int) -> bytes:
        return b""

    def readinto(self, _view: memoryview) -> int:
        return 0
