"""Bundle: sort one drop folder's files into bundles, judge each, and let the ledger know. The agent's own thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from folder_agent.agent.acceptances import Acceptances
from folder_agent.agent.agenda import NEVER, Agenda, Entry
from folder_agent.agent.ahead import Ahead
from folder_agent.agent.dossier import Dossier, dossier_of
from folder_agent.agent.earlier import Earlier, passes_soon
from folder_agent.agent.intake import Intake
from folder_agent.agent.journal import Journal
from folder_agent.agent.pasts import Pasts
from folder_agent.agent.strangers import Strangers
from folder_agent.agent.templates import Templates
from folder_agent.core import corrections
from folder_agent.core.answers import AnswerRules, answers
from folder_agent.core.bundling import LOOK_AGAIN_S, BundleRules, Complete, Refused, Verdict, Waiting, judge
from folder_agent.core.corrections import Correction
from folder_agent.core.delivered import Past
from folder_agent.core.errors import AgentError, Problem, StaleState, problem
from folder_agent.core.exam import personal_values
from folder_agent.core.filling import headers_of, with_filled
from folder_agent.core.grouping import Group, Grouping, Member
from folder_agent.core.headers import exam_of
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleEvent, BundleState, FileState
from folder_agent.core.ports import Clock, Ledger, Shelves
from folder_agent.core.records import Act, BundleRecord, Deed, FileKind, FileRecord, SidecarReading, Stamp
from folder_agent.core.unpacking import is_final

_SETTLING = "FA-SETTLING"
_GROUP_SHARE = 50.0  # times what grouping took, between two: with many bundles it must not take the machine over
_WAITED_FOR = 1.0  # the same while nothing could be sent meanwhile
_AT_ONCE = 300  # bundles that are judged before the loop turns to other work
_TOGETHER = 100  # bundles whose verdicts are noted in one transaction, in which no worker can write
_ALONE_S = 60.0  # how often it is asked whether the exam of a sidecar that came alone has been delivered


@dataclass(frozen=True, slots=True)
class _Case:
    """What was found on one group; no verdict while it is not to be judged."""

    judged: Entry
    group: Group
    reading: SidecarReading | None = None
    verdict: Verdict | None = None


class Bundles:
    """The open bundles of one drop folder."""

    def __init__(
        self,
        intake: Intake,
        ledger: Ledger,
        clock: Clock,
        journal: Journal,
        rules: BundleRules,
        sort: Callable[..., Grouping],
        permit_field: str,
        pasts: Pasts,
        shelves: Shelves,
        templates: Templates | None = None,
    ) -> None:
        self.intake = intake
        self._ledger = ledger
        self._clock = clock
        self._journal = journal
        self._rules = rules
        self._sort = sort
        self._permit_field, self._pasts, self._shelves = permit_field, pasts, shelves
        self._earlier = Earlier(ledger, shelves, pasts, rules.match)
        self._strangers = Strangers(ledger, clock)
        self._templates = templates
        self._agenda = Agenda()
        self._grouped_at = self._grouping_s = 0.0  # monotonic: when that was done last, and how long it took
        self.open: dict[int, BundleRecord] = {}
        self._by_key: dict[str, int] = {}
        self.dossiers: dict[int, Dossier] = {}  # of bundles that may be sent as they are now
        self.verdicts: dict[int, tuple[Problem, ...]] = {}  # unmasked, for the note beside the patient's own files
        self.busy: set[int] = set()  # in a worker's hands
        self.fresh = True  # what is ready may be another than when that was asked last
        self._leaving: set[int] = set()  # on their way to a shelf
        self.ahead = Ahead(intake, clock, rules)
        self._archives: list[Member] = []
        self._unassigned: tuple[Member, ...] = ()
        self._troubles: dict[str, tuple[Stamp, Problem, float]] = {}  # of archives; until when (monotonic)
        self._gone_on: dict[str, str] = {}  # what has just become something else, by key, and the code that says so
        self._corrections: dict[str, tuple[Correction, float]] = {}  # by key; from when on (monotonic)
        self._accepted: dict[int, Problem] = {}  # by an operator's order, as they are
        self._to_refuse: dict[int, Problem] = {}  # by an operator's order, as soon as nobody works on them
        self.acceptances = Acceptances(intake.drop.name, ledger)
        for bundle in ledger.open_bundles():
            if bundle.drop == intake.drop.name:
                self.keep(bundle)
        self.hear(ledger.orders())

    def pinned(self) -> frozenset[int]:
        """Bundles whose files only a worker may touch."""
        return frozenset(self.busy | self._leaving)

    def keep(self, bundle: BundleRecord) -> None:
        """Take over a bundle's newest record; a closed one is forgotten."""
        if bundle.is_open:
            self.open[bundle.id] = bundle
            self._by_key[bundle.key] = bundle.id
            self.fresh = True
            if bundle.state in ON_THE_WAY_TO_A_SHELF:
                self._leaving.add(bundle.id)
            return
        self.open.pop(bundle.id, None)
        self._leaving.discard(bundle.id)
        self.ahead.forget(bundle.id)
        self.intake.stale = True  # what it left behind may be another's
        self._strangers.ask_anew()
        self.dossiers.pop(bundle.id, None)
        self.verdicts.pop(bundle.id, None)
        self._troubles.pop(bundle.key, None)
        self._accepted.pop(bundle.id, None)
        self._to_refuse.pop(bundle.id, None)
        self._gone_on.pop(bundle.key, None)
        self._agenda.forget(bundle.key)  # its files are gone; a newcomer of that name is judged afresh
        if self._templates is not None:
            self._templates.unwant(bundle.key)
        if self._by_key.get(bundle.key) == bundle.id:
            del self._by_key[bundle.key]

    def reconsider(self, bundle: BundleRecord) -> None:
        """An attempt ended in looking again: judge it anew soon, even if no file has changed since."""
        if (judged := self._agenda.get(bundle.key)) is not None:
            self._agenda.put(judged, self._clock.monotonic() + max(self._rules.settle_s, 1.0))

    def sent_ahead(self, bundle_id: int, error: AgentError | None, pause: Callable[[int], float]) -> None:
        """A worker is done with what it sent ahead of a bundle."""
        self.ahead.ended(bundle_id, error, pause)
        self.fresh = True
        for judged in self._agenda:
            if judged.is_blocked:
                judged.is_blocked = False
                self._agenda.put(judged, self._clock.monotonic())

    def judge(self) -> None:
        """Group anew if anything changed, and judge what changed or what time may have changed."""
        now = self._clock.monotonic()
        if self._strangers.is_due():
            self.intake.stale = True
        if self.intake.has_looked and (self.intake.changed or (self.intake.stale and now >= self._group_at())):
            self.intake.changed = self.intake.stale = False
            self._regroup(now)
            self._grouped_at = self._clock.monotonic()
            self._grouping_s = self._grouped_at - now
        due = self._due(now)
        for begin in range(0, len(due), _TOGETHER):
            cases = [self._judge(judged, now) for judged in due[begin : begin + _TOGETHER]]
            self._journal.together(partial(self._settle, cases, now))

    def _due(self, now: float) -> list[Entry]:
        """What is to be judged now: first, and all of it, of what something could be sent otherwise; of the rest a few
        hundred at a time, so that the workers have something to do meanwhile."""
        due = self._agenda.take_due(now)
        if len(due) <= _AT_ONCE:
            return due
        may_leave, rest = list[Entry](), list[Entry]()
        for judged in due:
            bundle_id = self._by_key.get(judged.group.key, 0)
            (may_leave if bundle_id in self.dossiers or self.ahead.has(bundle_id) else rest).append(judged)
        for judged in rest[_AT_ONCE:]:
            self._agenda.put(judged, now)
        return [*may_leave, *rest[:_AT_ONCE]]

    def hear(self, orders: Iterable[Deed]) -> None:
        """Take in the orders for bundles of this drop folder. They stand in the ledger, so that a kill loses none; to
        hear one again changes nothing."""
        for order in orders:
            bundle = self.open.get(order.bundle_id or 0)
            if bundle is None:
                self.acceptances.hear(order)
                continue
            if bundle.state in ON_THE_WAY_TO_A_SHELF:
                continue
            why = {"why": order.reason or "-"}
            if order.act == Act.REFUSE:
                self._to_refuse[bundle.id] = problem("FA-OPERATOR-REFUSED", None, why, who=order.who)
            elif order.act == Act.ACCEPT and bundle.id not in self._accepted:
                self._accepted[bundle.id] = problem("FA-OPERATOR-ACCEPTED", None, why, who=order.who)
                if (judged := self._agenda.get(bundle.key)) is not None:
                    self._agenda.put(judged, self._clock.monotonic())

    def carry_out(self, *, archives_rest: bool) -> None:
        """Refuse what an operator wants refused and nobody works on; an archive only while none is being unpacked."""
        for bundle_id, why in list(self._to_refuse.items()):
            bundle = self.open.get(bundle_id)
            if bundle is not None and bundle.state not in ON_THE_WAY_TO_A_SHELF:
                is_archive = any(one.path == bundle.key for one in self._archives)
                if bundle_id in self.busy or (is_archive and not archives_rest):
                    continue
                self.dossiers.pop(bundle_id, None)
                self._step(bundle, BundleEvent.REFUSE, reasons=(why.masked(),), due_at=None, overdue=False)
                self.verdicts[bundle_id] = (why,)
            del self._to_refuse[bundle_id]

    def next_archive(self, now: float) -> tuple[BundleRecord, Member] | None:
        """An archive that has settled and may be unpacked now, and its bundle."""
        for member in self._archives:
            bundle = self.open.get(self._by_key.get(member.path, 0))
            tried = self._troubles.get(member.path)
            is_due = tried is None or tried[0] != member.watched.stamp or tried[2] <= now
            is_known = member.finding is not None and member.finding.problem is None
            if bundle is not None and bundle.state is BundleState.GATHERING and is_due and is_known:
                return bundle, member
        return None

    def unpacked(self, path: str, stamp: Stamp, trouble: Problem | None, again_at: float) -> None:
        """What came of unpacking an archive; what is not its own fault is tried again at the monotonic time."""
        if trouble is None:
            self._gone_on[path] = "FA-UNPACKED"
            trouble = problem("FA-UNPACKED")  # until the next look finds that it has gone
        self._troubles[path] = (stamp, trouble, NEVER if is_final(trouble) else again_at)
        if (judged := self._agenda.get(path)) is not None:
            self._agenda.put(judged, self._clock.monotonic())

    def next_correction(self, now: float) -> tuple[int, Correction] | None:
        """A corrected sidecar that may go together with what lies in failed/ now, and its bundle."""
        for key, (correction, from_) in self._corrections.items():
            bundle = self.open.get(self._by_key.get(key, 0))
            if from_ <= now and bundle is not None and bundle.state is BundleState.GATHERING:
                return bundle.id, correction
        return None

    def corrected(self, correction: Correction, trouble: Problem | None) -> None:
        """What came of a correction; what failed is finished before anything else is corrected."""
        if trouble is None:
            self._corrections.pop(correction.key, None)
            self._gone_on[correction.key] = "FA-CORRECTED"
        if (judged := self._agenda.get(correction.key)) is not None:  # after the next look, which finds them together
            self._agenda.put(judged, self._clock.monotonic() + max(self._rules.settle_s, 1.0))

    def _trouble_of(self, archive: Member) -> Problem | None:
        tried = self._troubles.get(archive.path)
        return tried[1] if tried is not None and tried[0] == archive.watched.stamp else None

    def answers(self, rules: AnswerRules) -> list[Problem]:
        """What is to be said of the files that belong to no exam."""
        files = ((one.path, one.kind, one.finding.problem) for one in self._unassigned if one.finding is not None)
        return [one.problem for one in answers(files, rules)]

    def next_due(self) -> float:
        """The monotonic time at which time alone may change a verdict."""
        grouping = self._group_at() if self.intake.stale else NEVER
        return min(grouping, self._agenda.next_at())

    def _group_at(self) -> float:
        """When to group anew for what is merely stale."""
        share = _GROUP_SHARE if self.busy or self.dossiers else _WAITED_FOR
        return self._grouped_at + share * self._grouping_s

    def _regroup(self, now: float) -> None:
        pinned = self.pinned()
        owners = {bundle.id: bundle.key for bundle in self.open.values()}
        away = {self.open[bundle_id].key for bundle_id in pinned if bundle_id in self.open}
        grouping = self._sort(self.intake.members(pinned, owners), away=away)
        if self._templates is not None:
            self._templates.unwant_all_but(bundle.key for bundle in self.open.values())
        self.intake.tell_left([*grouping.unassigned, *(member for one in grouping.groups for member in one.members)])
        late, self._unassigned = self._strangers.sort(grouping.unassigned)
        found = {one.key: one for one in (*grouping.groups, *late)}
        self._archives = [one.files[0] for one in found.values() if one.is_archive]
        self._agenda.take_over(found, now)
        went_to = self._let_go(found.values(), pinned)
        for bundle in list(self.open.values()):
            if bundle.id not in pinned and bundle.key not in found and bundle.id not in self.ahead.in_hand:
                self._withdraw(bundle, went_to.get(bundle.id))

    def _let_go(self, groups: Iterable[Group], pinned: frozenset[int]) -> dict[int, str]:
        """A file that left its group is its bundle's no more: it must not be shelved or closed along with it. The name
        of the group that got files of each bundle."""
        home = {member.path: one for one in groups for member in one.members}
        leaving: list[FileRecord] = []
        went_to: dict[int, str] = {}
        for path, tracked in self.intake.tracked.items():
            was, one = tracked.record.bundle_id, home.get(path)
            if was is None or was in pinned or (one is not None and self._by_key.get(one.key) == was):
                continue
            leaving.append(tracked.record)
            if one is not None:
                went_to.setdefault(was, one.name)
        self.intake.assign([record.path for record in leaving], None)
        if sent := sum(record.state is FileState.SENT and record.path not in home for record in leaving):
            self._journal.left_alone(sent)
        return went_to

    def _settle(self, cases: Sequence[_Case], now: float) -> None:
        """Act upon verdicts, all in one transaction: each on its own would cost a sync of the disk or more."""
        for case in cases:
            self._agenda.put(case.judged, NEVER if case.verdict is None else self._act(case, case.verdict, now))

    def _judge(self, judged: Entry, now: float) -> _Case:
        one = with_filled(judged.group) if self._rules.fill else judged.group
        bundle = self._bundle_of(one)
        if bundle is not None and (bundle.id in self.busy or bundle.state in ON_THE_WAY_TO_A_SHELF):
            return _Case(judged, one)  # another bundle of that name is on its way; its shelving makes us group anew
        if self.ahead.holds(one, bundle):
            judged.is_blocked = True
            return _Case(judged, one)  # `sent_ahead` goes on
        known = self._known(one)
        reading = None if isinstance(known, Problem) else known
        past = self._pasts.of(reading.get("accessNumber"), reading.get("studyUid")) if reading is not None else None
        correction = self._correction(one, reading, bundle, past)
        if correction is None:
            self._corrections.pop(one.key, None)
        age = 0.0 if bundle is None else self._clock.now() - bundle.created_at
        verdict = judge(
            one,
            self._rules,
            now,
            age,
            changed_at=self.intake.gone_at,
            past=past,
            ready_since=judged.ready_since,
            trouble=self._trouble_of(one.files[0]) if one.is_archive else None,
            elsewhere=reading if not one.sidecars else None,
            accepted=None if bundle is None else self._accepted.get(bundle.id),
        )
        if self._is_accepted_now(one, bundle, verdict, reading):
            return self._judge(judged, now)
        if correction is not None:
            verdict = self._corrects(one, correction, now)
        elif isinstance(verdict, Complete) and (other := self._other_of_the_study(one, reading)) is not None:
            verdict = Waiting((problem("FA-WAIT-STUDY", name=other.name),), now + LOOK_AGAIN_S)
        if isinstance(known, Problem) and isinstance(verdict, Waiting) and not _is_settling(verdict):
            soon = now + max(self._rules.settle_s, 1.0) if passes_soon(known) else verdict.look_at
            verdict = replace(verdict, reasons=(*verdict.reasons, known), look_at=soon)
        is_ready = isinstance(verdict, Waiting) and verdict.is_ready
        judged.ready_since = (now if judged.ready_since is None else judged.ready_since) if is_ready else None
        return _Case(judged, one, reading, verdict)

    def _is_accepted_now(
        self, one: Group, bundle: BundleRecord | None, verdict: Verdict, reading: SidecarReading | None
    ) -> bool:
        """Whether it is what an operator has accepted in failed/, and that has not been known before."""
        if bundle is not None and bundle.id in self._accepted:
            return False
        order = self.acceptances.order_for(one, verdict, reading)
        if order is None or (bundle := bundle or self._open_bundle(one, reading)) is None:
            return False
        self.hear([self.acceptances.take_over(order, bundle.id)])
        return True

    def _act(self, case: _Case, verdict: Verdict, now: float) -> float:
        """Let the ledger know; when to judge again."""
        one, reading = case.group, case.reading
        bundle = self._bundle_of(one)
        if bundle is None:
            if not one.sidecars and _is_settling(verdict):
                return _look_at(verdict)  # its sidecar may be on the way, or its files may belong elsewhere by header
            bundle = self._open_bundle(one, reading)
            if bundle is None:
                return now + self._rules.settle_s
        bundle = self._renamed(bundle, one)
        self._know(bundle, reading)
        self.intake.assign(_paths(one), bundle.id)
        self._apply(bundle, one, verdict, reading)
        self._go_ahead(bundle.id, case)
        # Its exam may be delivered meanwhile, from another place.
        is_alone = len(one.members) == len(one.sidecars) or not (one.sidecars or one.is_archive)
        return (
            min(_look_at(verdict), now + _ALONE_S) if is_alone and isinstance(verdict, Waiting) else _look_at(verdict)
        )

    def _correction(
        self, one: Group, reading: SidecarReading | None, bundle: BundleRecord | None, past: Past | None
    ) -> Correction | None:
        """What lies in failed/ that a sidecar which came alone is for: the newest of its name."""
        if reading is None or not corrections.is_alone(one):
            return None
        drop, mine = self.intake.drop.name, bundle.id if bundle is not None else None
        for other in self._ledger.find_bundles(one.name):
            if other.id == mine or not corrections.is_namesake(other, one, drop):
                continue
            files = self._ledger.files_of(other.id)
            if corrections.ended_badly(other) and not corrections.has_files(files):
                continue  # another sidecar alone, that was still wrong
            if not corrections.ended_badly(other) or not corrections.is_for(reading, other, past):
                return None
            return corrections.of(one, other) if self._is_on_shelf(other.target or "") else None
        return None

    def _is_on_shelf(self, target: str) -> bool:
        try:
            return not self._shelves.is_free(target)
        except AgentError:
            return False  # out of reach: asked again when it is judged again

    def _corrects(self, one: Group, correction: Correction, now: float) -> Waiting:
        """Not at once: it may be the first file of the whole exam, dropped again."""
        at = max(member.watched.since for member in one.members) + self._rules.quiet_s
        self._corrections[one.key] = (correction, at)
        name = correction.target.replace("\\", "/").rpartition("/")[2]
        return Waiting((problem("FA-CORRECTS", name=name),), at if at > now else now + _ALONE_S)

    def _bundle_of(self, one: Group) -> BundleRecord | None:
        bundle_id = self._by_key.get(one.key)
        return None if bundle_id is None else self.open[bundle_id]

    def _known(self, one: Group) -> SidecarReading | Problem | None:
        """What is known of the exam: by its sidecar; where it has none, by what was posted when its study was delivered
        or, if exams may do without, by its headers. Or why what was posted is of no use."""
        if one.sidecars:
            finding = one.sidecars[0].finding
            return finding.sidecar if finding else None
        if one.is_archive:
            return None
        headers = headers_of(one.files)
        earlier = self._earlier.of([facts for _, facts in headers])
        if isinstance(earlier, SidecarReading):
            return earlier
        return (exam_of(headers, self._rules.unsaid) if one.study is not None else None) or earlier

    def _open_bundle(self, one: Group, reading: SidecarReading | None) -> BundleRecord | None:
        try:
            bundle = self._ledger.open_bundle(self.intake.drop.name, one.key, one.name, self._clock.now())
        except StaleState:
            return None  # another agent has just opened it
        self.keep(bundle)
        self._know(bundle, reading)
        self._journal.opened(bundle)
        return bundle

    def _renamed(self, bundle: BundleRecord, one: Group) -> BundleRecord:
        """A study that was alone in its folder is told from the others that came after it."""
        if one.study is None or bundle.state is not BundleState.GATHERING or not one.name.startswith(f"{bundle.name} "):
            return bundle
        bundle = replace(bundle, name=one.name)
        self._ledger.amend([bundle])
        self.keep(bundle)
        return bundle

    def _other_of_the_study(self, one: Group, reading: SidecarReading | None) -> BundleRecord | None:
        """For an exam without a sidecar: another bundle of its study that is on its way, with a sidecar perhaps."""
        if one.study is None or reading is None:
            return None
        uid, number = one.study.uid, reading.get("accessNumber")

        def is_of_it(bundle: BundleRecord) -> bool:
            by_number = bundle.study_uid is None and number is not None and bundle.access_number == number
            is_under_way = bundle.key != one.key and bundle.state is not BundleState.GATHERING
            return is_under_way and (bundle.study_uid == uid or by_number)

        return next(filter(is_of_it, self.open.values()), None)

    def _know(self, bundle: BundleRecord, reading: SidecarReading | None) -> None:
        if reading is not None:
            self._journal.know(bundle.id, personal_values(reading))

    def _apply(self, bundle: BundleRecord, one: Group, verdict: Verdict, reading: SidecarReading | None) -> None:
        self.dossiers.pop(bundle.id, None)
        match verdict:
            case Waiting() if _is_settling(verdict) and bundle.state is not BundleState.GATHERING:
                pass  # nothing is known against it yet; it is judged again in a moment
            case Waiting():
                self._wait(bundle, reading, self._with_template(bundle, one, verdict))
            case Complete():
                self._complete(bundle, one, verdict)
            case Refused():
                self._refuse(bundle, one, reading, verdict)

    def _go_ahead(self, bundle_id: int, case: _Case) -> None:
        bundle = self.open.get(bundle_id)
        if bundle is None or not isinstance(case.verdict, Waiting):
            self.ahead.forget(bundle_id)
        else:
            self.ahead.note(bundle, case.judged.group)

    def _with_template(self, bundle: BundleRecord, one: Group, verdict: Waiting) -> Waiting:
        """What only a person can say is asked for by a template, and the reason says where that lies."""
        if self._templates is None:
            return verdict
        if one.sidecars:
            self._templates.unwant(bundle.key)
        if verdict.draft is None:
            return verdict  # it may be asked for again in a moment: until then it stays
        where = self._templates.want(bundle.key, bundle.name, one.base, verdict.draft)
        return replace(verdict, reasons=(verdict.reasons[0], where, *verdict.reasons[1:]))

    def _wait(self, bundle: BundleRecord, reading: SidecarReading | None, verdict: Waiting) -> None:
        if bundle.state is not BundleState.GATHERING:
            bundle = self._step(bundle, BundleEvent.REOPEN, due_at=None)
        reasons = tuple(reason.masked() for reason in verdict.reasons)
        known = _identity(reading) if reading is not None else {}  # so that one can ask for it while it waits
        changes = {"reasons": reasons, "overdue": verdict.overdue, **known}
        if any(getattr(bundle, name) != value for name, value in changes.items()):
            became_overdue = verdict.overdue and not bundle.overdue
            bundle = replace(bundle, **changes)
            self._ledger.amend([bundle])
            self.keep(bundle)
            self._journal.waits(bundle)
            if became_overdue:
                self._journal.overdue(bundle)

    def _complete(self, bundle: BundleRecord, one: Group, verdict: Complete) -> None:
        what = {"counts": verdict.counts, **_identity(verdict.reading)}
        if bundle.state is not BundleState.GATHERING and any(getattr(bundle, k) != v for k, v in what.items()):
            bundle = self._step(bundle, BundleEvent.REOPEN, due_at=None)  # another exam than the one tried before
        if bundle.state is BundleState.GATHERING:
            bundle = self._step(bundle, BundleEvent.COMPLETE, reasons=(), overdue=False, **what)
        if self._templates is not None:
            self._templates.unwant(bundle.key)
        files = self.intake.records(_paths(one))
        beside = self.intake.below(one.study.places) if one.study is not None else frozenset()
        self.dossiers[bundle.id] = dossier_of(one, verdict, files, self._permit_field, beside)
        self.fresh = True

    def _refuse(self, bundle: BundleRecord, one: Group, reading: SidecarReading | None, verdict: Refused) -> None:
        reasons = tuple(problem_.masked() for problem_ in verdict.problems)
        event = BundleEvent.FAIL if verdict.overdue else BundleEvent.REFUSE
        if verdict.overdue and bundle.state not in (BundleState.GATHERING, BundleState.WAITING):
            bundle = self._step(bundle, BundleEvent.REOPEN)
        identity = _by_files(one) | ({} if reading is None else {k: v for k, v in _identity(reading).items() if v})
        bundle = self._step(bundle, event, reasons=reasons, due_at=None, **identity)
        self.verdicts[bundle.id] = verdict.problems

    def _withdraw(self, bundle: BundleRecord, went_to: str | None) -> None:
        if bundle.state is not BundleState.GATHERING:
            bundle = self._step(bundle, BundleEvent.REOPEN, due_at=None)
        gone_on = self._gone_on.pop(bundle.key, None)
        why = [problem(gone_on or "FA-WITHDRAWN")]
        if went_to is not None and gone_on is None:
            why = [problem("FA-REGROUPED", name=went_to)]
        if sent := sum(record.accepted_at is not None for record in self._ledger.files_of(bundle.id)):
            why.append(problem("FA-SENT-AHEAD", count=sent))
        self._step(bundle, BundleEvent.WITHDRAW, reasons=tuple(why), is_open=False)

    def _step(self, bundle: BundleRecord, event: BundleEvent, **changes: Any) -> BundleRecord:
        after = self._journal.step(bundle, event, **changes)
        self.keep(after)
        return after


