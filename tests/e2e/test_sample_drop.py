"""The sample bundles are what their script writes, small, valid DICOM, and show what their README says they show."""

from __future__ import annotations

import codecs
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from folder_agent.core.bundling import BundleRules, Complete, Refused, Verdict, Waiting, judge
from folder_agent.core.exam import FIELD_CLASSES, FieldClass
from folder_agent.core.grouping import Member, group
from folder_agent.core.settling import Watched
from folder_agent.edges.drop_folder import RealDropFolder

SAMPLES = Path(__file__).parents[2] / "sample_drop"
SCRIPT, README = SAMPLES / "make_samples.py", SAMPLES / "README.md"
MOST_BYTES = 5_000_000
HEADER_FIELDS = {"patientId": "PatientID", "accessNumber": "AccessionNumber", "studyUid": "StudyInstanceUID"}


def is_dropped(path: Path) -> bool:
    """Every bundle lies in a folder of its own; what stands beside the folders explains them."""
    return path.is_file() and path.parent != SAMPLES and "__pycache__" not in path.parts


DROPPED = sorted(path for path in SAMPLES.rglob("*") if is_dropped(path))
SIDECARS = [path for path in DROPPED if path.suffix == ".json"]
PDFS = [path for path in DROPPED if path.suffix == ".pdf"]
DICOM = [path for path in DROPPED if path not in SIDECARS and path not in PDFS]
INSTANCES = [path for path in DICOM if path.name != "DICOMDIR"]


def name_of(path: Path) -> str:
    return path.relative_to(SAMPLES).as_posix()


def each(paths: list[Path]) -> Callable[..., Any]:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def read_json(path: Path) -> dict[str, Any]:
    """As a reader must: by mark, else UTF-8, else GB18030."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        return json.loads(content.decode("utf-8-sig"))
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        return json.loads(content.decode("gb18030"))


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_samples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Bundle:
    """A sidecar, the files that the README says are its own, and the fields whose counts differ from them."""

    sidecar: str
    files: tuple[str, ...]
    images: int
    reports: int = 0
    pdfs: int = 0
    series: int = 1
    short_of: tuple[str, ...] = ()


BUNDLES = [
    Bundle("CT20260301-001/exam.json", ("CT20260301-001/**/*",), 12, pdfs=1),
    Bundle("outpatient/DX1001.json", ("outpatient/DX1001*",), 1, pdfs=1),
    Bundle("outpatient/DX1002.json", ("outpatient/DX1002*", "outpatient/IMG_0007.dcm"), 2),
    Bundle("CD-MR77/exam.json", ("CD-MR77/**/*",), 6),
    Bundle("GB18030-US9/检查信息.json", ("GB18030-US9/*",), 1),
    Bundle("SR-CT55/exam.json", ("SR-CT55/*",), 3, reports=1, series=2),
    Bundle("WAIT-MG3/exam.json", ("WAIT-MG3/*",), 2, short_of=("imageCnt", "pdfCnt")),
    Bundle("MIXED-CR8/exam.json", ("MIXED-CR8/*",), 2, series=2),
    Bundle("NOID-DX5/exam.json", ("NOID-DX5/*",), 1),
    Bundle("EMERG-CT2/exam.json", ("EMERG-CT2/*",), 4),
    Bundle("LISTED-CT6/exam.json", ("LISTED-CT6/**/*",), 3, pdfs=1),
]
each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.sidecar)


def files_of(bundle: Bundle) -> list[Path]:
    return sorted({path for pattern in bundle.files for path in SAMPLES.glob(pattern) if path in DROPPED})


def headers_of(bundle: Bundle) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in files_of(bundle) if path in INSTANCES]


# --- as a whole -------------------------------------------------------------------------------------------------------


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_script_writes_the_same_bytes_again(tmp_path: Path) -> None:
    script().make(tmp_path)
    again, committed = contents(tmp_path), {name_of(path): path.read_bytes() for path in DROPPED}
    assert sorted(again) == sorted(committed)
    assert [name for name in again if again[name] != committed[name]] == []


def test_the_script_runs_by_itself(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", SCRIPT, tmp_path], check=True, timeout=60)
    assert len(contents(tmp_path)) == len(DROPPED)


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in DROPPED) < MOST_BYTES


def test_every_file_belongs_to_exactly_one_bundle() -> None:
    assert sorted(path for bundle in BUNDLES for path in files_of(bundle)) == DROPPED
    assert sorted(bundle.sidecar for bundle in BUNDLES) == sorted(map(name_of, SIDECARS))


def test_the_readme_speaks_of_every_bundle() -> None:
    text = README.read_text(encoding="utf-8")
    assert [bundle.sidecar for bundle in BUNDLES if bundle.sidecar.split("/")[0] not in text] == []


def test_the_readme_names_every_field_in_its_class() -> None:
    text = README.read_text(encoding="utf-8")
    for field_class in FieldClass:
        rows = [line for line in text.splitlines() if line.startswith(f"| {field_class} |")]
        named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
        expected = {name for name, known in FIELD_CLASSES.items() if known is field_class}
        assert expected <= named, field_class


def test_the_readmes_examples_are_sidecars() -> None:
    examples = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        assert set(json.loads(example)) <= {*FIELD_CLASSES, "files"}


# --- DICOM and PDF ----------------------------------------------------------------------------------------------------


@each(INSTANCES)
def test_every_instance_reads_in_full(path: Path) -> None:
    ds = dcmread(path)
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert str(ds.StudyInstanceUID).startswith("2.25.")
    str(ds)  # converts every element, so that a bad value shows
    if "PixelData" in ds:
        assert ds.pixel_array.shape == (ds.Rows, ds.Columns)
        assert int(ds.pixel_array.max()) < 2**ds.BitsStored
        assert ds.pixel_array.min() < ds.pixel_array.max()
    else:
        assert ds.Modality == "SR"


def test_no_two_instances_share_a_uid() -> None:
    uids = [dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in INSTANCES]
    assert len(set(uids)) == len(uids)


def test_three_transfer_syntaxes_are_shown() -> None:
    found = {dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in INSTANCES}
    assert found == {ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless}


def test_the_dicomdir_leads_to_every_image() -> None:
    """By its offsets (PS3.3 F.2.2), as a viewer goes; pydicom's FileSet would leave a temporary folder behind."""
    directory = dcmread(SAMPLES / "CD-MR77" / "DICOMDIR")
    records = {record.seq_item_tell: record for record in directory.DirectoryRecordSequence}
    here, names, kinds = directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, [], []
    while here:
        record = records.pop(here)
        kinds.append(record.DirectoryRecordType)
        if kinds[-1] == "IMAGE":
            image = dcmread(SAMPLES.joinpath("CD-MR77", *record.ReferencedFileID), stop_before_pixels=True)
            assert image.SOPInstanceUID == record.ReferencedSOPInstanceUIDInFile
            names.append(Path(image.filename))
        here = record.OffsetOfReferencedLowerLevelDirectoryEntity or record.OffsetOfTheNextDirectoryRecord
    assert kinds == ["PATIENT", "STUDY", "SERIES"] + ["IMAGE"] * 6
    assert records == {}
    assert names == sorted((SAMPLES / "CD-MR77" / "IMAGES").iterdir())
    assert all("." not in path.name for path in names)


