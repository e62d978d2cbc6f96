"""The only place where real edges meet the agent: settings in, a running agent out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from types import MappingProxyType, TracebackType
from typing import NamedTuple

from folder_agent import __version__
from folder_agent.agent.desk import DropSetup, NoteMaker, Rules
from folder_agent.agent.dossier import Dossier
from folder_agent.agent.earlier import reading_of
from folder_agent.agent.housekeeping import Household, Housekeeping
from folder_agent.agent.loop import Agent
from folder_agent.agent.shelf import Note
from folder_agent.core import delivered
from folder_agent.core.answers import AnswerRules
from folder_agent.core.bundling import BundleRules
from folder_agent.core.errors import Problem
from folder_agent.core.exam import exam_from
from folder_agent.core.filling import Headers, filled, origins
from folder_agent.core.headers import NOTHING, exam_of, unsaid_by
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.mapping import NO_MAPPING
from folder_agent.core.notes import receipt, why_note
from folder_agent.core.ports import DropFolder, Ledger, Publisher
from folder_agent.core.receipts import exam_fields
from folder_agent.core.records import BundleRecord, FileKind, FileRecord, Finding, SidecarReading
from folder_agent.core.retention import Retention
from folder_agent.core.retrying import RetryRules
from folder_agent.core.shelving import RECEIPT, WHY
from folder_agent.core.sidecar import read_sidecar
from folder_agent.edges import durable
from folder_agent.edges.clock import SystemClock, local_time, today
from folder_agent.edges.credentials import read_token
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.mounts import Anchor
from folder_agent.edges.drop_folder.status_area import RealStatusArea
from folder_agent.edges.drop_folder.status_file import StatusFile
from folder_agent.edges.drop_folder.watching import Watcher
from folder_agent.edges.gateway import open_gateway
from folder_agent.edges.ledger import open_ledger, require_sound
from folder_agent.edges.meters import Meters
from folder_agent.edges.shelves import RealShelves
from folder_agent.edges.tenancy import Tenancy, claimant
from folder_agent.edges.unpacking import RealUnpacker
from folder_agent.settings import DropSettings, Settings

LOCAL_SETTLE_S, REMOTE_SETTLE_S = 2.0, 12.0  # an SMB client caches listings and sizes for 10 s

HOUSE_S = 20.0  # for old rows and old bundles at the end of `--once`; what is left is for the next time

VOLUME_NOTE = "volume:"  # with a drop's name: under what the ledger keeps where its volume is mounted


class Assembly(AbstractContextManager["Assembly"]):
    """Everything of one running agent; leaving it gives every thread, connection and watch back."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self.settings = settings
        self._clock = SystemClock()
        self.watchers: dict[str, Watcher] = {}
        self.meters = Meters()
        self._tenancy = Tenancy(settings, publisher)  # before anything is touched
        try:
            require_sound(settings.ledger.url or "", lambda: any(has_delivered(drop) for drop in settings.drops))
            self.ledger = open_ledger(settings.ledger.url or "")
        except BaseException:
            self._tenancy.release()
            raise
        try:
            self._tenancy.hold_names(self.ledger)
            token = read_token(settings)
            self.gateway = open_gateway(
                settings, token, self._clock, lambda: self.agent.is_stopping, meters=self.meters
            )
            anchors = {drop.name: anchor_of(drop, self.ledger) for drop in settings.drops}
            for drop in settings.drops:
                make_shelves(drop, anchors[drop.name])
            self.shelves = {drop.name: shelves_of(drop, anchors[drop.name]) for drop in settings.drops}
            setups = [self._setup(drop, anchors[drop.name]) for drop in settings.drops]
            self.agent = Agent(setups, self.ledger, self.gateway, self._clock, publisher, rules_of(settings))
            houses = [Household(drop.name, self.shelves[drop.name], retention_of(drop)) for drop in settings.drops]
            keep_days = settings.ledger.keep_days
            self.housekeeping = Housekeeping(houses, self.ledger, self._clock, publisher, keep_days, local_day)
        except BaseException:
            self._leave()
            raise
        for watcher in self.watchers.values():
            watcher.start()
        self.housekeeping.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.housekeeping.stop()
        for watcher in self.watchers.values():
            watcher.stop()
        self.gateway.close()
        self._leave()

    def _leave(self) -> None:
        self._tenancy.end_leases()
        self.ledger.close()
        self._tenancy.release()

    def work(self, beat: Callable[[], None] = lambda: None) -> int:
        """`run`: until stopped; 0. `beat` is called whenever the loop has gone round."""
        self.agent.run(beat=beat)
        return 0

    def once(self) -> int:
        """`run --once`, and some housekeeping; its exit code."""
        self.agent.run(until_idle=lambda: True)
        self.housekeeping.work(HOUSE_S)
        return self.exit_code()

    def exit_code(self) -> int:
        """Of `run --once`: 1 a drop folder is out of reach, 4 something is in failed/, 3 something still waits, 0 all
        delivered."""
        if self.agent.has_outage:
            return 1
        if any(shelves.has_failed() for shelves in self.shelves.values()):
            return 4
        tallies = self.ledger.tallies()
        return 3 if tallies.oldest_open_at is not None or tallies.unassigned or self.ledger.open_bundles() else 0

    def _setup(self, settings: DropSettings, anchor: Anchor) -> DropSetup:
        admit = partial(self._tenancy.admit, settings.name)
        mapping = settings.mapping or NO_MAPPING
        drop = RealDropFolder(settings.name, settings.path, settings.own_dirs, settings.marker, anchor, admit, mapping)
        watcher = Watcher(
            settings.path,
            settings.own_dirs,
            lambda: self.agent.hint(settings.name),
            settings.observer,
            drop.is_remote,
            built=lambda: self.meters.watch(settings.name),
        )
        self.watchers[settings.name] = watcher
        rules = bundle_rules(settings, remote=drop.is_remote, sends_images=self.gateway.images is not None)
        return DropSetup(
            drop=drop,
            shelves=self.shelves[settings.name],
            rules=rules,
            layout=settings.layout,
            scan_s=settings.scan_s,
            note=self._notes(drop, rules),
            supervise=partial(self._supervise, watcher),
            write_status=StatusFile(drop).write if settings.notes else None,
            unpacker=RealUnpacker(drop) if settings.unzip else None,
            looked=partial(self.meters.look, settings.name),
            depth=settings.bundle_depth,
            status_area=RealStatusArea(drop, settings.status_dir) if rules.by_headers or rules.drafts else None,
        )

    def _supervise(self, watcher: Watcher) -> Problem | None:
        self._tenancy.check()
        return watcher.check()

    def _notes(self, drop: RealDropFolder, rules: BundleRules) -> NoteMaker:
        permit = self.settings.gateway.permit_field

        def make(dossier: Dossier | None, problems: Sequence[Problem] | None) -> Note:
            def posted(bundle: BundleRecord, files: Sequence[FileRecord]) -> Posted:
                if bundle.state is not BundleState.COMMITTED:
                    return Posted(identity(bundle), dossier.encoding if dossier else None)
                if dossier is not None:
                    exam = delivered.with_counts(dossier.exam, bundle.counts)
                    return Posted(exam, dossier.encoding, dossier.filled)
                again = posted_again(drop, bundle, files, permit, fill=rules.fill, unsaid=rules.unsaid)
                earlier = self._earlier(bundle, permit) if _has_no_sidecar(files) else None
                return earlier or again

            def note(bundle: BundleRecord, files: Sequence[FileRecord]) -> list[tuple[str, bytes]]:
                now = datetime.now().astimezone()
                is_delivered = bundle.state is BundleState.COMMITTED
                accepted = sum(file.state is FileState.SENT for file in files)
                notes = []
                if not is_delivered:
                    why = problems if problems is not None else bundle.reasons
                    text = now.strftime("%Y-%m-%d %H:%M:%S %z")
                    told = why_note(bundle.name, why, text, str(drop.root), accepted=accepted, total=len(files))
                    notes.append((WHY, told))
                if is_delivered or accepted:
                    what = posted(bundle, files)
                    content = receipt(
                        bundle,
                        files,
                        what.exam,
                        encoding=what.encoding,
                        filled=what.filled,
                        url=self.gateway.address,
                        agent=__version__,
                        delivered_at=now,
                        warnings=dossier.warnings if dossier else (),
                        replaced=self._replaced(bundle, files) if is_delivered else (),
                    )
                    notes.append((RECEIPT, content))
                return notes

            return note

        return make

    def _earlier(self, bundle: BundleRecord, permit_field: str) -> Posted | None:
        """What was posted of images without a sidecar, if that was what had been posted before."""
        last = self._before(bundle)[-1:]
        content = self.shelves[bundle.drop].read(last[0].target, RECEIPT) if last and last[0].target else None
        fields = exam_fields(content) if content is not None else None
        if fields is None:
            return None
        reading = reading_of(last[0], fields)
        exam = exam_from(reading, bundle.counts).body(permit_field)
        return Posted(exam, None, origins(reading)) if delivered.fingerprint(exam) == bundle.posted else None

    def _before(self, bundle: BundleRecord) -> list[BundleRecord]:
        """The bundles by which its study had been committed before, the last one last."""
        every = self.ledger.delivered(bundle.access_number, bundle.study_uid)
        mine = (bundle.committed_at or 0.0, bundle.id)
        return [one for one in every if (one.committed_at or 0.0, one.id) < mine]

    def _replaced(
        self, bundle: BundleRecord, files: Sequence[FileRecord]
    ) -> list[tuple[FileRecord, delivered.Version]]:
        """The instances of a committed bundle that had been delivered before with other bytes."""
        before = self._before(bundle)
        past = delivered.past_of(before, {one.id: self.ledger.files_of(one.id) for one in before})
        return delivered.replaced(past, files)


