"""The gate as a pure value: what shuts and opens it, and how it is written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.catalogue import CATALOGUE, failure
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.gate import (
    OUTAGES,
    Gate,
    after_contact,
    after_failure,
    after_start,
    knock_now,
    lets_through,
    read,
    shuts,
    written,
)
from folder_agent.core.retrying import LEAST_TRIES, RetryRules, delay, is_exhausted

RULES = RetryRules(first_s=5.0, max_s=600.0, for_s=72 * 3600.0)
times = st.floats(0, 4e9)
jitters = st.floats(0, 1, exclude_max=True)
codes = st.sampled_from(sorted(CATALOGUE))
errors = st.builds(AgentError, st.builds(problem, codes), st.sampled_from(Disposition))


@given(st.lists(st.tuples(errors, times, jitters), max_size=20))
def test_only_outages_and_holds_shut_it_and_it_knows_since_when(met: list[tuple[AgentError, float, float]]) -> None:
    gate, first = Gate(), None
    for error, now, jitter in met:
        gate = after_failure(gate, error, now, RULES, jitter)
        if first is None and (error.disposition is Disposition.HOLD or error.problem.code in OUTAGES):
            first = now
    assert (gate.since, gate.is_open) == (first, first is None)


@given(errors, times, jitters, st.integers(0, 50))
def test_a_probe_is_never_sooner_than_half_a_step_nor_later_than_the_longest(
    error: AgentError, now: float, jitter: float, failures: int
) -> None:
    before = Gate(problem("FA-GW-AUTH"), True, 0.0, failures, 0.0)
    after = after_failure(before, error, now, RULES, jitter)
    if shuts(error):
        step = delay(failures + 1, RULES, 1.0)
        assert now + step / 2 <= after.probe_at <= now + RULES.max_s
    else:
        assert after == before


@given(errors, times, jitters, st.integers(0, 9))
def test_while_shut_one_at_a_time_goes_through_and_only_when_it_is_due(
    error: AgentError, now: float, jitter: float, in_hand: int
) -> None:
    gate = after_failure(Gate(), error, now, RULES, jitter)
    if gate.is_open:
        assert lets_through(gate, now, in_hand) is None
    else:
        assert lets_through(gate, gate.probe_at - 0.001, in_hand) == 0 or gate.probe_at <= 0.001
        assert lets_through(gate, gate.probe_at, in_hand) == (1 if in_hand == 0 else 0)
        assert lets_through(knock_now(gate), now, 0) == lets_through(after_start(gate), now, 0) == 1
    assert after_contact(gate).is_open


@given(errors, times, jitters)
def test_what_is_written_is_read_again(error: AgentError, now: float, jitter: float) -> None:
    gate = after_failure(Gate(), error, now, RULES, jitter)
    assert read(written(gate)) == gate


def test_no_path_is_written_down() -> None:
    error = failure(Problem("FA-GW-AUTH", "ZHANG^SAN/1.dcm", values=(("status", 401),)), Disposition.HOLD)
    assert "ZHANG" not in (written(after_failure(Gate(), error, 1.0, RULES, 0.0)) or "")


@pytest.mark.parametrize(
    "text", [None, "", "null", "[]", "7", "{", '{"reason": 7}', '{"reason": {"code": "FA-NO-SUCH", "values": {}}}']
)
def test_what_cannot_be_understood_is_an_open_gate(text: str | None) -> None:
    assert read(text) == Gate()


@given(st.integers(1, 10_000), jitters)
def test_a_delay_lies_between_now_and_its_step(failures: int, jitter: float) -> None:
    assert 0 <= delay(failures, RULES, jitter) <= min(RULES.max_s, RULES.first_s * 2 ** min(failures - 1, 60))


@given(st.integers(0, LEAST_TRIES - 1), st.floats(0, 1e12))
def test_a_jump_of_the_clock_alone_gives_no_bundle_up(tries: int, now: float) -> None:
    assert not is_exhausted(0.0, tries, now, RULES)


def test_a_bundle_is_given_up_when_both_its_time_and_its_tries_are_spent() -> None:
    assert is_exhausted(0.0, LEAST_TRIES, RULES.for_s, RULES)
    assert not is_exhausted(0.0, LEAST_TRIES, RULES.for_s - 1, RULES)
    assert not is_exhausted(None, 99, 1e9, RULES)
