"""Exams without a sidecar as people and scripts meet them: the real command, real files, a real gateway."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
from typer.testing import CliRunner, Result

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.cli.app import app
from folder_agent.cli.rebuilding import rebuild
from folder_agent.core.records import DicomFacts
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.logs import LogPublisher
from tests.e2e.test_reconcile import look
from tests.site import PDF, Site, dicom, sidecar

FILES = Path(pydicom.data.__file__).parent / "test_files"
OPTIONAL = 'quiet_s = 0.4\nsidecar = "optional"\n'
SAID = {"patient_sex": "M", "study_id": "S1", "study_date": "20260301", "study_time": "101500"}


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FOLDER_AGENT_LANG", "en")
    site.drop_lines = OPTIONAL
    return site


def cd(folder: Path, *studies: dict[str, Any]) -> None:
    """A CD with a viewer and so many studies."""
    for number, more in enumerate(studies or ({},), start=1):
        for image in (1, 2):
            known = {"study": f"1.2.840.{number}", "series": f"1.2.840.{number}.1", "accession": f"ACC{number}"}
            path = folder / f"DICOM/PA000001/ST{number:06}/SE000001/IM{image:06}"
            dicom(path, **{**known, **SAID, "instance": f"1.2.840.{number}.1.{image}", **more})
    for name, content in (("DICOMDIR", b"x"), ("AUTORUN.INF", b"[autorun]"), ("VIEWER/v.exe", b"MZ")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "VIEWER/settings.json").write_text('{"status": "on"}', encoding="utf-8")


def tried(site: Site, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["try-sidecar", *map(str, arguments), "--config", str(site.config())])


def told(site: Site, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tried(site, *arguments, "--json").stdout)
    return found


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_a_cd_goes_through_the_real_command_and_every_reader_agrees(site: Site) -> None:
    cd(site.drop / "CD1", {}, {"accession": ""}, {})
    assert site.command("run", "--once").returncode == 3
    status = json.loads(site.command("status", "--json").stdout)
    assert [(one["bundle"], one["code"]) for one in status["waiting"]] == [("CD1 #2", "FA-NEEDS-SIDECAR")]
    assert "_STATUS/CD1 #2.json.template" in status["waiting"][0]["for"]
    (left,) = status["ignored"]
    assert (left["path"], left["code"], len(left["files"])) == ("CD1", "FA-LEFT", 4)
    assert "CD1/DICOMDIR" in left["files"]
    assert status["unassigned"] == 0
    shown = json.loads(site.command("show", "CD1 ACC1", "--json").stdout)["bundle"]
    assert (shown["encoding"], shown["filled"]["patientId"]) == (None, "PatientID")
    assert "patientName (PatientName)" in site.command("show", "CD1 ACC1").stdout
    template = site.drop / "_STATUS/CD1 #2.json.template"
    content = json.loads(template.read_text(encoding="utf-8-sig"))
    (site.drop / "CD1/CD1 #2.json").write_text(json.dumps(content | {"accessNumber": "ACC2"}), encoding="utf-16")
    assert site.command("run", "--once").returncode == 0
    assert not template.parent.exists()
    assert {name: exam["imageCnt"] for name, exam in site.received().exams.items()} == {"ACC1": 2, "ACC2": 2, "ACC3": 2}
    assert site.received().exams["ACC2"]["patientId"] == "P7001"
    assert look(site)[2] == 0
    before = site.logs()
    assert site.command("run", "--once").returncode == 0
    assert "CD1" not in site.logs()[len(before) :]


def test_what_was_left_of_a_cd_is_missed_by_nobody_when_it_goes(site: Site) -> None:
    cd(site.drop / "CD1")
    assert site.once() == 0
    shutil.rmtree(site.drop / "CD1")
    assert look(site)[2] == 0
    assert site.once() == 0
    assert look(site)[2] == 0


def test_receipts_without_a_sidecar_make_a_ledger_again(site: Site) -> None:
    cd(site.drop / "CD1", {}, {})
    assert site.once() == 0
    posts = len(site.received().posts)
    (site.root / "ledger.db").unlink()
    assert rebuild(site.config(), force=True, as_json=True, language="en") == 0
    assert set(site.states().values()) == {"DONE"}
    cd(site.drop / "CD1", {}, {})
    requests = len(site.received().requests)
    assert site.once() == 0
    assert len(site.received().posts) == posts  # all of it is known to be delivered
    assert look(site)[2] == 0
    assert not any(one["path"].startswith("/dicom-web") for one in site.received().requests[requests:])


def test_the_receipt_of_an_exam_that_was_committed_before_a_crash_is_made_from_the_headers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    cd(site.drop / "CD1")
    with monkeypatch.context() as broken:
        broken.setattr("folder_agent.edges.shelves.real.RealShelves.prepare", lambda *_: 1 / 0)
        assert site.once() == 3
    assert site.states() == {"CD1": "COMMITTED"}
    site.lines = "retry_first_s = 0.1\nretry_max_s = 0.1\n"
    (site.drop / "CD1/late.json").write_text("{}", encoding="utf-8")
    with Assembly(settings.load(site.config(), {}), LogPublisher()) as assembly:
        for bundle in assembly.ledger.open_bundles():
            assembly.ledger.amend([type(bundle)(**{**_fields(bundle), "due_at": None})])
    assert site.once() == 0
    receipt = json.loads((site.shelf()["CD1"] / "receipt.json").read_text(encoding="utf-8"))
    assert receipt["exam"] == site.received().exams["ACC1"]
    assert receipt["filled"]["accessNumber"] == "AccessionNumber"
    assert "encoding" not in receipt


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def test_what_a_mapping_says_of_every_exam_is_said_of_those_without_a_sidecar_but_not_against_the_images(
    site: Site,
) -> None:
    site.drop_lines = OPTIONAL + (
        "[drops.mapping]\nPID = 'patientId'\nconstants.modality = 'MR'\nconstants.examDept = '放射科'\n"
        "defaults.status = 'final'\ndefaults.patientSex = 'F'\n"
    )
    cd(site.drop / "CD1", {"patient_sex": "M"})
    cd(site.drop / "CD2", {"study": "1.2.9", "accession": "ACC9", "patient_sex": "", "instance": None})
    assert site.once() == 3
    exam = site.received().exams["ACC1"]
    assert (exam["modality"], exam["examDept"], exam["status"], exam["patientSex"]) == ("CT", "放射科", "final", "M")
    template = json.loads((site.drop / "_STATUS/CD2.json.template").read_text(encoding="utf-8-sig"))
    assert (template["modality"], template["patientSex"], template["examDept"]) == ("CT", "", "放射科")
    (site.drop / "CD2/CD2.json").write_text(json.dumps(template | {"patientSex": "女"}), encoding="gbk")
    assert site.once() == 0
    assert site.received().exams["ACC9"]["patientSex"] == "F"


def test_a_status_area_elsewhere_is_used_and_checked(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "for people"
    site.drop_lines = OPTIONAL + f"status = {json.dumps(str(elsewhere))}\n"
    cd(site.drop / "CD1", {"accession": ""})
    assert site.once() == 3
    assert [path.name for path in elsewhere.iterdir()] == ["CD1.json.template"]
    checks = json.loads(site.command("doctor", "--json").stdout)["checks"]
    assert [one["outcome"] for one in checks if one["name"] == "drop ct status"] == ["ok"]
    elsewhere.rename(tmp_path / "away")
    elsewhere.write_bytes(b"")
    checks = json.loads(site.command("doctor", "--json").stdout)["checks"]
    assert [one["outcome"] for one in checks if one["name"] == "drop ct status"] == ["fault"]


def test_a_receipt_warns_of_what_the_images_disagree_about(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.4\n"
    dicom(site.drop / "CT1/IM1", study_description="HEAD")
    dicom(site.drop / "CT1/IM2", study_description="NECK")
    sidecar(site.drop / "CT1/exam.json", imageCnt=2)
    assert site.once() == 0
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    (warning,) = [one for one in receipt["warnings"] if one["code"] == "FA-HEADERS-DIFFER"]
    assert 'studyDesc (StudyDescription): "HEAD" in CT1/IM1, "NECK"' in warning["text"]
    assert "NECK" not in site.logs()


# --- try-sidecar ------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_sidecar_is_shown_exam_by_exam_with_what_stays(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "CD1"
    cd(folder, {}, {"accession": "", "patient": "P9"}, {"patient_sex": "F"})
    dicom(folder / "DICOM/PA000001/ST000003/SE000001/IM000003", study="1.2.840.3", accession="ACC3", **SAID)
    result = tried(site, folder)
    assert result.exit_code == 3
    assert ["A", "patientId", "P7001", "image", "header", "PatientID"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert 'patientSex (PatientSex): "F" in ' in result.stdout
    assert "FA-LEFT: CD1: 4 files of no exam" in result.stdout
    found = told(site, folder)
    assert [(one["bundle"], one["would_be_sent"]) for one in found["exams"]] == [
        ("CD1 ACC1", True),
        ("CD1 #2", False),
        ("CD1 ACC3", False),
    ]
    assert found["exams"][0]["counted"] == {"imageCnt": 2, "reportCnt": 0, "pdfCnt": 0, "seriesCnt": 1}
    assert [one["code"] for one in found["exams"][2]["waits_for"]] == ["FA-NEEDS-SIDECAR", "FA-HEADERS-DIFFER"]
    assert site.logs() == ""
    assert list(site.drop.iterdir()) == []


def test_where_a_sidecar_is_required_a_folder_is_shown_and_said_to_wait(site: Site, tmp_path: Path) -> None:
    site.drop_lines = ""
    cd(tmp_path / "CD1")
    (exam,) = told(site, tmp_path / "CD1")["exams"]
    assert [one["code"] for one in exam["waits_for"]] == ["FA-NO-SIDECAR"]
    assert {one["field"]: one["value"] for one in exam["fields"]}["patientId"] == "P7001"


def test_a_sidecar_is_shown_with_what_its_images_fill_in_and_contradict(site: Site, tmp_path: Path) -> None:
    dicom(tmp_path / "ACC1/dicom/IM1", study_description="HEAD", **SAID)
    dicom(tmp_path / "ACC1/dicom/IM2", study_description="NECK", **SAID)
    file = tmp_path / "ACC1/json/x.json"
    sidecar(file, modality=None, studyUid="1.2.840.1")
    found = told(site, file)
    fields = {one["field"]: (one["value"], one["from"], one["key"]) for one in found["fields"]}
    assert fields["modality"] == ("CT", "DICOM header", "Modality")
    assert (found["would_be_sent"], found["counted"]["imageCnt"]) == (True, 2)
    assert "FA-HEADERS-DIFFER" in [one["code"] for one in found["warnings"]]
    dicom(tmp_path / "ACC1/dicom/IM3", patient="P9")
    result = tried(site, file)
    assert (result.exit_code, "FA-MISMATCH" in result.stdout) == (4, True)


def test_in_a_flat_folder_what_is_named_like_the_sidecar_lies_with_it(site: Site) -> None:
    sidecar(site.drop / "A1.json", modality=None, imageCnt=3)
    dicom(site.drop / "A1_1.dcm")
    dicom(site.drop / "B1.dcm", accession="B1", study="1.9")
    (site.drop / "A1.pdf").write_bytes(PDF)
    found = told(site, site.drop / "A1.json")
    assert {one["field"]: one["value"] for one in found["fields"]}["modality"] == "CT"
    assert (found["counted"]["pdfCnt"], [one["code"] for one in found["waits_for"]]) == (1, ["FA-WAIT-FILES"])


def test_the_images_of_a_sidecar_may_lie_anywhere(site: Site, tmp_path: Path) -> None:
    sidecar(tmp_path / "papers/x.json", modality=None)
    dicom(tmp_path / "images/deep/IM1")
    alone = told(site, tmp_path / "papers/x.json")
    assert (alone["would_be_sent"], alone["counted"]) == (False, None)
    found = told(site, tmp_path / "papers/x.json", "--images", tmp_path / "images")
    assert (found["would_be_sent"], found["counted"]["imageCnt"]) == (True, 1)


def test_an_empty_folder_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = tried(site, tmp_path / "empty")
    assert (result.exit_code, result.stdout) == (1, "there is no exam in it\n")


# --- real CDs ---------------------------------------------------------------------------------------------------------


def test_the_cd_in_pydicoms_collection_is_split_by_study_and_loses_nothing(site: Site) -> None:
    """`dicomdirtests`: two patients with seven studies, their DICOMDIRs, and a file that is none of an exam."""
    lie_of(site, ("CD1", FILES / "dicomdirtests"))
    studies = {one.study for one in facts_of(FILES / "dicomdirtests")}
    assert len(studies) > 3
    assert {bundle.key for bundle in site.bundles()} == {f"CD1/#{uid}" for uid in studies}


def test_a_cd_of_everything_that_devices_ever_wrote_is_split_by_study_and_loses_nothing(site: Site) -> None:
    """All of pydicom's test files in one folder, damaged ones and those of no study among them."""
    lie_of(site, ("CD1", FILES))
    assert {str(bundle.state) for bundle in site.bundles()} <= {"DONE", "REFUSED", "GATHERING"}


def lie_of(site: Site, *folders: tuple[str, Path]) -> None:
    """Drop copies of the folders, run, and see that every byte is still there and every exam is of one study."""
    for name, folder in folders:
        shutil.copytree(folder, site.drop / name)
    before = Counter(path.read_bytes() for path in site.drop.rglob("*") if path.is_file())
    code = site.once()
    after = Counter(path.read_bytes() for path in site.drop.rglob("*") if path.is_file())
    assert not before - after
    waiting = [bundle for bundle in site.bundles() if str(bundle.state) == "GATHERING"]
    needy = [bundle for bundle in waiting if bundle.reasons[0].code == "FA-NEEDS-SIDECAR"]
    assert code in {0, 3, 4}
    assert len(list((site.drop / "_STATUS").glob("*"))) == len(needy)
    for shelved in [*site.shelf().values(), *site.shelf("failed").values()]:
        assert len({one.study for one in facts_of(shelved)}) == 1
    assert look(site)[2] in {0, 3}


def facts_of(folder: Path) -> list[DicomFacts]:
    drop = RealDropFolder("shelf", folder)
    found = [drop.inspect(sighting.path, sighting.stamp) for sighting in drop.look()]
    return [one.dicom for one in found if one is not None and one.dicom is not None]
