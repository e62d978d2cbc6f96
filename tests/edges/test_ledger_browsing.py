"""What the console asks of the ledger, on both databases: pages without gaps or repeats, search, counts, deeds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.core.lifecycle import BundleEvent, BundleState, bundle_step
from folder_agent.core.records import Act, BundleRecord, Deed
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from folder_agent.edges.ledger.browsing import Place, Sort, Wanted
from tests.contracts.test_ledger_contract import make_url

_ENDS = {
    "DONE": (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.COMMIT, BundleEvent.SHELVE),
    "REFUSED": (BundleEvent.REFUSE, BundleEvent.SHELVE),
    "GATHERING": (),
    "HELD": (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.HOLD),
}


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PeeweeLedger]:
    opened = open_ledger(make_url(request.param, tmp_path))
    yield opened
    opened.close()


def put(
    ledger: PeeweeLedger, name: str, at: float, end: str = "DONE", drop: str = "ct", **more: object
) -> BundleRecord:
    """A bundle that came at that time and ended ten seconds later."""
    bundle = ledger.open_bundle(drop, f"{name}@{at}", name, at)
    for event in _ENDS[end]:
        step = bundle_step(bundle, event, at + 10, is_open=event is not BundleEvent.SHELVE, **more)
        ledger.apply([step])
        bundle = step.after
    return bundle


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeeweeLedger]:
    dice, ledger = random.Random(5), open_ledger(make_url(request.param, tmp_path_factory.mktemp("many")))
    for number in range(60):
        end = dice.choice(list(_ENDS))
        drop = dice.choice(["ct", "mr", "超声"])
        put(ledger, f"B{number:03}", 1000.0 + dice.randrange(20), end, drop)  # many at the same time
    yield ledger
    ledger.close()


@pytest.mark.parametrize("sort", ["changed", "created"])
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("states", [(), (BundleState.DONE,), (BundleState.REFUSED, BundleState.HELD)])
@pytest.mark.parametrize("drops", [(), ("mr",), ("超声", "ct")])
@pytest.mark.parametrize("day", [None, (1005.0, 1012.0)])
def test_pages_follow_each_other_without_gap_or_repeat(
    many: PeeweeLedger,
    sort: Sort,
    newest_first: bool,
    states: tuple[BundleState, ...],
    drops: tuple[str, ...],
    day: tuple[float, float] | None,
) -> None:
    def key(one: BundleRecord) -> tuple[float, int]:
        return (one.changed_at if sort == "changed" else one.created_at), one.id

    since, until = day or (None, None)
    every = [
        one
        for one in many.latest_bundles(1000)
        if (not states or one.state in states)
        and (not drops or one.drop in drops)
        and (day is None or day[0] <= one.created_at < day[1])
    ]
    found: list[BundleRecord] = []
    after = None
    while True:
        wanted = Wanted("", states, drops, since, until, sort, newest_first, after, limit=7)
        page = many.page(wanted)
        found += page[:7]
        if len(page) <= 7:
            break
        after = Place(*key(page[6]))
    assert [one.id for one in found] == [one.id for one in sorted(every, key=key, reverse=newest_first)]


def test_search_is_by_number_name_start_accession_study_id_and_uid(ledger: PeeweeLedger) -> None:
    one = put(ledger, "CT20260301-001", 1.0, access_number="ACC9", study_id="S77", study_uid="1.2.3")
    put(ledger, "CT20260302", 2.0)
    put(ledger, "Ct20260303_%", 3.0, "HELD")
    put(ledger, "超声检查一", 4.0)

    def names(text: str, **more: object) -> list[str]:
        return [found.name for found in ledger.page(Wanted(text, **more))]  # type: ignore[arg-type]

    assert names("CT2026") == ["Ct20260303_%", "CT20260302", "CT20260301-001"]
    assert names("ct2026", states=(BundleState.HELD,)) == ["Ct20260303_%"]
    for text in ("ACC9", "S77", "1.2.3", str(one.id), "CT20260301-001"):
        assert "CT20260301-001" in names(text)
    assert names("超声") == ["超声检查一"]
    assert names("%") == []
    assert names("_") == []
    assert names("'; DROP TABLE bundles; --") == []
    assert names("\x00") == []


def test_what_was_dropped_again_is_left_behind_no_more(ledger: PeeweeLedger) -> None:
    put(ledger, "again", 1.0, "REFUSED")
    put(ledger, "lost", 2.0, "REFUSED")
    put(ledger, "other-name", 3.0, "REFUSED", access_number="A1")
    put(ledger, "elsewhere", 4.0, "REFUSED")
    put(ledger, "again", 5.0)
    put(ledger, "new-name", 6.0, access_number="A1")
    put(ledger, "elsewhere", 7.0, drop="mr")
    assert [one.name for one in ledger.left_behind(0.0)] == ["elsewhere", "lost"]
    assert ledger.count_left_behind(0.0) == {"ct": 2, "mr": 0}
    assert ledger.left_behind(1000.0) == []


def test_counts_and_times(ledger: PeeweeLedger) -> None:
    put(ledger, "a", 100.0)
    put(ledger, "b", 200.0)
    put(ledger, "c", 300.0, "GATHERING", "mr")
    put(ledger, "d", 400.0, "HELD")
    assert ledger.drop_names() == ["ct", "mr"]
    assert ledger.count_since(205.0)["ct", "DONE"] == 1
    assert ledger.count_since(0.0)["ct", "FAILED"] == 0
    assert sorted(ledger.first_seen(150.0, 1e9)) == [
        *((0.0, "ct", "DONE", 1), (0.0, "ct", "HELD", 1), (0.0, "mr", "GATHERING", 1)),
    ]
    assert ledger.open_counts() == {("mr", "GATHERING", False): 1, ("ct", "HELD", False): 1}
    assert [row[2] for row in ledger.delivered_since(0.0)] == [100.0, 200.0]
    assert ledger.oldest_waiting() == 300.0
    assert ledger.newest_at() == 400.0


def test_an_empty_ledger_has_nothing_to_show(ledger: PeeweeLedger) -> None:
    assert ledger.page(Wanted(states=(BundleState.DONE,))) == []
    assert ledger.page(Wanted("x")) == []
    assert ledger.drop_names() == []
    assert ledger.newest_at() is None
    assert ledger.left_behind(0.0) == []
    assert ledger.overdue() == []


def test_deeds_are_kept_in_order_and_orders_are_of_open_bundles(ledger: PeeweeLedger) -> None:
    is_open, closed = put(ledger, "open", 1.0, "GATHERING"), put(ledger, "closed", 2.0)
    refused = put(ledger, "refused", 3.0, "REFUSED")
    for number, (act, bundle) in enumerate([(Act.ACCEPT, is_open), (Act.REFUSE, closed), (Act.REVEAL, is_open)]):
        ledger.keep_deed(Deed(float(number), "anna", act, bundle.id, "wh\x00y", "10.0.0.1"))
    assert [deed.act for deed in ledger.orders()] == ["accept"]
    assert [deed.act for deed in ledger.deeds_of(is_open.id)] == ["accept", "reveal"]
    newest = ledger.deeds(limit=2)
    assert [deed.act for deed in newest] == ["reveal", "refuse"]
    assert [deed.act for deed in ledger.deeds(before=newest[-1].id)] == ["accept"]
    assert newest[0].reason == "wh\ufffdy"
    for act, bundle in ((Act.ACCEPT, closed), (Act.REFUSE, refused), (Act.ACCEPT, refused)):
        ledger.keep_deed(Deed(9.0, "anna", act, bundle.id))  # what was refused comes back if somebody accepts it
    assert [(deed.act, deed.bundle_id) for deed in ledger.orders()] == [("accept", is_open.id), ("accept", refused.id)]
