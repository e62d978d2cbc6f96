"""How systems and people lay out what they drop, with real files, a real gateway and the real agent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.edges.drop_folder import RealDropFolder
from tests.site import PDF, Site, dicom, sidecar

GIB = 1024**3


def test_sibling_folders_with_a_pdf_are_one_exam_by_their_depth(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.3\nbundle_depth = 1\n"
    dicom(site.drop / "ACC1/dicom/IM0")
    (site.drop / "ACC1/pdf").mkdir()
    (site.drop / "ACC1/pdf/report.pdf").write_bytes(PDF)
    sidecar(site.drop / "ACC1/json/x.json", imageCnt=1, pdfCnt=1)
    assert site.once() == 0
    shelved = site.shelf()["ACC1"]
    assert sorted(path.relative_to(shelved).as_posix() for path in shelved.rglob("*.*")) == [
        "json/x.json",
        "pdf/report.pdf",
        "receipt.json",
    ]
    assert sorted(path.name for path in site.drop.iterdir()) == ["done", "failed"]


def test_a_day_folder_stays_and_the_exams_in_it_go(site: Site) -> None:
    for number in (1, 2):
        day = site.drop / "2025/03/07"
        dicom(day / f"ACC{number}/IM0", study=f"1.2.{number}", accession=f"ACC{number}")
        sidecar(day / f"ACC{number}/x.json", accessNumber=f"ACC{number}", imageCnt=1)
    assert site.once() == 0
    assert set(site.shelf()) == {"ACC1", "ACC2"}
    assert list((site.drop / "2025/03/07").iterdir()) == []


def test_what_failed_of_a_deep_layout_may_be_dropped_back_at_the_top(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.3\nbundle_depth = 2\n"
    dicom(site.drop / "2025/ACC1/dicom/IM0")
    sidecar(site.drop / "2025/ACC1/json/x.json", imageCnt=1, pdfCnt=1, patientId=None)
    (site.drop / "2025/ACC1/pdf").mkdir()
    (site.drop / "2025/ACC1/pdf/report.pdf").write_bytes(PDF)
    assert site.once() == 4
    failed = site.shelf("failed")["ACC1"]
    sidecar(failed / "json/x.json", imageCnt=1, pdfCnt=1)
    failed.rename(site.drop / "ACC1")
    assert site.once() == 0
    assert site.received().exams["ACC1"]["pdfCnt"] == 1


def test_depth_and_flat_layout_contradict_each_other(site: Site) -> None:
    site.drop_lines = 'layout = "flat"\nbundle_depth = 1\n'
    told = CliRunner().invoke(app, ["run", "--once", "--config", str(site.config())])
    assert told.exit_code == 2
    assert "not both" in told.output


@pytest.mark.parametrize("most", [9])
def test_a_file_of_four_gigabytes_is_looked_into_by_a_few_small_reads(tmp_path: Path, most: int) -> None:
    """Sparse, with pixel data of 4 GiB (the most that a length of DICOM can say) as long as announced, or not."""
    path = tmp_path / "drop/IM0"
    dicom(path)
    if not hasattr(path.stat(), "st_blocks"):
        pytest.skip("Windows does not tell whether a file is sparse")
    raw = path.read_bytes()
    length = 2**32 - 2
    at = raw.index(b"\xe0\x7f\x10\0OW") + 8
    head = raw[:at] + length.to_bytes(4, "little")
    drop = RealDropFolder("ct", tmp_path / "drop")
    for missing in (0, 2):
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + length - missing)
        if path.stat().st_blocks * 512 > GIB:
            pytest.skip("this file system has no sparse files")
        (sighting,) = drop.look()
        before = _read_by_us()
        finding = drop.inspect("IM0", sighting.stamp)
        assert _read_by_us() - before < 4 * 1024 * 1024
        assert finding is not None
        if missing:
            assert finding.problem is not None
            assert finding.problem.code == "FA-FILE-TRUNCATED"
        else:
            assert finding.problem is None or finding.problem.code != "FA-FILE-TRUNCATED"


def _read_by_us() -> int:
    """Bytes that this process has asked the system for."""
    io = Path("/proc/self/io")
    if not io.exists():
        return 0
    return int(next(line for line in io.read_text("utf-8").splitlines() if line.startswith("rchar")).split()[1])


def test_the_status_tells_what_half_an_exam_waits_for(site: Site) -> None:
    dicom(site.drop / "CT1/IM0")
    dicom(site.drop / "CT1/IM1")
    sidecar(site.drop / "CT1/exam.json", imageCnt=2, pdfCnt=1)
    assert site.once() == 3
    os.unlink(site.drop / "CT1/IM1")  # noqa: PTH108
    (site.drop / "CT1/report.pdf").write_bytes(PDF)
    assert site.once() == 3
    told = CliRunner().invoke(app, ["status", "--json", "--config", str(site.config())])
    (waiting,) = json.loads(told.stdout)["waiting"]
    assert waiting["for"] == "waiting for 1 of 2 images"
