"""Every fake of the core's ports, and `World`: an agent in memory, stepped by hand, on a clock that stands still."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from folder_agent.agent.desk import DropSetup, Rules
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.loop import Agent
from folder_agent.agent.shelf import Note
from folder_agent.core.bundling import BundleRules
from folder_agent.core.delivered import with_counts
from folder_agent.core.errors import Problem
from folder_agent.core.grouping import Layout
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.notes import receipt, why_note
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.retrying import RetryRules
from folder_agent.core.shelving import RECEIPT, WHY
from tests.contracts.fake_clock import DAY_S, FakeClock
from tests.contracts.fake_drop_folder import PDF, FakeDropFolder, image
from tests.contracts.fake_gateway import FakeGateway, FakeTransport, Lost, told
from tests.contracts.fake_ledger import FakeLedger
from tests.contracts.fake_shelves import FakeShelves, Held
from tests.contracts.fake_status_area import FakeStatusArea

__all__ = [
    "DAY_S",
    "PDF",
    "RETRIES",
    "Counting",
    "FakeClock",
    "FakeDropFolder",
    "FakeGateway",
    "FakeLedger",
    "FakePublisher",
    "FakeShelves",
    "FakeTransport",
    "Held",
    "Lost",
    "World",
    "an_image",
    "image",
    "sidecar",
    "told",
]

TODAY = "2026-01-31"
RETRIES = RetryRules(first_s=8.0, max_s=60.0, for_s=3600.0)
_MOST_STEPS_AT_ONCE = 100  # more without the clock moving: the agent runs hot


def sidecar(number: int = 1, **changes: Any) -> bytes:
    """A sidecar of the A fields for exam `number`, changed; None leaves a field out."""
    fields = {"patientId": "P7001", "patientName": "测试甲", "patientSex": "M", "modality": "CT"}
    known = {**fields, "studyId": f"S{number}", "accessNumber": f"ACC{number}", "imageCnt": 1, **changes}
    return json.dumps({key: value for key, value in known.items() if value is not None}).encode()


@dataclass
class FakePublisher:
    """Keeps all that it is told."""

    transitions: list[tuple[int, str, str, str]] = field(default_factory=list)  # bundle, before, event, after
    notices: list[tuple[str, bool]] = field(default_factory=list)  # code, whether it is over
    lasting: list[Lasting | None] = field(default_factory=list)  # of each notice
    faults: list[Exception] = field(default_factory=list)
    waiting: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    progress: list[tuple[int, int, int]] = field(default_factory=list)

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        self.transitions.append((bundle.id, before, event, str(bundle.state)))

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        self.waiting.append((bundle.id, tuple(reason.code for reason in bundle.reasons)))

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        self.progress.append((bundle.id, sent, total))

    def fault(self, error: Exception) -> None:
        self.faults.append(error)

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        self.notices.append((problem.code, is_over))
        self.lasting.append(lasting)

    def events(self, bundle_id: int) -> list[str]:
        """The events of one bundle, in order."""
        return [event for one, _, event, _ in self.transitions if one == bundle_id]


class Counting:
    """A port that counts its calls by name, and does before each whatever a test has put in `before`."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Callable[..., None]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.port, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            self.calls[name] += 1
            if name in self.before:
                self.before[name](*arguments, **more)
            return found(*arguments, **more)

        return call


Wrap = Callable[[str, Any], Any]  # a port's kind and the port: what the agent is to be given in its stead


