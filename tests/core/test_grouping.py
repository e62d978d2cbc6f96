"""Which files form a bundle, over the ways in which systems write them; and that sorting many costs what it must."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from folder_agent.core.bundling import BundleRules, Complete, Refused, judge
from folder_agent.core.grouping import Group, Member, group
from folder_agent.core.records import Counts, DicomFacts, FileKind, Finding, ListedFile, SidecarReading, Stamp
from folder_agent.core.settling import Watched

OLD = Watched(Stamp(10, 1, 1), 0.0)
NOW = 1000.0


def sidecar(path: str, number: int = 1, **more: object) -> Member:
    fields = (("patientId", "P1"), ("accessNumber", f"ACC{number}"), ("studyUid", f"1.2.{number}"))
    reading = replace(SidecarReading(fields=fields), **more)  # type: ignore[arg-type]
    return Member(path, FileKind.SIDECAR, OLD, Finding(FileKind.SIDECAR, sidecar=reading))


def image(path: str, number: int = 1) -> Member:
    facts = DicomFacts("1.2.840.10008.5.1.4.1.1.2", f"1.{abs(hash(path))}", f"1.2.{number}", "1.3", "1.2.1", "P1",
                       f"ACC{number}", is_image=True, is_report=False)  # fmt: skip
    return Member(path, FileKind.DICOM, OLD, Finding(FileKind.DICOM, facts))


def other(path: str, kind: FileKind = FileKind.FOREIGN) -> Member:
    return Member(path, kind, OLD, Finding(kind))


def shown(groups: tuple[Group, ...]) -> dict[str, list[str]]:
    return {one.key: [member.path for member in one.members] for one in groups}


def test_sidecar_and_images_in_sibling_folders_are_one_exam_by_header() -> None:
    found = group([sidecar("ACC1/json/x.json"), image("ACC1/dicom/IM1"), image("ACC2/dicom/IM1", 2)])
    assert shown(found.groups) == {
        "ACC1/json/": ["ACC1/json/x.json", "ACC1/dicom/IM1"],
        "ACC2/": ["ACC2/dicom/IM1"],
    }
    assert [one.name for one in found.groups] == ["ACC1", "ACC2"]


def test_a_file_that_still_arrives_in_a_sibling_folder_is_reckoned_with() -> None:
    arriving = Member("ACC1/dicom/IM2", FileKind.UNKNOWN, OLD)
    found = group([sidecar("ACC1/json/x.json"), image("ACC1/dicom/IM1"), arriving])
    verdict = judge(found.groups[1], BundleRules(), NOW, 0.0)
    assert found.groups[1].key == "ACC1/json/"
    assert not isinstance(verdict, Complete | Refused)
    assert verdict.is_ready


def test_with_a_depth_each_folder_there_is_an_exam_with_all_that_is_below_it() -> None:
    pdf = other("2025/ACC1/pdf/report.pdf", FileKind.PDF)
    files = [sidecar("2025/ACC1/json/x.json"), image("2025/ACC1/dicom/IM1"), pdf, image("2025/ACC2/dicom/IM1", 2)]
    found = group(files, depth=2)
    assert shown(found.groups) == {
        "2025/ACC1/": ["2025/ACC1/json/x.json", "2025/ACC1/dicom/IM1", "2025/ACC1/pdf/report.pdf"],
        "2025/ACC2/": ["2025/ACC2/dicom/IM1"],
    }
    assert [one.name for one in found.groups] == ["ACC1", "ACC2"]


def test_with_a_depth_what_lies_above_it_is_no_part_of_what_lies_below() -> None:
    found = group([sidecar("A1.json"), image("ACC1/dicom/IM1"), image("A1_1.dcm"), image("loose", 9)], depth=1)
    assert shown(found.groups) == {"A1.json": ["A1.json", "A1_1.dcm"], "ACC1/": ["ACC1/dicom/IM1"]}
    assert [member.path for member in found.unassigned] == ["loose"]


def test_with_a_depth_another_patients_image_refuses_the_folder_it_lies_in() -> None:
    found = group([sidecar("ACC1/json/x.json"), image("ACC1/dicom/IM1"), image("ACC1/dicom/IM2", 7)], depth=1)
    verdict = judge(found.groups[0], BundleRules(), NOW, 0.0)
    assert isinstance(verdict, Refused)
    assert verdict.problems[0].code == "FA-MISMATCH"


@pytest.mark.parametrize("inside", ["../dicom/IM1", "dicom/IM1"], ids=["jailed", "from the exam's folder"])
def test_a_list_may_start_at_the_sidecars_folder_or_at_the_exams(inside: str) -> None:
    listed = (ListedFile(inside),)
    one = group([sidecar("ACC1/json/x.json", listed=listed), image("ACC1/dicom/IM1")], depth=1).groups[0]
    assert isinstance(judge(one, BundleRules(), NOW, 0.0), Complete) == (inside == "dicom/IM1")
    beside = (ListedFile("IM1"),)
    one = group([sidecar("ACC1/json/x.json", listed=beside), image("ACC1/json/IM1")], depth=1).groups[0]
    assert isinstance(judge(one, BundleRules(), NOW, 0.0), Complete)


def test_in_nested_day_folders_the_exams_folder_is_the_bundle_and_the_day_is_nobodys() -> None:
    files = [sidecar("2025/03/07/ACC1/x.json"), image("2025/03/07/ACC1/IM1"), image("2025/03/07/ACC2/IM1", 2)]
    found = group([*files, image("2025/03/07/IM9", 9)])
    assert shown(found.groups) == {
        "2025/03/07/ACC1/": ["2025/03/07/ACC1/x.json", "2025/03/07/ACC1/IM1"],
        "2025/03/07/ACC2/": ["2025/03/07/ACC2/IM1"],
    }
    assert [member.path for member in found.unassigned] == ["2025/03/07/IM9"]


def test_the_first_exam_of_a_day_folder_does_not_take_the_images_of_the_next() -> None:
    files = [sidecar("20250307/first.json"), image("20250307/IM1"), image("20250307/IM2", 2)]
    found = group(files)
    assert shown(found.groups) == {"20250307/first.json": ["20250307/first.json", "20250307/IM1"]}
    assert [member.path for member in found.unassigned] == ["20250307/IM2"]


def test_an_exam_of_yesterday_and_one_of_today_keep_their_files() -> None:
    files = [sidecar(f"2025/03/0{day}/ACC1/json/x.json") for day in (7, 8)]
    files += [image(f"2025/03/0{day}/ACC1/dicom/IM1") for day in (7, 8)]
    assert shown(group(files).groups) == {
        f"2025/03/0{day}/ACC1/json/": [f"2025/03/0{day}/ACC1/json/x.json", f"2025/03/0{day}/ACC1/dicom/IM1"]
        for day in (7, 8)
    }


def test_a_folder_with_our_why_txt_is_the_one_bundle_that_it_was() -> None:
    files = [sidecar("ACC1/json/x.json"), image("ACC1/dicom/IM1"), other("ACC1/pdf/r.pdf", FileKind.PDF)]
    note = other("ACC1/WHY.txt", FileKind.JUNK)
    for depth in (None, 3):
        assert list(shown(group([*files, note], depth=depth).groups)) == ["ACC1/"]
    two = [*files, note, sidecar("ACC1/other/y.json", 2)]
    assert shown(group(two).groups)["ACC1/json/"] == ["ACC1/json/x.json", "ACC1/dicom/IM1"]


def test_a_zip_that_no_exam_claims_is_to_be_unpacked() -> None:
    files = [sidecar("CT1/exam.json"), image("CT1/IM1"), other("CT1/extra.zip"), other("x.zip"), other("new/y.ZIP")]
    found = group(files, unzip=True)
    assert {one.key: one.is_archive for one in found.groups} == {"CT1/": False, "x.zip": True, "new/y.ZIP": True}
    assert "CT1/extra.zip" in shown(found.groups)["CT1/"]
    assert {member.path for member in group(files).unassigned} == {"x.zip", "new/y.ZIP"}


def test_the_images_of_a_flat_exam_may_come_in_a_zip_of_its_name() -> None:
    files = [sidecar("A1.json"), sidecar("B1.json", 2), other("A1.zip")]
    assert {one.key: one.is_archive for one in group(files, unzip=True).groups}["A1.zip"]
    unpacked = [
        sidecar("A1.json"),
        sidecar("B1.json", 2),
        image("A1.unpacked/IM1"),
        other("A1.unpacked/A1.unpacked.zip"),
    ]
    assert shown(group(unpacked, unzip=True).groups)["A1.json"] == [
        "A1.json",
        "A1.unpacked/A1.unpacked.zip",
        "A1.unpacked/IM1",
    ]


def test_an_unpacked_zip_goes_along_with_the_first_of_its_exams_and_is_not_unpacked_again() -> None:
    files = [
        sidecar("z.unpacked/ACC1/x.json"),
        sidecar("z.unpacked/ACC2/x.json", 2),
        other("z.unpacked/z.unpacked.zip"),
    ]
    found = group(files, unzip=True)
    assert shown(found.groups) == {
        "z.unpacked/ACC1/": ["z.unpacked/ACC1/x.json", "z.unpacked/z.unpacked.zip"],
        "z.unpacked/ACC2/": ["z.unpacked/ACC2/x.json"],
    }
    siblings = [sidecar("z.unpacked/json/x.json"), image("z.unpacked/dicom/IM1"), files[2]]
    assert [(one.key, one.name) for one in group(siblings, unzip=True).groups] == [("z.unpacked/", "z")]


def steps_of(members: list[Member]) -> int:
    """How many lines of the grouping's own code run: a count, not a time."""
    counted = 0

    def count(frame: object, event: str, _: object) -> object:
        nonlocal counted
        counted += event == "line"
        return count

    sys.settrace(count)  # type: ignore[arg-type]
    try:
        group(members)
    finally:
        sys.settrace(None)
    return counted


