"""Whatever is done to them, the fake and the SQLite ledger answer alike: so the agent's tests may trust the fake."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from folder_agent.core.errors import StaleState, problem
from folder_agent.core.lifecycle import BundleEvent, FileEvent, NotAllowed, bundle_step, file_step
from folder_agent.core.ports import Ledger
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, Sighting, Stamp
from folder_agent.edges.ledger import open_ledger
from tests.contracts.fake_ledger import FakeLedger
from tests.contracts.test_ledger_contract import day_of

PATHS = st.sampled_from(["a.dcm", "b.pdf", "检查/c", "B.pdf"])
TEXTS = st.sampled_from([None, "A1", "A2", "1"])
REASONS = [
    problem("FA-MISMATCH", "a", {"ours": "张三丰"}, field="patientId"),
    problem("FA-TOO-MANY", declared=1, found=2),
]
MAYBE = {"reason": st.sampled_from([None, *REASONS]), "is_open": st.booleans(), "bundle": st.integers(0, 3)}


class Ledgers(RuleBasedStateMachine):
    """Every rule does the same to both, with records of any age: most of them are stale."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.real: Ledger = open_ledger(f"sqlite:///{Path(self._folder.name) / 'ledger.db'}")
        self.fake: Ledger = FakeLedger()
        self.files: list[FileRecord] = []
        self.bundles: list[BundleRecord] = []
        self.now = 0.0

    def teardown(self) -> None:
        self.real.close()
        self._folder.cleanup()

    def both(self, call: Callable[[Ledger], Any]) -> Any:
        self.now += 1.0
        answers = [_answer(call, ledger) for ledger in (self.fake, self.real)]
        assert answers[0] == answers[1]
        return None if answers[0] is StaleState else answers[0]

    @rule(paths=st.lists(PATHS, max_size=3), drop=st.sampled_from(["ct", "mr"]), kind=st.sampled_from(FileKind))
    def sight(self, paths: list[str], drop: str, kind: FileKind) -> None:
        sightings = [Sighting(path, Stamp(len(path), 2**66, 2**100)) for path in paths]
        self.files += self.both(lambda ledger: ledger.sight(drop, sightings, {"a.dcm": kind}, self.now)) or []

    @rule(key=st.sampled_from(["x", "y"]))
    def open_bundle(self, key: str) -> None:
        opened = self.both(lambda ledger: ledger.open_bundle("ct", key, key.upper(), self.now))
        self.bundles += [opened] if opened else []

    @precondition(lambda self: self.files)
    @rule(data=st.data(), event=st.sampled_from(FileEvent), accepted=st.booleans(), **MAYBE)
    def move_file(self, data: st.DataObject, event: FileEvent, accepted: bool, **changes: Any) -> None:
        changes = self._lawful(changes) | {"accepted_at": self.now if accepted else None, "destination": "A"}
        self._move([(file_step, data.draw(st.sampled_from(self.files)), event, changes)])

    @precondition(lambda self: self.bundles)
    @rule(data=st.data(), event=st.sampled_from(BundleEvent), number=TEXTS, study=TEXTS, place=TEXTS, **MAYBE)
    def move_bundle(self, data: st.DataObject, event: BundleEvent, **drawn: Any) -> None:
        reasons = () if drawn["reason"] is None else (drawn["reason"],)
        changes = {"access_number": drawn["number"], "study_uid": drawn["study"], "target": drawn["place"]}
        changes |= {"committed_at": self.now if event == BundleEvent.COMMIT else None, "is_open": drawn["is_open"]}
        self._move([(bundle_step, data.draw(st.sampled_from(self.bundles)), event, changes | {"reasons": reasons})])

    @precondition(lambda self: len(self.files) > 1 and self.bundles)
    @rule(data=st.data(), event=st.sampled_from(FileEvent))
    def move_together(self, data: st.DataObject, event: FileEvent) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.files), min_size=2, max_size=3))
        bundle = data.draw(st.sampled_from(self.bundles))
        steps: list[Any] = [(file_step, file, event, {}) for file in chosen]
        self._move([*steps, (bundle_step, bundle, BundleEvent.COMPLETE, {})])

    @precondition(lambda self: self.files and self.bundles)
    @rule(data=st.data(), name=TEXTS, **MAYBE)
    def amend(self, data: st.DataObject, name: str | None, **changes: Any) -> None:
        file = replace(data.draw(st.sampled_from(self.files)), **self._lawful(changes))
        bundle = replace(data.draw(st.sampled_from(self.bundles)), name=name or "n", study_id=name, owner="nobody")
        if self.both(lambda ledger: ledger.amend([file, bundle]) or True):
            self.files.append(file)
            self.bundles.append(bundle)

    @rule(number=st.integers(1, 3), owner=st.sampled_from("pq"), lease=st.floats(0, 4), back=st.booleans())
    def claim_or_release(self, number: int, owner: str, lease: float, back: bool) -> None:
        if back:
            self.both(lambda ledger: ledger.release(number, owner))
        else:
            self.both(lambda ledger: ledger.claim(number, owner, self.now, lease))

    @rule(name=st.sampled_from("mn"), value=TEXTS)
    def remember(self, name: str, value: str | None) -> None:
        self.both(lambda ledger: ledger.remember(name, value))
        self.both(lambda ledger: ledger.recall(name))

    @rule(age=st.floats(0, 4), drop=st.sampled_from(["ct", "mr"]))
    def compact(self, age: float, drop: str) -> None:
        """The totals stay what they were; the invariant compares the rest."""
        before = self.both(lambda ledger: ledger.tallies())
        self.both(lambda ledger: sum(iter(lambda: ledger.compact(drop, self.now - age, day_of), 0)))
        assert self.both(lambda ledger: ledger.tallies()) == before
        self.both(lambda ledger: ledger.day_tallies("", "9"))

    @rule(number=TEXTS, study=TEXTS)
    def ask_for_an_exam(self, number: str | None, study: str | None) -> None:
        self.both(lambda ledger: ledger.accepted(number, study, "A"))
        self.both(lambda ledger: ledger.delivered(number, study))
        self.both(lambda ledger: (ledger.target_is_taken(study or ""), ledger.find_bundles(number or "X", 2)))

    @invariant()
    def they_hold_the_same(self) -> None:
        self.both(lambda ledger: (ledger.open_bundles(), ledger.open_files("ct"), ledger.open_files("mr")))
        self.both(lambda ledger: (ledger.tallies(), ledger.latest_bundles(3)))
        self.both(lambda ledger: [(ledger.history(number), ledger.files_of(number)) for number in (1, 2)])

    def _move(self, wanted: list[tuple[Any, Any, Any, dict[str, Any]]]) -> None:
        try:
            steps = [make(record, event, self.now, **changes) for make, record, event, changes in wanted]
        except NotAllowed:
            return
        if self.both(lambda ledger: ledger.apply(steps) or True):
            for step in steps:
                (self.files if isinstance(step.after, FileRecord) else self.bundles).append(step.after)

    def _lawful(self, changes: dict[str, Any]) -> dict[str, Any]:
        changes["bundle_id"] = changes.pop("bundle") or None
        return changes


def _answer(call: Callable[[Ledger], Any], ledger: Ledger) -> Any:
    try:
        return call(ledger)
    except StaleState:
        return StaleState


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
