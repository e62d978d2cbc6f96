"""The main job, with everything real: files on disk, SQLite, HTTP over TLS, the strict simulated gateway."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.site import PDF, Site, dicom, sidecar


def make_ct(folder: Path, images: int = 3, **fields: object) -> list[str]:
    """A folder bundle with a PDF and declared counts; the instances' UIDs."""
    uids = [dicom(folder / f"images/IM{number:04d}") for number in range(images)]
    (folder / "report.pdf").write_bytes(PDF)
    sidecar(folder / "exam.json", **({"imageCnt": images, "pdfCnt": 1, "studyUid": "1.2.840.1"} | fields))
    return uids


def test_a_complete_exam_arrives_byte_for_byte_and_lies_in_done_with_its_receipt(site: Site) -> None:
    uids = make_ct(site.drop / "CT1")
    dropped = {p.name: p.read_bytes() for p in (site.drop / "CT1").rglob("*") if p.is_file()}
    assert site.once() == 0
    got = site.received()
    assert set(got.instances) == set(uids)
    assert {p.read_bytes() for p in got.instances.values()} <= set(dropped.values())
    assert [f.path.read_bytes() for f in got.files if f.path] == [PDF]
    assert got.exams["ACC1"]["imageCnt"] == 3
    assert got.exams["ACC1"]["seriesCnt"] == 1
    done = site.shelf()["CT1"]
    assert {p.name: p.read_bytes() for p in done.rglob("*") if p.is_file() and p.name != "receipt.json"} == dropped
    receipt = json.loads((done / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["exam"] == got.exams["ACC1"]
    sums = {entry["path"]: entry["sha256"] for entry in receipt["files"]}
    assert sums["images/IM0000"] == hashlib.sha256(dropped["IM0000"]).hexdigest()
    assert not (site.drop / "CT1").exists()


def test_files_go_before_the_exam_information(site: Site) -> None:
    make_ct(site.drop / "CT1")
    site.once()
    paths = [entry["path"] for entry in site.received().requests]
    assert paths[-1].endswith("/ris/study/add")
    assert paths.count("/ris/study/add") == 1


def test_an_incomplete_exam_waits_and_says_for_what(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=14, pdfCnt=2)
    (site.drop / "CT1/report.pdf").unlink()
    assert site.once() == 3
    status = json.loads(site.command("status", "--json").stdout)
    assert status["bundles"]["GATHERING"] == 1
    assert "12 of 14 images, 2 PDFs" in status["waiting"][0]["for"]
    assert site.received().requests == []


def test_what_was_waited_for_completes_it(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=3)
    assert site.once() == 3
    dicom(site.drop / "CT1/late.dcm")
    assert site.once() == 0
    assert len(site.received().instances) == 3


def test_a_refused_bundle_says_why_and_the_others_go_on(site: Site) -> None:
    make_ct(site.drop / "BAD", patientId=None, patientSex=None)
    make_ct(site.drop / "GOOD")
    assert site.once() == 4
    assert site.states() == {"BAD": "REFUSED", "GOOD": "DONE"}
    why = (site.shelf("failed")["BAD"] / "WHY.txt").read_bytes()
    assert why.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in why
    text = why.decode("utf-8-sig")
    assert "patientId" in text
    assert "patientSex" in text
    assert text.index("缺少必填字段") < text.index("is missing")


def test_a_refused_folder_that_is_corrected_and_dropped_back_goes(site: Site) -> None:
    make_ct(site.drop / "CT1", patientId=None)
    assert site.once() == 4
    shutil.move(site.shelf("failed")["CT1"], site.drop / "CT1")
    sidecar(site.drop / "CT1/exam.json", imageCnt=3, pdfCnt=1)
    assert site.once() == 0
    assert len(site.received().instances) == 3
    assert "receipt.json" in {p.name for p in site.shelf()["CT1"].iterdir()}


def test_what_was_accepted_before_a_failure_is_not_sent_again(site: Site) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=100001, times=1)
    assert site.once() == 4
    assert site.states() == {"CT1": "FAILED"}
    shutil.move(site.shelf("failed")["CT1"], site.drop / "CT1")
    assert site.once() == 0
    got = site.received()
    assert got.repeats == 0
    assert len(got.instances) == 3
    assert len(got.files) == 1


def test_the_wrong_patients_image_refuses_the_bundle_and_nothing_leaves(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=3)
    dicom(site.drop / "CT1/images/stray.dcm", patient="P9999")
    assert site.once() == 4
    assert site.received().requests == []
    why = (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")
    assert "stray.dcm" in why
    assert "P9999" in why
    assert "P7001" in why


def test_flat_exams_in_the_drop_folder_itself_go_each_on_their_own(site: Site) -> None:
    for number in (1, 10):
        sidecar(site.drop / f"A{number}.json", accessNumber=f"N{number}", imageCnt=1, pdfCnt=1)
        dicom(site.drop / f"A{number}_0001.dcm", accession=f"N{number}", study=f"1.2.{number}")
        (site.drop / f"A{number}.pdf").write_bytes(PDF)
    assert site.once() == 0
    assert set(site.received().exams) == {"N1", "N10"}
    assert {p.name for p in site.shelf()["A1"].iterdir()} == {"A1.json", "A1.pdf", "A1_0001.dcm", "receipt.json"}


def test_several_drop_folders_are_served_at_once(site: Site) -> None:
    site.drops = {"ct": site.root / "drop", "mr": site.root / "mr"}
    site.__post_init__()
    make_ct(site.drops["ct"] / "X")
    make_ct(site.drops["mr"] / "X", accessNumber="ACC2", studyUid=None)
    for image in (site.drops["mr"] / "X/images").iterdir():
        dicom(image, accession="ACC2", study="1.2.840.2")
    assert site.once() == 0
    assert set(site.received().exams) == {"ACC1", "ACC2"}
    assert list((site.drops["mr"] / "done").glob("*/X/receipt.json"))


def test_a_drop_folder_that_is_out_of_reach_withdraws_nothing_and_is_told(site: Site) -> None:
    make_ct(site.drop / "CT1", imageCnt=4)
    assert site.once() == 3
    site.drop.rename(site.root / "away")
    assert site.once() == 1
    status = json.loads(site.command("status", "--json").stdout)
    assert [trouble["code"] for trouble in status["drop_troubles"]] == ["FA-DROP-GONE", "FA-WATCHER"]
    assert site.states() == {"CT1": "GATHERING"}
    (site.root / "away").rename(site.drop)
    dicom(site.drop / "CT1/images/IM9999")
    assert site.once() == 0
    assert [bundle.name for bundle in site.bundles()] == ["CT1"]


def test_a_corrected_sidecar_of_a_waiting_bundle_is_what_is_posted(site: Site) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=1, times=1)
    assert site.once() == 3
    sidecar(site.drop / "CT1/exam.json", imageCnt=3, pdfCnt=1, studyUid="1.2.840.1", studyId="S2")
    assert site.once() == 0
    assert site.received().exams["ACC1"]["studyId"] == "S2"
    assert site.received().repeats == 0
    assert site.bundles()[0].study_id == "S2"


def test_a_sidecar_alone_updates_a_delivered_exam_and_keeps_its_counts(site: Site) -> None:
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    sidecar(site.drop / "CT1/exam.json", studyUid="1.2.840.1", diagnosis="无异常")
    assert site.once() == 0
    exam = site.received().exams["ACC1"]
    assert exam["diagnosis"] == "无异常"
    assert [exam[name] for name in ("imageCnt", "pdfCnt", "seriesCnt")] == [3, 1, 1]
    assert site.received().repeats == 0


def test_a_name_that_is_taken_in_done_gets_a_number_and_nothing_is_overwritten(site: Site) -> None:
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    before = (site.shelf()["CT1"] / "receipt.json").read_bytes()
    make_ct(site.drop / "CT1", accessNumber="ACC2", studyUid=None)
    for image in (site.drop / "CT1/images").iterdir():
        dicom(image, accession="ACC2", study="1.2.840.2")
    assert site.once() == 0
    assert set(site.shelf()) == {"CT1", "CT1 (2)"}
    assert (site.shelf()["CT1"] / "receipt.json").read_bytes() == before


def test_wrong_credentials_hold_everything_and_fail_nothing(site: Site) -> None:
    for name in ("CT1", "CT2", "CT3"):
        make_ct(site.drop / name)
    site.token = "wrong" * 6
    assert site.once() == 3
    assert site.shelf("failed") == {}
    status = json.loads(site.command("status", "--json").stdout)
    assert status["held"]["reason"]
    assert status["bundles"]["HELD"] >= 1
    site.token = "0123456789abcdef0123456789abcdef"
    assert site.once() == 0
    assert json.loads(site.command("status", "--json").stdout)["held"] is None


def test_a_clock_that_is_off_holds_and_says_by_how_much(site: Site) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.behaviour.clock_offset_s = 3600.0  # type: ignore[misc]
    assert site.once() == 3
    status = json.loads(site.command("status", "--json").stdout)
    assert "clock" in status["held"]["reason"]
    assert "3600" in status["held"]["reason"] or "3599" in status["held"]["reason"]


@pytest.mark.parametrize("code", [1, 100002, 100003, 10001, 10002])
def test_a_passing_failure_of_the_gateway_is_tried_again(site: Site, code: int) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=code, times=1)
    assert site.once() == 3
    assert site.states() == {"CT1": "WAITING"}
    assert site.command("retry", "CT1").returncode == 0
    assert site.once() == 0
    assert site.received().repeats == 0


