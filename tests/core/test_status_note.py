"""_STATUS.txt: what stands in it, in which form, and what does not."""

from __future__ import annotations

from dataclasses import replace

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord
from folder_agent.core.status_note import HEAD, MOST, Standing, status_note

AT = "2026-01-31 10:00:00 +0800"
WAITS = BundleRecord(1, "ct", "CT1/", "CT1", BundleState.GATHERING, 0.0, 0.0,
                     reasons=(problem("FA-WAIT-FILES", zh="1 份 PDF", en="1 PDF"),))  # fmt: skip
FAILED = replace(
    WAITS,
    id=2,
    name="CT2",
    state=BundleState.REFUSED,
    target=r"D:\drop\failed\2026-01-31\CT2",
    reasons=(problem("FA-MISMATCH", "CT2/IM1", {"ours": "Li Si", "theirs": "Wang Wu"}, field="patientId"),),
)
EMPTY = Standing("ct", (), (), (), ())


def text(standing: Standing) -> str:
    return status_note(standing, AT).decode("utf-8-sig")


def test_old_notepad_reads_it_and_chinese_comes_first() -> None:
    raw = status_note(EMPTY, AT)
    assert raw.startswith(HEAD)
    assert raw.count(b"\n") == raw.count(b"\r\n") > 5
    assert text(EMPTY).index("最近一次查看") < text(EMPTY).index("Last looked")
    assert text(EMPTY).count(AT) == 2


def test_it_says_what_waits_what_failed_and_what_is_not_sent() -> None:
    ignored = (problem("FA-NOT-EXAM", "letter.docx"),)
    told = text(Standing("ct", (problem("FA-GW-PERMISSION"),), (WAITS,), (FAILED,), ignored))
    zh, en = told.split("-----", 1)
    assert "CT1: waiting for 1 PDF [FA-WAIT-FILES]" in en
    assert "CT1:等待 1 份 PDF" in zh
    assert "failed/2026-01-31/CT2: CT2/IM1: " in en
    assert "letter.docx: it is neither DICOM nor PDF" in en
    assert "[FA-GW-PERMISSION]" in en
    assert "No exam is waiting" not in en


def test_no_patient_is_named_in_it() -> None:
    told = text(Standing("ct", (), (), (FAILED,), ()))
    assert "Li Si" not in told
    assert "Wang Wu" not in told


def test_long_lists_are_cut_and_counted() -> None:
    many = tuple(replace(WAITS, id=n, name=f"CT{n}") for n in range(MOST + 7))
    ignored = tuple(problem("FA-NOT-EXAM", f"{n}.doc") for n in range(MOST))
    told = text(Standing("ct", (), many, (), ignored, 1000))
    assert "… and 7 more" in told
    assert f"… and {1000 - MOST} more" in told
    assert len(told.splitlines()) < 2 * (2 * MOST + 20)


def test_a_name_cannot_make_lines_of_its_own() -> None:
    told = text(Standing("ct", (), (replace(WAITS, name="CT1\r\nNothing failed"),), (), ()))
    assert "\nNothing failed" not in told


def test_an_overdue_exam_and_one_on_its_way_are_told_as_such() -> None:
    on_its_way = replace(WAITS, reasons=(), state=BundleState.SENDING)
    told = text(Standing("ct", (), (replace(WAITS, overdue=True), on_its_way), (), ()))
    assert "CT1: OVERDUE: waiting" in told
    assert "CT1: complete; waiting to be sent, or being sent" in told
