"""What people do to a drop folder by hand, with real files, and the answers that they find there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.names import STATUS_NAME
from folder_agent.edges.drop_folder.status_file import StatusFile
from tests.marks import LINKS
from tests.site import PDF, Site, dicom, sidecar

NOTES = "quiet_s = 0.3\nnotes = true\n"


def status(site: Site) -> dict[str, object]:
    told: dict[str, object] = json.loads(
        CliRunner().invoke(app, ["status", "--json", "--config", str(site.config())]).stdout
    )
    return told


def note(site: Site) -> str:
    return (site.drop / STATUS_NAME).read_text("utf-8-sig")


def test_a_shortcut_a_word_file_and_a_loose_pdf_each_get_an_answer_beside_them(site: Site) -> None:
    site.drop_lines = NOTES
    for name, content in {
        "检查 - 快捷方式.lnk": b"L\0\0\0\x01\x14\x02\0",
        "letter.docx": b"PK\3\4word",
        "loose.pdf": PDF,
        "photo.jpg": b"\xff\xd8\xff",
        "x.rar": b"Rar!",
    }.items():
        (site.drop / name).write_bytes(content)
    assert site.once() == 3  # the PDF waits for its exam
    codes = ("FA-SHORTCUT", "FA-NOT-EXAM", "FA-NO-OWNER", "FA-NOT-EXAM", "FA-ARCHIVE")
    ignored = status(site)["ignored"]
    assert isinstance(ignored, list)
    assert sorted(one["code"] for one in ignored) == sorted(codes)
    for code in codes:
        assert note(site).count(code) >= 2
    assert "检查 - 快捷方式.lnk" in note(site)
    plain = CliRunner().invoke(app, ["status", "--lang", "en", "--config", str(site.config())]).stdout
    assert "letter.docx: it is neither DICOM nor PDF" in plain


def test_half_an_exam_and_a_failed_one_are_told_in_the_note(site: Site) -> None:
    site.drop_lines = NOTES
    dicom(site.drop / "CT1/IM0")
    sidecar(site.drop / "CT1/exam.json", imageCnt=2)
    dicom(site.drop / "CT2/IM0", patient="P9")
    sidecar(site.drop / "CT2/exam.json", imageCnt=1)
    assert site.once() == 4
    assert "CT1: waiting for 1 of 2 images" in note(site)
    assert "/CT2: CT2/IM0: " in note(site)
    assert "P9" not in note(site).replace("P9001", "")
    assert "测试甲" not in note(site)


def test_the_note_is_no_file_of_an_exam_and_no_news(site: Site) -> None:
    site.drop_lines = NOTES
    dicom(site.drop / "A1_1.dcm")
    sidecar(site.drop / "A1.json", imageCnt=1)
    assert site.once() == 0
    assert sorted(path.name for path in site.drop.iterdir()) == [STATUS_NAME, "done", "failed"]
    assert [sighting.path for sighting in RealDropFolder("ct", site.drop).look() if "STATUS" in sighting.path] == []
    assert status(site)["files"]["SEEN"] == 0  # type: ignore[index,call-overload]


def test_without_the_setting_the_folder_stays_clean(site: Site) -> None:
    (site.drop / "letter.docx").write_bytes(b"PK\3\4word")
    site.once()
    assert sorted(path.name for path in site.drop.iterdir()) == ["done", "failed", "letter.docx"]


def test_a_file_of_that_name_that_is_not_ours_is_left_alone(site: Site) -> None:
    site.drop_lines = NOTES
    (site.drop / STATUS_NAME).write_bytes(b"mine")
    dicom(site.drop / "CT1/IM0")
    sidecar(site.drop / "CT1/exam.json", imageCnt=1)
    assert site.once() == 0
    assert (site.drop / STATUS_NAME).read_bytes() == b"mine"


@LINKS
def test_a_link_of_that_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "other").write_bytes(b"\xef\xbb\xbffolder-agent: not here")
    (tmp_path / "drop" / STATUS_NAME).symlink_to(tmp_path / "other")
    with pytest.raises(Exception, match="FA-STATUS-NOTE"):
        StatusFile(RealDropFolder("ct", tmp_path / "drop")).write(b"\xef\xbb\xbffolder-agent:x")
    assert (tmp_path / "other").read_bytes().endswith(b"not here")


def test_an_unmounted_share_is_not_written_to(tmp_path: Path) -> None:
    file = StatusFile(RealDropFolder("ct", tmp_path / "gone"))
    with pytest.raises(Exception, match="FA-DROP-GONE"):
        file.write(b"x")
    assert not (tmp_path / "gone").exists()


def test_a_renamed_exam_goes_under_its_new_name_and_only_once(site: Site) -> None:
    dicom(site.drop / "CT1/IM0")
    sidecar(site.drop / "CT1/exam.json", imageCnt=1, pdfCnt=1)
    assert site.once() == 3
    (site.drop / "CT1").rename(site.drop / "CT1 李四")
    (site.drop / "CT1 李四/report.pdf").write_bytes(PDF)
    assert site.once() == 0
    assert list(site.shelf()) == ["CT1 李四"]
    assert len(site.received().posts) == 1


def test_what_is_pasted_over_is_judged_and_sent_as_it_is_then(site: Site) -> None:
    site.gateway.misbehave(match="/ris/study/add", times=1, do="status", status=503)
    instance = dicom(site.drop / "CT1/IM0", instance="1.2.3.4")
    sidecar(site.drop / "CT1/exam.json", imageCnt=1)
    assert site.once() == 3
    dicom(site.drop / "CT1/IM0", instance="1.2.3.5", pixels=b"\1" * 2048)
    assert CliRunner().invoke(app, ["retry", "CT1", "--config", str(site.config())]).exit_code == 0
    assert site.once() == 0
    assert {instance, "1.2.3.5"} == set(site.received().instances)
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text("utf-8"))
    assert [one["sopInstanceUid"] for one in receipt["files"] if one["kind"] == "DICOM"] == ["1.2.3.5"]