@pytest.mark.parametrize("code", [100001, 100004, 10003, 10005])
def test_a_final_verdict_of_the_gateway_fails_the_bundle_with_its_message(site: Site, code: int) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=code, message="no such bed", times=1)
    assert site.once() == 4
    assert str(code) in (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")
    assert "no such bed" in (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")


def test_a_duplicate_counts_as_delivered(site: Site) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=10004, times=1)
    assert site.once() == 0
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["gateway"]["answer"]["code"] == 10004


@pytest.mark.parametrize("match", ["/ris/study/add", "/dicom-web/studies", "/ris/file/add"])
@pytest.mark.parametrize("after", [False, True])
def test_a_lost_connection_loses_and_doubles_nothing(site: Site, match: str, after: bool) -> None:
    make_ct(site.drop / "CT1")
    site.gateway.misbehave(match=match, do="reset", times=1, after=after)
    assert site.once() == 3
    site.command("retry", "--all")
    assert site.once() == 0
    got = site.received()
    assert len(got.instances) == 3
    assert len(got.exams) == 1
    assert got.repeats == (0 if not after or match == "/ris/study/add" else 3 if "web" in match else 1)


def test_half_a_batch_that_failed_is_sent_again_alone(site: Site) -> None:
    make_ct(site.drop / "CT1", images=4)
    site.gateway.misbehave(match="/dicom-web/studies", do="stow-fail", times=2, reason=0xA700)
    assert site.once() == 0
    assert site.received().repeats == 0


def test_a_dead_gateway_shuts_the_gate_for_all(site: Site) -> None:
    for number in range(6):
        make_ct(site.drop / f"CT{number}")
    config = site.config()
    site.gateway.stop()
    assert site.once() == 3
    states = site.states()
    assert set(states.values()) <= {"WAITING", "COMPLETE"}
    assert list(states.values()).count("COMPLETE") >= 2  # the rest did not even try
    assert config.exists()
    site.gateway.start()
    site.command("retry", "--all")
    assert site.once() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_with_a_line_end_in_it_forges_no_line_in_the_log(site: Site) -> None:
    forged = "2026-01-01 00:00:00.000 ERROR   everything is lost"
    sidecar(site.drop / f"CT1\n{forged}/exam.json", imageCnt=1)
    dicom(site.drop / f"CT1\n{forged}/IM1")
    assert site.once() == 0
    assert forged in site.logs()
    assert not any(line.startswith(forged) for line in site.logs().splitlines())


def test_nothing_personal_is_in_the_logs_or_the_ledger(site: Site) -> None:
    make_ct(site.drop / "CT1", phoneNum="13900000000", homeAddress="无名路一号")
    make_ct(site.drop / "CT2", patientId="P-OTHER")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=1, message="测试甲 13900000000 busy", times=1)
    site.once()
    site.command("retry", "--all")
    site.once()
    ledger = b"".join(p.read_bytes() for p in site.root.glob("ledger.db*"))
    for word in ("测试甲", "P7001", "P-OTHER", "13900000000", "无名路一号"):
        assert word not in site.logs()
        assert word.encode() not in ledger
    assert "CT1" in site.logs()
    assert "FA-MISMATCH" in site.logs()


