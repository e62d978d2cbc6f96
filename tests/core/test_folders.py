"""What a folder's name says, and which folders go with a bundle that is moved out of them."""

from __future__ import annotations

import pytest

from folder_agent.core.folders import at_depth, exam_name, home_of, is_calendar, left_by, top_of

CALENDAR = ["2025", "2025/03", "2025/03/07", "2025/3/7", "20250307", "2025-03-07", "2025.3.7", "2025-03/07", "202503"]
CALENDAR += ["202503/07", "pacs1/2025/03/07", "pacs1/20250307", "2025年3月7日", "2025年/3月/7日", "2025年03月"]
NOT_CALENDAR = ["07", "3/7", "20251307", "20250332", "2025/13", "ACC123", "2025/03/07/ACC123", "20250307001", "1999001"]
NOT_CALENDAR += ["", "2025/03/07/08", "CT20250307", "2025-03-07 a"]


@pytest.mark.parametrize("folder", CALENDAR)
def test_a_folder_of_the_calendar(folder: str) -> None:
    assert is_calendar(folder)


@pytest.mark.parametrize("folder", NOT_CALENDAR)
def test_no_folder_of_the_calendar(folder: str) -> None:
    assert not is_calendar(folder)


def test_a_folder_that_is_named_for_a_kind_of_file_is_a_part_of_the_exams() -> None:
    assert [home_of(one) for one in ("ACC1/json", "ACC1/data/DICOM", "ACC1", "json", "2025/03/07/json")] == [
        "ACC1",
        "ACC1",
        "ACC1",
        "json",
        "2025/03/07/json",
    ]
    assert exam_name("2025/03/07/ACC1/json") == "ACC1"
    assert exam_name("ACC1.unpacked") == "ACC1"


def test_the_topmost_folder_that_may_be_one_exams_lies_below_the_calendar() -> None:
    assert top_of("2025/03/07/ACC1/dicom/IM1") == "2025/03/07/ACC1"
    assert top_of("ACC1/2025/IM1") == "ACC1"
    assert (top_of("2025/03/07/IM1"), top_of("IM1")) == ("", "")


def test_a_depth_is_counted_in_folders() -> None:
    assert at_depth("a/b/c/IM1", 2) == "a/b"
    assert at_depth("a/b/IM1", 2) == "a/b"
    assert at_depth("a/IM1", 2) is None
    assert at_depth("IM1", 1) is None


@pytest.mark.parametrize(
    ("paths", "key", "own", "shared"),
    [
        (["CT1/IM1", "CT1/a/b/IM2"], "CT1/", ["CT1/a/b", "CT1/a", "CT1"], []),
        (["2025/03/07/CT1/IM1"], "2025/03/07/CT1/", ["2025/03/07/CT1"], ["2025/03/07", "2025/03", "2025"]),
        (["A1/json/x.json", "A1/dicom/IM1"], "A1/json/", ["A1/dicom", "A1/json", "A1"], []),
        (["json/x.json", "dicom/IM1"], "json/", ["json"], ["dicom"]),
        (["out/A1.json", "out/A1/IM1", "out/A10/IM1"], "out/A1.json", ["out/A1"], ["out/A10", "out"]),
        (["A1.json", "A1_1.dcm"], "A1.json", [], []),
        (["z.unpacked/A1.json", "z.unpacked/s/IM"], "z.unpacked/A1.json", ["z.unpacked/s", "z.unpacked"], []),
    ],
)
def test_an_exams_own_folders_go_with_it_and_shared_ones_stay(
    paths: list[str], key: str, own: list[str], shared: list[str]
) -> None:
    assert left_by(paths, key) == (own, shared)
