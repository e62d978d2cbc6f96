"""What lies on a shelf turns into records of the ledger; nothing turns up in them that was not proven."""

from __future__ import annotations

from dataclasses import replace

import pytest

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.notes import why_note
from folder_agent.core.rebuilding import Remains, is_failure, rebuild
from folder_agent.core.receipts import Receipt, ReceiptFile
from folder_agent.core.records import Counts, FileKind, Stamp

IMAGE = ReceiptFile("im/1.dcm", FileKind.DICOM, 10, "a" * 64, "1.2", "gw", 100.0, "200", is_sent=True, role="image")
MARKER = ReceiptFile("all.ok", FileKind.MARKER, 0)
RECEIPT = Receipt(
    "CT1",
    "ct",
    True,
    (IMAGE,),
    (MARKER,),
    first_seen_at=90.0,
    delivered_at=120.0,
    committed_at=110.0,
    answer='{"code": 0, "message": ""}',
    access_number="ACC1",
    study_uid="1.2",
    study_id="S1",
    counts=Counts(1, 0, 0, 1),
    key="CT1/",
    folder="CT1/",
)
FILES = {"im/1.dcm": Stamp(10, 5, 6), "all.ok": Stamp(0, 5, 7), "receipt.json": Stamp(999, 5, 8)}
DONE = Remains("done", "ct", "CT1 (2)", "/drop/done/2026-01-31/CT1 (2)", FILES, 121.0, RECEIPT)
FAILED = Remains("failed", "ct", "CT1", "/drop/failed/2026-01-31/CT1", FILES, 121.0)


def test_a_delivered_bundle_comes_back_closed_and_accepted() -> None:
    bundle, files = rebuild(DONE) or pytest.fail("nothing")
    assert (bundle.state, bundle.is_open, bundle.name, bundle.key) == (BundleState.DONE, False, "CT1", "CT1/")
    assert (bundle.created_at, bundle.committed_at, bundle.changed_at) == (90.0, 110.0, 120.0)
    assert (bundle.access_number, bundle.study_uid, bundle.study_id, bundle.counts) == (
        "ACC1",
        "1.2",
        "S1",
        Counts(1, 0, 0, 1),
    )
    image, marker = files
    assert (image.path, image.state, image.stamp, image.is_open) == (
        "CT1/im/1.dcm",
        FileState.SENT,
        Stamp(10, 5, 6),
        False,
    )
    assert (image.sha256, image.sop_instance, image.destination, image.accepted_at) == ("a" * 64, "1.2", "gw", 100.0)
    assert (marker.path, marker.state, marker.accepted_at) == ("CT1/all.ok", FileState.SETTLED, None)


def test_a_receipt_of_the_first_version_is_enough() -> None:
    old = replace(RECEIPT, first_seen_at=None, key=None, folder=None, unsent=(ReceiptFile("all.ok", FileKind.UNKNOWN),))
    bundle, files = rebuild(replace(DONE, receipt=old)) or pytest.fail("nothing")
    assert (bundle.created_at, bundle.key) == (100.0, "CT1 (2)/")
    assert [one.path for one in files] == ["CT1 (2)/im/1.dcm", "CT1 (2)/all.ok"]


@pytest.mark.parametrize("receipt", [None, replace(RECEIPT, is_delivered=False)])
def test_without_a_receipt_of_a_delivery_nothing_is_delivered(receipt: Receipt | None) -> None:
    assert rebuild(replace(DONE, receipt=receipt)) is None


@pytest.mark.parametrize("receipt", [None, RECEIPT])
def test_what_lies_in_failed_is_never_delivered_whatever_receipt_lies_with_it(receipt: Receipt | None) -> None:
    bundle, files = rebuild(replace(FAILED, receipt=receipt)) or pytest.fail("nothing")
    assert (bundle.state, bundle.committed_at, bundle.is_open) == (BundleState.REFUSED, None, False)
    assert all(one.accepted_at is None for one in files)
    assert [reason.code for reason in bundle.reasons] == ["FA-REBUILT"]


def test_what_was_accepted_of_a_failed_bundle_is_known_again() -> None:
    receipt = replace(RECEIPT, is_delivered=False, committed_at=None, delivered_at=None, answer=None)
    why = why_note("CT1", [problem("FA-GW-REFUSED", message="no")], "now", "drop")
    bundle, files = rebuild(replace(FAILED, receipt=receipt, why=why)) or pytest.fail("nothing")
    assert (bundle.state, bundle.access_number, bundle.created_at) == (BundleState.FAILED, "ACC1", 90.0)
    assert [one.state for one in files] == [FileState.SENT, FileState.SETTLED]


def test_our_own_note_is_no_file_of_the_bundle() -> None:
    files = {"1.dcm": Stamp(1, 1, 1), "WHY.txt": Stamp(2, 2, 2)}
    ours, theirs = why_note("CT1", [], "now", "drop"), b"why not?"
    for why, count in ((ours, 1), (theirs, 2)):
        _, found = rebuild(replace(FAILED, files=files, why=why)) or pytest.fail("nothing")
        assert len(found) == count


def test_what_was_left_in_the_drop_folder_keeps_the_bundle_open() -> None:
    there = {path: stamp for path, stamp in FILES.items() if path != "im/1.dcm"}
    left = {"im/1.dcm": Stamp(10, 77, 78)}
    bundle, files = rebuild(replace(DONE, files=there, left=left)) or pytest.fail("nothing")
    assert (bundle.state, bundle.is_open) == (BundleState.COMMITTED, True)
    assert [(one.path, one.stamp, one.is_open) for one in files] == [
        ("CT1/im/1.dcm", Stamp(10, 77, 78), True),
        ("CT1/all.ok", Stamp(0, 5, 7), True),
    ]


def test_a_file_that_was_altered_on_the_shelf_keeps_the_size_that_was_sent() -> None:
    _, files = rebuild(replace(DONE, files={**FILES, "im/1.dcm": Stamp(11, 9, 9)})) or pytest.fail("nothing")
    assert files[0].stamp.size == 10


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_reason_in_a_why_note_is_found_again(code: str) -> None:
    why = why_note("CT1 [FA-GW-REFUSED]", [problem("FA-FIELD-MISSING", field="x"), problem(code)], "now", "drop")
    assert is_failure(why) is (code.startswith("FA-GW-") or code in {"FA-EXHAUSTED", "FA-OVERDUE"})
