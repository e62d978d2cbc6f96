"""Each bundle and file is counted once; three accounts that agree differ in nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import Disposition, problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.receipts import Receipt, ReceiptFile
from folder_agent.core.reconciling import Difference, Exams, Files, Folder, Row, exit_code, of_done, of_failed
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord, Stamp

BUNDLE = BundleRecord(7, "ct", "CT1/", "CT1", BundleState.DONE, 1.0, 2.0, counts=Counts(1, 0, 0, 1), is_open=False)
IMAGE = FileRecord(
    1, "ct", "CT1/im/1.dcm", Stamp(10, 1, 0), FileState.SENT, FileKind.DICOM, 7, "1.2", "a" * 64, "gw", 1.0
)
SIDECAR = FileRecord(
    2, "ct", "CT1/exam.json", Stamp(20, 1, 0), FileState.SENT, FileKind.SIDECAR, 7, None, "b" * 64, "gw", 2.0
)
JUNK = FileRecord(3, "ct", "CT1/Thumbs.db", Stamp(5, 1, 0), FileState.SETTLED, FileKind.JUNK, 7)
FILES = [IMAGE, SIDECAR, JUNK]
RECEIPT = Receipt(
    "CT1",
    "ct",
    True,
    sent=(
        ReceiptFile("im/1.dcm", FileKind.DICOM, 10, "a" * 64, "1.2", "gw", 1.0),
        ReceiptFile("exam.json", FileKind.SIDECAR, 20, "b" * 64, None, "gw", 2.0),
    ),
    unsent=(ReceiptFile("Thumbs.db", FileKind.JUNK, 5),),
    counts=Counts(1, 0, 0, 1),
)
FOLDER = Folder({"im/1.dcm": 10, "exam.json": 20, "Thumbs.db": 5, "receipt.json": 999}, RECEIPT, has_receipt=True)


@pytest.mark.parametrize("state", BundleState)
def test_every_state_of_a_bundle_is_counted_once(state: BundleState) -> None:
    exams = Exams()
    exams.add(state, 3)
    counted = [exams.accepted, exams.waiting, exams.refused, exams.failed, exams.withdrawn]
    assert sorted(counted) == [0, 0, 0, 0, 3]
    assert exams.dropped == (0 if state is BundleState.WITHDRAWN else 3)


@pytest.mark.parametrize(("state", "is_open", "kind"), list(product(FileState, (True, False), FileKind)))
def test_every_file_is_counted_once(state: FileState, is_open: bool, kind: FileKind) -> None:
    files = Files()
    files.add(state, 3, is_open=is_open, kind=kind)
    assert sorted([files.sent, files.waiting, files.not_sent, files.vanished]) == [0, 0, 0, 3]
    assert files.dropped == (0 if state is FileState.VANISHED else 3)


def test_accounts_that_agree_differ_in_nothing() -> None:
    assert of_done(BUNDLE, FILES, FOLDER) == []
    assert of_done(BUNDLE, FILES, replace(FOLDER, receipt=None)) == [problem("FA-REC-BAD-RECEIPT")]


def test_what_vanished_right_before_its_move_is_not_missed() -> None:
    gone = replace(JUNK, state=FileState.VANISHED, is_open=False)
    there = {path: size for path, size in FOLDER.files.items() if path != "Thumbs.db"}
    assert of_done(BUNDLE, [IMAGE, SIDECAR, gone], replace(FOLDER, files=there)) == []
    assert of_done(BUNDLE, [IMAGE, SIDECAR, gone], replace(FOLDER, files=there, receipt=None)) != []


def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_missed() -> None:
    there = {path: size for path, size in FOLDER.files.items() if path != "im/1.dcm"}
    assert of_done(BUNDLE, FILES, replace(FOLDER, files=there, unlisted=frozenset({"im"}))) == []
    assert [one.code for one in of_done(BUNDLE, FILES, replace(FOLDER, files=there))] == ["FA-REC-FILES"]


def test_without_a_receipt_the_ledger_tells_what_must_be_there() -> None:
    folder = replace(FOLDER, files={"exam.json": 20, "Thumbs.db": 6}, receipt=None, has_receipt=False)
    assert [one.code for one in of_done(BUNDLE, FILES, folder)] == [
        "FA-REC-FILES",
        "FA-REC-SIZE",
        "FA-REC-NO-RECEIPT",
    ]


def test_a_followup_may_post_more_than_its_own_files() -> None:
    more = Counts(9, 0, 1, 2)
    bundle, folder = replace(BUNDLE, counts=more), replace(FOLDER, receipt=replace(RECEIPT, counts=more))
    assert [one.code for one in of_done(bundle, FILES, folder)] == ["FA-REC-COUNTS"]
    assert of_done(bundle, FILES, folder, lambda: True) == []


def test_a_bundle_in_failed_may_be_mended_there_but_its_acceptances_stand() -> None:
    assert of_failed(FILES, replace(FOLDER, files={"exam.json": 21})) == []
    assert of_failed(FILES, Folder({"x": 1})) == []
    assert of_failed(FILES, None) == of_failed(FILES, Folder({})) == [problem("FA-REC-FAILED")]
    lost = replace(IMAGE, accepted_at=None)
    assert [one.code for one in of_failed([lost, SIDECAR], FOLDER)] == ["FA-REC-NOT-LEDGERED"]


def test_the_exit_code_says_the_worst() -> None:
    waits, calm = Row("2026-01-31", "ct", Exams(waiting=1)), Row("2026-01-31", "ct", Exams(accepted=1, refused=1))
    new, missing, away = (
        Difference("2026-01-31", "ct", problem(code), "CT1") for code in ("FA-REC-NEW", "FA-REC-FOLDER", "FA-DROP-GONE")
    )
    assert exit_code([], []) == exit_code([calm], []) == 0
    assert exit_code([calm, waits], []) == 3
    assert exit_code([waits], [new, missing]) == 4
    assert exit_code([waits], [missing, away]) == 1


def test_every_difference_is_either_a_loss_or_a_remark() -> None:
    codes = [code for code in CATALOGUE if code.startswith("FA-REC-")]
    assert len(codes) == 15
    assert {CATALOGUE[code].disposition for code in codes} == {Disposition.HOLD, Disposition.WAIT}
