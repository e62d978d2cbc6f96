"""Keeps the gate (core/gate.py): who may send now. Remembers it in the ledger, so that `status` can tell, and says once
when it shuts and once when it opens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from folder_agent.core import gate as gates
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.gate import Gate
from folder_agent.core.ports import Clock, Ledger, Publisher
from folder_agent.core.retrying import RetryRules

NAME = "gate"


class Gatekeeper:
    """The gate of one agent. `contact` may come from a worker's thread, everything else from the agent's."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, clock: Clock, rules: RetryRules, jitter: Callable[[], float]
    ) -> None:
        self._ledger, self._publisher, self._clock = ledger, publisher, clock
        self._rules, self._jitter = rules, jitter
        self._lock = threading.Lock()
        self._gate = Gate()  # open at the start: the first bundle finds out
        ledger.remember(NAME, None)

    def lets_through(self, now: float, in_hand: int) -> int | None:
        """How many more bundles may start; None: as many as there are workers."""
        # A probe further away than any delay is one from before somebody set the clock back: it is due.
        due = self._gate.probe_at if self._gate.probe_at - now > self._rules.max_s else now
        return gates.lets_through(self._gate, due, in_hand)

    @property
    def is_open(self) -> bool:
        """Whether as many as there are workers may send."""
        return self._gate.is_open

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

    def _set(self, new: Gate) -> None:
        with self._lock:
            before = self._gate
            if before == new:
                return
            self._ledger.remember(NAME, as_text(new))
            self._gate = new
        if new.reason is not None and (before.reason is None or before.reason.code != new.reason.code):
            self._publisher.notice(new.reason)
        elif new.reason is None and before.reason is not None:
            self._publisher.notice(before.reason, is_over=True)


def as_text(gate: Gate) -> str | None:
    """The gate as the ledger keeps it; None when it is open."""
    if gate.reason is None:
        return None
    reason = {"code": gate.reason.code, "values": dict(gate.reason.values)}
    return json.dumps({"reason": reason, "held": gate.held, "since": gate.since, "probe_at": gate.probe_at})