def flat(exams: int) -> list[Member]:
    """Half by name, half by header, and as many whose sidecar has not come or which are still being written."""
    found = []
    for number in range(exams):
        found += [sidecar(f"A{number}.json", number), image(f"A{number}_1.dcm", number), image(f"IM{number}", number)]
        found += [image(f"X{number}", -number - 1), Member(f"new{number}", FileKind.UNKNOWN, OLD)]
    return found


def in_folders(exams: int) -> list[Member]:
    names = [f"2025/03/07/ACC{number}" for number in range(exams)]
    return [
        one
        for number, name in enumerate(names)
        for one in (sidecar(f"{name}/json/x.json", number), image(f"{name}/dicom/IM1", number))
    ]


def of_one_exam(images: int) -> list[Member]:
    return [sidecar("CT1/exam.json"), *(image(f"CT1/{number // 100}/IM{number}") for number in range(images))]


@pytest.mark.parametrize("made", [flat, in_folders, of_one_exam])
def test_sorting_ten_times_as_many_takes_about_ten_times_as_many_steps(made: object) -> None:
    few, many = (steps_of(made(count)) for count in (200, 2000))  # type: ignore[operator]
    assert many < 13 * few


def test_one_more_file_that_still_arrives_is_no_news_to_the_exams_of_a_flat_folder() -> None:
    before = group(flat(20)).groups
    after = group([*flat(20), Member("another", FileKind.UNKNOWN, OLD)]).groups
    assert before == after
    assert after[0].arriving == before[0].arriving + 1


def test_an_exam_of_five_thousand_images_is_judged_whole() -> None:
    members = [sidecar("CT1/exam.json", declared=Counts(images=5000)), *(of_one_exam(5000)[1:])]
    (one,) = group(members).groups
    verdict = judge(one, BundleRules(), NOW, 0.0)
    assert isinstance(verdict, Complete)
    assert verdict.counts.images == 5000
