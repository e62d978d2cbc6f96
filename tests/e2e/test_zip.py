"""A ZIP of a study, dropped by hand: the real agent unpacks it, delivers what is in it, and keeps it with the exam."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.cli.app import app
from folder_agent.core.records import BundleRecord
from folder_agent.edges.unpacking import RealUnpacker
from tests.fakes import FakePublisher
from tests.site import FIELDS, PDF, Site, dicom


def study(tmp_path: Path, prefix: str = "CT1/", number: int = 1, images: int = 2) -> dict[str, bytes]:
    files = {}
    for one in range(images):
        image = tmp_path / f"{number}-{one}.dcm"
        dicom(image, study=f"1.2.{number}", accession=f"ACC{number}")
        files[f"{prefix}IM{one}"] = image.read_bytes()
    exam = FIELDS | {"accessNumber": f"ACC{number}", "imageCnt": images, "studyUid": f"1.2.{number}"}
    return files | {f"{prefix}exam.json": json.dumps(exam, ensure_ascii=False).encode()}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def there(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("prefix", ["", "CT1/", "outer/CT1/"])
def test_a_zip_of_a_study_is_delivered_and_kept_with_it(site: Site, tmp_path: Path, prefix: str) -> None:
    content = zipped(study(tmp_path, prefix))
    (site.drop / "张三.zip").write_bytes(content)
    assert site.once() == 0
    assert site.states() == {"张三.zip": "WITHDRAWN", "张三": "DONE"}
    (shelved,) = site.shelf().values()
    (kept,) = shelved.rglob("*.zip")
    assert (kept.name, kept.read_bytes()) == ("张三.unpacked.zip", content)
    assert len(site.received().instances) == 2
    assert sorted(path.name for path in site.drop.iterdir()) == ["done", "failed"]
    assert site.once() == 0
    assert len(site.received().posts) == 1


def test_the_status_says_what_became_of_it(site: Site, tmp_path: Path) -> None:
    (site.drop / "x.zip").write_bytes(zipped(study(tmp_path)))
    assert site.once() == 0
    told = CliRunner().invoke(app, ["show", "x.zip", "--json", "--config", str(site.config())])
    assert json.loads(told.stdout)["bundle"]["reasons"][0]["code"] == "FA-UNPACKED"


def test_a_zip_of_several_exams_is_several_exams_and_is_kept_with_one(site: Site, tmp_path: Path) -> None:
    files = {**study(tmp_path, "a/", 1), **study(tmp_path, "b/", 2), "b/report.pdf": PDF}
    (site.drop / "x.zip").write_bytes(zipped(files))
    assert site.once() == 0
    assert set(site.shelf()) == {"a", "b"}
    assert len(list((site.drop / "done").rglob("*.unpacked.zip"))) == 1
    assert len(site.received().posts) == 2


def test_the_images_of_a_flat_exam_may_come_zipped(site: Site, tmp_path: Path) -> None:
    files = study(tmp_path, "")
    (site.drop / "A1.json").write_bytes(files.pop("exam.json"))
    (site.drop / "A1.zip").write_bytes(zipped(files))
    assert site.once() == 0
    assert there(site.shelf()["A1"]) == [
        "A1.json",
        "A1.unpacked/A1.unpacked.zip",
        "A1.unpacked/IM0",
        "A1.unpacked/IM1",
        "receipt.json",
    ]


def test_a_zip_beside_a_sidecar_is_no_file_of_the_exam_as_ever(site: Site, tmp_path: Path) -> None:
    for name, content in {**study(tmp_path), "CT1/more.zip": zipped({"x": b"x"})}.items():
        (site.drop / name).parent.mkdir(exist_ok=True)
        (site.drop / name).write_bytes(content)
    assert site.once() == 0
    assert "more.zip" in there(site.shelf()["CT1"])


def test_a_bad_zip_is_in_failed_with_the_reason_and_may_be_dropped_back(site: Site, tmp_path: Path) -> None:
    (site.drop / "x.zip").write_bytes(zipped({"../evil.dcm": b"x"}))
    assert site.once() == 4
    failed = site.shelf("failed")["x.zip"]
    why = (failed / "WHY.txt").read_text("utf-8-sig")
    assert "[FA-ZIP-NAME]" in why
    assert "../evil.dcm" in why
    assert not list(site.root.rglob("evil.dcm"))
    assert "evil" not in site.logs()
    (failed / "x.zip").write_bytes(zipped(study(tmp_path)))
    failed.rename(site.drop / "again")
    assert site.once() == 0
    assert len(site.received().posts) == 1


def test_a_zip_that_comes_slowly_is_unpacked_when_it_is_whole(site: Site, tmp_path: Path) -> None:
    site.drop_lines = "quiet_s = 3\nscan_s = 0.2\n"
    content = zipped(study(tmp_path))
    (site.drop / "x.zip").write_bytes(content[:-40])
    found: list[str] = []
    whole: list[bool] = []

    def told(bundle: BundleRecord, _: object) -> None:
        found.extend(reason.code for reason in bundle.reasons)
        if "FA-ZIP-BROKEN" in found and bundle.name == "x.zip" and not whole:
            whole.append(True)
            (site.drop / "x.zip").write_bytes(content)

    publisher = FakePublisher()
    publisher.waits = told  # type: ignore[method-assign]
    with Assembly(settings.load(site.config(), {}), publisher) as assembly:
        assembly.agent.run(until_idle=lambda: True)
    assert "FA-ZIP-BROKEN" in found
    assert site.states() == {"x.zip": "WITHDRAWN", "x": "DONE"}


def test_a_zip_stays_as_it_is_where_the_settings_say_so(site: Site, tmp_path: Path) -> None:
    site.drop_lines = "quiet_s = 0.3\nunzip = false\n"
    (site.drop / "x.zip").write_bytes(zipped(study(tmp_path)))
    site.once()
    assert there(site.drop) == ["x.zip"]


def test_what_was_broken_off_is_finished_by_the_next_start(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.drop / "x.zip").write_bytes(zipped(study(tmp_path)))

    class Died(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(RealUnpacker, "_show", dies)
        with pytest.raises(Died):
            site.once()
    assert not (site.drop / "x.zip").exists()
    assert site.once() == 0
    assert len(site.received().posts) == 1


def test_what_fails_on_our_side_does_not_fail_the_zip(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.drop / "x.zip").write_bytes(zipped(study(tmp_path)))

    def full(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(RealUnpacker, "_fill", full)
        assert site.once() == 3
    assert site.bundles()[0].reasons[0].code == "FA-DISK-FULL"
    assert site.once() == 0
