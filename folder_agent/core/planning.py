"""What is to be done next with a bundle, and in which order bundles go: emergencies first, then the oldest."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.gate import OUTAGES
from folder_agent.core.lifecycle import (
    ON_THE_WAY_TO_A_SHELF,
    BundleEvent,
    BundleState,
    Transition,
    bundle_step,
)
from folder_agent.core.records import BundleRecord
from folder_agent.core.retrying import RetryRules, delay, is_exhausted

AGAIN_S = 2.0  # before a bundle that changed under our hands is sent again, so that a flickering file costs little
_CHANGED = "FA-CHANGED"
_UNPROVEN = frozenset({"FA-GW-UNPROVEN", "FA-GW-NO-REPORT"})

# Failures of our own side: neither the bundle nor the gateway can help them, however long they last.
BLAMELESS = frozenset({"FA-DROP-GONE", "FA-DISK-FULL", "FA-SHELF", "FA-LEDGER", "FA-STOPPING"})


class Action(StrEnum):
    """The next step of a bundle."""

    GATHER = "gather"  # nothing but to look on
    SEND = "send"  # files, then the exam information
    SHELVE = "shelve"  # move to done/ or failed/
    WAIT = "wait"  # until due_at


_ACTIONS: dict[BundleState, Action] = {
    BundleState.GATHERING: Action.GATHER,
    BundleState.COMPLETE: Action.SEND,
    BundleState.SENDING: Action.SEND,  # a crash interrupted it: what was accepted is known, the rest goes on
    BundleState.WAITING: Action.SEND,
    BundleState.HELD: Action.SEND,  # the gate decides when
    **dict.fromkeys(ON_THE_WAY_TO_A_SHELF, Action.SHELVE),
}


def next_action(bundle: BundleRecord, now: float) -> Action:
    """What is to be done with an open bundle at the epoch time `now`."""
    if not bundle.is_open:
        return Action.GATHER
    if bundle.due_at is not None and now < bundle.due_at:
        return Action.WAIT
    return _ACTIONS[bundle.state]


def in_order(bundles: Iterable[BundleRecord]) -> list[BundleRecord]:
    """Emergency exams first, then by age."""
    return sorted(bundles, key=lambda b: (not b.emergency, b.created_at, b.id))


def is_due_to_outage(bundle: BundleRecord) -> bool:
    """Whether the bundle waits only because the gateway was away: no reason to wait once it is back."""
    return bundle.state is BundleState.WAITING and bool(bundle.reasons) and bundle.reasons[0].code in OUTAGES


def after_error(
    bundle: BundleRecord, error: AgentError, now: float, rules: RetryRules, jitter: float
) -> Transition[BundleRecord]:
    """Where a failed attempt leads, by the error's disposition; the bound on retrying turns RETRY into FAILED, unless
    waiting is nobody's fault."""
    reasons = (error.problem.masked(),)
    if error.disposition is Disposition.HOLD:
        # An operator's delay is not the bundle's fault: the bound on retrying does not run.
        return bundle_step(bundle, BundleEvent.HOLD, now, reasons=reasons, first_failed_at=None)
    if error.problem.code == _CHANGED:
        return bundle_step(bundle, BundleEvent.REOPEN, now, reasons=reasons, due_at=now + AGAIN_S)
    if error.disposition is Disposition.REFUSE:
        event = BundleEvent.FAIL if error.problem.code.startswith("FA-GW-") else BundleEvent.REFUSE
        return bundle_step(bundle, event, now, reasons=reasons)
    first = (bundle.first_failed_at if bundle.first_failed_at is not None else now) if _counts(error) else None
    attempts = bundle.attempts + 1
    if is_exhausted(first, attempts, now, rules):
        given_up = exhausted(attempts, rules)
        return bundle_step(bundle, BundleEvent.FAIL, now, reasons=(given_up, *reasons), attempts=attempts)
    least = AGAIN_S if error.disposition is Disposition.WAIT else _asked_delay(error.problem, rules)
    due = now + max(delay(attempts, rules, jitter), least)
    return bundle_step(
        bundle, BundleEvent.PUT_OFF, now, reasons=reasons, attempts=attempts, first_failed_at=first, due_at=due
    )


def _counts(error: AgentError) -> bool:
    """Whether the bound on retrying runs: not while somebody else holds a file, nor while our own side or the gateway
    as a whole is away or does not say what it has. Such a time may last for days, and must not be held against the
    exams that met it."""
    return error.disposition is not Disposition.WAIT and error.problem.code not in BLAMELESS | OUTAGES | _UNPROVEN


def exhausted(attempts: int, rules: RetryRules) -> Problem:
    """The reason of a bundle that has been tried for as long as the settings allow."""
    return problem("FA-EXHAUSTED", attempts=attempts, hours=round(rules.for_s / 3600, 1).__str__())


def _asked_delay(reason: Problem, rules: RetryRules) -> float:
    """The gateway's own wish (Retry-After, RFC 9110 10.2.3), within our bound."""
    asked = dict(reason.values).get("retry_after_s", 0)
    return min(float(asked), rules.max_s)
