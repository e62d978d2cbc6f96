"""The Ledger port in memory, for the agent's tests. Passes the same contract tests as the real ones.

`close` forgets nothing and refuses nothing, so that a test may start a second agent on the same ledger.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import PureWindowsPath

from folder_agent.core.delivered import is_of_study
from folder_agent.core.errors import Problem, StaleState
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState, FileState, Transition
from folder_agent.core.ports import QUARTER_S, DayTally, FileCount, Tallies
from folder_agent.core.records import ORDERS, BundleRecord, Deed, FileKind, FileRecord, HistoryEntry, Sighting

Record = FileRecord | BundleRecord


@dataclass
class _Rows:
    """All that the ledger holds. `taken` says which row holds what only one may hold."""

    files: dict[int, FileRecord] = field(default_factory=dict)
    bundles: dict[int, BundleRecord] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)
    taken: dict[tuple[str, ...], Record] = field(default_factory=dict)
    dropped: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)  # day, drop, subject, state

    def copy(self) -> _Rows:
        return _Rows(
            dict(self.files),
            dict(self.bundles),
            list(self.history),
            dict(self.notes),
            list(self.deeds),
            dict(self.taken),
            Counter(self.dropped),
        )

    def put(self, record: Record) -> None:
        old = self.files.get(record.id) if isinstance(record, FileRecord) else self.bundles.get(record.id)
        for claim in () if old is None else _unique(old):
            del self.taken[claim]
        for claim in _unique(record):
            if claim in self.taken:
                raise StaleState(f"taken: {claim}")
            self.taken[claim] = record
        if isinstance(record, BundleRecord):
            self.bundles[record.id] = replace(record, reasons=_masked(record.reasons))
        elif record.bundle_id is not None and record.bundle_id not in self.bundles:
            raise StaleState(f"no bundle {record.bundle_id}")
        else:
            self.files[record.id] = replace(record, reason=record.reason and record.reason.masked())

    def forget(self, record: Record, drop: str, day: str) -> None:
        """Count it, and drop its row."""
        subject = "bundle" if isinstance(record, BundleRecord) else "file"
        self.dropped[day, drop, subject, str(record.state)] += 1
        self.history = [one for one in self.history if (one.subject, one.subject_id) != (subject, record.id)]
        for claim in _unique(record):
            del self.taken[claim]
        del (self.bundles if isinstance(record, BundleRecord) else self.files)[record.id]

    def change(self, state: str, record: Record) -> None:
        """Write the record over its row, but never the claim."""
        old = self.files.get(record.id) if isinstance(record, FileRecord) else self.bundles.get(record.id)
        if old is None or old.state != state:
            raise StaleState(f"{record.id} has moved on")
        if isinstance(record, BundleRecord) and isinstance(old, BundleRecord):
            record = replace(record, owner=old.owner, lease_until=old.lease_until)
        self.put(record)

    def tell(self, at: float, before: str, event: str, record: Record) -> None:
        reasons = record.reasons if isinstance(record, BundleRecord) else (record.reason,) if record.reason else ()
        subject = "bundle" if isinstance(record, BundleRecord) else "file"
        entry = HistoryEntry(at, subject, record.id, str(before), str(event), str(record.state), _masked(reasons))
        self.history.append(entry)


class FakeLedger:
    """The whole port; one lock, and a copy of everything for each change."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows = _Rows()

    def together(self, action: Callable[[], None]) -> None:
        with self._lock:
            before = self._rows
            try:
                action()
            except BaseException:
                self._rows = before
                raise

    def open_bundles(self) -> list[BundleRecord]:
        found = [bundle for bundle in self._rows.bundles.values() if _is_open(bundle)]
        return sorted(found, key=lambda bundle: (bundle.created_at, bundle.id))

    def open_files(self, drop: str) -> list[FileRecord]:
        return [file for file in self._rows.files.values() if file.drop == drop and _is_open(file)]

    def bundle(self, bundle_id: int) -> BundleRecord | None:
        return self._rows.bundles.get(bundle_id)

    def files_of(self, bundle_id: int) -> list[FileRecord]:
        found = [file for file in self._rows.files.values() if file.bundle_id == bundle_id]
        return sorted(found, key=lambda file: (file.path, file.id))

    def sight(
        self, drop: str, sightings: Iterable[Sighting], kinds: Mapping[str, FileKind], at: float
    ) -> list[FileRecord]:
        records = []
        with self._changing() as rows:
            for seen in sightings:
                kind = kinds.get(seen.path, FileKind.UNKNOWN)
                record = FileRecord(
                    max(rows.files, default=0) + 1, drop, seen.path, seen.stamp, FileState.SEEN, kind, seen_at=at
                )
                rows.put(record)
                rows.tell(at, "", "see", record)
                records.append(record)
        return records

    def open_bundle(self, drop: str, key: str, name: str, at: float) -> BundleRecord:
        with self._changing() as rows:
            record = BundleRecord(max(rows.bundles, default=0) + 1, drop, key, name, BundleState.GATHERING, at, at)
            rows.put(record)
            rows.tell(at, "", "open", record)
        return record

    def apply(self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]]) -> None:
        with self._changing() as rows:
            _apply(rows, transitions)

    def commit(
        self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]], known: Sequence[int]
    ) -> bool:
        after = transitions[-1].after
        assert isinstance(after, BundleRecord)
        with self._changing() as rows:
            found = {bundle.id for bundle in _delivered(rows, after.access_number, after.study_uid)}
            if found == set(known):
                _apply(rows, transitions)
            return found == set(known)

    def amend(self, records: Sequence[Record]) -> None:
        with self._changing() as rows:
            for record in records:
                rows.change(record.state, record)

    def claim(self, bundle_id: int, owner: str, now: float, lease_s: float) -> bool:
        with self._changing() as rows:
            bundle = rows.bundles.get(bundle_id)
            if bundle is None or not _is_open(bundle):
                return False
            if bundle.owner not in {None, owner} and not (bundle.lease_until or 0.0) < now:
                return False
            rows.bundles[bundle_id] = replace(bundle, owner=owner, lease_until=now + lease_s)
            return True

    def release(self, bundle_id: int, owner: str) -> None:
        with self._changing() as rows:
            bundle = rows.bundles.get(bundle_id)
            if bundle is not None and bundle.owner == owner:
                rows.bundles[bundle_id] = replace(bundle, owner=None, lease_until=None)

    def accepted(
        self, access_number: str | None, study_uid: str | None, destination: str, instances: Collection[str] = ()
    ) -> list[FileRecord]:
        exams = {bundle.id for bundle in self._exams(access_number, study_uid)}
        files = [file for file in self._rows.files.values() if file.bundle_id in exams]
        files = [file for file in files if not instances or file.sop_instance in instances]
        return [file for file in files if file.destination == destination and file.accepted_at is not None]

    def delivered(self, access_number: str | None, study_uid: str | None) -> list[BundleRecord]:
        return _delivered(self._rows, access_number, study_uid)

    def target_is_taken(self, target: str) -> bool:
        return any(bundle.target == target for bundle in self._rows.bundles.values())

    def bundle_at(self, target: str) -> BundleRecord | None:
        return next((bundle for bundle in self._rows.bundles.values() if bundle.target == target), None)

    def keep_deed(self, deed: Deed) -> None:
        with self._changing() as rows:
            rows.deeds.append(replace(deed, id=len(rows.deeds) + 1))

    def deeds_of(self, bundle_id: int) -> list[Deed]:
        return [deed for deed in self._rows.deeds if deed.bundle_id == bundle_id]

    def orders(self) -> list[Deed]:
        is_open = {bundle.id for bundle in self.open_bundles()}
        refused = {bundle.id for bundle in self._rows.bundles.values() if bundle.state == "REFUSED"}
        orders = [deed for deed in self._rows.deeds if deed.act in ORDERS]
        return [one for one in orders if one.bundle_id in is_open or (one.act == "accept" and one.bundle_id in refused)]

    def history(self, bundle_id: int) -> list[HistoryEntry]:
        mine = {("bundle", bundle_id), *(("file", file.id) for file in self.files_of(bundle_id))}
        return [entry for entry in self._rows.history if (entry.subject, entry.subject_id) in mine]

    def find_bundles(self, name: str, limit: int = 50) -> list[BundleRecord]:
        found = [bundle for bundle in self._rows.bundles.values() if name in _names(bundle)]
        return sorted(found, key=lambda bundle: (bundle.created_at, bundle.id), reverse=True)[:limit]

    def latest_bundles(self, limit: int = 50) -> list[BundleRecord]:
        every = self._rows.bundles.values()
        return sorted(every, key=lambda bundle: (bundle.changed_at, bundle.id), reverse=True)[:limit]

    def tallies(self) -> Tallies:
        waiting = [bundle.created_at for bundle in self.open_bundles() if bundle.state not in ON_THE_WAY_TO_A_SHELF]
        loose = [file for file in self._rows.files.values() if _is_open(file) and file.bundle_id is None]
        return Tallies(
            bundles=Counter(str(bundle.state) for bundle in self._rows.bundles.values()) + self._dropped("bundle"),
            files=Counter(str(file.state) for file in self._rows.files.values()) + self._dropped("file"),
            oldest_open_at=min(waiting, default=None),
            unassigned=sum(file.kind in {FileKind.DICOM, FileKind.PDF, FileKind.UNKNOWN} for file in loose),
        )

    def bundles_between(self, since: float, until: float, after: int = 0, limit: int = 1000) -> list[BundleRecord]:
        found = [bundle for bundle in self._rows.bundles.values() if since <= bundle.created_at < until]
        return sorted((bundle for bundle in found if bundle.id > after), key=lambda bundle: bundle.id)[:limit]

    def files_between(self, since: float, until: float) -> list[FileCount]:
        counts = Counter(
            (file.seen_at // QUARTER_S * QUARTER_S, file.drop, str(file.state), str(file.kind), file.is_open)
            for file in self._rows.files.values()
            if file.seen_at is not None and since <= file.seen_at < until
        )
        return [FileCount(*kind, total) for kind, total in counts.items()]

    def day_tallies(self, first_day: str, last_day: str) -> list[DayTally]:
        tallies = [DayTally(*kind, total) for kind, total in self._rows.dropped.items()]
        return sorted((one for one in tallies if first_day <= one.day <= last_day), key=astuple)

    def compact(self, drop: str, before: float, day_of: Callable[[float], str]) -> int:
        with self._changing() as rows:
            newest = (max(rows.files, default=0), max(rows.bundles, default=0))
            ended = [
                (bundle, files)
                for bundle in rows.bundles.values()
                if (bundle.drop, bundle.state in {BundleState.DONE, BundleState.WITHDRAWN}) == (drop, True)
                and bundle.changed_at < before
                and not any(_is_younger(other, bundle, before) for other in rows.bundles.values())
                and not any(map(_is_open, files := self.files_of(bundle.id)))
                and bundle.id != newest[1]
                and all(file.id != newest[0] for file in files)
            ]
            strays = [
                file
                for file in rows.files.values()
                if (file.drop, file.state, file.bundle_id) == (drop, FileState.VANISHED, None)
                and (file.seen_at or 0.0) < before
                and file.id != newest[0]
            ]
            for bundle, files in ended:
                rows.forget(bundle, drop, day_of(bundle.created_at))
                for file in files:
                    rows.forget(file, drop, day_of(file.seen_at or before))
            for file in strays:
                rows.forget(file, drop, day_of(file.seen_at or before))
            return len(ended) + len(strays)

    def remember(self, name: str, value: str | None) -> None:
        with self._changing() as rows:
            rows.notes.pop(name, None)
            if value is not None:
                rows.notes[name] = value

    def recall(self, name: str) -> str | None:
        return self._rows.notes.get(name)

    def close(self) -> None:
        """Nothing to give back."""

    def _exams(self, access_number: str | None, study_uid: str | None) -> list[BundleRecord]:
        return [
            bundle
            for bundle in self._rows.bundles.values()
            if (access_number is not None and bundle.access_number == access_number)
            or (study_uid is not None and bundle.study_uid == study_uid)
        ]

    def _dropped(self, subject: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, _, its_subject, state), total in self._rows.dropped.items():
            found[state] += total if its_subject == subject else 0
        return +found

    @contextmanager
    def _changing(self) -> Iterator[_Rows]:
        """A copy to change, which takes the place of the rows at the end; readers never see half of it."""
        with self._lock:
            rows = self._rows.copy()
            yield rows
            self._rows = rows


def _apply(rows: _Rows, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]]) -> None:
    for step in transitions:
        rows.change(step.before.state, step.after)
        rows.tell(step.at, step.before.state, step.event, step.after)
        if isinstance(step.after, BundleRecord) and not step.after.is_open:
            for file in [file for file in rows.files.values() if file.bundle_id == step.after.id]:
                rows.put(replace(file, is_open=False))
            rows.put(replace(rows.bundles[step.after.id], owner=None, lease_until=None))


