"""Look and settle, for one drop folder: which files are there, and what they are. One thread, the agent's own.

Everything that is known of the files is rebuilt from looks; the ledger only remembers what was already decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from folder_agent.core.catalogue import disposition
from folder_agent.core.delivered import role_of
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.grouping import Member
from folder_agent.core.lifecycle import FileEvent, FileState, Transition, file_step
from folder_agent.core.naming import is_plainly_foreign
from folder_agent.core.ports import Clock, DropFolder, Ledger
from folder_agent.core.records import FileKind, FileRecord, Finding, Sighting
from folder_agent.core.settling import Watched, settles_at, watch

SLICE = 200  # files looked into before the loop turns to other work
AGAIN_S = 5.0  # seconds until a file that could not be opened is tried again
_NEVER = float("inf")


@dataclass(slots=True)
class Tracked:
    """One file of the drop folder, as far as it is known now."""

    record: FileRecord
    watched: Watched
    member: Member
    try_at: float  # monotonic: when it may be looked into


class Intake:
    """The files of one drop folder."""

    def __init__(self, drop: DropFolder, ledger: Ledger, clock: Clock, settle_s: float) -> None:
        self.drop = drop
        self._ledger = ledger
        self._clock = clock
        self._settle_s = settle_s
        self.tracked: dict[str, Tracked] = {}
        self._known: dict[str, FileRecord] = {record.path: record for record in ledger.open_files(drop.name)}
        self._pending: dict[str, Tracked] = {}
        self.held: set[str] = set()  # files that a worker sends ahead: left alone until it is done with them
        self.outage: Problem | None = None
        self.looked_at = 0.0  # epoch seconds: the last look that reached it
        self.has_looked = False  # until then nothing is known, not even that something is missing
        self.changed = True  # something that grouping depends on is new: group before anything else is sent
        self.stale = False  # less is left to group, or more is known: grouping anew may wait a little
        self.gone_at: float | None = None  # monotonic: when a file was last found missing

    def look(self, pinned: frozenset[int]) -> bool:
        """Compare the drop folder with what is known. False: it cannot be reached, and nothing is concluded.

        Files of `pinned` bundles are in other hands (a worker's, or on their way to a shelf) and are left alone.
        """
        try:
            sightings = self.drop.look()
        except AgentError as error:
            self.outage = error.problem
            return False
        self.outage, self.has_looked, self.looked_at = None, True, self._clock.now()
        now = self._clock.monotonic()
        new: list[Sighting] = []
        changed: list[tuple[Tracked, Sighting]] = []
        for sighting in sightings:
            tracked = self.tracked.get(sighting.path)
            if tracked is None:
                new.append(sighting)
            elif tracked.watched.stamp != sighting.stamp and not self._is_in_other_hands(tracked.record, pinned):
                changed.append((tracked, sighting))
        self._gone({sighting.path for sighting in sightings}, pinned, now)
        self._changed(changed, now)
        self._new([sighting for sighting in new if not self._is_pinned(sighting.path, pinned)], now)
        return True

    def unlisted(self) -> Problem | None:
        """The trouble with subfolders that the last look could not list, if there are any."""
        count = len(self.drop.unlisted())
        return problem("FA-FOLDER-UNLISTED", count=count) if count and self.outage is None else None

    def settle(self, pinned: frozenset[int]) -> bool:
        """Look into files that have been still for long enough, a slice at a time. True: there is more to do now.

        Those of `pinned` bundles are put off: what a worker closes in the ledger must not be written open again.
        """
        now = self._clock.monotonic()
        due: list[Tracked] = []
        for tracked in self._pending.values():
            if tracked.try_at <= now and tracked.record.bundle_id in pinned:
                tracked.try_at = now + AGAIN_S
            elif tracked.try_at <= now:
                due.append(tracked)
        transitions: list[Transition[FileRecord]] = []
        wants_look = False
        for tracked in due[:SLICE]:
            finding = self._look_into(tracked)
            if finding is None:  # it changed, or is gone: the next look says which
                tracked.try_at = now + self._settle_s
                wants_look = True
            else:
                self._found(tracked, finding, now, transitions)
        self._persist(transitions)
        self.wants_look = wants_look
        return len(due) > SLICE

    wants_look = False

    def _look_into(self, tracked: Tracked) -> Finding | None:
        try:
            return self.drop.inspect(tracked.record.path, tracked.watched.stamp)
        except AgentError:
            return None  # out of reach, or led elsewhere: the next look says
        except Exception as raw:  # noqa: BLE001  a file's boundary: one that breaks us must not stop the others
            trouble = problem("FA-FILE-IO", tracked.record.path, detail=type(raw).__name__)
            return Finding(FileKind.UNKNOWN, problem=trouble)

    def next_due(self) -> float:
        """The monotonic time at which the next file may be looked into."""
        return min((tracked.try_at for tracked in self._pending.values()), default=_NEVER)

    def is_settling(self, pinned: frozenset[int]) -> bool:
        """Whether some file may still settle by time alone (one that cannot be opened, or is in other hands, does not
        count)."""
        return any(t.member.finding is None and t.record.bundle_id not in pinned for t in self._pending.values())

    def members(self, pinned: frozenset[int], owners: Mapping[int, str]) -> list[Member]:
        """What grouping sorts: every file that is not in other hands. `owners` are the keys of bundles; a file that
        changed says of which it was."""
        return [
            t.member if t.member.finding is not None else replace(t.member, owner=owners.get(t.record.bundle_id or 0))
            for t in self.tracked.values()
            if t.record.bundle_id not in pinned
        ]

    def below(self, folders: Sequence[str]) -> frozenset[str]:
        """The paths of all files that are known to lie in those folders."""
        return (
            frozenset(path for path in self.tracked if _is_below(path, frozenset(folders))) if folders else frozenset()
        )

    def tell_left(self, members: Iterable[Member]) -> None:
        """Note in the ledger which files have been found to be no exam's, beside the images that they came with, and
        which are so no more."""
        changed = [
            (tracked, replace(tracked.record, kind=member.kind))
            for member in members
            if member.finding is not None
            and (tracked := self.tracked[member.path]).record.kind is not member.kind
            and FileKind.FOREIGN in (tracked.record.kind, member.kind)
        ]
        if changed:
            self._ledger.amend([record for _, record in changed])
        for tracked, record in changed:
            tracked.record = record
            tracked.member = replace(tracked.member, is_left=record.kind is FileKind.FOREIGN)

    def records(self, paths: Iterable[str]) -> tuple[FileRecord, ...]:
        """The ledger's rows of those files."""
        return tuple(self.tracked[path].record for path in paths)

    def assign(self, paths: Iterable[str], bundle_id: int | None) -> None:
        """Note in the ledger to which bundle the files belong."""
        free = (self.tracked[path] for path in paths if path not in self.held)
        moved = [tracked for tracked in free if tracked.record.bundle_id != bundle_id]
        records = [replace(tracked.record, bundle_id=bundle_id) for tracked in moved]
        if records:
            self._ledger.amend(records)
        for tracked, record in zip(moved, records, strict=True):
            tracked.record = record

    def refresh(self, records: Sequence[FileRecord]) -> None:
        """Take over what a worker did to files; closed ones are on a shelf and no longer ours."""
        for record in records:
            known = self._known.get(record.path)
            if known is not None and known.id == record.id and not record.is_open:
                del self._known[record.path]  # shelved before this process ever looked at it
            tracked = self.tracked.get(record.path)
            if tracked is None or tracked.record.id != record.id:
                continue
            if record.is_open:
                tracked.record = record
                self.changed = True
            else:
                self._forget(record.path)
                self.stale = True

    def accepted(self, records: Sequence[FileRecord]) -> None:
        """Take over which files a worker has sent ahead; what they are, and whose, is as it was."""
        for record in records:
            tracked = self.tracked.get(record.path)
            if tracked is not None and tracked.record.id == record.id:
                tracked.record = record
        self.stale = True  # one of them may have left its group meanwhile

    def _is_in_other_hands(self, record: FileRecord, pinned: frozenset[int]) -> bool:
        return record.bundle_id in pinned or record.path in self.held

    def _is_pinned(self, path: str, pinned: frozenset[int]) -> bool:
        known = self._known.get(path)
        return known is not None and known.bundle_id in pinned

    def _gone(self, there: set[str], pinned: frozenset[int], now: float) -> None:
        unlisted = self.drop.unlisted()
        known = [t.record for t in self.tracked.values()] + list(self._known.values())
        gone = [
            record
            for record in known
            if record.path not in there
            and not self._is_in_other_hands(record, pinned)
            and not _is_below(record.path, unlisted)
        ]
        self._ledger_apply([file_step(record, FileEvent.VANISH, self._clock.now(), is_open=False) for record in gone])
        for record in gone:
            self._known.pop(record.path, None)
            self._forget(record.path)
        if gone:
            self.gone_at, self.changed = now, True

    def _changed(self, changed: Sequence[tuple[Tracked, Sighting]], now: float) -> None:
        transitions = []
        for tracked, sighting in changed:
            tracked.watched = watch(tracked.watched, sighting, now)
            self._unsettle(tracked)
            if tracked.record.state is not FileState.SEEN:  # growth of an unsettled file is no news to the ledger
                transitions.append(_changed_step(tracked.record, sighting, self._clock.now()))
        self._persist(transitions)

    def _new(self, new: Sequence[Sighting], now: float) -> None:
        strangers = [sighting for sighting in new if sighting.path not in self._known]
        kinds = {sighting.path: self.drop.kind(sighting.path) for sighting in strangers}
        records = self._ledger.sight(self.drop.name, strangers, kinds, self._clock.now()) if strangers else []
        for record in records:
            self._track(record, Watched(record.stamp, now), kinds[record.path])
        for sighting in new:
            if (record_known := self._known.pop(sighting.path, None)) is not None:
                self._resume(record_known, sighting, now)
        self.changed = self.changed or bool(new)

    def _resume(self, record: FileRecord, sighting: Sighting, now: float) -> None:
        """A file that the ledger knows from before this process: unchanged and settled, it need not settle again."""
        self._track(record, Watched(sighting.stamp, now), self.drop.kind(record.path))
        tracked = self.tracked[record.path]
        if record.stamp != sighting.stamp:
            if record.state is not FileState.SEEN:
                self._persist([_changed_step(record, sighting, self._clock.now())])
        elif record.state is FileState.SETTLED and record.kind is FileKind.FOREIGN and is_plainly_foreign(record.path):
            # A CD's viewer may have thousands of these, and they may lie there for long.
            tracked.member = replace(tracked.member, kind=record.kind, finding=Finding(record.kind))
            del self._pending[record.path]
        elif record.state is not FileState.SEEN:
            tracked.try_at = now

    def _track(self, record: FileRecord, watched: Watched, kind: FileKind) -> None:
        tracked = Tracked(record, watched, Member(record.path, kind, watched), settles_at(watched, self._settle_s))
        self.tracked[record.path] = tracked
        if kind is not FileKind.TEMPORARY:
            self._pending[record.path] = tracked

    def _unsettle(self, tracked: Tracked) -> None:
        kind = self.drop.kind(tracked.record.path)
        tracked.member = Member(tracked.record.path, kind, tracked.watched)
        tracked.try_at = settles_at(tracked.watched, self._settle_s)
        if kind is not FileKind.TEMPORARY:
            self._pending[tracked.record.path] = tracked
        self.changed = True

    def _found(self, tracked: Tracked, finding: Finding, now: float, out: list[Transition[FileRecord]]) -> None:
        if tracked.member.finding != finding:
            is_left = tracked.record.kind is FileKind.FOREIGN and tracked.record.state is not FileState.SEEN
            tracked.member = Member(tracked.record.path, finding.kind, tracked.watched, finding, is_left=is_left)
            self.stale = True
        wrong = finding.problem
        if wrong is not None and disposition(wrong) is Disposition.WAIT:
            tracked.try_at = now + AGAIN_S
            return
        del self._pending[tracked.record.path]
        event = FileEvent.REFUSE if wrong is not None else FileEvent.SETTLE
        wanted = FileState.REFUSED if wrong is not None else FileState.SETTLED
        role = role_of(finding) if wrong is None else None
        known: dict[str, Any] = {
            "role": None if role is None else str(role),
            "series": finding.dicom.series if finding.dicom else None,
            "digest": finding.digest,
        }
        if tracked.record.state not in (wanted, FileState.SENT):
            out.append(
                file_step(
                    tracked.record,
                    event,
                    self._clock.now(),
                    stamp=tracked.watched.stamp,
                    kind=finding.kind,
                    sop_instance=finding.dicom.sop_instance if finding.dicom else None,
                    reason=wrong.masked() if wrong is not None else None,
                    **known,
                )
            )
        elif role is not None and tracked.record.role is None:  # an older version looked into it
            tracked.record = replace(tracked.record, **known)
            self._ledger.amend([tracked.record])

    def _persist(self, transitions: list[Transition[FileRecord]]) -> None:
        self._ledger_apply(transitions)
        for transition in transitions:
            self.tracked[transition.after.path].record = transition.after

    def _ledger_apply(self, transitions: list[Transition[FileRecord]]) -> None:
        if transitions:
            self._ledger.apply(transitions)

    def _forget(self, path: str) -> None:
        self.tracked.pop(path, None)
        self._pending.pop(path, None)


def _changed_step(record: FileRecord, sighting: Sighting, at: float) -> Transition[FileRecord]:
    """Another content, it seems: what was known of the old one says nothing of the new one. Which bytes were accepted
    stays on record: if it was only saved once more as it was, they are recognised, and not sent again."""
    unknown = dict.fromkeys(("sop_instance", "reason", "role", "series", "digest"))
    return file_step(record, FileEvent.CHANGE, at, stamp=sighting.stamp, **unknown)


def _is_below(path: str, folders: frozenset[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders) if folders else False
