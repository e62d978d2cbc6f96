"""Promises of the agenda: whatever is said of dates, it is what a plain list of them would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from folder_agent.agent.agenda import NEVER, Agenda
from folder_agent.core.grouping import Group

KEYS = [f"CT{number}" for number in range(300)]
AT = st.one_of(st.floats(0, 100), st.just(NEVER))


def groups(names: dict[str, str]) -> dict[str, Group]:
    return {key: Group(key, name, "", is_folder=True, sidecars=(), files=()) for key, name in names.items()}


class Plain:
    """The same with a list that is gone through every time."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, float]] = {}

    def take_over(self, names: dict[str, str], now: float) -> None:
        before = self.known
        self.known = {
            key: before[key] if key in before and before[key][0] == name else (name, now) for key, name in names.items()
        }

    def take_due(self, now: float) -> set[str]:
        due = {key for key, (_, at) in self.known.items() if at <= now}
        self.known.update({key: (self.known[key][0], NEVER) for key in due})
        return due


SOME = st.integers(0, 300).flatmap(
    lambda most: st.dictionaries(st.sampled_from(KEYS), st.sampled_from("ab"), max_size=most)
)
STEPS = st.one_of(
    st.tuples(st.just("take_over"), SOME, st.floats(0, 100)),
    st.tuples(st.just("all"), st.sampled_from("ab"), st.floats(0, 100)),
    st.tuples(st.just("change"), st.sampled_from(KEYS), st.floats(0, 100)),
    st.tuples(st.just("put"), st.sampled_from(KEYS), AT),
    st.tuples(st.just("put_all"), st.none(), AT),
    st.tuples(st.just("forget"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("take_due"), st.none(), st.floats(0, 100)),
)


@given(st.lists(STEPS, max_size=30))
def test_it_says_what_a_plain_list_would_say(steps: list[tuple[str, Any, Any]]) -> None:
    agenda, plain = Agenda(), Plain()
    for act, what, at in steps:
        match act:
            case "take_over" | "all" | "change":
                names = what if act == "take_over" else dict.fromkeys(KEYS, what)
                if act == "change":
                    names = {what: "c", **{key: name for key, (name, _) in plain.known.items() if key != what}}
                agenda.take_over(groups(names), at)
                plain.take_over(names, at)
            case "put" | "put_all":
                for key in [what] if act == "put" else list(plain.known):
                    if (entry := agenda.get(key)) is not None:
                        agenda.put(entry, at)
                        plain.known[key] = (plain.known[key][0], at)
            case "forget":
                agenda.forget(what)
                plain.known.pop(what, None)
            case "take_due":
                assert {entry.group.key for entry in agenda.take_due(at)} == plain.take_due(at)
        assert [entry.group.key for entry in agenda] == list(plain.known)
        assert agenda.next_at() == min((at for _, at in plain.known.values()), default=NEVER)


def test_dates_that_do_not_count_any_more_are_not_kept() -> None:
    agenda = Agenda()
    agenda.take_over(groups({"CT1": "a"}), 0.0)
    entry = next(iter(agenda))
    for at in range(10_000):
        agenda.put(entry, 1000.0 + at)
    assert len(agenda._dates) < 100
    assert agenda.next_at() == 10_999.0