def _delivered(rows: _Rows, access_number: str | None, study_uid: str | None) -> list[BundleRecord]:
    every = rows.bundles.values()
    found = [one for one in every if one.committed_at is not None and is_of_study(one, access_number, study_uid)]
    return sorted(found, key=lambda bundle: (bundle.committed_at or 0.0, bundle.id))


def _is_open(record: Record) -> bool:
    return record.is_open and record.state not in {FileState.VANISHED, BundleState.DONE, BundleState.WITHDRAWN}


def _is_younger(other: BundleRecord, bundle: BundleRecord, before: float) -> bool:
    """Whether the other one is of the same study or accession number, and is to be kept."""
    pairs = [(one.study_uid, one.access_number) for one in (other, bundle)]
    is_same = any(one is not None and one == two for one, two in zip(*pairs, strict=True))
    return is_same and (_is_open(other) or other.changed_at >= before)


def _unique(record: Record) -> list[tuple[str, ...]]:
    """What no other row may hold at the same time."""
    if isinstance(record, FileRecord):
        return [("file", record.drop, record.path)] if _is_open(record) else []
    claims = [("bundle", record.drop, record.key)] if _is_open(record) else []
    return claims if record.target is None else [*claims, ("target", record.target)]


def _masked(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(problem.masked() for problem in problems)


def _names(bundle: BundleRecord) -> set[str | None]:
    folder = None if bundle.target is None else PureWindowsPath(bundle.target).name
    return {str(bundle.id), bundle.name, bundle.access_number, bundle.study_id, folder}