class Posted(NamedTuple):
    """The exam information as it was posted; empty where that is not known any more."""

    exam: Mapping[str, str | int]
    encoding: str | None = None  # of the sidecar
    filled: Mapping[str, str] = MappingProxyType({})  # fields that came from elsewhere, and from where


def posted_again(
    drop: DropFolder,
    bundle: BundleRecord,
    files: Sequence[FileRecord],
    permit_field: str,
    *,
    fill: bool,
    unsaid: SidecarReading = NOTHING,
) -> Posted:
    """What was posted, for a receipt that a crash kept from being written: from the files, which have not been moved
    before the receipt is there. Empty if somebody has changed them in between."""
    reading = _read_again(drop, files, unsaid, fill=fill)
    if reading is None or reading.problems:
        return Posted({})
    return Posted(exam_from(reading, bundle.counts).body(permit_field), reading.encoding, origins(reading))


def _has_no_sidecar(files: Sequence[FileRecord]) -> bool:
    return not any(file.kind is FileKind.SIDECAR for file in files)


def _read_again(
    drop: DropFolder, files: Sequence[FileRecord], unsaid: SidecarReading, *, fill: bool
) -> SidecarReading | None:
    """As it was read when the bundle was judged."""

    def inspected(kind: FileKind) -> list[tuple[str, Finding]]:
        looks = ((record.path, drop.inspect(record.path, record.stamp)) for record in files if record.kind is kind)
        return [(path, one) for path, one in looks if one is not None]

    def headers() -> Headers:
        return [(path, one.dicom) for path, one in inspected(FileKind.DICOM) if one.dicom is not None]

    if not any(record.kind is FileKind.SIDECAR for record in files):
        return exam_of(headers(), unsaid)
    sidecars = inspected(FileKind.SIDECAR)
    reading = sidecars[-1][1].sidecar if sidecars else None
    if reading is None or not fill or not reading.absent:
        return reading
    return filled(reading, [facts for _, facts in headers()])


