"""Years of work through a real ledger, in accelerated time: what it costs to look does not grow with what is done.

Flatness is shown by counts (rows, pages, steps of SQLite's machine, memory that Python holds, open files), not by time.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from folder_agent.agent.housekeeping import DAY_S, Household, Housekeeping
from folder_agent.core.lifecycle import BundleEvent, FileEvent, bundle_step, file_step
from folder_agent.core.records import BundleRecord, FileRecord, Sighting, Stamp
from folder_agent.core.retention import Retention
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from tests.contracts.fake_clock import FakeClock
from tests.contracts.fake_shelves import FakeShelves
from tests.fakes import FakePublisher

KEEP_DAYS = 20


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


@dataclass(frozen=True)
class Measure:
    """What one look costs and what is held, at the end of a day."""

    rows: int
    pages: int
    steps: int  # of SQLite's virtual machine, in thousands, for all that a look and `status` ask of the ledger
    memory: int  # bytes: what Python holds, or all of the process where that would take too long to trace
    files: int  # open in this process; 0 where the system does not tell


class Hospital:
    """Every day some exams arrive and are delivered, one never gets whole, and at night the house is kept."""

    def __init__(self, folder: Path, exams: int, images: int) -> None:
        self.exams, self.images = exams, images
        self.ledger: PeeweeLedger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
        self.clock, self.days = FakeClock(), 0
        house = Household("ct", FakeShelves(), Retention())
        self.housekeeping = Housekeeping([house], self.ledger, self.clock, FakePublisher(), KEEP_DAYS, day_of)

    def live(self) -> None:
        """One day."""
        now = self.clock.now()
        bundles = [self._open(f"E{self.days}-{number}", now) for number in range(self.exams)]
        paths = [f"{bundle.name}/IM{number}" for bundle in bundles for number in range(self.images)]
        owners = [bundle.id for bundle in bundles for _ in range(self.images)]
        seen = [Sighting(path, Stamp(520_000, number, number)) for number, path in enumerate(paths)]
        files = self.ledger.sight("ct", seen, {}, now)
        files = [replace(file, bundle_id=owner) for file, owner in zip(files, owners, strict=True)]
        self.ledger.amend(files)
        files = self._file_steps(files, FileEvent.SETTLE, sop_instance="1.2.3", sha256="0" * 64)
        self._file_steps(files, FileEvent.ACCEPT, destination="https://gateway/studies", accepted_at=now)
        for event in (BundleEvent.COMPLETE, BundleEvent.SEND, BundleEvent.COMMIT):
            bundles = self._bundle_steps(bundles, event)
        self._bundle_steps(bundles, BundleEvent.SHELVE, is_open=False)
        if self.days % 30 == 0:
            self._open(f"never whole {self.days}", now)
        self.clock.advance(DAY_S)
        self.days += 1
        self.housekeeping.work(1e9)

    def _open(self, name: str, now: float) -> BundleRecord:
        return self.ledger.open_bundle("ct", f"{name}/", name, now)

    def _file_steps(self, files: list[FileRecord], event: FileEvent, **changes: Any) -> list[FileRecord]:
        steps = [file_step(file, event, self.clock.now(), **changes) for file in files]
        self.ledger.apply(steps)
        return [step.after for step in steps]

    def _bundle_steps(self, bundles: list[BundleRecord], event: BundleEvent, **changes: Any) -> list[BundleRecord]:
        steps = [bundle_step(bundle, event, self.clock.now(), **changes) for bundle in bundles]
        self.ledger.apply(steps)
        return [step.after for step in steps]

    def look(self) -> None:
        """What the agent asks of the ledger at a start and a look, and a person with `status`."""
        self.ledger.open_bundles()
        self.ledger.open_files("ct")
        self.ledger.delivered("none", "1.2.3.4")
        self.ledger.accepted("none", "1.2.3.4", "https://gateway/studies")
        self.ledger.tallies()
        self.ledger.compact("ct", 0.0, day_of)

    def measure(self) -> Measure:
        rows, pages = 0, 0
        engine: Any = self.ledger._session.engine
        for table in ("bundles", "files", "history"):
            rows += engine.run(f"SELECT count(*) FROM {table}").fetchone()[0]
        pages = engine.run("PRAGMA page_count").fetchone()[0]
        gc.collect()
        memory = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else psutil.Process().memory_info().rss
        return Measure(rows, pages, _steps(engine, self.look), memory, _open_files())


def _steps(engine: Any, action: Callable[[], None]) -> int:
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection = engine.connection()
    connection.set_progress_handler(tick, 1000)
    try:
        action()
    finally:
        connection.set_progress_handler(None, 0)
    return count


def _open_files() -> int:
    fds = Path("/proc/self/fd")
    return sum(1 for _ in fds.iterdir()) if fds.is_dir() else 0


def years(folder: Path, exams: int, images: int, days: int, *, may_grow: int) -> None:
    """Live so long; from the day on which the first rows go, nothing may grow."""
    hospital = Hospital(folder, exams, images)
    for _ in range(KEEP_DAYS + 5):
        hospital.live()
    early = hospital.measure()
    for _ in range(days - hospital.days):
        hospital.live()
    late = hospital.measure()
    waiting = -(-days // 30)
    total = hospital.ledger.tallies()
    assert total.files == {"SENT": exams * images * days}
    assert total.bundles == {"DONE": exams * days, "GATHERING": waiting}
    by_day = [one for one in hospital.ledger.day_tallies("0", "9") if one.subject == "file"]
    assert {one.total for one in by_day} == {exams * images}
    assert len(by_day) >= days - KEEP_DAYS - 2
    hospital.ledger.close()
    print(f"\n{exams * images * days} files in {days} days: {early} after {KEEP_DAYS + 5} days, {late} at the end")
    assert late.rows <= early.rows + 2 * waiting + 2
    assert late.pages <= early.pages * 1.1 + 20
    assert late.steps <= early.steps * 1.1 + days // 10 + 5, "a row for each day and state is all that may be added"
    assert late.memory <= early.memory + may_grow
    assert late.files <= early.files


def test_what_a_look_costs_does_not_grow_with_what_is_done(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        years(tmp_path, exams=10, images=50, days=90, may_grow=1_000_000)
    finally:
        tracemalloc.stop()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_year_of_three_million_files(tmp_path: Path) -> None:
    years(tmp_path, exams=83, images=100, days=365, may_grow=60_000_000)
