"""Purging done/ on real files: cut at each of its steps, it goes on; what is not ours stays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from folder_agent.agent import housekeeping
from folder_agent.agent.housekeeping import Household, Housekeeping
from folder_agent.core.lifecycle import BundleEvent, FileEvent, bundle_step, file_step
from folder_agent.core.records import BundleRecord, Sighting, Stamp
from folder_agent.core.retention import Retention
from folder_agent.edges import durable
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from folder_agent.edges.shelves import RealShelves, purging
from tests.contracts.fake_clock import FakeClock
from tests.fakes import FakePublisher

DAY_S = 86_400.0
CONTENT = b"pixels"


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().date().isoformat()


class Attic:
    """done/ with delivered bundles of several days, a real ledger, and what keeps house in them."""

    def __init__(self, root: Path) -> None:
        self.drop, self.clock, self.told = root / "drop", FakeClock(), FakePublisher()
        self.drop.mkdir()
        self.ledger: PeeweeLedger = open_ledger(f"sqlite:///{root / 'ledger.db'}")
        self.shelves = RealShelves(self.drop, self.drop / "done", self.drop / "failed")

    def bundle(self, name: str, age_days: int, *, files: int = 2, outcome: str = "delivered", row: bool = True) -> Path:
        """A delivered bundle that was shelved so many days ago, in a folder with a subfolder."""
        day = date.fromisoformat(day_of(self.clock.now())) - timedelta(days=age_days)
        target = Path(self.shelves.choose("done", day.isoformat(), name, 1))
        paths = [f"IM/{number}" if number else "0.dcm" for number in range(files)]
        for path in paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(CONTENT)
        listed = [
            {"path": path, "kind": "DICOM", "size": len(CONTENT), "sha256": "0" * 64, "answer": "ok"} for path in paths
        ]
        content = {"receipt": 1, "bundle": name, "drop": "ct", "outcome": outcome, "gateway": {}, "exam": {}}
        (target / "receipt.json").write_text(json.dumps({**content, "files": listed, "notSent": []}), encoding="utf-8")
        if row:
            self._record(name, str(target), paths, self.clock.now() - age_days * DAY_S)
        return target

    def _record(self, name: str, target: str, paths: list[str], at: float) -> None:
        bundle = self.ledger.open_bundle("ct", f"{name}/", name, at)
        seen = [Sighting(f"{name}/{path}", Stamp(len(CONTENT), 1, 1)) for path in paths]
        for file in self.ledger.sight("ct", seen, {}, at):
            settle = file_step(file, FileEvent.SETTLE, at, bundle_id=bundle.id)
            self.ledger.apply([settle])
            self.ledger.apply([file_step(settle.after, FileEvent.ACCEPT, at, accepted_at=at, destination="A")])
        for event in (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.COMMIT, BundleEvent.SHELVE):
            is_open = event is not BundleEvent.SHELVE
            step = bundle_step(bundle, event, at, target=target if not is_open else None, is_open=is_open)
            self.ledger.apply([step])
            bundle = step.after

    def keep_house(self, retention: Retention, keep_days: int = 0) -> int:
        """Slices until there is nothing more to do; how many."""
        house = Household("ct", self.shelves, retention)
        keeping = Housekeeping([house], self.ledger, self.clock, self.told, keep_days, day_of)
        return 1 + sum(iter(lambda: int(keeping.turn()), 0))

    def row(self, target: Path) -> BundleRecord:
        found = self.ledger.bundle_at(str(target))
        assert found is not None
        return found


@pytest.fixture
def attic(tmp_path: Path) -> Iterator[Attic]:
    made = Attic(tmp_path)
    yield made
    made.ledger.close()


def test_bundles_are_purged_by_age_and_the_ledger_says_so(attic: Attic) -> None:
    old, older, young = attic.bundle("CT1", 31), attic.bundle("CT2", 400, row=False), attic.bundle("CT3", 30)
    attic.keep_house(Retention(keep_done_days=30))
    assert (old.exists(), older.exists(), old.parent.exists(), young.exists()) == (False, False, False, True)
    assert attic.row(old).purged_at == attic.clock.now()
    assert attic.row(young).purged_at is None


def test_the_oldest_go_first_until_there_is_room(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = [attic.bundle(f"CT{age}", age) for age in (9, 8, 7)]
    full = 5 * len(CONTENT)

    def free_bytes(_path: Path) -> int:
        files = [path for path in attic.drop.rglob("*") if path.is_file() and path.name != "receipt.json"]
        return 1_000_000_000 + full - sum(path.stat().st_size for path in files)

    monkeypatch.setattr("folder_agent.edges.shelves.real.free_bytes", free_bytes)
    attic.keep_house(Retention(min_free_bytes=1_000_000_000 + 1))
    assert [bundle.exists() for bundle in bundles] == [False, True, True]
    assert attic.told.notices == []


def test_what_is_of_today_or_yesterday_is_never_purged_and_too_little_space_is_said_once(attic: Attic) -> None:
    kept = [attic.bundle("CT1", 0), attic.bundle("CT2", 1)]
    for _ in range(2):
        attic.keep_house(Retention(keep_done_days=1, min_free_bytes=10**18))
    assert all(bundle.exists() for bundle in kept)
    assert attic.told.notices == [("FA-LOW-SPACE", False)]


def test_only_what_the_receipt_lists_goes(attic: Attic) -> None:
    bundle = attic.bundle("CT1", 40)
    (bundle / "note.txt").write_text("mine", encoding="utf-8")
    (bundle / "IM" / "1").write_bytes(b"other bytes")
    attic.keep_house(Retention(keep_done_days=30))
    assert sorted(path.name for path in bundle.rglob("*") if path.is_file()) == ["1", "note.txt", "receipt.json"]


@pytest.mark.parametrize("spoil", ["undelivered", "none", "broken", "open"])
def test_a_folder_that_is_not_known_to_be_delivered_is_left_alone(attic: Attic, spoil: str) -> None:
    bundle = attic.bundle("CT1", 40, outcome="not delivered" if spoil == "undelivered" else "delivered", row=False)
    if spoil == "none":
        (bundle / "receipt.json").unlink()
    elif spoil == "broken":
        (bundle / "receipt.json").write_bytes(b"{")
    elif spoil == "open":
        opened = attic.ledger.open_bundle("ct", "CT1/", "CT1", 1.0)
        attic.ledger.apply([bundle_step(opened, BundleEvent.REFUSE, 1.0, target=str(bundle))])
    before = sorted(path for path in bundle.rglob("*"))
    attic.keep_house(Retention(keep_done_days=30))
    assert sorted(path for path in bundle.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_is_never_followed(attic: Attic, tmp_path: Path) -> None:
    bundle, outside = attic.bundle("CT1", 40), tmp_path / "outside"
    outside.mkdir()
    (outside / "1").write_bytes(CONTENT)
    (bundle / "IM" / "1").unlink()
    (bundle / "IM").rmdir()
    (bundle / "IM").symlink_to(outside)
    (bundle.parent.parent / "2000-01-01").symlink_to(outside)
    attic.keep_house(Retention(keep_done_days=30))
    assert (outside / "1").read_bytes() == CONTENT
    assert (bundle / "receipt.json").exists()
    assert attic.told.notices == [("FA-PURGE", False)]


class Killed(BaseException):
    """The process ends here."""


def counting(monkeypatch: pytest.MonkeyPatch, ledger: PeeweeLedger, die_at: int) -> Callable[[], int]:
    """Die right before the step of that number; how many steps there were."""
    steps = 0

    def guard(place: Any, name: str) -> None:
        real = getattr(place, name)

        def step(*args: Any, **options: Any) -> Any:
            nonlocal steps
            if steps == die_at:
                raise Killed
            steps += 1
            return real(*args, **options)

        monkeypatch.setattr(place, name, step)

    guard(durable, "remove")
    guard(durable, "sync_folders")
    guard(purging, "_remove_empty")
    guard(Path, "rmdir")
    guard(ledger, "amend")
    return lambda: steps


def test_cut_at_any_step_it_is_finished_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = 0
    for die_at in range(100):
        (tmp_path / str(die_at)).mkdir()
        attic = Attic(tmp_path / str(die_at))
        old, young = attic.bundle("CT1", 40, files=3), attic.bundle("CT2", 3)
        with monkeypatch.context() as patch:
            done = counting(patch, attic.ledger, die_at)
            try:
                attic.keep_house(Retention(keep_done_days=30))
            except Killed:
                cuts += 1
            assert done() <= die_at
        left = {path.name for path in old.rglob("*") if path.is_file()}
        assert not left or "receipt.json" in left, "files without a receipt prove nothing"
        assert len(left) == 4 or attic.row(old).purged_at is not None, "the ledger must say so first"
        attic.keep_house(Retention(keep_done_days=30))
        assert not any(path.is_file() for path in old.rglob("*"))
        assert len([path for path in young.rglob("*") if path.is_file()]) == 3
        attic.ledger.close()
        if done() < die_at:
            break
    assert cuts >= 8


def test_a_slice_is_bounded(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "MOST_FOLDERS", 2)
    for number in range(5):
        attic.bundle(f"CT{number}", 40)
    assert attic.keep_house(Retention(keep_done_days=30)) == 3
    assert not list(attic.shelves.days())


def test_a_compacted_bundle_is_purged_by_its_receipt(attic: Attic) -> None:
    bundle = attic.bundle("CT1", 40)
    attic.bundle("CT2", 1)
    attic.keep_house(Retention(), keep_days=30)
    assert attic.ledger.bundle_at(str(bundle)) is None
    assert attic.ledger.tallies().bundles == {"DONE": 2}
    attic.keep_house(Retention(keep_done_days=30))
    assert not bundle.exists()


def test_it_ends_when_told_to(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "FIRST_S", 0.0)
    monkeypatch.setattr(housekeeping, "PAUSE_S", 0.0)
    house = Household("ct", attic.shelves, Retention(keep_done_days=30))
    keeping = Housekeeping([house], attic.ledger, attic.clock, attic.told, 90, day_of)
    bundle = attic.bundle("CT1", 40)
    keeping.start()
    while bundle.exists():
        pass
    keeping.stop()
    assert keeping._thread is not None
    assert not keeping._thread.is_alive()
