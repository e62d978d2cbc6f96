"""When a bundle is complete, waits or is refused; grouping is total. Property tests over made-up drop folders."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.bundling import BundleRules, Complete, Refused, Waiting, judge
from folder_agent.core.delivered import Content, Past
from folder_agent.core.errors import Problem, problem
from folder_agent.core.grouping import Group, Member, group
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import (
    BundleRecord,
    Counts,
    DicomFacts,
    FileKind,
    Finding,
    ListedFile,
    SidecarReading,
    Sighting,
    Stamp,
)
from folder_agent.core.settling import Watched, has_settled, watch
from folder_agent.core.status import missing_words

RULES = BundleRules()
NOW = 1000.0
CT = "1.2.840.10008.5.1.4.1.1.2"
OLD = Watched(Stamp(10, 1, 1), NOW - 500)


def image(path: str, uid: str | None = None, **facts: object) -> Member:
    uid = uid or f"1.{abs(hash(path))}"
    dicom = DicomFacts(CT, uid, "1.2", "1.2.1", "1.2.840.10008.1.2.1", "P1", "A1", is_image=True, is_report=False)
    return Member(path, FileKind.DICOM, OLD, Finding(FileKind.DICOM, replace(dicom, **facts)))  # type: ignore[arg-type]


def pdf(path: str) -> Member:
    return Member(path, FileKind.PDF, OLD, Finding(FileKind.PDF))


def sidecar(path: str, **more: object) -> Member:
    fields = (("patientId", "P1"), ("accessNumber", "A1"), ("studyUid", "1.2"))
    reading = replace(SidecarReading(fields=fields), **more)  # type: ignore[arg-type]
    return Member(path, FileKind.SIDECAR, OLD, Finding(FileKind.SIDECAR, sidecar=reading))


def past(images: int, pdfs: int = 0) -> Past:
    """So many images (`1.9.0` …, one series) and reports were delivered before."""
    sops = [f"1.9.{n}" for n in range(images)]
    had = Content(
        frozenset(sops), frozenset(), dict.fromkeys(sops, "1.2.1"), frozenset(f"{n:064}" for n in range(pdfs))
    )
    return Past((BundleRecord(1, "ct", "k", "k", BundleState.DONE, 1.0, 2.0),), had)


def folder(*files: Member, **more: object) -> Group:
    return Group("X/", "X", "X", True, (sidecar("X/exam.json", **more),), files)


def codes(verdict: Waiting | Complete | Refused) -> list[str]:
    assert not isinstance(verdict, Complete)
    return [one.code for one in (verdict.reasons if isinstance(verdict, Waiting) else verdict.problems)]


def test_fewer_than_declared_waits_and_says_for_what() -> None:
    files = [image(f"X/{n}") for n in range(12)]
    verdict = judge(folder(*files, declared=Counts(images=14, pdfs=1)), RULES, NOW, 0)
    assert isinstance(verdict, Waiting)
    assert dict(verdict.reasons[0].values)["en"] == "2 of 14 images, 1 PDF"
    words = missing_words(Counts(images=14, pdfs=1), Counts(images=12, pdfs=0))
    assert words is not None
    assert words.zh == "14 张影像中的 2 张、1 份 PDF"


def test_declared_counts_complete_without_waiting_for_quiet() -> None:
    fresh = Watched(Stamp(10, 1, 1), NOW - 3)
    files = [replace(image(f"X/{n}"), watched=fresh) for n in range(3)]
    assert isinstance(judge(folder(*files, declared=Counts(images=3)), RULES, NOW, 0), Complete)
    assert codes(judge(folder(*files), RULES, NOW, 0)) == ["FA-WAIT-QUIET"]
    assert isinstance(judge(folder(*files), RULES, NOW + 60, 60), Complete)


def test_more_than_declared_is_refused_with_both_numbers() -> None:
    verdict = judge(folder(image("X/1"), image("X/2"), image("X/3"), declared=Counts(images=2)), RULES, NOW, 0)
    assert isinstance(verdict, Refused)
    assert dict(verdict.problems[0].values) == {"field": "imageCnt", "declared": 2, "found": 3}


def test_a_sidecar_alone_is_never_complete_by_quiet_unless_its_exam_was_delivered() -> None:
    assert codes(judge(folder(), RULES, NOW + 1e6, 0)) == ["FA-WAIT-ANY-FILE"]
    verdict = judge(folder(), RULES, NOW, 0, past=past(3, pdfs=1))
    assert isinstance(verdict, Complete)
    assert verdict.counts == Counts(3, 0, 1, 1)


def test_the_list_is_trusted_more_than_counts_and_counts_more_than_the_marker() -> None:
    rules = replace(RULES, marker="*.ok")
    listed = (ListedFile("a"), ListedFile("b"))
    assert codes(judge(folder(image("X/a"), listed=listed, declared=Counts(images=1)), rules, NOW, 0)) == [
        "FA-WAIT-LISTED"
    ]
    assert isinstance(judge(folder(image("X/a"), declared=Counts(images=1)), rules, NOW, 0), Complete)
    assert codes(judge(folder(image("X/a")), rules, NOW + 1e6, 0)) == ["FA-WAIT-MARKER"]
    marker = Member("X/x.ok", FileKind.MARKER, OLD, Finding(FileKind.MARKER))
    assert isinstance(judge(folder(image("X/a"), marker), rules, NOW, 0), Complete)


def test_another_patients_image_refuses_and_names_file_and_values() -> None:
    verdict = judge(folder(image("X/a"), image("X/b", patient_id="P2")), RULES, NOW, 0)
    assert isinstance(verdict, Refused)
    (wrong,) = verdict.problems
    assert (wrong.code, wrong.path) == ("FA-MISMATCH", "X/b")
    assert dict(wrong.private) == {"ours": "P1", "theirs": "P2"}
    assert "P2" not in str(wrong.masked())
    unmatched = replace(RULES, match=("studyUid",))
    assert isinstance(judge(folder(image("X/a"), image("X/b", patient_id="P2")), unmatched, NOW, 0), Complete)


def test_an_overdue_bundle_is_shown_and_stays_or_fails_as_set() -> None:
    waiting = folder(image("X/a"), declared=Counts(images=2))
    verdict = judge(waiting, RULES, NOW, RULES.deadline_s)
    assert isinstance(verdict, Waiting)
    assert verdict.overdue
    failed = judge(waiting, replace(RULES, fail_when_overdue=True), NOW, RULES.deadline_s)
    assert isinstance(failed, Refused)
    assert failed.overdue


broken = st.sampled_from(["FA-FILE-TRUNCATED", "FA-FILE-EMPTY", "FA-FILE-UNREADABLE", "FA-FILE-LINK"])
findings: st.SearchStrategy[tuple[FileKind, Problem | None] | None] = st.one_of(
    st.none(),
    st.sampled_from([(FileKind.PDF, None), (FileKind.JUNK, None), (FileKind.FOREIGN, None)]),
    broken.map(lambda code: (FileKind.UNKNOWN, problem(code, detail="x"))),
    st.just((FileKind.UNKNOWN, problem("FA-FILE-DENIED"))),
)


@given(st.lists(findings, max_size=6), st.one_of(st.none(), st.integers(0, 4)), st.floats(0, 200), st.floats(0, 1e6))
def test_nothing_unsettled_or_broken_is_ever_complete_and_nothing_unsettled_is_refused(
    found: list[tuple[FileKind, Problem | None] | None], declared: int | None, still_s: float, age_s: float
) -> None:
    watched = Watched(Stamp(1, 1, 1), NOW - still_s)
    files = [
        Member(f"X/{n}", FileKind.UNKNOWN if one is None else one[0], watched, one and Finding(one[0], problem=one[1]))
        for n, one in enumerate(found)
    ]
    verdict = judge(folder(*files, declared=Counts(pdfs=declared)), RULES, NOW, age_s)
    problems = [one[1] for one in found if one is not None and one[1] is not None]
    if any(one is None for one in found) or any(one.code == "FA-FILE-DENIED" for one in problems):
        assert isinstance(verdict, Waiting)
    if problems:
        assert not isinstance(verdict, Complete)


parts = st.sampled_from(["a", "A", "b", "a_1", "a-1", "ab", "c"])
paths = st.builds(
    lambda folders, stem, extension: "/".join([*folders, stem + extension]),
    st.lists(parts, max_size=3),
    parts,
    st.sampled_from(["", ".dcm", ".pdf", ".json", ".part"]),
)


@given(st.sets(paths, max_size=20), st.sampled_from(["auto", "folder", "flat"]), st.randoms())
def test_every_file_is_in_exactly_one_group_or_unassigned_in_whatever_order_they_come(
    found: set[str], layout: str, random: object
) -> None:
    def member(path: str) -> Member:
        if path.endswith(".json"):
            return sidecar(path, fields=(("accessNumber", path),))
        return pdf(path) if path.endswith(".pdf") else image(path)

    members = [member(path) for path in sorted(found)]
    one = group(members, layout)  # type: ignore[arg-type]
    there = [m.path for g in one.groups for m in g.members] + [m.path for m in one.unassigned]
    assert sorted(there) == sorted(found)
    random.shuffle(members)  # type: ignore[attr-defined]
    assert {g.key: {m.path for m in g.members} for g in group(members, layout).groups} == {  # type: ignore[arg-type]
        g.key: {m.path for m in g.members} for g in one.groups
    }


@given(st.integers(0, 2**62), st.floats(0.1, 100), st.lists(st.floats(0, 50), min_size=1, max_size=6))
def test_a_file_settles_by_our_own_clock_whatever_its_time_stamp_says(
    mtime: int, settle_s: float, looks: list[float]
) -> None:
    now, known = 0.0, None
    for number, pause in enumerate(looks):
        now += pause
        known = watch(known, Sighting("x", Stamp(number, mtime, 1)), now)  # it grows at each look
        assert not has_settled(known, now, settle_s)
    assert has_settled(watch(known, Sighting("x", known.stamp), now + settle_s), now + settle_s, settle_s)  # type: ignore[union-attr]


def test_a_missing_field_waits_while_images_that_may_give_it_are_still_to_come() -> None:
    lacking = {"problems": (problem("FA-FIELD-MISSING", field="modality"),), "absent": ("modality",)}
    to_come = folder(image("X/1"), declared=Counts(images=2), **lacking)
    assert codes(judge(to_come, RULES, NOW, 0)) == ["FA-WAIT-FILES"]
    assert codes(judge(to_come, replace(RULES, fill=False), NOW, 0)) == ["FA-FIELD-MISSING"]
    whole = folder(image("X/1"), declared=Counts(images=1), **lacking)
    assert isinstance(judge(whole, RULES, NOW, 0), Refused)


def test_a_field_that_no_image_can_give_is_refused_as_before() -> None:
    lacking = {"problems": (problem("FA-FIELD-MISSING", field="patientId"),), "absent": ("patientId",)}
    assert codes(judge(folder(image("X/1"), declared=Counts(images=2), **lacking), RULES, NOW, 0)) == [
        "FA-FIELD-MISSING"
    ]


def test_without_a_sidecar_what_is_known_from_elsewhere_is_judged_by_quiet_and_never_refused() -> None:
    alone = Group("X/", "X", "X", True, (), (image("X/1"),))
    known = SidecarReading(fields=(("patientId", "P1"), ("accessNumber", "A1")), encoding=None)
    assert codes(judge(alone, RULES, NOW, 0)) == ["FA-NO-SIDECAR"]
    verdict = judge(alone, RULES, NOW, 0, elsewhere=known)
    assert isinstance(verdict, Complete)
    assert (verdict.sidecar, verdict.reading, verdict.counts.images) == (None, known, 1)
    lacking = replace(known, problems=(problem("FA-NEEDS-SIDECAR", fields="studyId"),))
    assert codes(judge(alone, RULES, NOW, 0, elsewhere=lacking)) == ["FA-NEEDS-SIDECAR"]
    fresh = replace(alone, files=(replace(image("X/1"), watched=Watched(Stamp(10, 1, 1), NOW - 3)),))
    assert codes(judge(fresh, RULES, NOW, 0, elsewhere=lacking)) == ["FA-WAIT-QUIET"]
    stray = replace(alone, files=(image("X/1"), image("X/2", patient_id="P2")))
    assert codes(judge(stray, RULES, NOW, 0, elsewhere=known)) == ["FA-MISMATCH"]
    unknown = replace(known, fields=(("accessNumber", "A1"),))
    assert codes(judge(stray, RULES, NOW, 0, elsewhere=unknown)) == ["FA-MIXED"]
    by_sidecar = judge(folder(image("X/1")), RULES, NOW, 0, elsewhere=lacking)
    assert isinstance(by_sidecar, Complete)


def late(count: int, start: int = 100, series: str = "1.2.2") -> list[Member]:
    """So many images that were not delivered yet, of a series of their own."""
    return [image(f"X/{n}", f"1.9.{n}", series=series) for n in range(start, start + count)]


def at_once(one: Group, had: Past, now: float = NOW) -> Waiting | Complete | Refused:
    return judge(one, RULES, now, 0, past=had)


def test_late_counts_that_mean_the_bundle_are_met_at_once() -> None:
    verdict = at_once(folder(*late(4), declared=Counts(images=4, series=1)), past(10))
    assert isinstance(verdict, Complete)
    assert verdict.counts == Counts(14, 0, 0, 2)


def test_late_counts_that_mean_the_study_are_met_by_the_sum_once_it_is_quiet() -> None:
    """Half of a late series may happen to make up the sum."""
    fresh = Watched(Stamp(10, 1, 1), NOW - 3)
    files = [replace(one, watched=fresh) for one in late(4)]
    one = folder(*files, declared=Counts(images=14, series=2))
    assert codes(at_once(one, past(10))) == ["FA-WAIT-QUIET"]
    verdict = at_once(one, past(10), NOW + 60)
    assert isinstance(verdict, Complete)
    assert verdict.counts == Counts(14, 0, 0, 2)


def test_everything_exported_again_with_a_series_more() -> None:
    files = [image(f"X/{n}", f"1.9.{n}", series="1.2.1") for n in range(10)]
    verdict = at_once(folder(*files, *late(4), declared=Counts(images=14, series=2)), past(10))
    assert isinstance(verdict, Complete)
    assert verdict.counts == Counts(14, 0, 0, 2)


def test_only_the_signed_report_of_a_study_whose_images_are_declared_too() -> None:
    signed = Member("X/r.pdf", FileKind.PDF, OLD, Finding(FileKind.PDF, digest="a" * 64))
    one = folder(signed, declared=Counts(images=10, pdfs=1))
    verdict = at_once(one, past(10, pdfs=1))
    assert isinstance(verdict, Complete)
    assert verdict.counts == Counts(10, 0, 2, 1)
    assert isinstance(at_once(folder(signed, declared=Counts(images=7, pdfs=2)), past(10, pdfs=1)), Complete)


def test_what_is_neither_here_nor_delivered_is_waited_for_and_said() -> None:
    verdict = at_once(folder(*late(2), declared=Counts(images=14)), past(10))
    assert codes(verdict) == ["FA-WAIT-REST"]
    assert isinstance(verdict, Waiting)
    assert dict(verdict.reasons[0].values)["en"] == "2 of 14 images"
    assert dict(verdict.reasons[0].values)["zh"] == "14 张影像中的 2 张"
    verdict = at_once(folder(*late(4), declared=Counts(images=12)), past(10))
    assert isinstance(verdict, Waiting)
    assert dict(verdict.reasons[0].values)["en"] == "8 of 12 images (14 with those)"


def test_too_many_are_only_those_of_the_bundle_itself() -> None:
    verdict = at_once(folder(*late(5), declared=Counts(images=4)), past(10))
    assert isinstance(verdict, Refused)
    assert dict(verdict.problems[0].values) == {"field": "imageCnt", "declared": 4, "found": 5}
    assert isinstance(at_once(folder(declared=Counts(images=4)), past(10)), Complete)


def test_two_copies_of_one_report_are_two_files_and_count_once() -> None:
    copies = [Member(f"X/{n}.pdf", FileKind.PDF, OLD, Finding(FileKind.PDF, digest="a" * 64)) for n in range(2)]
    for declared in (1, 2):
        verdict = judge(folder(*copies, declared=Counts(pdfs=declared)), RULES, NOW, 0)
        assert isinstance(verdict, Complete)
        assert verdict.counts.pdfs == 1