def identity(bundle: BundleRecord) -> dict[str, str | int]:
    """How the exam of a bundle that was not delivered is known: its exam information went nowhere."""
    known = {"accessNumber": bundle.access_number, "studyId": bundle.study_id, "studyUid": bundle.study_uid}
    return {name: value for name, value in known.items() if value is not None}


def anchor_of(drop: DropSettings, ledger: Ledger) -> Anchor:
    """What knows the volume of a drop folder, from the ledger's memory."""
    note = VOLUME_NOTE + drop.name
    return Anchor(
        drop.path,
        lambda: ledger.recall(note),
        lambda text: ledger.remember(note, text),
        lambda: [record.path for record in ledger.open_files(drop.name)],
    )


def shelves_of(drop: DropSettings, anchor: Anchor | None = None) -> RealShelves:
    """done/ and failed/ of a drop folder."""
    check = anchor.check if anchor is not None else lambda: None
    return RealShelves(drop.path, drop.done_dir, drop.failed_dir, check)


def make_shelves(drop: DropSettings, anchor: Anchor) -> None:
    """Make done/ and failed/ where the drop folder itself is there; where it is not, that is an outage for later."""
    if drop.path.is_dir() and anchor.is_home():
        for folder in (drop.done_dir, drop.failed_dir):
            durable.make_folder(folder)


def has_delivered(drop: DropSettings) -> bool:
    """Whether bundles lie in done/: there has been a ledger that knew them."""
    return next(drop.done_dir.glob("*/*/*"), None) is not None


def retention_of(drop: DropSettings) -> Retention:
    """How long a drop folder's done/ is kept."""
    return Retention(drop.keep_done_days, None if drop.min_free_gb is None else round(drop.min_free_gb * 1e9))


def local_day(at: float) -> str:
    """The day (YYYY-MM-DD) of a time in epoch seconds, by the wall clock of the place."""
    return datetime.fromtimestamp(at).astimezone().date().isoformat()


def bundle_rules(drop: DropSettings, *, remote: bool, sends_images: bool = True) -> BundleRules:
    """A drop folder's rules, in seconds."""
    settle_s = drop.settle_s if drop.settle_s is not None else (REMOTE_SETTLE_S if remote else LOCAL_SETTLE_S)
    return BundleRules(
        settle_s=settle_s,
        quiet_s=drop.quiet_s,
        marker=drop.marker,
        match=drop.match,
        deadline_s=drop.deadline_h * 3600,
        fail_when_overdue=drop.on_deadline == "fail",
        fill=drop.fill,
        eager=drop.eager and sends_images,
        replaces=drop.on_conflict == "newest",
        by_headers=drop.sidecar == "optional",
        drafts=drop.notes,
        unsaid=unsaid_by(read_sidecar(b"{}", drop.mapping or NO_MAPPING)),
    )


def answer_rules(drop: DropSettings) -> AnswerRules:
    """What a person is told of its files that belong to no exam depends on these."""
    return AnswerRules(drop.bundle_depth, drop.unzip, drop.sidecar == "optional")


def rules_of(settings: Settings) -> Rules:
    """What holds for all drop folders."""
    sync = settings.sync
    return Rules(
        owner=claimant(settings),
        workers=sync.workers,
        retry=RetryRules(sync.retry_first_s, sync.retry_max_s, sync.retry_for_h * 3600),
        permit_field=settings.gateway.permit_field,
        today=today,
        local=local_time,
    )
