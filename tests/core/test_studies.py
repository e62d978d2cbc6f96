"""Exams that their headers hold together: every file in one place, no studies mixed, none without what may be of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folder_agent.core.bundling import PATIENCE, BundleRules, Complete, Refused, Verdict, Waiting, judge
from folder_agent.core.errors import problem
from folder_agent.core.filling import headers_of
from folder_agent.core.folders import STUDY_KEY, left_by, place_of
from folder_agent.core.grouping import Grouping, group
from folder_agent.core.groups import Group, Member
from folder_agent.core.headers import exam_of
from folder_agent.core.records import DicomFacts, FileKind, Finding, Origin, SidecarReading, Source, Stamp
from folder_agent.core.settling import Watched

NOW = 10_000.0
OLD = Watched(Stamp(10, 1, 1), 0.0)
RULES = BundleRules(by_headers=True, quiet_s=60.0)
CT = "1.2.840.10008.5.1.4.1.1.2"


def image(path: str, study: int = 1, *, patient: str | None = "P1", at: float = 0.0, **said: str) -> Member:
    known = {"patientName": "张三", "patientSex": "M", "studyId": f"S{study}", "accessNumber": f"ACC{study}"}
    told = {**known, "modality": "CT", "studyUid": f"1.2.{study}", "studyDate": f"2026-01-0{study} 10:00:00", **said}
    values = tuple((name, value) for name, value in told.items() if value)
    number = told["accessNumber"] or None
    facts = DicomFacts(CT, f"1.9.{abs(hash(path))}", f"1.2.{study}", "1.3", "1.2.1", patient, number,
                       is_image=True, is_report=False, said=values)  # fmt: skip
    return Member(path, FileKind.DICOM, Watched(OLD.stamp, at), Finding(FileKind.DICOM, facts))


def sidecar(path: str, study: int = 1, **more: Any) -> Member:
    fields = {"patientId": "P1", "accessNumber": f"ACC{study}", "studyUid": f"1.2.{study}"}
    sources = tuple(Source(name, Origin.KEY, name) for name in fields)
    reading = replace(SidecarReading(fields=tuple(fields.items()), sources=sources), **more)
    return Member(path, FileKind.SIDECAR, OLD, Finding(FileKind.SIDECAR, sidecar=reading))


def settings_of_a_viewer(path: str, *given: str) -> Member:
    reading = SidecarReading(
        fields=tuple((name, "x") for name in given),
        sources=tuple(Source(name, Origin.KEY, name) for name in given),
        problems=(problem("FA-FIELD-MISSING", field="patientId"),),
    )
    return Member(path, FileKind.SIDECAR, OLD, Finding(FileKind.SIDECAR, sidecar=reading))


def other(path: str, kind: FileKind = FileKind.FOREIGN, at: float = 0.0) -> Member:
    return Member(path, kind, Watched(OLD.stamp, at), Finding(kind))


def damaged(path: str, code: str = "FA-FILE-UNREADABLE", **more: Any) -> Member:
    finding = Finding(FileKind.UNKNOWN, problem=problem(code, path, detail="x"), **more)
    return Member(path, FileKind.UNKNOWN, OLD, finding)


def coming(path: str, at: float = 0.0) -> Member:
    return Member(path, FileKind.UNKNOWN, Watched(OLD.stamp, at))


def sort(*members: Member, **more: Any) -> Grouping:
    return group(members, by_headers=True, **more)


def shown(found: Grouping) -> dict[str, list[str]]:
    return {one.key: [member.path for member in one.members] for one in found.groups}


def named(found: Grouping) -> dict[str, str]:
    return {one.key: one.name for one in found.groups}


def verdict(one: Group, now: float = NOW, rules: BundleRules = RULES) -> Verdict:
    return judge(one, rules, now, 0.0, elsewhere=exam_of(headers_of(one.files)))


def codes(one: Group, now: float = NOW, rules: BundleRules = RULES) -> list[str]:
    found = verdict(one, now, rules)
    if isinstance(found, Complete):
        return []
    return [reason.code for reason in (found.reasons if isinstance(found, Waiting) else found.problems)]


CD = "CD1/DICOM/PA000001/ST{0:06}/SE000001/IM{1:06}"


def cd(studies: int = 1, **said: str) -> list[Member]:
    return [image(CD.format(study, n), study, **said) for study in range(1, studies + 1) for n in (1, 2)]


def viewer() -> list[Member]:
    return [
        other("CD1/DICOMDIR", FileKind.JUNK),
        other("CD1/AUTORUN.INF"),
        other("CD1/VIEWER/view.exe"),
        other("CD1/VIEWER/help.htm"),
        other("CD1/VIEWER/manual.pdf", FileKind.PDF),
        damaged("CD1/VIEWER/BLOB"),
        damaged("CD1/VERSION", is_text=True),
        settings_of_a_viewer("CD1/VIEWER/config.json", "status"),
        settings_of_a_viewer("CD1/package.json"),
    ]


# --- which files ------------------------------------------------------------------------------------------------------


def test_a_cd_with_one_study_is_one_exam_called_like_its_folder_and_the_rest_is_nobodys() -> None:
    found = sort(*cd(), *viewer())
    assert shown(found) == {"CD1/#1.2.1": [CD.format(1, 1), CD.format(1, 2)]}
    assert named(found) == {"CD1/#1.2.1": "CD1"}
    assert {member.path for member in found.unassigned} == {member.path for member in viewer()}
    assert {m.kind for m in found.unassigned} == {FileKind.FOREIGN, FileKind.JUNK}
    assert codes(found.groups[0]) == []


def test_a_cd_with_several_studies_is_as_many_exams_told_apart_by_accession_number_or_order() -> None:
    members = [*cd(2), image(CD.format(3, 1), 3, accessNumber=""), image(CD.format(4, 1), 4, accessNumber="ACC1")]
    assert named(sort(*members, *viewer())) == {
        "CD1/#1.2.1": "CD1 #1",  # its number is another's, too
        "CD1/#1.2.2": "CD1 ACC2",
        "CD1/#1.2.3": "CD1 #3",
        "CD1/#1.2.4": "CD1 #4",
    }


def test_loose_files_are_one_exam_for_each_study() -> None:
    found = sort(image("IM1"), image("2026/03/07/IM2"), image("IM3", 2, accessNumber=""), coming("IM4"))
    assert shown(found) == {"#1.2.1": ["2026/03/07/IM2", "IM1"], "#1.2.2": ["IM3"]}
    assert named(found) == {"#1.2.1": "ACC1", "#1.2.2": "1.2.2"}
    assert all(one.is_unsure for one in found.groups)


def test_one_study_on_two_cds_is_one_exam() -> None:
    found = sort(image("CD2/IM2"), image("CD1/IM1"), image("CD2/IM3", 2))
    assert shown(found) == {"CD1/#1.2.1": ["CD1/IM1", "CD2/IM2"], "CD2/#1.2.2": ["CD2/IM3"]}
    assert named(found) == {"CD1/#1.2.1": "CD1", "CD2/#1.2.2": "CD2 ACC2"}


@pytest.mark.parametrize("layout", ["auto", "folder", "flat"])
def test_a_sidecar_anywhere_takes_its_study(layout: Any) -> None:
    found = sort(*cd(2), sidecar("elsewhere.json", 2), layout=layout)
    assert shown(found) == {
        "CD1/#1.2.1": [CD.format(1, 1), CD.format(1, 2)],
        "elsewhere.json": ["elsewhere.json", CD.format(2, 1), CD.format(2, 2)],
    }


def test_a_sidecar_on_a_cd_of_one_study_takes_all_of_the_folder() -> None:
    found = sort(*cd(), *viewer(), sidecar("CD1/exam.json"))
    assert list(shown(found)) == ["CD1/"]
    assert found.unassigned == ()
    assert isinstance(judge(found.groups[0], RULES, NOW, 0.0), Complete)


@pytest.mark.parametrize("more", [{}, {"depth": 1}, {"layout": "folder"}], ids=["auto", "depth", "folder"])
def test_a_sidecar_on_a_cd_of_several_takes_its_own_only(more: Any) -> None:
    found = sort(*cd(2), *viewer(), sidecar("CD1/exam.json", 2), **more)
    assert shown(found) == {
        "CD1/#1.2.1": [CD.format(1, 1), CD.format(1, 2)],
        "CD1/exam.json": ["CD1/exam.json", CD.format(2, 1), CD.format(2, 2)],
    }


def test_a_sidecar_that_speaks_of_none_of_them_refuses_the_folder_as_ever() -> None:
    found = sort(*cd(2), sidecar("CD1/exam.json", 7))
    assert list(shown(found)) == ["CD1/"]
    assert isinstance(judge(found.groups[0], RULES, NOW, 0.0), Refused)


def test_what_two_sidecars_speak_of_is_left_to_them() -> None:
    found = sort(image("x/IM1"), sidecar("a/A.json"), sidecar("b/B.json"))
    assert "x/IM1" in [member.path for member in found.unassigned]
    assert not any(one.study for one in found.groups)


def test_with_a_depth_each_folder_there_is_a_place() -> None:
    found = sort(image("ward/CD1/IM1"), image("ward/CD2/IM1", 2), image("ward/IM9", 3), depth=2)
    assert named(found) == {"ward/CD1/#1.2.1": "CD1", "ward/CD2/#1.2.2": "CD2", "#1.2.3": "ACC3"}


def test_an_archive_among_other_things_is_left_and_one_by_itself_is_unpacked() -> None:
    found = sort(*cd(), other("CD1/viewer.zip"), other("A9/study.zip"), other("top.zip"), unzip=True)
    assert [one.key for one in found.groups if one.is_archive] == ["A9/study.zip", "top.zip"]
    assert [member.path for member in found.unassigned] == ["CD1/viewer.zip"]


def test_an_unpacked_archive_goes_with_what_was_in_it() -> None:
    packed = other("X.unpacked/X.unpacked.zip")
    found = sort(image("X.unpacked/IM1"), packed, other("X.unpacked/DICOMDIR", FileKind.JUNK))
    assert shown(found) == {"X.unpacked/#1.2.1": ["X.unpacked/IM1", "X.unpacked/X.unpacked.zip"]}
    assert named(found) == {"X.unpacked/#1.2.1": "X"}


def test_the_litter_of_systems_and_our_notes_go_with_the_only_study() -> None:
    litter = [
        other("CD1/Thumbs.db", FileKind.JUNK),
        other("CD1/WHY.txt", FileKind.JUNK),
        other("CD1/DICOMDIR", FileKind.JUNK),
    ]
    assert shown(sort(*cd(), *litter))["CD1/#1.2.1"][-2:] == ["CD1/Thumbs.db", "CD1/WHY.txt"]
    assert {member.path for member in sort(*cd(2), *litter).unassigned} == {member.path for member in litter}


def test_where_a_sidecar_is_required_nothing_is_different() -> None:
    members = [*cd(2), *viewer()]
    assert [one.key for one in group(members).groups] == ["CD1/", "CD1/VIEWER/"]


# --- what is no exam's ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["CD1/exam.json", "CD1/DICOM/exam.json", "ACC1/json/x.json", "loose.json", "2026/03/07/loose.json"]
)
def test_a_json_file_that_may_be_meant_as_a_sidecar_is_one(path: str) -> None:
    for names in (["applyDept"], ["applyDept", "patientName"]):
        found = sort(*cd(), image("ACC1/dicom/IM1", 2), settings_of_a_viewer(path, *names))
        assert any(path in [m.path for m in one.sidecars] for one in found.groups)


@pytest.mark.parametrize("name", ["patientId", "patientName", "studyId", "accessNumber", "studyUid"])
def test_a_json_file_that_names_an_exam_is_a_sidecar_wherever_it_lies(name: str) -> None:
    found = sort(*cd(), settings_of_a_viewer("CD1/VIEWER/a/b.json", name))
    assert "CD1/VIEWER/a/b.json" not in [member.path for member in found.unassigned]


def test_a_pdf_is_a_manual_only_among_programs_and_never_where_a_sidecar_may_want_it() -> None:
    report, manual = other("CD1/report.pdf", FileKind.PDF), other("CD1/VIEWER/manual.pdf", FileKind.PDF)
    members = [*cd(), report, manual, other("CD1/VIEWER/x.exe")]
    assert {m.path: m.kind for m in sort(*members).unassigned if m.path.endswith("pdf")} == {
        "CD1/report.pdf": FileKind.PDF,
        "CD1/VIEWER/manual.pdf": FileKind.FOREIGN,
    }
    with_sidecar = sort(*members, sidecar("CD1/exam.json")).groups[0]
    assert [m.kind for m in with_sidecar.files if m.path.endswith("pdf")] == [FileKind.PDF, FileKind.PDF]


# --- damaged files ----------------------------------------------------------------------------------------------------


def test_a_damaged_file_among_the_images_of_a_study_refuses_it_and_no_other() -> None:
    bad = damaged("CD1/DICOM/PA000001/ST000001/SE000001/IM000009")
    ours, theirs = sort(*cd(2), bad).groups
    assert bad in ours.files
    assert codes(ours) == ["FA-FILE-UNREADABLE"]
    assert codes(theirs) == []


def test_a_whole_series_that_is_damaged_is_not_taken_for_a_viewer() -> None:
    bad = [damaged(f"CD1/DICOM/PA000001/ST000001/SE000002/IM{n}", "FA-FILE-EMPTY") for n in (1, 2)]
    assert codes(sort(*cd(2), *bad).groups[0]) == ["FA-FILE-EMPTY", "FA-FILE-EMPTY"]


def test_a_damaged_file_of_one_of_several_studies_keeps_them_waiting() -> None:
    bad = damaged("CD1/DICOM/PA000001/SE9/IM1", "FA-FILE-TRUNCATED")
    found = sort(*cd(2), bad)
    assert found.unassigned == (bad,)
    assert [codes(one) for one in found.groups] == [["FA-FILE-TRUNCATED"], ["FA-FILE-TRUNCATED"]]


def test_a_damaged_file_that_still_names_its_study_is_of_it_wherever_it_lies() -> None:
    bad = damaged("IM9", "FA-FILE-TRUNCATED", study="1.2.2")
    found = sort(image("IM1"), image("IM2", 2), bad)
    assert [codes(one) for one in found.groups] == [[], ["FA-FILE-TRUNCATED"]]


def test_a_damaged_file_without_any_image_is_nobodys_and_said_so() -> None:
    bad, left = damaged("CD1/IM1", "FA-FILE-EMPTY"), replace(damaged("CD2/x"), is_left=True)
    found = sort(bad, left)
    assert {m.path: m.kind for m in found.unassigned} == {"CD1/IM1": FileKind.UNKNOWN, "CD2/x": FileKind.FOREIGN}


def test_a_file_that_cannot_be_opened_keeps_the_studies_of_its_folder_waiting_unless_it_is_a_programs() -> None:
    locked = damaged("CD1/DICOM/IM9", "FA-FILE-LOCKED")
    assert [codes(one) for one in sort(*cd(2), locked).groups] == [["FA-FILE-LOCKED"], ["FA-FILE-LOCKED"]]
    assert codes(sort(*cd(), damaged("CD1/view.exe", "FA-FILE-DENIED")).groups[0]) == []


# --- when -------------------------------------------------------------------------------------------------------------


def test_quiet_is_that_of_the_whole_folder_but_not_for_ever() -> None:
    fresh = other("CD1/VIEWER/x.dll", at=NOW - 10)
    one = sort(*[replace(m, watched=Watched(OLD.stamp, NOW - 100)) for m in cd()], fresh).groups[0]
    assert codes(one) == ["FA-WAIT-QUIET"]
    assert codes(one, NOW + 51) == []
    busy = sort(*cd(), fresh).groups[0]
    assert codes(busy, NOW + 1) == []  # its own files have been quiet for ten times as long
    still = sort(*[replace(m, watched=Watched(OLD.stamp, NOW - 100)) for m in cd()], coming("CD1/x", NOW - 5))
    assert codes(still.groups[0]) == ["FA-SETTLING"]
    assert codes(still.groups[0], NOW - 100 + PATIENCE * 60.0) == []


def test_another_folder_does_not_disturb() -> None:
    assert codes(sort(*cd(), other("CD2/x.dll", at=NOW)).groups[0]) == []


def test_a_marker_is_believed_if_it_came_last_and_else_after_quiet() -> None:
    rules = replace(RULES, marker="*.ok")
    images = [replace(member, watched=Watched(OLD.stamp, NOW - 10)) for member in cd()]
    assert codes(sort(*images).groups[0], NOW, rules) == ["FA-WAIT-MARKER"]
    last = sort(*images, other("CD1/all.ok", FileKind.MARKER, NOW - 5)).groups[0]
    assert codes(last, NOW, rules) == []
    assert "CD1/all.ok" in [member.path for member in last.files]
    stale = sort(*images, other("CD1/all.ok", FileKind.MARKER, NOW - 50)).groups[0]
    assert codes(stale, NOW, rules) == ["FA-WAIT-QUIET"]
    assert codes(stale, NOW + 60, rules) == []
    for one in sort(
        *[m for n in (1, 2) for m in [image(f"CD1/{n}", n)]], other("CD1/a.ok", FileKind.MARKER, 1.0)
    ).groups:
        assert codes(one, NOW, rules) == []
        assert [member.kind for member in one.files] == [FileKind.DICOM]


# --- what ------------------------------------------------------------------------------------------------------------


def test_two_patients_in_one_study_refuse_it_with_both_files_and_the_others_go() -> None:
    found = sort(*cd(2), image(CD.format(1, 3), 1, patient="P2"))
    ours, theirs = found.groups
    wrong = verdict(ours)
    assert isinstance(wrong, Refused)
    (one,) = wrong.problems
    assert (one.code, one.path, dict(one.values)["other"]) == ("FA-MIXED", CD.format(1, 3), CD.format(1, 1))
    assert dict(one.private) == {"ours": "P1", "theirs": "P2"}
    assert codes(theirs) == []
    lenient = replace(RULES, match=("studyUid",))
    assert codes(ours, NOW, lenient) == ["FA-NEEDS-SIDECAR", "FA-HEADERS-DIFFER"]


def test_what_the_images_disagree_about_is_asked_for_with_two_of_them() -> None:
    one = sort(*cd(), image(CD.format(1, 3), 1, accessNumber="ACC9", studyDesc="x")).groups[0]
    found = verdict(one)
    assert isinstance(found, Waiting)
    assert [reason.code for reason in found.reasons] == ["FA-NEEDS-SIDECAR", "FA-HEADERS-DIFFER"]
    assert found.draft is not None
    assert found.draft.get("patientId") == "P1"
    assert found.draft.get("accessNumber") is None


def test_a_strange_image_below_an_exams_folder_does_not_become_a_bundle_of_that_folders_name() -> None:
    exam, copy = sidecar("CD1/a.json", 2), sidecar("CD1/DICOM/a.json", 2)
    stranger = image("CD1/DICOM/x")
    found = group([exam, copy, settings_of_a_viewer("CD1/DICOM/b.json", "status"), stranger])
    assert [one.key for one in found.groups] == ["CD1/", "CD1/DICOM/a.json", "CD1/DICOM/b.json"]
    assert found.unassigned == (stranger,)


# --- whatever lies there ----------------------------------------------------------------------------------------------

_FOLDERS = st.sampled_from(
    ["", "CD1/", "CD1/DICOM/", "CD1/VIEWER/", "CD2/", "2026/03/07/", "ACC1/json/", "X.unpacked/"]
)
_NAMES = st.sampled_from(["IM1", "IM2", "a.exe", "b.pdf", "c.json", "d.zip", "X.unpacked.zip", "DICOMDIR", "e.ok", "f"])
_MAKERS = st.sampled_from(
    [
        image,
        lambda path: image(path, 2),
        lambda path: image(path, 2, patient="P2"),
        lambda path: image(path, 3, accessNumber=""),
        other,
        lambda path: other(path, FileKind.PDF),
        lambda path: other(path, FileKind.JUNK),
        lambda path: other(path, FileKind.MARKER),
        lambda path: other(path, FileKind.TEMPORARY),
        damaged,
        lambda path: damaged(path, "FA-FILE-TRUNCATED", study="1.2.2"),
        lambda path: damaged(path, "FA-FILE-LOCKED"),
        lambda path: damaged(path, is_text=True),
        coming,
        sidecar,
        lambda path: sidecar(path, 2),
        lambda path: settings_of_a_viewer(path, "status"),
        lambda path: Member(path, FileKind.SIDECAR, OLD),
    ]
)


@given(
    st.dictionaries(st.tuples(_FOLDERS, _NAMES), _MAKERS, max_size=25),
    st.sampled_from(["auto", "folder", "flat"]),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
    st.booleans(),
    st.randoms(),
)
@settings(max_examples=400)
def test_splitting_is_total_and_never_mixes_studies(
    drop: dict[tuple[str, str], Any], layout: Any, depth: int | None, unzip: bool, by_headers: bool, random: Any
) -> None:
    members = [make("".join(parts)) for parts, make in drop.items()]
    how: dict[str, Any] = {"layout": layout, "depth": depth, "unzip": unzip, "by_headers": by_headers}
    found = group(members, **how)
    there = [m.path for one in found.groups for m in one.members] + [m.path for m in found.unassigned]
    assert sorted(there) == sorted(member.path for member in members)
    assert len({one.key for one in found.groups}) == len(found.groups)
    studies = [one for one in found.groups if one.study is not None]
    assert bool(by_headers) or not studies
    spoken = {
        name
        for m in members
        if m.finding and m.finding.sidecar
        for name in (m.finding.sidecar.get("studyUid"), m.finding.sidecar.get("accessNumber"))
    }
    for one in studies:
        assert STUDY_KEY.fullmatch(one.key)
        facts = [m.finding.dicom for m in one.files if m.finding and m.finding.dicom]
        assert {fact.study for fact in facts} == {one.study.uid} if one.study else False
        assert not {one.study.uid if one.study else "", *(fact.accession for fact in facts)} & (spoken - {None})
        others = [member for member in one.files if not member.path.endswith(".unpacked.zip")]
        assert not any(m.kind in (FileKind.PDF, FileKind.SIDECAR, FileKind.TEMPORARY) for m in others)
        assert not isinstance(verdict(one, 1.0), Complete)
        own, _ = left_by([m.path for m in one.files], one.key)
        assert all(place_of(f"{folder}/x", depth) or ".unpacked" in folder for folder in own)
    for one in found.groups:
        judge(one, RULES, NOW, 0.0)
    random.shuffle(members)
    assert group(members, **how).groups == found.groups
