"""The simulated front-end machine without its sockets: who may come in, and which endpoint answers.

Touches the state folder through `State` only; the clock is asked here, shifted by `clock_offset_s`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from folder_agent.simulator import exams, form, partials, qido, signing, stow
from folder_agent.simulator.dicom import Kind
from folder_agent.simulator.messages import Answer, Request, fault, verdict
from folder_agent.simulator.rules import Rules
from folder_agent.simulator.state import State

_NO_PERMISSION = 20008


@dataclass
class Behaviour:
    """How the gateway is set up. `stow_path` or `form_path` None switches that endpoint off, and its counts' check.

    `clock_offset_s` shifts the machine's whole clock: its Date headers and its view of timestamps.
    """

    app_id: str = "1251"
    token: str = "0123456789abcdef0123456789abcdef"  # noqa: S105 - the public test vector's token, for demonstrations
    study_path: str = "/ris/study/add"
    stow_path: str | None = "/dicom-web/studies"
    form_path: str | None = "/ris/file/add"
    strict_counts: bool = True
    duplicate_code: bool = False
    window_s: float = 300.0
    clock_offset_s: float = 0.0
    discard: bool = False
    replaces: bool = False  # an instance that comes with other bytes takes the older one's place

    def now(self) -> float:
        """The machine's clock, epoch seconds."""
        return time.time() + self.clock_offset_s


class Gateway:
    """Judges and answers requests; `base` is the URL prefix of the retrieve URLs that STOW answers name."""

    def __init__(self, behaviour: Behaviour, state: State, rules: Rules, base: str = "") -> None:
        self.behaviour, self.state, self.rules, self.base = behaviour, state, rules, base
        self._lock = threading.Lock()
        self._in_hand = 0

    @contextmanager
    def attending(self) -> Iterator[int]:
        """While one request is in hand; how many are, with this one."""
        with self._lock:
            self._in_hand += 1
            in_hand = self._in_hand
        try:
            yield in_hand
        finally:
            with self._lock:
                self._in_hand -= 1

    def handle(self, request: Request) -> Answer:
        """The answer to one request. May leave part of the body unread."""
        how = self.behaviour
        refused = signing.objection(request.headers, how.app_id, how.token, how.now(), how.window_s)
        if refused:
            return verdict(_NO_PERMISSION, refused, 401)
        if request.method == "GET":
            return self._search(request)
        if not self._knows(request.path):
            return fault(404, f"no such interface: {request.path}")
        if request.path == how.study_path:
            return exams.add(request, self.state, self._policy())
        if request.method == "HEAD":
            return self._held(request)
        if request.path == how.form_path:
            return form.upload(request, self.state, discard=how.discard)
        return self._store(request, how.stow_path or "")

    def _held(self, request: Request) -> Answer:
        if request.path != self.behaviour.form_path:
            return fault(405, "only POST is allowed")
        return partials.held(request, self.state)

    def _search(self, request: Request) -> Answer:
        """Of all studies only one at a time can be asked for, and only for its instances."""
        below = request.path.removeprefix(f"{self.behaviour.stow_path}/").split("/")
        if self.behaviour.stow_path is None or len(below) != 2 or below[1] != "instances" or not below[0]:
            refusal = fault(405, "only POST is allowed")
            return Answer(405, refusal.body, headers={"Allow": "POST"}, entry=refusal.entry)
        return qido.search(request, self.state, unquote(below[0]))

    def _store(self, request: Request, stow_path: str) -> Answer:
        study = unquote(request.path.removeprefix(stow_path).strip("/")) or None
        base = self.base + stow_path.removesuffix("/studies")
        discard = self.behaviour.discard
        return stow.store(request, self.state, self.rules, study=study, base=base, discard=discard)

    def _knows(self, path: str) -> bool:
        how = self.behaviour
        if path in (how.study_path, how.form_path, how.stow_path):
            return True
        below = path.removeprefix(f"{how.stow_path}/") if how.stow_path else path
        return below != path and bool(below) and "/" not in below

    def _policy(self) -> exams.ExamPolicy:
        how = self.behaviour
        counted: dict[str, Kind] = {}
        if how.strict_counts and how.stow_path is not None:
            counted |= {"imageCnt": "image", "reportCnt": "report"}
        if how.strict_counts and how.form_path is not None:
            counted["pdfCnt"] = "pdf"
        return exams.ExamPolicy(counted, how.duplicate_code)