class World:
    """Drop folders, their shelves, a ledger and a gateway, all in memory, and the agent between them.

    One worker unless set: then everything happens in one order. `start` may be called again, as after a crash.
    """

    def __init__(
        self,
        *,
        drops: Iterable[str] = ("ct",),
        workers: int = 1,
        retry: RetryRules = RETRIES,
        layout: Layout = "auto",
        depth: int | None = None,
        notes: bool = False,
        templates: bool = False,
        scan_s: float = 10.0,
        jitter: float = 1.0,
        wrap: Wrap = lambda kind, port: port,
        **rules: Any,
    ) -> None:
        self.clock, self.ledger, self.publisher = FakeClock(), FakeLedger(), FakePublisher()
        self.drops = {name: FakeDropFolder(name, Path("/drops") / name) for name in drops}
        self.shelves = {name: FakeShelves(drop.files) for name, drop in self.drops.items()}
        self.gateway = FakeGateway(self._held)
        self.rules, self.wrap, self.scan_s = BundleRules(**rules), wrap, scan_s
        self._layout, self._jitter, self._retry, self._workers = layout, jitter, retry, workers
        self._depth, self._wants_notes = depth, notes
        self.area = FakeStatusArea() if templates else None
        self.notes: list[bytes] = []  # every _STATUS.txt that was written
        self.write_note: Callable[[bytes], None] = self.notes.append
        self._agent: Agent | None = None

    @property
    def drop(self) -> FakeDropFolder:
        return next(iter(self.drops.values()))

    @property
    def shelf(self) -> FakeShelves:
        return next(iter(self.shelves.values()))

    @property
    def agent(self) -> Agent:
        """The agent; it starts when it is first asked for."""
        return self._agent or self.start()

    def start(self) -> Agent:
        """A new process on the same ledger and folders."""
        ledger, gateway = self.wrap("ledger", self.ledger), self.wrap("gateway", self.gateway)
        setups = [self._setup(name) for name in self.drops]
        rules = Rules("host", self._workers, self._retry, "hkAndMarcoPermitNum", lambda: TODAY)
        self._agent = Agent(setups, ledger, gateway, self.clock, self.publisher, rules, lambda: self._jitter)
        return self._agent

    def end(self) -> None:
        """Stop the agent, so that its threads end; what it raises at that is of no interest."""
        if self._agent is not None:
            self._agent.stop()
            with suppress(BaseException):
                self._agent.run(grace_s=2.0)
            self._agent = None

    def run(self, seconds: float = 10.0) -> None:
        """Let the agent work until so many seconds have passed, or somebody stops it."""
        end = self.clock.monotonic() + seconds
        at_once = 0
        while True:
            wait_s = self.agent.step()
            left_s = end - self.clock.monotonic()
            if left_s <= 0 or self.agent.is_stopping:
                return
            at_once = at_once + 1 if wait_s <= 0 else 0
            assert at_once < _MOST_STEPS_AT_ONCE, "the agent runs hot"
            self.clock.advance(min(wait_s, left_s))

    def drop_exam(self, number: int = 1, images: int = 1, drop: str | None = None, **changes: Any) -> None:
        """A folder CT<number> with a sidecar and so many images, all at once."""
        folder = self.drops[drop] if drop else self.drop
        for one in range(1, images + 1):
            folder.put(f"CT{number}/{one}.dcm", an_image(number, one))
        folder.put(f"CT{number}/exam.json", sidecar(number, **{"imageCnt": images, **changes}))

    def bundle(self, name: str) -> BundleRecord:
        """The latest bundle of that name."""
        return next(one for one in self._bundles() if one.name == name)

    def states(self) -> dict[str, str]:
        """The state of the latest bundle of each name."""
        return {one.name: str(one.state) for one in reversed(self._bundles())}

    def codes(self, name: str) -> list[str]:
        """Why the bundle waits or has failed."""
        return [reason.code for reason in self.bundle(name).reasons]

    def shelved(self, shelf: str = "done", drop: str | None = None) -> dict[str, list[str]]:
        """The files of each bundle on a shelf, by its name there."""
        shelves = self.shelves[drop] if drop else self.shelf
        prefix = f"/shelves/{shelf}/{TODAY}/"
        found = ((target, files) for target, files in shelves.shelved.items() if target.startswith(prefix))
        return {target.removeprefix(prefix): sorted(files) for target, files in found}

    def _bundles(self) -> list[BundleRecord]:
        return sorted(self.ledger.latest_bundles(10_000), key=lambda one: -one.id)

    def _setup(self, name: str) -> DropSetup:
        return DropSetup(
            drop=self.wrap("drop", self.drops[name]),
            shelves=self.wrap("shelves", self.shelves[name]),
            rules=self.rules,
            layout=self._layout,
            scan_s=self.scan_s,
            note=_note,
            supervise=lambda: None,
            depth=self._depth,
            status_area=self.wrap("area", self.area) if self.area is not None else None,
            write_status=(lambda content: self.write_note(content)) if self._wants_notes else None,
        )

    def _held(self, location: Path) -> Held | None:
        return next((held for drop in self.drops.values() if (held := drop.at(location)) is not None), None)


def an_image(number: int, one: int, **changes: Any) -> bytes:
    """Image `one` of exam `number`, as `World.drop_exam` makes it."""
    known = {"study": f"1.2.{number}", "series": f"1.2.{number}.1", "accession": f"ACC{number}", **changes}
    return image(f"1.2.{number}.1.{one}", **known)


def _note(dossier: Dossier | None, problems: Sequence[Problem] | None) -> Note:
    def note(bundle: BundleRecord, files: Sequence[FileRecord]) -> list[tuple[str, bytes]]:
        if bundle.state is BundleState.COMMITTED:
            exam = with_counts(dossier.exam, bundle.counts) if dossier is not None else {}
            at = datetime.fromtimestamp(bundle.changed_at, UTC)
            told = receipt(bundle, files, exam, encoding=None, url="fake://", agent="test", delivered_at=at)
            return [(RECEIPT, told)]
        why = problems if problems is not None else bundle.reasons
        return [(WHY, why_note(bundle.name, why, f"{TODAY} 10:00", "D:\\drop"))]

    return note
