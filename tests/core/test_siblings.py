"""Whose a report is that lies beside the folder of its sidecar: only where its name or its folder's is the exam's."""

from __future__ import annotations

import pytest

from folder_agent.core.grouping import Member, group
from folder_agent.core.records import FileKind, Finding, ListedFile
from tests.core.test_grouping import OLD, image, other, sidecar


def pdf(path: str) -> Member:
    return other(path, FileKind.PDF)


def owners(*members: Member) -> dict[str, str]:
    """Each PDF that has found its exam, with the exam's key."""
    found = group(members).groups
    return {m.path: one.key for one in found if one.sidecars for m in one.files if m.path.endswith(".pdf")}


@pytest.mark.parametrize("home", ["ACC1", "acc1", "2025/03/07/ACC1", "ward/ACC1", "1.2.1"])
@pytest.mark.parametrize("kind", ["pdf", "REPORT", "报告", "data/pdf"])
def test_in_a_folder_that_is_called_as_the_exam_is_every_report_is_of_it(home: str, kind: str) -> None:
    files = [sidecar(f"{home}/json/x.json"), image(f"{home}/dicom/IM1"), pdf(f"{home}/{kind}/r.pdf")]
    assert owners(*files) == {f"{home}/{kind}/r.pdf": f"{home}/json/"}


def test_in_a_folder_that_several_exams_may_share_no_report_is_guessed_at() -> None:
    """The second exam's sidecar and images may come later than its report."""
    first = [sidecar("siteA/json/A1.json"), image("siteA/dicom/IM1")]
    assert owners(*first, pdf("siteA/pdf/r.pdf")) == {}
    assert owners(*first, pdf("siteA/pdf/A2.pdf")) == {}
    assert owners(sidecar("json/x.json"), image("dicom/IM1"), pdf("pdf/r.pdf")) == {}
    assert owners(sidecar("20250307/json/x.json"), pdf("20250307/pdf/r.pdf")) == {}


@pytest.mark.parametrize("home", ["", "siteA/", "2025/03/07/"])
def test_a_report_that_is_called_as_its_sidecar_is_of_that_exam(home: str) -> None:
    files = [sidecar(f"{home}json/A{n}.json", n) for n in (1, 2, 10)]
    names = ["A1.pdf", "A2_final.pdf", "A10-1.pdf", "A100.pdf", "B.pdf"]
    found = owners(*files, *(pdf(f"{home}pdf/{name}") for name in names))
    assert found == {
        f"{home}pdf/A1.pdf": f"{home}json/A1.json",
        f"{home}pdf/A2_final.pdf": f"{home}json/A2.json",
        f"{home}pdf/A10-1.pdf": f"{home}json/A10.json",
    }


def test_the_name_is_compared_within_one_place_only() -> None:
    days = [sidecar(f"2025/03/0{day}/json/A1.json", day) for day in (7, 8)]
    assert owners(*days, pdf("2025/03/08/pdf/A1.pdf")) == {"2025/03/08/pdf/A1.pdf": "2025/03/08/json/"}
    assert owners(*days, pdf("pdf/A1.pdf"), pdf("2025/03/09/pdf/A1.pdf")) == {}


def test_two_exams_below_a_folder_share_nothing_in_it() -> None:
    two = [sidecar("ACC1/json/x.json"), sidecar("ACC1/data/y.json", 2)]
    assert owners(*two, pdf("ACC1/pdf/r.pdf")) == {}
    deeper = [sidecar("ACC1/json/x.json"), sidecar("ACC1/more/ACC2/json/y.json", 2)]
    assert owners(*deeper, pdf("ACC1/pdf/r.pdf")) == {}
    assert owners(*two, pdf("ACC1/pdf/x.pdf")) == {"ACC1/pdf/x.pdf": "ACC1/json/"}


def test_two_sidecars_of_one_exam_have_the_report_in_common() -> None:
    two = [sidecar("ACC1/json/x.json"), sidecar("ACC1/json/y.json")]
    assert owners(*two, pdf("ACC1/pdf/r.pdf")) == {"ACC1/pdf/r.pdf": "ACC1/json/"}


def test_a_sidecar_that_lists_its_files_takes_no_more() -> None:
    listed = sidecar("ACC1/json/x.json", listed=(ListedFile("IM1"),))
    assert owners(listed, pdf("ACC1/pdf/x.pdf")) == {}


def test_a_report_that_is_still_arriving_is_waited_for_and_one_that_is_broken_counts() -> None:
    arriving = Member("ACC1/pdf/r.PDF", FileKind.UNKNOWN, OLD)
    broken = Member("ACC1/pdf/s.pdf", FileKind.PDF, OLD, Finding(FileKind.PDF))
    (one,) = group([sidecar("ACC1/json/x.json"), arriving, broken]).groups
    assert {member.path for member in one.files} == {"ACC1/pdf/r.PDF", "ACC1/pdf/s.pdf"}


def test_images_are_never_taken_by_where_they_lie() -> None:
    (exam, waiting) = group([sidecar("ACC1/json/x.json"), image("ACC1/dicom/IM1", 2)]).groups
    assert {exam.key, waiting.key} == {"ACC1/json/", "ACC1/"}
    assert not any(one.files and one.sidecars for one in (exam, waiting))
