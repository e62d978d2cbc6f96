"""What is counted of a study over all of its deliveries: the same whatever came when, in which order, how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.delivered import (
    Content,
    Past,
    Role,
    adds_nothing,
    content_of,
    fingerprint,
    is_of_study,
    past_of,
    replaced,
    role_of,
    total,
    with_counts,
)
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.records import BundleRecord, Counts, DicomFacts, FileKind, FileRecord, Finding, Stamp

IMAGE = DicomFacts("1.2.840", "1.2.3", "1.2", "1.2.9", "1.2.1", "P1", "A1", is_image=True, is_report=False)


def image(number: int, series: str = "1", role: Role = Role.IMAGE) -> Finding:
    facts = replace(IMAGE, sop_instance=f"1.{number}", series=series)
    kinds = {"is_image": role is Role.IMAGE, "is_report": role is Role.REPORT}
    return Finding(FileKind.DICOM, replace(facts, **kinds))  # type: ignore[arg-type]


def pdf(number: int) -> Finding:
    return Finding(FileKind.PDF, digest=f"{number:064}")


def bundle(number: int, counts: Counts = Counts(), **more: object) -> BundleRecord:  # noqa: B008 - frozen
    known = BundleRecord(number, "ct", f"{number}/", f"{number}", BundleState.DONE, 1.0, 2.0, counts=counts)
    return replace(known, committed_at=float(number), **more)  # type: ignore[arg-type]


def record(found: Finding, bundle_id: int = 1, is_old: bool = False, **more: object) -> FileRecord:
    """A file that was delivered; an old one is of a version that kept neither role nor series."""
    facts = found.dicom
    role = None if is_old else role_of(found)
    known = FileRecord(
        1,
        "ct",
        "CT1/x",
        Stamp(1, 1, 1),
        FileState.SENT,
        found.kind,
        bundle_id,
        sop_instance=facts.sop_instance if facts else None,
        sha256=found.digest or f"{facts.sop_instance if facts else ''}",
        accepted_at=float(bundle_id),
        role=role and str(role),
        series=facts.series if facts and not is_old else None,
        digest=None if is_old else found.digest,
    )
    return replace(known, **more)  # type: ignore[arg-type]


def content(findings: Iterable[Finding]) -> Content:
    return content_of((f"CT1/{number}", one) for number, one in enumerate(findings))


def delivered(drops: Sequence[Sequence[Finding]]) -> tuple[Past | None, Counts]:
    """The past after those drops, one after the other, and what was posted last."""
    bundles: list[BundleRecord] = []
    files: dict[int, list[FileRecord]] = {}
    counts = Counts()
    for number, drop in enumerate(drops, 1):
        counts = total(past_of(bundles, files), content(drop))
        bundles.append(bundle(number, counts))
        files[number] = [record(one, number) for one in drop]
    return past_of(bundles, files), counts


whole = st.lists(
    st.one_of(
        st.builds(
            lambda number, role: image(number, str(number % 3), role),
            st.integers(0, 30),
            st.sampled_from([Role.IMAGE, Role.IMAGE, Role.REPORT, Role.OBJECT]),
        ),
        st.builds(pdf, st.integers(0, 3)),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one.dicom.sop_instance if one.dicom else one.digest,
)


@given(whole, st.data())
def test_any_split_in_any_order_with_repeats_ends_in_the_same_counts_and_sends_each_once(
    study: list[Finding], data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, 5))
    parts: list[list[Finding]] = [[] for _ in range(number)]
    for one in data.draw(st.permutations(study)):
        for part in data.draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=number)):
            parts[part].append(one)
    drops = [*parts, *data.draw(st.lists(st.sampled_from(parts), max_size=2))]
    past, counts = delivered(drops)
    assert counts == content(study).counts
    assert past is not None
    assert all(adds_nothing(past, content(drop), {}) for drop in drops)
    seen = Content()
    for drop in drops:  # each step sends what is not in the past yet
        seen |= content(drop)
    assert seen == content(study)


@given(whole, whole)
def test_what_old_rows_do_not_say_is_never_counted_twice(first: list[Finding], second: list[Finding]) -> None:
    """A repeat of what an older version delivered counts what that counted; more only adds what is new."""
    counts = content(first).counts
    past = past_of([bundle(1, counts)], {1: [record(one, is_old=True) for one in first]})
    again = total(past, content(first))
    assert (again.images, again.reports, again.pdfs, again.series) == (
        counts.images,
        counts.reports,
        counts.pdfs,
        counts.series,
    )
    more = total(past, content([*first, *second]))
    assert (more.images or 0) >= (counts.images or 0)
    assert (more.pdfs or 0) == len(content([*first, *second]).pdfs)


def test_old_rows_of_images_alone_are_known_for_images() -> None:
    past = past_of([bundle(1, Counts(2, 0, 0, 1))], {1: [record(image(n), is_old=True) for n in range(2)]})
    assert past is not None
    assert total(past, content([image(1), image(2)])) == Counts(3, 0, 0, 1)
    assert total(past, content([image(2, "2")])) == Counts(3, 0, 0, 2)


def test_of_old_rows_of_several_kinds_what_was_counted_then_holds() -> None:
    old = [image(0), image(1), image(2, "2", Role.REPORT)]
    past = past_of([bundle(1, Counts(2, 1, 0, 2))], {1: [record(one, is_old=True) for one in old]})
    assert total(past, content([image(5, "3"), image(0)])) == Counts(3, 1, 0, 3)


def test_what_was_only_counted_is_part_of_the_past_and_what_was_taken_away_is_not() -> None:
    counted = record(image(0), state=FileState.SETTLED, accepted_at=None, sha256=None)
    gone = record(image(1), state=FileState.VANISHED, accepted_at=None, sha256=None)
    past = past_of([bundle(1)], {1: [counted, gone]})
    assert total(past, Content()) == Counts(1, 0, 0, 1)


def test_pdfs_are_told_apart_by_their_bytes() -> None:
    assert content([pdf(1), pdf(1), pdf(2)]).counts == Counts(0, 0, 2, 0)


def test_other_bytes_of_an_instance_are_something_new() -> None:
    first, second = record(image(0)), record(image(0), 2, sha256="newer")
    past = past_of([bundle(1), bundle(2)], {1: [first], 2: [second]})
    assert past is not None
    assert past.versions["1.0"].sha256 == "newer"
    assert adds_nothing(past, content([image(0)]), {"1.0": "newer"})
    assert not adds_nothing(past, content([image(0)]), {"1.0": first.sha256 or ""})
    assert not adds_nothing(past, content([image(1)]), {})
    before = past_of([bundle(1)], {1: [first]})
    assert [(one.id, old.sha256) for one, old in replaced(before, [second])] == [(second.id, first.sha256)]
    assert replaced(before, [first]) == replaced(None, [first]) == []


def test_a_study_is_known_by_its_numbers_and_none_may_contradict() -> None:
    one = bundle(1, study_uid="1.2", access_number="A1")
    assert is_of_study(one, "A1", "1.2")
    assert not is_of_study(one, "A2", "1.2")
    assert is_of_study(one, None, "1.2")
    assert is_of_study(one, "A1", None)
    assert not is_of_study(one, "A1", "1.3")
    assert not is_of_study(one, None, None)
    nameless = replace(one, study_uid=None)
    assert is_of_study(nameless, "A1", "1.3")
    assert not is_of_study(nameless, None, "1.2")


def test_the_counts_do_not_tell_one_exam_from_another_and_everything_else_does() -> None:
    exam: dict[str, str | int] = {"patientName": "王小明", "imageCnt": 3}
    assert with_counts(exam, Counts(5, None, 1, 2)) == {
        "patientName": "王小明",
        "imageCnt": 5,
        "reportCnt": 0,
        "pdfCnt": 1,
        "seriesCnt": 2,
    }
    assert fingerprint(exam) == fingerprint({"imageCnt": 4, "patientName": "王小明"})
    assert fingerprint(exam) != fingerprint({**exam, "patientName": "王小红"})
    assert "王" not in fingerprint(exam)
