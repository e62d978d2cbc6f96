"""Promises of easing: never below one nor above what is set, halved once for one trouble, and back when it is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.easing import GROW_S, RUN, Tempo, Width, after_answer, after_good, after_trouble, anew, full

STEPS = st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.floats(0, 10)))


def walked(most: int, steps: list[tuple[bool, float, float]]) -> list[tuple[bool, float, Width, Width]]:
    """Each step: whether the answer was good, when it began, and the width before and after. A step is that, how long
    after the last one it comes, and how long ago its request began."""
    width, now, found = full(most), 100.0, []
    for is_good, later, ago in steps:
        now += later
        after = (after_good if is_good else after_trouble)(width, now - ago, now)
        found.append((is_good, now - ago, width, after))
        width = after
    return found


@given(st.integers(1, 32), STEPS)
def test_it_stays_within_its_bounds_and_only_good_answers_widen_it(
    most: int, steps: list[tuple[bool, float, float]]
) -> None:
    for is_good, began, before, after in walked(most, steps):
        assert 1 <= after.now <= most
        if is_good:
            assert before.now <= after.now <= before.now + 1
        elif began < before.halved_at:
            assert after.now == before.now  # it set out before the load was halved for the same trouble
        else:
            assert after.now == max(1, before.now // 2)


@given(st.integers(1, 32), STEPS)
def test_it_comes_back_to_what_is_set(most: int, steps: list[tuple[bool, float, float]]) -> None:
    width = walked(most, steps)[-1][3] if steps else full(most)
    now = 1000.0
    for _ in range(RUN * most):
        now += GROW_S
        width = after_good(width, now, now)
    assert width.now == most


def test_one_more_only_after_a_run_and_not_too_soon() -> None:
    width = after_trouble(full(8), 1.0, 2.0)
    assert width.now == 4
    for _ in range(RUN + 5):
        width = after_good(width, 2.1, 2.1)
    assert width.now == 4  # a run; but quick answers are no reason for haste
    width = after_good(width, 2.2, 2.0 + GROW_S)
    assert (width.now, width.good) == (5, 0)


def test_a_trouble_breaks_the_run_and_answers_to_what_set_out_before_count_for_nothing() -> None:
    width = after_trouble(full(8), 1.0, 2.0)
    for _ in range(RUN - 1):
        width = after_good(width, 3.0, 9.0)
    width = after_trouble(width, 1.5, 9.0)
    assert (width.now, width.good) == (4, 0)
    assert after_good(width, 1.9, 9.0) == width


def answered(tempo: Tempo, waited_s: float, times: int, size: int = 0) -> Tempo:
    for _ in range(times):
        tempo = after_answer(tempo, waited_s, size)
    return tempo


def test_slow_is_several_times_the_usual_and_not_one_answer_alone() -> None:
    usual = answered(Tempo(), 0.4, 20)
    assert not usual.is_slow
    assert not answered(usual, 1.5, 1).is_slow
    assert answered(usual, 4.0, 3).is_slow
    assert not anew(answered(usual, 4.0, 3)).is_slow  # the load has changed: its next answers will tell
    assert not answered(anew(answered(usual, 4.0, 3)), 0.4, 10).is_slow


def test_what_takes_no_time_worth_speaking_of_is_never_slow() -> None:
    assert not answered(answered(Tempo(), 0.001, 20), 0.4, 20).is_slow


def test_a_large_request_may_take_longer() -> None:
    small = answered(Tempo(), 0.5, 20, size=1024)
    assert not answered(small, 8.0, 10, size=256 * 1024 * 1024).is_slow
    assert answered(small, 8.0, 10, size=1024).is_slow


def test_so_may_one_of_many_parts() -> None:
    few, tempo = Tempo(), Tempo()
    for _ in range(20):
        few = after_answer(few, 0.8, 1024, parts=100)
    for _ in range(20):
        tempo = after_answer(tempo if tempo.answers else few, 8.0, 1024, parts=1000)
    assert not tempo.is_slow


def test_what_is_slow_for_good_becomes_usual() -> None:
    usual = answered(Tempo(), 0.4, 20)
    assert answered(usual, 2.0, 10).is_slow
    assert not answered(usual, 2.0, 200).is_slow


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 2**40))))
def test_whatever_comes_it_has_a_word_on_it(answers: list[tuple[float, int]]) -> None:
    tempo = Tempo()
    for waited_s, size in answers:
        tempo = after_answer(tempo, waited_s, size)
        assert tempo.is_slow in (True, False)
        assert tempo.recent_s >= 0
