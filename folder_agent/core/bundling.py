"""Whether a bundle is complete, waits, or must be refused: the judgement that keeps exams from being half-sent.

What completes a bundle, in this order of trust: the sidecar's own list; the declared counts; the marker file; quiet.
Only the most trusted one that a bundle has is asked. Refusing waits until the bundle is whole or quiet, so that an
exam that is still arriving is not torn in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from folder_agent.core import acceptance, checking, delivered, filling, headers, unpacking
from folder_agent.core.catalogue import disposition
from folder_agent.core.delivered import Content, Past
from folder_agent.core.errors import Disposition, Problem, problem
from folder_agent.core.groups import Group, Member, Study
from folder_agent.core.records import Counts, FileKind, SidecarReading
from folder_agent.core.settling import settles_at
from folder_agent.core.status import missing_words


@dataclass(frozen=True, slots=True)
class BundleRules:
    """A drop folder's settings, as judging needs them (seconds)."""

    settle_s: float = 2.0
    quiet_s: float = 60.0
    marker: str | None = None
    match: tuple[str, ...] = ("studyUid", "accessNumber", "patientId")
    deadline_s: float = 24 * 3600.0
    fail_when_overdue: bool = False
    fill: bool = True  # what the sidecar lacks may come from the files
    by_headers: bool = False  # and so may all of it
    eager: bool = False  # what is surely of the exam is sent before all of it is there
    replaces: bool = False  # an instance that was delivered with other bytes is replaced, not refused
    drafts: bool = False  # where all need a sidecar: whether a person is helped to write one that does not come
    unsaid: SidecarReading = headers.NOTHING  # what the site's mapping says of every exam without a sidecar


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet. `look_at` is the monotonic time at which time alone may change the verdict; None: only files can."""

    reasons: tuple[Problem, ...]
    look_at: float | None
    overdue: bool = False
    is_ready: bool = False  # but for files that are arriving, of which nobody knows yet whose they are
    draft: SidecarReading | None = None  # what is certain of an exam whose sidecar a person has to write


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything is there: the exam's fields, what is counted, what is sent and what was worth a warning."""

    reading: SidecarReading
    sidecar: Member | None  # None: what is known of the exam comes from elsewhere
    counts: Counts
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """It can never go as it is; `overdue` tells a deadline from wrong content."""

    problems: tuple[Problem, ...]
    overdue: bool = False


Verdict = Waiting | Complete | Refused
LOOK_AGAIN_S = 1.0
_COUNTS = tuple(one.name for one in fields(Counts))
PATIENCE = 10  # times quiet_s: so long an exam that has all come waits for what else comes into its folder
# A file that is cut short may be one that is still being written, slowly: only silence tells.
MAY_GROW = frozenset({"FA-FILE-TRUNCATED", "FA-FILE-EMPTY", "FA-SIDECAR-EMPTY", "FA-SIDECAR-JSON"})


def judge(
    group: Group,
    rules: BundleRules,
    now: float,
    age_s: float,
    *,
    changed_at: float | None = None,
    past: Past | None = None,
    ready_since: float | None = None,
    trouble: Problem | None = None,
    elsewhere: SidecarReading | None = None,
    accepted: Problem | None = None,
) -> Verdict:
    """The verdict on a group at the monotonic time `now`, for a bundle that was opened `age_s` seconds ago.

    `changed_at` is when a file of it was last seen to go away; `past` is what was delivered of its study before: then
    a sidecar alone is an update, and declared counts may be the bundle's own or the study's; `ready_since` is since
    when only others' files kept it waiting (monotonic); `trouble` is why an archive could not be unpacked; `elsewhere`
    is what is known of the exam without a sidecar, used where there is none: its problems are waited on, not refused;
    `accepted` is an operator's word that no more is to come, and that what is there counts.
    """
    if group.is_archive:
        verdict = _judge_archive(group.files[0], rules, now, trouble)
    else:
        verdict = _judge(group, rules, now, changed_at, past, ready_since, elsewhere, accepted)
    if not isinstance(verdict, Waiting) or age_s < rules.deadline_s:
        return _look_at_deadline(verdict, now, rules.deadline_s - age_s)
    hours = round(rules.deadline_s / 3600)
    if rules.fail_when_overdue:
        return Refused((problem("FA-OVERDUE", hours=hours), *verdict.reasons), overdue=True)
    return replace(verdict, overdue=True)