def _identity(reading: SidecarReading) -> dict[str, Any]:
    return {
        "study_uid": reading.get("studyUid"),
        "access_number": reading.get("accessNumber"),
        "study_id": reading.get("studyId"),
        "emergency": reading.get("studyCategory") == "emergency",
    }


def _by_files(one: Group) -> dict[str, Any]:
    """Which exam the files say that they are of, where all that say something say the same."""
    facts = [member.finding.dicom for member in one.files if member.finding is not None and member.finding.dicom]
    known: dict[str, set[str]] = {
        "study_uid": {fact.study for fact in facts},
        "access_number": {fact.accession for fact in facts if fact.accession is not None},
    }
    return {name: next(iter(found)) for name, found in known.items() if len(found) == 1}


def _paths(one: Group) -> list[str]:
    """The files that the bundle takes with it. A temporary one is somebody's who is not done with it: it stays."""
    return [member.path for member in one.members if member.kind is not FileKind.TEMPORARY]


def _look_at(verdict: Verdict) -> float:
    return verdict.look_at if isinstance(verdict, Waiting) and verdict.look_at is not None else NEVER


def _is_settling(verdict: Verdict) -> bool:
    return isinstance(verdict, Waiting) and any(reason.code == _SETTLING for reason in verdict.reasons)