def test_the_ledger_may_be_postgresql(site: Site, postgres_url: str) -> None:
    site.ledger = postgres_url
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    assert site.states() == {"CT1": "DONE"}


def test_transport_none_counts_but_does_not_send(site: Site) -> None:
    site.top = '[images]\ntransport = "none"\n[reports]\ntransport = "none"\n'
    site.gateway.behaviour.strict_counts = False  # type: ignore[misc]
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    assert [entry["path"] for entry in site.received().requests] == ["/ris/study/add"]
    assert site.received().exams["ACC1"]["imageCnt"] == 3


def test_quiet_completes_what_declares_nothing(site: Site) -> None:
    make_ct(site.drop / "CT1", imageCnt=None, pdfCnt=None)
    assert site.once() == 0
    assert site.received().exams["ACC1"]["imageCnt"] == 3
    assert site.received().exams["ACC1"]["pdfCnt"] == 1


def test_a_marker_completes(site: Site) -> None:
    site.drop_lines = 'marker = "*.ok"\nquiet_s = 0.2\n'
    make_ct(site.drop / "CT1", imageCnt=None, pdfCnt=None)
    assert site.once() == 3
    (site.drop / "CT1/done.ok").touch()
    assert site.once() == 0
    assert (site.shelf()["CT1"] / "done.ok").exists()


