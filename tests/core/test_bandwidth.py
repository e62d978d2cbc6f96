"""Promises of the bandwidth limit: it is read strictly, holds when it says, and its turns add up to its rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.bandwidth import ALWAYS, QUANTUM_S, Limit, WrongLimit, grant, limit_at, parse_limit

MON, TUE, FRI, SAT, SUN = 0, 1, 4, 5, 6


def at(limit: Limit | list[Limit], weekday: int, clock: str) -> str | None:
    hour, minute = clock.split(":")
    found = limit_at(limit if isinstance(limit, list) else [limit], weekday, 60 * int(hour) + int(minute))
    return found and found.words


@pytest.mark.parametrize(
    ("text", "rate", "words"),
    [
        ("20Mbit/s", 2_500_000, "20Mbit/s"),
        ("20 Mbit/s", 2_500_000, "20Mbit/s"),
        ("1.5Gbit/s always", 187_500_000, "1.5Gbit/s"),
        ("64Kbit/s", 8000, "64kbit/s"),
        ("2.5MB/s Always", 2_500_000, "2.5MB/s"),
    ],
)
def test_a_rate_alone_holds_always(text: str, rate: float, words: str) -> None:
    limit = parse_limit(text)
    assert (limit.rate, limit.words, limit.window) == (rate, words, ALWAYS)
    assert at(limit, SUN, "23:59") == words


def test_days_and_hours() -> None:
    limit = parse_limit("20Mbit/s  Mon-Fri 08-18")
    assert limit.text == "20Mbit/s Mon-Fri 08-18"
    assert at(limit, MON, "07:59") is None
    assert at(limit, MON, "08:00") == "20Mbit/s"
    assert at(limit, FRI, "17:59") == "20Mbit/s"
    assert at(limit, FRI, "18:00") is None
    assert at(limit, SAT, "10:00") is None


def test_minutes_lists_of_days_and_days_over_the_weekend() -> None:
    assert at(parse_limit("1MB/s tue,SUN 8:30-17:45"), TUE, "08:29") is None
    assert at(parse_limit("1MB/s tue,SUN 8:30-17:45"), SUN, "17:44") == "1MB/s"
    limit = parse_limit("1MB/s Fri-Mon")
    assert [at(limit, day, "12:00") is not None for day in range(7)] == [True, False, False, False, True, True, True]
    assert parse_limit("1MB/s Mon-Wed,Fri").window.days == {0, 1, 2, 4}
    assert parse_limit("1MB/s Mon-Mon").window.days == {0}


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    limit = parse_limit("1MB/s Mon-Fri 22-06")
    assert at(limit, MON, "05:59") is None
    assert at(limit, MON, "22:00") == "1MB/s"
    assert at(limit, TUE, "05:59") == "1MB/s"
    assert at(limit, SAT, "05:59") == "1MB/s"
    assert at(limit, SAT, "06:00") is None
    assert at(limit, SAT, "23:00") is None
    assert at(parse_limit("1MB/s Sun 18-08"), MON, "07:00") == "1MB/s"


def test_hours_alone_hold_every_day_and_24_is_the_end_of_it() -> None:
    assert at(parse_limit("1MB/s 18-24"), SUN, "23:59") == "1MB/s"
    assert at(parse_limit("1MB/s 18-24"), SUN, "00:00") is None


def test_of_several_the_lowest_counts() -> None:
    limits = [parse_limit("20Mbit/s Mon-Fri 08-18"), parse_limit("100Mbit/s"), parse_limit("50Mbit/s Fri")]
    assert at(limits, MON, "09:00") == "20Mbit/s"
    assert at(limits, MON, "19:00") == "100Mbit/s"
    assert at(limits, FRI, "19:00") == "50Mbit/s"
    assert limit_at([], MON, 0) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "must begin with a rate"),
        ("fast", "must begin with a rate"),
        ("20", "must begin with a rate"),
        ("20Mb/s", "must begin with a rate"),
        ("20mbit/s", "must begin with a rate"),
        ("20Mbps", "must begin with a rate"),
        ("-1MB/s", "must begin with a rate"),
        ("0Mbit/s", "break connections"),
        ("63kbit/s", "break connections"),
        ("20Mbit/sMon", "a space"),
        ("20Mbit/s Monday", "neither days"),
        ("20Mbit/s Mon-Fri-Sun", "neither days"),
        ("20Mbit/s 8", "neither days"),
        ("20Mbit/s 08-25", "no such time"),
        ("20Mbit/s 24-08", "no such time"),
        ("20Mbit/s 08:60-10", "no such time"),
        ("20Mbit/s 24:00-24:30", "no such time"),
        ("20Mbit/s 08-08", "begins when it ends"),
        ("20Mbit/s 08-18 Mon", "behind the rate"),
        ("20Mbit/s Mon 08-18 x", "behind the rate"),
        ("20Mbit/s always Mon", "behind the rate"),
    ],
)
def test_what_is_no_limit_is_said(text: str, word: str) -> None:
    with pytest.raises(WrongLimit, match=word):
        parse_limit(text)


@given(
    rate=st.floats(8000, 1e9),
    asks=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 10**7)), min_size=1, max_size=60),
)
def test_whoever_asks_and_however_no_more_leaves_than_the_rate_allows(
    rate: float, asks: list[tuple[float, int]]
) -> None:
    free_at, now, begins, sizes = 0.0, 1000.0, [], []
    for pause, wanted in asks:
        now += pause
        turn = grant(free_at, wanted, rate, now)
        assert 1 <= turn.size <= wanted
        free_at = turn.free_at
        begins.append(now + turn.wait_s)
        sizes.append(turn.size)
    assert begins == sorted(begins)  # who asks first goes first
    for first in range(len(begins)):
        for last in range(first, len(begins)):
            took = begins[last] - begins[first]
            burst = 2 * max(1024, rate * QUANTUM_S)
            assert sum(sizes[first : last + 1]) <= rate * took + burst + 1
