"""What a receipt says comes back from it; what is not a receipt of ours comes back as None, whatever it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.delivered import fingerprint
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.notes import receipt
from folder_agent.core.receipts import Receipt, ReceiptFile, parse
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord, Stamp

SENT = FileRecord(
    1,
    "ct",
    "CT1/影像/1.dcm",
    Stamp(101, 5, 0),
    FileState.SENT,
    FileKind.DICOM,
    bundle_id=7,
    sop_instance="1.2.3",
    sha256="ab" * 32,
    destination="https://10.0.0.5/dicom-web/studies",
    accepted_at=1769824799.0,
    answer="200",
    role="image",
    series="1.2.3.1",
)
MARKER = FileRecord(2, "ct", "CT1/all.ok", Stamp(0, 5, 0), FileState.SETTLED, FileKind.MARKER, bundle_id=7)
BUNDLE = BundleRecord(
    7,
    "ct",
    "CT1/",
    "CT1",
    BundleState.COMMITTED,
    created_at=1769824700.0,
    changed_at=1769824800.0,
    answer='{"code": 0, "message": "好"}',
    committed_at=1769824800.0,
)
EXAM: dict[str, str | int] = {
    "patientName": "王小明",
    "accessNumber": "ACC1",
    "studyUid": "1.2",
    "studyId": "S1",
    "studyCategory": "emergency",
    "imageCnt": 1,
    "reportCnt": 0,
    "pdfCnt": 0,
    "seriesCnt": 1,
}


def written(bundle: BundleRecord = BUNDLE, files: tuple[FileRecord, ...] = (SENT, MARKER)) -> bytes:
    at = datetime.fromtimestamp(1769824805, UTC)
    return receipt(bundle, files, EXAM, encoding="utf-8", url="https://10.0.0.5", agent="0.1.0", delivered_at=at)


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(written()), **changes}).encode()


def test_what_was_written_comes_back() -> None:
    assert parse(written()) == Receipt(
        bundle="CT1",
        drop="ct",
        is_delivered=True,
        sent=(
            ReceiptFile(
                "影像/1.dcm",
                FileKind.DICOM,
                101,
                "ab" * 32,
                "1.2.3",
                "https://10.0.0.5/dicom-web/studies",
                1769824799.0,
                "200",
                is_sent=True,
                role="image",
                series="1.2.3.1",
            ),
        ),
        unsent=(ReceiptFile("all.ok", FileKind.MARKER, 0),),
        first_seen_at=1769824700.0,
        delivered_at=1769824805.0,
        committed_at=1769824800.0,
        answer='{"code": 0, "message": "好"}',
        access_number="ACC1",
        study_uid="1.2",
        study_id="S1",
        emergency=True,
        counts=Counts(1, 0, 0, 1),
        posted=fingerprint(EXAM),
        key="CT1/",
        folder="CT1/",
    )


def test_nothing_of_the_patient_is_taken_over() -> None:
    assert "王小明" not in repr(parse(written()))


def test_a_receipt_of_what_failed_is_not_one_of_a_delivery() -> None:
    found = parse(written(replace(BUNDLE, state=BundleState.FAILED, committed_at=None, answer=None)))
    assert found is not None
    assert (found.is_delivered, found.committed_at, found.delivered_at, found.answer) == (False, None, None, None)
    assert [file.path for file in found.sent] == ["影像/1.dcm"]


def test_a_receipt_of_the_first_version_is_understood() -> None:
    content = json.loads(written())
    for name in ("outcome", "first_seen_at", "key", "folder"):
        del content[name]
    content["notSent"] = [{"path": "all.ok", "why": "a marker that says that the exam is complete"}]
    found = parse(json.dumps(content).encode())
    assert found is not None
    assert found.is_delivered
    assert found.unsent == (ReceiptFile("all.ok", FileKind.UNKNOWN),)
    assert (found.key, found.folder, found.first_seen_at) == (None, None, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        written()[:-20],
        changed(receipt=2),
        changed(bundle=None),
        changed(files=None),
        changed(files=[1]),
        changed(files=[{"path": "../1.dcm", "size": 1, "sha256": "ab" * 32}]),
        changed(files=[{"path": "/etc/passwd", "size": 1, "sha256": "ab" * 32}]),
        changed(files=[{"path": "1.dcm", "size": "1", "sha256": "ab" * 32}]),
        changed(files=[{"path": "1.dcm", "size": True, "sha256": "ab" * 32}]),
        changed(files=[{"path": "1.dcm", "size": 2**70, "sha256": "ab" * 32}]),
        changed(files=[{"path": "1.dcm", "size": 1, "sha256": "zz" * 32}]),
        changed(gateway={"committed_at": "yesterday"}),
        changed(gateway={"committed_at": "2026-01-31T10:00:00"}),
        changed(exam={"accessNumber": 7}),
        changed(exam={"imageCnt": -1}),
    ],
)
def test_what_is_no_receipt_of_ours_is_none(content: bytes) -> None:
    assert parse(content) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(json.loads(written()))),
)
def test_no_value_in_no_place_raises(value: object, name: str) -> None:
    parse(changed(**{name: value}))
    parse(changed(files=[{**json.loads(written())["files"][0], name: value, "acceptedAt": value}]))


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_damage_anywhere_never_raises(damage: bytes, at: int) -> None:
    content = written()
    parse(content[:at] + damage + content[at + len(damage) :])
