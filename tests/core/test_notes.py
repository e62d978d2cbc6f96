"""WHY.txt, receipt.json, and the names of the folders that they lie in."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import Problem, problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.naming import MAX_BYTES, numbered, safe_name
from folder_agent.core.notes import is_our_note, receipt, why_note
from folder_agent.core.records import Answer, BundleRecord, FileKind, FileRecord, Stamp

CHINA = timezone(timedelta(hours=8))
DELIVERED = datetime(2026, 1, 31, 10, 0, 5, 123456, tzinfo=CHINA)
MISMATCH = problem("FA-MISMATCH", "CT1/影像/1.dcm", field="patientId", private={"ours": "P-0001", "theirs": "P-0002"})
AWKWARD = st.text(
    st.one_of(st.characters(), st.sampled_from('<>:"/\\|?*. \0\x1f\x7f\u202e\u0301CONconaux1¹$影Å')), max_size=260
)
DEVICES = ["CON", "con", "aux.txt", "NUL .tar.gz", "COM1", "lpt9.dcm", "COM¹", "CONIN$", "prn.x."]


# --- names -----------------------------------------------------------------------------------------------------------


def is_valid_everywhere(name: str) -> bool:
    stem = name.split(".")[0].rstrip(" ").upper()
    numbers = "0123456789¹²³"
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *(f"{p}{n}" for p in ("COM", "LPT") for n in numbers)}
    return (
        0 < len(name.encode()) <= MAX_BYTES
        and not set(name) & set('<>:"/\\|?*')
        and not any(unicodedata.category(char) in {"Cc", "Cs"} for char in name)
        and name[-1] not in ". "
        and stem not in devices
    )


@given(AWKWARD)
def test_every_name_becomes_valid_on_both_platforms_and_stays_so(name: str) -> None:
    safe = safe_name(name)
    assert is_valid_everywhere(safe)
    assert safe_name(safe) == safe
    assert unicodedata.is_normalized("NFC", safe)


@given(AWKWARD, st.integers(1, 10_000))
def test_a_numbered_name_is_a_valid_component(name: str, attempt: int) -> None:
    assert len(numbered(name, attempt).encode()) <= 255
    assert numbered(name, attempt)[-1] not in ". "


@pytest.mark.parametrize("name", ["CT1", "A1 (2)", "王小明 2026", "a.b.c", ".hidden", "auxiliary", "COM10", "Å"])
def test_ordinary_names_stay_what_they_are(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", DEVICES)
def test_devices_get_another_name(name: str) -> None:
    assert safe_name(name).startswith("_")
    assert is_valid_everywhere(safe_name(name))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("", "_"),
        ("..", "__"),
        ("A1. .", "A1___"),
        ("a/b\\c:d", "a_b_c_d"),
        ("bad\udce9name", "bad_name"),
        ("bad\\udce9name", "bad_udce9name"),
        ("Å", "Å"),
        ("影" * 100, "影" * 66),
        ("gpj\u202efdp", "gpj_fdp"),
    ],
)
def test_what_awkward_names_become(name: str, safe: str) -> None:
    assert safe_name(name) == safe


# --- WHY.txt ---------------------------------------------------------------------------------------------------------


def test_why_is_readable_by_old_notepad_chinese_first() -> None:
    note = why_note("CT1", [MISMATCH], "2026-01-31 10:00", "D:\\投放")
    text = note.decode("utf-8-sig")
    assert note.startswith(b"\xef\xbb\xbf")
    assert not note[3:].startswith(b"\xef\xbb\xbf")
    assert text.count("\n") == text.count("\r\n") == text.count("\r")
    assert text.index("影像不属于该检查") < text.index("the image is not of this exam")
    assert is_our_note("WHY.txt", note)


def test_why_names_every_problem_with_file_field_values_and_code() -> None:
    problems = [MISMATCH, problem("FA-TOO-MANY", field="imageCnt", declared=2, found=3)]
    text = why_note("CT1", problems, "2026-01-31 10:00", "D:\\投放").decode("utf-8-sig")
    lines = text.splitlines()
    for number in ("1. ", "2. "):
        assert sum(line.startswith(number) for line in lines) == 2, "once in each language"
    assert text.count("[FA-MISMATCH]") == text.count("[FA-TOO-MANY]") == 2
    for told in ("CT1/影像/1.dcm", "patientId", "P-0001", "P-0002", "imageCnt", "D:\\投放", "2026-01-31 10:00"):
        assert text.count(told) >= 2, told
    assert "drop the whole folder back" in text
    assert "放回投放目录" in text


@given(st.lists(st.sampled_from(sorted(CATALOGUE)), max_size=5), AWKWARD, AWKWARD)
def test_why_can_be_written_for_every_reason_and_any_value(codes: list[str], name: str, value: str) -> None:
    problems = [Problem(code, name or None, (("detail", value), ("field", value))) for code in codes]
    text = why_note(name, problems, "now", "drop").decode("utf-8-sig")
    assert text.count("\n") == text.count("\r\n") == 2 * (6 + 2 * len(codes)) + 3
    assert text.splitlines(keepends=True) == [line + "\r\n" for line in text.split("\r\n")[:-1]]


# --- receipt.json ----------------------------------------------------------------------------------------------------


def file_of(number: int, path: str, kind: FileKind, state: FileState, **more: object) -> FileRecord:
    record = FileRecord(number, "ct", path, Stamp(100 + number, 1, 0), state, kind, bundle_id=7)
    return replace(record, **more)  # type: ignore[arg-type]


BUNDLE = BundleRecord(
    7,
    "ct",
    "CT1/",
    "CT1",
    BundleState.COMMITTED,
    1769824700.0,
    1769824800.0,
    answer='{"code":0,"message":"ok"}',
    committed_at=1769824800.0,
)
FILES = [
    file_of(
        1,
        "CT1/影像/1.dcm",
        FileKind.DICOM,
        FileState.SENT,
        sha256="ab" * 32,
        sop_instance="1.2.3",
        destination="https://10.0.0.5/dicom-web/studies",
        accepted_at=1769824799.0,
        answer="200",
    ),
    file_of(2, "CT1/exam.json", FileKind.SIDECAR, FileState.SETTLED),
    file_of(
        3, "CT1/notes.doc", FileKind.FOREIGN, FileState.SETTLED, reason=problem("FA-FILE-FOREIGN", "CT1/notes.doc")
    ),
    file_of(4, "CT1/Why.txt", FileKind.JUNK, FileState.SETTLED),
]
EXAM: dict[str, str | int] = {"patientName": "王小明", "imageCnt": 1}


def read_receipt(bundle: BundleRecord = BUNDLE, answer: Answer | None = None) -> dict[str, object]:
    warnings = [problem("FA-FIELD-ABSENT", field="weight")]
    note = receipt(
        bundle,
        FILES,
        EXAM,
        encoding="gb18030",
        url="https://10.0.0.5",
        agent="0.1.0",
        delivered_at=DELIVERED,
        answer=answer,
        warnings=warnings,
    )
    assert is_our_note("receipt.json", note)
    assert "王小明".encode() in note
    content: dict[str, object] = json.loads(note)
    return content


def test_a_receipt_says_what_was_sent_where_and_when() -> None:
    content = read_receipt()
    assert content == {
        "receipt": 1,
        "bundle": "CT1",
        "drop": "ct",
        "agent": "0.1.0",
        "outcome": "delivered",
        "first_seen_at": "2026-01-31T09:58:20+08:00",
        "delivered_at": "2026-01-31T10:00:05+08:00",
        "key": "CT1/",
        "folder": "CT1/",
        "gateway": {
            "url": "https://10.0.0.5",
            "answer": {"code": 0, "message": "ok"},
            "committed_at": "2026-01-31T10:00:00+08:00",
        },
        "encoding": "gb18030",
        "exam": EXAM,
        "filled": {},
        "files": [
            {
                "path": "影像/1.dcm",
                "kind": "DICOM",
                "size": 101,
                "sha256": "ab" * 32,
                "sopInstanceUid": "1.2.3",
                "sentTo": "https://10.0.0.5/dicom-web/studies",
                "acceptedAt": "2026-01-31T09:59:59+08:00",
                "answer": "200",
            }
        ],
        "notSent": [
            {
                "path": "exam.json",
                "kind": "SIDECAR",
                "size": 102,
                "why": "its content went to the gateway as the exam information",
            },
            {
                "path": "notes.doc",
                "kind": "FOREIGN",
                "size": 103,
                "why": "not a file of an exam (neither DICOM nor PDF); it is not sent",
            },
            {
                "path": "Why (earlier).txt",
                "kind": "JUNK",
                "size": 104,
                "why": "not a file of the exam (system file or note)",
            },
        ],
        "warnings": [
            {"code": "FA-FIELD-ABSENT", "text": "the field weight is not given (the exam is sent all the same)"}
        ],
    }


def test_a_receipt_of_an_exam_without_a_sidecar_tells_of_no_encoding() -> None:
    files = [file for file in FILES if file.kind is not FileKind.SIDECAR]
    filled = {"patientName": "PatientName", "applyDept": "earlier delivery"}
    at = {"url": "", "agent": "", "delivered_at": DELIVERED}
    content = json.loads(receipt(BUNDLE, files, EXAM, encoding=None, filled=filled, **at))  # type: ignore[arg-type]
    assert "encoding" not in content
    assert content["filled"] == filled


def test_what_was_accepted_of_a_bundle_that_failed_has_a_receipt_that_says_so() -> None:
    failed = replace(BUNDLE, state=BundleState.FAILED, committed_at=None, answer=None)
    content = read_receipt(failed)
    assert (content["outcome"], content["delivered_at"]) == ("not delivered", None)
    assert content["gateway"] == {
        "url": "https://10.0.0.5",
        "answer": {"code": None, "message": None},
        "committed_at": None,
    }
    assert [entry["path"] for entry in content["files"]] == ["影像/1.dcm"]  # type: ignore[attr-defined]


def test_why_tells_that_the_gateway_holds_some_of_it_only_where_it_does() -> None:
    some = why_note("CT1", [MISMATCH], "now", "drop", accepted=3, total=5).decode("utf-8-sig")
    assert "already holds 3 of its 5 files, listed in receipt.json" in some
    assert "前置机已收到其中 3 个文件(共 5 个)" in some
    none = why_note("CT1", [MISMATCH], "now", "drop", accepted=0, total=5).decode("utf-8-sig")
    assert "receipt.json" not in none


@pytest.mark.parametrize(
    ("kept", "given_answer", "told"),
    [
        (None, Answer(10004, "exists"), {"code": 10004, "message": "exists"}),
        ('{"code":0,"mess', None, {"code": None, "message": '{"code":0,"mess'}),
        ("[1]", None, {"code": None, "message": "[1]"}),
        (None, None, {"code": None, "message": None}),
    ],
)
def test_the_answer_is_shown_however_it_was_kept(
    kept: str | None, given_answer: Answer | None, told: dict[str, object]
) -> None:
    gateway = read_receipt(replace(BUNDLE, answer=kept), given_answer)["gateway"]
    assert isinstance(gateway, dict)
    assert gateway["answer"] == told


def test_every_kind_of_file_that_was_not_sent_has_words_for_why() -> None:
    files = [file_of(n, f"{n}.x", kind, FileState.SETTLED) for n, kind in enumerate(FileKind)]
    note = json.loads(
        receipt(BUNDLE, files, {}, encoding=None, url="", agent="", delivered_at=datetime(2026, 1, 31, tzinfo=UTC))
    )
    assert all(entry["why"] for entry in note["notSent"])
    assert len(note["notSent"]) == len(FileKind)


def test_other_peoples_files_of_the_same_name_are_not_our_notes() -> None:
    assert not is_our_note("WHY.txt", b"why not")
    assert not is_our_note("receipt.json", b'{"receipt": 1}')
    assert not is_our_note("other.txt", why_note("CT1", [], "now", "drop"))
