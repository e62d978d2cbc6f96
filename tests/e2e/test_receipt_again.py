"""A receipt that a crash kept from being written is made from the sidecar, and says what was posted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from folder_agent.assembly import posted_again
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.mapping import site_mapping
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord
from folder_agent.edges.drop_folder import RealDropFolder
from tests.site import FIELDS, dicom


@pytest.mark.parametrize("permit_field", ["hkAndMarcoPermitNum", "hkAndMacauPermitNum"])
def test_the_exam_is_told_in_the_words_and_spelling_in_which_it_was_posted(tmp_path: Path, permit_field: str) -> None:
    document = {**FIELDS, "patientId": "row 5", "PID": "P7001", "hkAndMarcoPermitNum": "H1"}
    (tmp_path / "exam.json").write_bytes(json.dumps(document, ensure_ascii=False).encode("gbk"))
    drop = RealDropFolder("ct", tmp_path, mapping=site_mapping({"PID": "patientId"}))
    [seen] = drop.look()
    file = FileRecord(1, "ct", seen.path, seen.stamp, FileState.SENT, FileKind.SIDECAR)
    bundle = BundleRecord(1, "ct", "", "CT1", BundleState.COMMITTED, 0, 0, counts=Counts(2, 0, 0, 1))
    exam, encoding, filled = posted_again(drop, bundle, [file], permit_field, fill=True)
    assert filled == {}
    assert (exam[permit_field], exam["patientId"], exam["imageCnt"], encoding) == ("H1", "P7001", 2, "gb18030")
    (tmp_path / "exam.json").write_bytes(b"{}")
    assert posted_again(drop, bundle, [file], permit_field, fill=True) == ({}, None, {})


def test_without_a_sidecar_it_is_made_from_the_headers(tmp_path: Path) -> None:
    dicom(tmp_path / "IM0", patient_sex="M", study_id="S1")
    drop = RealDropFolder("ct", tmp_path)
    [seen] = drop.look()
    file = FileRecord(1, "ct", seen.path, seen.stamp, FileState.SENT, FileKind.DICOM)
    bundle = BundleRecord(1, "ct", "", "CD1", BundleState.COMMITTED, 0, 0, counts=Counts(1, 0, 0, 1))
    exam, encoding, filled = posted_again(drop, bundle, [file], "hkAndMarcoPermitNum", fill=True)
    assert (exam["patientId"], exam["imageCnt"], encoding) == ("P7001", 1, None)
    assert filled["patientId"] == "PatientID"
    (tmp_path / "IM0").write_bytes(b"")
    assert posted_again(drop, bundle, [file], "hkAndMarcoPermitNum", fill=True).exam == {}
