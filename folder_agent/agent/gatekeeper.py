"""Keeps the gate (core/gate.py): who may send now. Remembers it in the ledger, for `status` and for the next start, and
says when it shuts, from time to time while it is shut, and when it opens."""

from __future__ import annotations

import threading
from collections.abc import Callable

from folder_agent.core import gate as gates
from folder_agent.core.errors import AgentError, Disposition, Problem
from folder_agent.core.gate import Gate
from folder_agent.core.ports import Clock, Lasting, Ledger, Publisher
from folder_agent.core.retrying import RetryRules

NAME = "gate"
REMIND_S = 3600.0  # between two words on the same trouble


class Gatekeeper:
    """The gate of one agent. `contact` may come from a worker's thread, everything else from the agent's."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, clock: Clock, rules: RetryRules, jitter: Callable[[], float]
    ) -> None:
        self._ledger, self._publisher, self._clock = ledger, publisher, clock
        self._rules, self._jitter = rules, jitter
        self._lock = threading.Lock()
        self._gate = gates.after_start(gates.read(ledger.recall(NAME)))
        self._told = Gate()  # what was last announced
        self._tell_again_at = 0.0  # monotonic

    def lets_through(self, now: float, in_hand: int) -> int | None:
        """How many more bundles may start; None: as many as there are workers."""
        # A probe further away than any delay is one from before somebody set the clock back: it is due.
        due = self._gate.probe_at if self._gate.probe_at - now > self._rules.max_s else now
        return gates.lets_through(self._gate, due, in_hand)

    @property
    def is_open(self) -> bool:
        """Whether as many as there are workers may send."""
        return self._gate.is_open

    @property
    def reason(self) -> Problem | None:
        """Why nothing is sent now; None while it is open."""
        return self._gate.reason

    def probe_at(self) -> float | None:
        """When the next probe is due, if the gate is shut (epoch seconds)."""
        return None if self._gate.is_open else self._gate.probe_at

    def failed(self, error: AgentError) -> None:
        """An attempt failed; an answer that is about one exam only is a sign of life."""
        if gates.shuts(error):
            now, gate = self._clock.now(), self._gate
            if gate.reason is not None and gate.reason.code == error.problem.code and now < gate.probe_at:
                return  # it set out together with the one that shut the gate: one outage, met once
            self._set(gates.after_failure(gate, error, now, self._rules, self._jitter()))
        elif error.disposition is Disposition.REFUSE and error.problem.code.startswith("FA-GW-"):
            self.contact()

    def contact(self) -> None:
        """The gateway accepted something."""
        self._set(gates.after_contact(self._gate))

    def knock(self) -> None:
        """An operator asks to try now."""
        with self._lock:
            if not self._gate.is_open:
                self._gate = gates.knock_now(self._gate)

    def announce(self, count_waiting: Callable[[], int]) -> bool:
        """Say what has changed since the last time, or that it still lasts; whether the gate has just opened."""
        gate, told = self._gate, self._told
        if gate.reason is None:
            self._told = gate
            if told.reason is not None:
                self._publisher.notice(told.reason, True, self._lasting(told, count_waiting))
            return told.reason is not None
        now = self._clock.monotonic()
        if told.reason is None or told.reason.code != gate.reason.code or now >= self._tell_again_at:
            self._told, self._tell_again_at = gate, now + REMIND_S
            self._publisher.notice(gate.reason, False, self._lasting(gate, count_waiting))
        return False

    def _lasting(self, gate: Gate, count_waiting: Callable[[], int]) -> Lasting:
        now = self._clock.now()
        return Lasting(since=gate.since if gate.since is not None else now, until=now, waiting=count_waiting())

    def _set(self, new: Gate) -> None:
        with self._lock:
            if self._gate != new:
                self._ledger.remember(NAME, gates.written(new))
                self._gate = new
