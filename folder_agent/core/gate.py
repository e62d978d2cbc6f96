"""Whether anything may be sent at all: the gate shuts when the gateway is away or will not have us, for all bundles.

While it is shut, one bundle at growing intervals is let through as a probe; its success opens the gate for the rest.
So a dead gateway or a wrong token is noticed once, and everything queued goes on by itself when it is mended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import AgentError, Disposition, Problem
from folder_agent.core.retrying import RetryRules, delay

# Answers that concern the gateway as a whole, not the bundle that happened to meet them.
OUTAGES = frozenset({"FA-GW-UNREACHABLE", "FA-GW-TIMEOUT", "FA-GW-BROKEN"})


@dataclass(frozen=True, slots=True)
class Gate:
    """Open while `reason` is None. `held` tells a hold (an operator must act) from an outage (it passes by itself)."""

    reason: Problem | None = None
    held: bool = False
    since: float | None = None  # epoch seconds
    failures: int = 0
    probe_at: float = 0.0  # epoch seconds: when the next single bundle may try

    @property
    def is_open(self) -> bool:
        return self.reason is None


def shuts(error: AgentError) -> bool:
    """Whether a failure concerns every bundle."""
    return error.disposition is Disposition.HOLD or error.problem.code in OUTAGES


def after_failure(gate: Gate, error: AgentError, now: float, rules: RetryRules, jitter: float) -> Gate:
    """The gate after an attempt failed with that error; unchanged if the error is the bundle's own affair."""
    if not shuts(error):
        return gate
    failures = gate.failures + 1
    # At least half of the step: a probe too soon would be no relief for a gateway that struggles.
    wait = delay(failures, rules, 0.5 + jitter / 2)
    held = error.disposition is Disposition.HOLD
    return Gate(error.problem.masked(), held, gate.since if gate.since is not None else now, failures, now + wait)


def after_contact(gate: Gate) -> Gate:
    """The gateway has accepted something, or refused one exam for its content: it is there and will have us."""
    return gate if gate.is_open else Gate()


def lets_through(gate: Gate, now: float, in_hand: int) -> int | None:
    """How many more bundles may start now: None is no bound; while shut, one probe when it is due and none in hand."""
    if gate.is_open:
        return None
    return 1 if now >= gate.probe_at and in_hand == 0 else 0


def knock_now(gate: Gate) -> Gate:
    """An operator has mended something: probe at once."""
    return replace(gate, probe_at=0.0, failures=0)


def after_start(gate: Gate) -> Gate:
    """The gate that an earlier process left: still shut, but a start is a good moment to ask again."""
    return replace(gate, probe_at=0.0)


def written(gate: Gate) -> str | None:
    """The gate as the ledger keeps it; None when it is open. No path, which may be named for a person."""
    if gate.reason is None:
        return None
    kept = {"reason": {"code": gate.reason.code, "values": dict(gate.reason.values)}, "held": gate.held}
    return json.dumps({**kept, "since": gate.since, "failures": gate.failures, "probe_at": gate.probe_at})


def read(text: str | None) -> Gate:
    """The gate of `written`. What cannot be understood is an open gate: the first bundle finds out."""
    try:
        found: dict[str, Any] = json.loads(text or "null") or {}
        code = found["reason"]["code"]
        reason = Problem(code, values=tuple(found["reason"]["values"].items()))
        since, failures, probe_at = float(found["since"]), int(found["failures"]), float(found["probe_at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return Gate()
    return Gate(reason, bool(found.get("held")), since, failures, probe_at) if code in CATALOGUE else Gate()
