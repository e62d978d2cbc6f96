"""Send and commit one bundle: files first, the exam information last. Runs in a worker's thread.

Written down before each step is what the next start must know: SENDING before the first byte leaves, each file's SENT
as soon as it is accepted, COMMITTED on the gateway's answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from folder_agent.agent.dossier import Dossier
from folder_agent.agent.journal import Journal
from folder_agent.agent.pasts import Pasts
from folder_agent.core import delivered
from folder_agent.core.catalogue import failure
from folder_agent.core.delivered import Past
from folder_agent.core.errors import AgentError, Problem, StaleState, problem
from folder_agent.core.exam import scrub
from folder_agent.core.lifecycle import BundleEvent, BundleState, FileEvent, FileState, bundle_step, file_step
from folder_agent.core.planning import after_error
from folder_agent.core.ports import Clock, DropFolder, Gateway, Ledger, Publisher, Transport
from folder_agent.core.records import (
    Acceptance,
    Answer,
    BundleRecord,
    Claim,
    Counts,
    FileKind,
    FileRecord,
    Stamp,
)
from folder_agent.core.retrying import RetryRules

_TRAVELLING = frozenset({FileKind.DICOM, FileKind.PDF})
_FEW = 200  # instances that are asked for one by one
_NO_MATTER = frozenset({FileKind.TEMPORARY, FileKind.JUNK})  # no files of the exam, however they change


@dataclass(frozen=True, slots=True)
class Sending:
    """How a drop folder wants its bundles sent."""

    replaces: bool = False  # an instance that was delivered with other bytes is sent anew
    local: Callable[[float], str] = str  # an epoch time by the clock of this place, as people write it


class Delivery:
    """One attempt at one bundle. `place` is asked for where it may go once it is committed: written down at once, that
    saves a transaction of its own; None: that is not known."""

    def __init__(
        self,
        drop: DropFolder,
        ledger: Ledger,
        gateway: Gateway,
        clock: Clock,
        journal: Journal,
        publisher: Publisher,
        dossier: Dossier,
        pasts: Pasts,
        rules: Sending,
        place: Callable[[BundleRecord], str | None] = lambda _: None,
    ) -> None:
        self._drop, self._ledger, self._clock = drop, ledger, clock
        self._pasts, self._rules, self._place = pasts, rules, place
        self.has_posted = False  # whether the gateway has accepted the exam information from us
        self._sums: dict[tuple[int, Stamp], str] = {}  # SHA-256 by file and stamp: asked for several times, read once
        images = (dossier.outgoing(record, drop.locate) for record in dossier.of_kind(FileKind.DICOM))
        self._gateway = gateway.for_exam(dossier.exam, next(images, None))
        self._journal, self._publisher = journal, publisher
        self._dossier = dossier
        self._files: dict[int, FileRecord] = {record.id: record for record in dossier.files}
        self._missed: frozenset[int] = frozenset()  # what the receiver turned out not to have

    def run(self, bundle: BundleRecord) -> BundleRecord:
        """SENDING to COMMITTED. Raises AgentError where the attempt ends, with everything true noted in the ledger."""
        if bundle.state is not BundleState.SENDING:
            bundle = self._journal.step(bundle, BundleEvent.SEND, reasons=(), due_at=None)
        try:
            self._check_listed()
            self._check_instances()
            self._check_delivered(bundle)
            self._send(bundle, FileKind.DICOM, self._gateway.images)
            self._send(bundle, FileKind.PDF, self._gateway.reports)
            self._prove(bundle)
            self._check_unchanged()
            return self._commit(bundle)
        except AgentError as error:
            raise AgentError(_told(error.problem, self._dossier.personal), error.disposition) from error

    def ahead(self, bundle: BundleRecord) -> None:
        """Send the images of this dossier while the bundle goes on gathering: whatever comes of it, its state stays.
        Each file's SENT is noted as ever. AgentError where that ends."""
        try:
            self._check_listed()
            self._check_instances()
            self._check_delivered(bundle)
            self._send(bundle, FileKind.DICOM, self._gateway.images)
        except AgentError as error:
            raise AgentError(_told(error.problem, self._dossier.personal), error.disposition) from error

    @property
    def files(self) -> list[FileRecord]:
        """The files of the dossier, as they are in the ledger by now."""
        return list(self._files.values())

    def after(self, bundle: BundleRecord, error: AgentError, rules: RetryRules, jitter: float) -> BundleRecord:
        """Note what a failed attempt leads to."""
        current = replace(bundle, state=BundleState.SENDING)
        return self._journal.apply(after_error(current, error, self._clock.now(), rules, jitter))

    def _check_listed(self) -> None:
        """The sidecar's own digests, before anything leaves; what was sent already had them checked."""
        for path, wanted in self._dossier.digests.items():
            record = next((r for r in self._files.values() if r.path == path), None)
            if record is None or record.state is FileState.SENT:
                continue
            found = self._digest(record)
            if found != wanted:
                raise failure(problem("FA-LISTED-DIFFERS", path, what="SHA-256", declared=wanted, found=found))

    def _check_instances(self) -> None:
        """One SOPInstanceUID is one object: a second file of it must be the same, to the byte, and goes only once."""
        same: dict[str, list[FileRecord]] = defaultdict(list)
        for record in self._dossier.of_kind(FileKind.DICOM):
            same[record.sop_instance or record.path].append(record)
        for records in same.values():
            if len(records) > 1 and len({self._digest(record) for record in records}) > 1:
                raise failure(problem("FA-SAME-INSTANCE", records[1].path, other=records[0].path))

    def _check_delivered(self, bundle: BundleRecord) -> None:
        """An instance that was delivered with other bytes: nothing of the bundle goes, unless the newer is to count."""
        past = None if self._rules.replaces else self._past(bundle)
        if past is None or self._gateway.images is None:
            return
        unsent = (record for record in self._dossier.of_kind(FileKind.DICOM) if record.state is FileState.SETTLED)
        for record in unsent:
            known = past.versions.get(record.sop_instance or "")
            if known is None or self._digest(record) == known.sha256:
                continue
            at, seen = self._rules.local(known.accepted_at), self._rules.local(record.seen_at or bundle.created_at)
            raise failure(problem("FA-INSTANCE-CHANGED", record.path, at=at, other=known.path, seen=seen))

    def _past(self, bundle: BundleRecord) -> Past | None:
        return self._pasts.of(bundle.access_number, bundle.study_uid)

    def _digest(self, record: FileRecord) -> str:
        """Of its bytes now. Whether they are still those that were judged is asked before the commit."""
        known = self._sums.get((record.id, record.stamp))
        if known is None:
            known = self._sums[record.id, record.stamp] = self._drop.digest(record.path)
        return known

    def _send(self, bundle: BundleRecord, kind: FileKind, transport: Transport | None) -> None:
        if transport is None:
            return
        self._recognise(bundle, kind, transport.destination)
        first_of: dict[str, FileRecord] = {}
        for record in self._unsent(kind):
            first_of.setdefault(record.sop_instance or record.digest or record.path, record)
        going = [self._dossier.outgoing(record, self._drop.locate) for record in first_of.values()]
        if not going:
            return
        meter = _Meter(bundle, sum(one.stamp.size for one in going), self._publisher)
        transport.send(going, self._accepted, meter)
        self._recognise(bundle, kind, transport.destination)  # further copies of what has just been accepted

    def _unsent(self, kind: FileKind) -> list[FileRecord]:
        return [r for r in self._files.values() if r.kind is kind and r.state is FileState.SETTLED]

    def _accepted(self, acceptances: Sequence[Acceptance]) -> None:
        now = self._clock.now()
        self._note(
            [
                file_step(
                    self._files[one.file_id],
                    FileEvent.ACCEPT,
                    now,
                    sha256=one.sha256,
                    destination=one.destination,
                    accepted_at=now,
                    answer=one.answer,
                )
                for one in acceptances
            ]
        )

    def _recognise(self, bundle: BundleRecord, kind: FileKind, destination: str) -> None:
        """What this receiver accepted before, for this exam, with the same bytes, is not sent again; unless it has
        accepted other bytes of that instance since."""
        unsent = self._unsent(kind)
        if not unsent:
            return
        earlier: dict[str | int, list[FileRecord]] = defaultdict(list)
        newest: dict[str | None, float] = {}
        instances = {record.sop_instance for record in unsent if record.sop_instance is not None}
        few = instances if kind is FileKind.DICOM and len(instances) <= _FEW else ()
        for record in self._ledger.accepted(bundle.access_number, bundle.study_uid, destination, few):
            earlier[_likeness(record)].append(record)
            if record.sop_instance is not None and record.state is FileState.SENT:
                newest[record.sop_instance] = max(_accepted_at(record), newest.get(record.sop_instance, 0.0))
        steps = []
        for record in unsent:
            candidates = earlier.get(_likeness(record))
            digest = self._digest(record) if candidates else None
            same = (one for one in candidates or () if one.sha256 == digest and self._counts(one, record))
            twin = max(same, key=_accepted_at, default=None)
            if twin is not None and _accepted_at(twin) >= newest.get(record.sop_instance, float("-inf")):
                kept = {name: getattr(twin, name) for name in ("sha256", "destination", "accepted_at", "answer")}
                steps.append(file_step(record, FileEvent.RECOGNISE, self._clock.now(), **kept))
        self._note(steps)

    def _counts(self, twin: FileRecord, record: FileRecord) -> bool:
        """Whether what was accepted then is there now: not where the receiver has lost it since."""
        return record.id not in self._missed or twin.id in self._files

    def _prove(self, bundle: BundleRecord) -> None:
        """Ask the receiver itself what it has. What it has lost is sent once more, and asked for once more."""
        proof = self._gateway.proof
        if proof is None:
            return
        held = proof.held(self._claims())
        if not all(held.values()):
            self._send_again(bundle, [file_id for file_id, there in held.items() if not there])
            held = proof.held(self._claims())
        lost = [self._files[file_id] for file_id, there in held.items() if not there]
        if lost:
            raise failure(problem("FA-GW-MISSING", lost[0].path, count=len(lost), total=len(held)))
        proven = [self._files[file_id] for file_id in held]
        noted = [
            replace(record, answer=f"{record.answer or ''}, {proof.words}".removeprefix(", "))
            for record in proven
            if not (record.answer or "").endswith(proof.words)
        ]
        if noted:
            self._ledger.amend(noted)
            self._files.update({record.id: record for record in noted})

    def _claims(self) -> list[Claim]:
        return [
            Claim(self._dossier.outgoing(record, self._drop.locate), record.sha256)
            for record in self._files.values()
            if record.state is FileState.SENT and record.sha256 and record.kind in _TRAVELLING
        ]

    def _send_again(self, bundle: BundleRecord, lost: Sequence[int]) -> None:
        now = self._clock.now()
        forgotten: dict[str, None] = dict.fromkeys(("sha256", "destination", "accepted_at", "answer"))
        self._note([file_step(self._files[file_id], FileEvent.MISS, now, **forgotten) for file_id in lost])
        self._missed |= frozenset(lost)
        self._send(bundle, FileKind.DICOM, self._gateway.images)
        self._send(bundle, FileKind.PDF, self._gateway.reports)

    def _note(self, steps: Sequence[object]) -> None:
        if steps:
            self._ledger.apply(steps)  # type: ignore[arg-type]
            self._files.update({step.after.id: step.after for step in steps})  # type: ignore[attr-defined]

    def _check_unchanged(self) -> None:
        """The last look before the commit: what was judged complete is still all there is, and unchanged."""
        dossier = self._dossier
        places = (dossier.base,) if dossier.is_folder else dossier.places
        there = {sighting.path: sighting.stamp for place in places for sighting in self._drop.below(place)}
        known = {record.path for record in dossier.files} | dossier.beside
        for path in there.keys() - known:
            if self._drop.kind(path) not in _NO_MATTER:
                raise failure(problem("FA-CHANGED", path))
        for record in dossier.files:
            stamp = there.get(record.path) or self._drop.stamp(record.path)
            if stamp != record.stamp and record.kind not in _NO_MATTER:
                raise failure(problem("FA-CHANGED", record.path))

    def _commit(self, bundle: BundleRecord) -> BundleRecord:
        """Post the exam information with the counts of all that was delivered of the study, this included. If others
        have committed something of it meanwhile, the counts are others, and are posted again.

        Between the gateway's answer and its note in the ledger nothing is asked of a disk that may hang: the place on
        the shelf is chosen before."""
        target = self._place(bundle)
        while True:
            past = self._past(bundle)
            counts = delivered.total(past, self._dossier.content)
            exam = delivered.with_counts(self._dossier.exam, counts)
            kept: dict[str, Any] = {"posted": delivered.fingerprint(exam), "counts": counts}
            if past is not None and self._is_repeat(past, **kept):
                committed = self._repeat(bundle, past, kept, target)
            else:
                answer = self._gateway.commit(exam)
                self.has_posted = True
                kept |= {"answer": _shown(answer, self._dossier.personal), "reasons": ()}
                now = self._clock.now()
                committed = self._end(bundle, BundleEvent.COMMIT, FileEvent.ACCEPT, now, kept, past, target)
            if committed is not None:
                return committed

    def _is_repeat(self, past: Past, posted: str, counts: Counts) -> bool:
        """Whether the gateway has all of it, and was last told the same."""
        digests = {
            record.sop_instance: record.sha256 or ""
            for record in self._files.values()
            if record.sop_instance is not None and record.state is FileState.SENT
        }
        is_same = (past.last.posted, past.last.counts) == (posted, counts) and not self._missed
        return is_same and delivered.adds_nothing(past, self._dossier.content, digests)

    def _repeat(
        self, bundle: BundleRecord, past: Past, kept: dict[str, Any], target: str | None
    ) -> BundleRecord | None:
        first = self._first_of(past.last, past)
        at = first.committed_at or first.changed_at
        why = problem("FA-REPEAT", at=self._rules.local(at), name=first.name)
        return self._end(
            bundle,
            BundleEvent.REPEAT,
            FileEvent.RECOGNISE,
            at,
            {**kept, "answer": first.answer, "reasons": (why,)},
            past,
            target,
        )

    def _first_of(self, last: BundleRecord, past: Past) -> BundleRecord:
        """The bundle by which that was posted, and not one that repeated it."""
        return next((one for one in past.bundles if one.committed_at == last.committed_at), last)

    def _end(
        self,
        bundle: BundleRecord,
        event: BundleEvent,
        of_sidecar: FileEvent,
        at: float,
        kept: dict[str, Any],
        past: Past | None,
        target: str | None,
    ) -> BundleRecord | None:
        sidecar = next((r for r in self._files.values() if r.path == self._dossier.sidecar_path), None)
        steps = []
        if sidecar is not None and sidecar.state is FileState.SETTLED:
            of_it = {"sha256": self._digest(sidecar), "destination": self._gateway.address, "accepted_at": at}
            steps = [file_step(sidecar, of_sidecar, self._clock.now(), **of_it)]
        over = {"attempts": 0, "first_failed_at": None, "due_at": None, "committed_at": at, **kept}
        known, now = past.ids if past is not None else (), self._clock.now()
        if target is not None:
            with suppress(StaleState):  # another worker has just taken that name: shelving finds another
                return self._journal.commit(bundle_step(bundle, event, now, target=target, **over), steps, known)
        return self._journal.commit(bundle_step(bundle, event, now, **over), steps, known)