def _judge(
    group: Group,
    rules: BundleRules,
    now: float,
    changed_at: float | None,
    past: Past | None,
    ready_since: float | None,
    elsewhere: SidecarReading | None,
    accepted: Problem | None,
) -> Verdict:
    files = [member for member in group.members if member.kind is not FileKind.TEMPORARY]
    own_at = max([member.watched.since for member in group.members] + ([] if changed_at is None else [changed_at]))
    quiet_at = own_at + rules.quiet_s
    study = group.study
    unsettled = [member for member in files if member.finding is None]
    if study is not None:
        at_last = own_at + PATIENCE * rules.quiet_s
        quiet_at = max(quiet_at, min((study.stirred_at or own_at) + rules.quiet_s, at_last))
        unsettled += study.coming if now < at_last else ()
    if unsettled:
        return Waiting((problem("FA-SETTLING", count=len(unsettled)),), _settles(unsettled, rules, now))
    unopened = _problems_of(files, Disposition.WAIT)
    if study is not None:
        unopened += study.obstacles
    if unopened:
        return Waiting(unopened, None)
    sidecar = group.sidecars[0] if group.sidecars else None
    if sidecar is None and elsewhere is None:
        return _without_sidecar(files, rules, quiet_at, now)
    reading = elsewhere if sidecar is None else sidecar.finding.sidecar if sidecar.finding else None
    problems = every_problem(group, reading, rules)
    missing = _missing(group, reading, rules, quiet_at, now, past) if reading and accepted is None else ()
    if accepted is not None:
        problems = acceptance.without_counts(problems)
    if missing and (not problems or (rules.fill and filling.may_be_filled(problems))):
        return Waiting(missing, quiet_at if quiet_at > now else None)
    if not problems:
        assert reading is not None  # without a reading there is a problem
        if sidecar is None and reading.problems:
            return Waiting(reading.problems, None, draft=reading)
        if group.is_unsure and (past is not None or not _is_trusted(group, reading, rules)):
            # Nothing says that a file which is just arriving is not of this exam; but a busy folder is never still.
            until = (now if ready_since is None else ready_since) + rules.quiet_s
            if now < until:
                return Waiting((problem("FA-SETTLING", count=group.arriving),), until, is_ready=True)
        words = () if accepted is None else (accepted,)
        counts = delivered.total(past, content(group))
        return Complete(reading, sidecar, counts, (*_warnings(group, reading), *words))
    may_grow = any(one.code in MAY_GROW for one in problems)
    if now >= quiet_at or (reading and not missing and not may_grow and _is_trusted(group, reading, rules)):
        return Refused(problems)
    return Waiting((*problems, problem("FA-WAIT-QUIET", seconds=round(rules.quiet_s))), quiet_at)


def _without_sidecar(files: Sequence[Member], rules: BundleRules, quiet_at: float, now: float) -> Waiting:
    """It may come last; if it does not, somebody has to write it."""
    reasons = (problem("FA-NO-SIDECAR"),)
    if not rules.drafts:
        return Waiting(reasons, None)
    if now < quiet_at:
        return Waiting(reasons, quiet_at)
    return Waiting(reasons, None, draft=headers.exam_of(filling.headers_of(files)) or headers.NOTHING)


def _judge_archive(archive: Member, rules: BundleRules, now: float, trouble: Problem | None) -> Verdict:
    if archive.finding is None:
        return Waiting((problem("FA-SETTLING", count=1),), _settles([archive], rules, now))
    wrong = archive.finding.problem or trouble
    if wrong is None:
        return Waiting((problem("FA-UNPACKING", archive.path),), None)
    quiet_at = archive.watched.since + rules.quiet_s
    if not unpacking.is_final(wrong):
        return Waiting((wrong,), None)
    if unpacking.may_grow(wrong) and now < quiet_at:
        return Waiting((wrong, problem("FA-WAIT-QUIET", seconds=round(rules.quiet_s))), quiet_at)
    return Refused((wrong,))


def content(group: Group) -> Content:
    """What is counted of a group's own files."""
    return delivered.content_of((member.path, member.finding) for member in group.files)


def _settles(unsettled: Sequence[Member], rules: BundleRules, now: float) -> float:
    at = min(settles_at(member.watched, rules.settle_s) for member in unsettled)
    return at if at > now else now + max(rules.settle_s, LOOK_AGAIN_S)  # still enough, but out of reach


def _look_at_deadline(verdict: Verdict, now: float, left_s: float) -> Verdict:
    if not isinstance(verdict, Waiting):
        return verdict
    at = now + left_s
    return replace(verdict, look_at=at if verdict.look_at is None else min(at, verdict.look_at))


def _problems_of(files: Sequence[Member], wanted: Disposition) -> tuple[Problem, ...]:
    found = [member.finding.problem for member in files if member.finding and member.finding.problem]
    return tuple(one for one in found if (disposition(one) is Disposition.WAIT) == (wanted is Disposition.WAIT))