@pytest.fixture
def dcmftest() -> str:
    tool = shutil.which("dcmftest")
    if tool is None and os.environ.get("FOLDER_AGENT_CI") == "1":
        pytest.fail("dcmtk is not installed, and this check must not be skipped here")
    if tool is None:
        pytest.skip("dcmtk is not installed")
    return tool


def test_dcmtk_takes_every_dicom_file(dcmftest: str) -> None:
    done = subprocess.run([dcmftest, *DICOM], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


@each(PDFS)
def test_every_pdf_is_whole(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"%PDF-1.4")
    assert content.endswith(b"%%EOF\n")
    table = int(content.split(b"startxref\n")[1].split()[0])
    assert content[table:].startswith(b"xref\n")
    for number, offset in enumerate(re.findall(rb"^(\d{10}) 00000 n $", content, re.MULTILINE), 1):
        assert content[int(offset) :].startswith(f"{number} 0 obj".encode("ascii"))
    stream = re.search(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", content, re.DOTALL)
    assert stream is not None
    assert int(stream[1]) == len(stream[2])


# --- sidecars ---------------------------------------------------------------------------------------------------------


@each(SIDECARS)
def test_every_sidecar_has_the_gateways_fields(path: Path) -> None:
    fields = read_json(path)
    required = {name for name, known in FIELD_CLASSES.items() if known is FieldClass.A}
    assert set(fields) <= {*FIELD_CLASSES, "files"}
    assert required - set(fields) == ({"patientId"} if path.parent.name == "NOID-DX5" else set())


@each(SIDECARS)
def test_every_patient_is_plainly_invented(path: Path) -> None:
    fields = read_json(path)
    assert re.fullmatch(r"1000000\d{4}", fields["phoneNum"])  # no number in China begins so
    assert re.fullmatch(r"000000\d{8}0000", fields["idCardNum"])  # neither region nor serial


@each_bundle
def test_declared_counts_are_those_of_the_files(bundle: Bundle) -> None:
    headers, fields = headers_of(bundle), read_json(SAMPLES / bundle.sidecar)
    found = {
        "imageCnt": sum("Rows" in ds for ds in headers),
        "reportCnt": sum(ds.Modality == "SR" for ds in headers),
        "pdfCnt": sum(path in PDFS for path in files_of(bundle)),
        "seriesCnt": len({ds.SeriesInstanceUID for ds in headers}),
    }
    assert tuple(found.values()) == (bundle.images, bundle.reports, bundle.pdfs, bundle.series)
    declared = {name: int(fields[name]) for name in found if name in fields}
    assert len(declared) in (0, 4)
    assert tuple(name for name in declared if declared[name] > found[name]) == bundle.short_of
    assert [name for name in declared if declared[name] < found[name]] == []


@each_bundle
def test_headers_agree_with_the_sidecar_except_where_a_stranger_is_shown(bundle: Bundle) -> None:
    fields = read_json(SAMPLES / bundle.sidecar)
    wrong = [
        (Path(ds.filename).name, name)
        for ds in headers_of(bundle)
        for name, keyword in HEADER_FIELDS.items()
        if name in fields and str(fields[name]) != str(ds[keyword].value)
    ]
    strange = [("CR2.dcm", name) for name in HEADER_FIELDS]
    assert wrong == (strange if bundle.sidecar.startswith("MIXED-CR8/") else [])


def test_the_gb18030_sidecar_is_neither_utf8_nor_gbk() -> None:
    content = (SAMPLES / "GB18030-US9" / "检查信息.json").read_bytes()
    for encoding in ("utf-8", "gbk"):
        with pytest.raises(UnicodeDecodeError):
            content.decode(encoding)
    assert json.loads(content.decode("gb18030"))["patientName"] == "田𠮷"


def test_the_local_forms_are_there() -> None:
    path = SAMPLES / "outpatient" / "DX1002.json"
    fields = read_json(path)
    assert path.read_bytes().startswith(codecs.BOM_UTF8)
    assert (fields["patientSex"], fields["studyDate"], fields["patientBirthday"]) == (
        "女",
        "2026/3/1 9:05:00",
        "19800102",
    )
    assert isinstance(fields["patientId"], int)
    assert isinstance(fields["imageCnt"], str)


def test_the_list_tells_every_file_with_size_and_digest() -> None:
    folder = SAMPLES / "LISTED-CT6"
    fields = read_json(folder / "exam.json")
    for entry in fields["files"]:
        content = (folder / entry["path"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    listed = {folder / entry["path"] for entry in fields["files"]} | {folder / "exam.json"}
    assert listed == {path for path in DROPPED if path.is_relative_to(folder)}


def test_one_exam_is_an_emergency() -> None:
    urgent = [name_of(path) for path in SIDECARS if read_json(path)["studyCategory"] == "emergency"]
    assert urgent == ["EMERG-CT2/exam.json"]


# --- what the agent makes of them -------------------------------------------------------------------------------------


def verdicts(root: Path, unchanged_for: float) -> dict[str, Verdict]:
    """The agent's judgement of each bundle, by key, when nothing has changed for so many seconds."""
    drop = RealDropFolder("samples", root)
    members = []
    for sighting in drop.look():
        finding = drop.inspect(sighting.path, sighting.stamp)
        assert finding is not None, sighting.path
        members.append(Member(sighting.path, finding.kind, Watched(sighting.stamp, 0.0), finding))
    grouping = group(members)
    assert grouping.unassigned == ()
    return {one.key: judge(one, BundleRules(), unchanged_for, unchanged_for) for one in grouping.groups}


def in_words(verdict: Verdict) -> str:
    if isinstance(verdict, Complete):
        return "complete"
    problems = verdict.problems if isinstance(verdict, Refused) else verdict.reasons
    return " ".join(sorted({problem.code for problem in problems}))


OUTCOMES = {
    "CD-MR77/": "complete",
    "CT20260301-001/": "complete",
    "EMERG-CT2/": "complete",
    "GB18030-US9/": "complete",
    "LISTED-CT6/": "complete",
    "MIXED-CR8/": "FA-MISMATCH",
    "NOID-DX5/": "FA-FIELD-MISSING",
    "SR-CT55/": "complete",
    "WAIT-MG3/": "FA-WAIT-FILES",
    "outpatient/DX1001.json": "complete",
    "outpatient/DX1002.json": "complete",
}


def test_the_agent_judges_each_bundle_as_the_readme_says(tmp_path: Path) -> None:
    script().make(tmp_path)
    late = verdicts(tmp_path, 61.0)
    assert {key: in_words(verdict) for key, verdict in late.items()} == OUTCOMES
    early = verdicts(tmp_path, 3.0)
    assert {key: in_words(verdict) for key, verdict in early.items()} == OUTCOMES | {"GB18030-US9/": "FA-WAIT-QUIET"}
    assert isinstance(late["WAIT-MG3/"], Waiting)
    assert {key for key, verdict in late.items() if isinstance(verdict, Refused)} == {"MIXED-CR8/", "NOID-DX5/"}


def test_the_local_forms_arrive_in_the_gateways(tmp_path: Path) -> None:
    script().outpatient(tmp_path)
    verdict = verdicts(tmp_path, 3.0)["outpatient/DX1002.json"]
    assert isinstance(verdict, Complete)
    expected = {
        "patientId": "20020033",
        "patientSex": "F",
        "patientAge": "46",
        "patientAgeUnit": "Y",
        "patientBirthday": "1980-01-02",
        "studyDate": "2026-03-01 09:05:00",
        "size": "1.62",
        "weight": "58.5",
        "studyCategory": "normal",
        "status": "preliminary",
    }
    assert {name: verdict.reading.get(name) for name in expected} == expected