def test_an_emergency_goes_first(site: Site) -> None:
    site.lines += "workers = 1\n"
    for number in range(4):
        make_ct(site.drop / f"A{number}", accessNumber=f"N{number}", studyUid=None)
        for image in (site.drop / f"A{number}/images").iterdir():
            dicom(image, accession=f"N{number}", study=f"1.2.840.{number}")
    sidecar(
        site.drop / "A3/exam.json", accessNumber="N3", imageCnt=3, pdfCnt=1, studyCategory="急诊", studyUid="1.2.840.3"
    )
    assert site.once() == 0
    assert site.received().posts[0]["accessNumber"] == "N3"


def test_a_shelf_on_another_volume_is_reached_by_copying(site: Site, tmp_path: Path) -> None:
    other = Path("/dev/shm").absolute() / f"folder-agent-{os.getpid()}"  # on Windows with its drive
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == site.drop.stat().st_dev:
        pytest.skip("there is no second volume at /dev/shm")
    try:
        site.drop_lines = f"quiet_s = 0.5\ndone = {json.dumps(str(other / 'done'))}\n"
        make_ct(site.drop / "CT1")
        dropped = {p.name: p.read_bytes() for p in (site.drop / "CT1").rglob("*") if p.is_file()}
        assert site.once() == 0
        (done,) = other.glob("done/*/CT1")
        found = {p.name: p.read_bytes() for p in done.rglob("*") if p.is_file() and p.name != "receipt.json"}
        assert found == dropped
        assert not (site.drop / "CT1").exists()
    finally:
        shutil.rmtree(other, ignore_errors=True)


def test_what_the_gateway_holds_of_a_failed_bundle_is_told_and_its_receipt_travels_along(site: Site) -> None:
    uids = make_ct(site.drop / "CT1")
    site.gateway.misbehave(match="/ris/study/add", do="code", code=100001, times=2)
    assert site.once() == 4
    failed = site.shelf("failed")["CT1"]
    why = (failed / "WHY.txt").read_text(encoding="utf-8-sig")
    assert "already holds 4 of its 5 files, listed in receipt.json" in why
    assert "前置机已收到其中 4 个文件(共 5 个)" in why
    receipt = json.loads((failed / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["outcome"] == "not delivered"
    assert {entry["sopInstanceUid"] for entry in receipt["files"]} == {*uids, None}
    assert receipt["exam"] == {"accessNumber": "ACC1", "studyId": "S1", "studyUid": "1.2.840.1"}
    for code in (4, 0):
        assert site.command("retry", "CT1").returncode == 0
        assert site.once() == code
    paths = [entry["path"] for entry in site.received().requests]
    assert len([path for path in paths if path != "/ris/study/add"]) == 2, "only the exam information goes again"
    done = site.shelf()["CT1"]
    assert json.loads((done / "receipt.json").read_text(encoding="utf-8"))["outcome"] == "delivered"
    notes = {path.name for path in done.iterdir() if path.name.lower().startswith(("why", "receipt"))}
    assert {"WHY (earlier).txt", "receipt (earlier).json", "receipt.json"} <= notes
    assert site.shelf("failed") == {}


def test_a_bundle_of_which_nothing_was_accepted_has_no_receipt_in_failed(site: Site) -> None:
    make_ct(site.drop / "CT1", patientId=None)
    assert site.once() == 4
    failed = site.shelf("failed")["CT1"]
    assert not (failed / "receipt.json").exists()
    assert "receipt.json" not in (failed / "WHY.txt").read_text(encoding="utf-8-sig")


def test_what_the_sidecar_lacks_is_filled_in_from_the_images_and_the_receipt_says_so(site: Site) -> None:
    make_ct(site.drop / "CT1", accessNumber=None, studyUid=None)
    assert site.once() == 0
    assert site.received().exams["ACC1"]["studyUid"] == "1.2.840.1"
    told = json.loads((site.shelf()["CT1"] / "receipt.json").read_bytes())
    assert told["filled"] == {"accessNumber": "AccessionNumber", "studyUid": "StudyInstanceUID"}
    assert site.bundles()[0].access_number == "ACC1"


def test_nothing_is_filled_in_where_that_is_switched_off(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.5\nfill = false\n"
    make_ct(site.drop / "CT1", accessNumber=None)
    assert site.once() == 4
    assert "accessNumber" in (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")