def every_problem(group: Group, reading: SidecarReading | None, rules: BundleRules) -> tuple[Problem, ...]:
    """All that is known to speak against the exam as it lies there."""
    problems = [*_problems_of(group.members, Disposition.REFUSE)]
    if len(group.sidecars) > 1:
        first, second = (member.path for member in group.sidecars[:2])
        problems.append(problem("FA-TWO-SIDECARS", first=first, second=second))
    if reading is not None:
        match = rules.match
        if not group.sidecars:
            match = tuple(name for name in match if reading.get(name) is not None)
            if headers.PATIENT not in match:
                problems += headers.mixed(filling.headers_of(group.files), rules.match)
        else:
            in_file = group.sidecars[0].path
            problems += [replace(one, path=one.path or in_file) for one in reading.problems if one not in problems]
        problems += checking.identity(group.files, reading, match)
        problems += checking.listing(group, reading)
        problems += checking.too_many(content(group).counts, reading)
    return tuple(dict.fromkeys(problems))


def _missing(
    group: Group, reading: SidecarReading, rules: BundleRules, quiet_at: float, now: float, past: Past | None
) -> tuple[Problem, ...]:
    """What is still waited for, judged by the most trusted measure that this bundle has; empty when nothing is."""
    if reading.listed is not None:
        absent = checking.absent(group, reading)
        return (
            (problem("FA-WAIT-LISTED", absent[0], missing=len(absent), total=len(reading.listed), first=absent[0]),)
            if absent
            else ()
        )
    quiet = problem("FA-WAIT-QUIET", seconds=round(rules.quiet_s))
    if reading.declared != Counts():
        lacking, is_by_sum = _lacking(group, reading.declared, past)
        # What only the sum with earlier deliveries amounts to may be the half of what is still to come.
        return (lacking,) if lacking else (quiet,) if is_by_sum and now < quiet_at else ()
    is_late = past is not None and not group.sidecars  # nobody who only adds images marks their end
    if rules.marker is not None and not is_late:
        marked = any(member.kind is FileKind.MARKER for member in group.files)
        if group.study is not None:
            return _unmarked(group.study, group, rules, quiet_at, now)
        return () if marked else (problem("FA-WAIT-MARKER", marker=rules.marker),)
    has_files = any(member.kind in (FileKind.DICOM, FileKind.PDF) for member in group.files)
    if not has_files and past is None:
        return (problem("FA-WAIT-ANY-FILE"),)
    return () if now >= quiet_at else (quiet,)


def _lacking(group: Group, declared: Counts, past: Past | None) -> tuple[Problem | None, bool]:
    """What the declared counts still lack, and whether some are met by the sum with what was delivered before only.

    Each is met by the bundle's own files or by the study's so far, because either may be meant.
    """
    mine = content(group)
    pdfs = sum(member.kind is FileKind.PDF for member in group.files)  # whoever declares them counts files
    own, in_all = replace(mine.counts, pdfs=pdfs), delivered.total(past, mine)
    names = [name for name in _COUNTS if getattr(declared, name) is not None]
    short = [name for name in names if getattr(own, name) < getattr(declared, name)]
    open_ = short if past is None else [name for name in short if not _is_met_by_sum(name, declared, own, in_all)]
    if not open_:
        return None, bool(short)
    wanted = Counts(**{name: getattr(declared, name) for name in open_})
    is_below = {name: getattr(in_all, name) < getattr(declared, name) for name in open_}
    found = Counts(**{name: getattr(in_all if is_below[name] else own, name) for name in open_})
    words = missing_words(wanted, found, in_all if past is not None else None)
    assert words is not None
    return problem("FA-WAIT-FILES" if past is None else "FA-WAIT-REST", zh=words.zh, en=words.en), False


def _is_met_by_sum(name: str, declared: Counts, own: Counts, in_all: Counts) -> bool:
    """A count of a kind of which nothing is here can only be the study's, and that may have grown since."""
    wanted, here, sum_ = (getattr(counts, name) for counts in (declared, own, in_all))
    return bool(sum_ == wanted or (here == 0 and sum_ > wanted))


def _unmarked(study: Study, group: Group, rules: BundleRules, quiet_at: float, now: float) -> tuple[Problem, ...]:
    """A marker may have been left by what lay there before: it is believed if it came last, and else after quiet."""
    if study.marked_at is None:
        return (problem("FA-WAIT-MARKER", marker=rules.marker or ""),)
    others = [member.watched.since for member in group.files if member.kind is not FileKind.MARKER]
    came_last = study.marked_at > max([*others, study.stirred_at or 0.0])
    return () if came_last or now >= quiet_at else (problem("FA-WAIT-QUIET", seconds=round(rules.quiet_s)),)


def _is_trusted(group: Group, reading: SidecarReading, rules: BundleRules) -> bool:
    """Whether something better than silence says that no more is to come. Too many is never a proof of that."""
    if reading.listed is None and reading.declared == Counts():
        return rules.marker is not None
    return not checking.too_many(content(group).counts, reading)


def _warnings(group: Group, reading: SidecarReading) -> tuple[Problem, ...]:
    foreign = [problem("FA-FILE-FOREIGN", m.path) for m in group.files if m.kind is FileKind.FOREIGN]
    return (*reading.warnings, *foreign)
