"""What a failed attempt leads to: whose fault it is decides whether the bound on retrying runs."""

from __future__ import annotations

import pytest

from folder_agent.core.catalogue import CATALOGUE, failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.gate import OUTAGES
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.planning import AGAIN_S, BLAMELESS, after_error
from folder_agent.core.records import BundleRecord
from folder_agent.core.retrying import RetryRules

RULES = RetryRules(first_s=8.0, max_s=60.0, for_s=3600.0)
DAY_S = 86400.0
HELD_FILES = ["FA-FILE-DENIED", "FA-FILE-LOCKED", "FA-FILE-IO"]


def error(code: str, disposition: Disposition | None = None) -> AgentError:
    return failure(problem(code), disposition or (Disposition.RETRY if code == "FA-LEDGER" else None))


def sending(**changes: object) -> BundleRecord:
    fixed = {"id": 1, "drop": "ct", "key": "CT1/", "name": "CT1", "created_at": 0.0, "changed_at": 0.0}
    return BundleRecord(state=BundleState.SENDING, **(fixed | changes))  # type: ignore[arg-type]


def attempts(code: str, count: int, every_s: float) -> list[BundleRecord]:
    """What so many failures in a row make of a bundle, each `every_s` after the other."""
    found, bundle = [], sending()
    for number in range(count):
        after = after_error(bundle, error(code), number * every_s, RULES, 1.0).after
        found.append(after)
        bundle = sending(attempts=after.attempts, first_failed_at=after.first_failed_at)
    return found


def test_every_code_that_is_nobodys_fault_is_in_the_catalogue() -> None:
    assert CATALOGUE.keys() >= BLAMELESS


@pytest.mark.parametrize("code", sorted(BLAMELESS | OUTAGES))
def test_a_trouble_of_our_own_side_or_an_outage_never_exhausts_a_bundle(code: str) -> None:
    found = attempts(code, 10, DAY_S)
    assert {one.state for one in found} == {BundleState.WAITING}
    assert {one.reasons for one in found} == {(problem(code),)}


@pytest.mark.parametrize("code", sorted(BLAMELESS | OUTAGES))
def test_what_fails_after_days_of_such_a_trouble_is_tried_for_as_long_as_anything_else(code: str) -> None:
    last = attempts(code, 10, DAY_S)[-1]
    bundle = sending(attempts=last.attempts, first_failed_at=last.first_failed_at)
    after = after_error(bundle, error("FA-GW-AGAIN"), 10 * DAY_S, RULES, 1.0).after
    assert (after.state, after.first_failed_at) == (BundleState.WAITING, 10 * DAY_S)


def test_a_failure_of_the_gateways_exhausts_it() -> None:
    states = [one.state for one in attempts("FA-GW-AGAIN", 12, RULES.for_s / 11)]
    assert states == [*[BundleState.WAITING] * 11, BundleState.FAILED]


@pytest.mark.parametrize("code", [*sorted(BLAMELESS), *HELD_FILES])
def test_pauses_grow_to_their_bound(code: str) -> None:
    pauses = [(one.due_at or 0.0) - number for number, one in enumerate(attempts(code, 6, 1.0))]
    assert pauses == [8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("code", HELD_FILES)
def test_a_bundle_whose_file_cannot_be_read_waits_says_so_and_never_fails(code: str) -> None:
    found = attempts(code, 10, DAY_S)
    assert {(one.state, one.reasons) for one in found} == {(BundleState.WAITING, (problem(code),))}


def test_a_bundle_that_changed_is_judged_anew_and_goes_soon() -> None:
    after = after_error(sending(attempts=5), error("FA-CHANGED"), 100.0, RULES, 1.0).after
    assert (after.state, after.due_at, after.attempts) == (BundleState.GATHERING, 100.0 + AGAIN_S, 5)