def _accepted_at(record: FileRecord) -> float:
    return record.accepted_at or 0.0


def _likeness(record: FileRecord) -> str | int:
    """What two files share that may have the same bytes. Not the size of an instance: a file that was replaced after it
    went has its newer version's, beside the digest of what went."""
    return record.sop_instance or record.stamp.size


class _Meter:
    """Counts bytes that leave, and publishes at most a hundred times an attempt."""

    def __init__(self, bundle: BundleRecord, total: int, publisher: Publisher) -> None:
        self._bundle, self._total, self._publisher = bundle, total, publisher
        self._sent = self._told = 0
        publisher.sending(bundle, 0, total)

    def __call__(self, count: int) -> None:
        self._sent += count
        if self._sent - self._told >= self._total / 100:
            self._told = self._sent
            self._publisher.sending(self._bundle, min(self._sent, self._total), self._total)


def _shown(answer: Answer, personal: tuple[str, ...]) -> str:
    return json.dumps({"code": answer.code, "message": scrub(answer.message, personal)}, ensure_ascii=False)


def _told(reason: Problem, personal: tuple[str, ...]) -> Problem:
    """The gateway's words with this patient's values masked, so that they can be shown anywhere."""
    words = dict(reason.private).get("message")
    if words is None:
        return reason
    private = tuple((name, value) for name, value in reason.private if name != "message")
    return replace(reason, values=(*reason.values, ("message", scrub(words, personal))), private=private)
