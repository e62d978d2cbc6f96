"""Writes the sample bundles beside this file: `python make_samples.py [FOLDER]`. Every patient in them is invented.

Deterministic: whole-number arithmetic, UIDs derived from names, no clock; so a second run gives the same bytes.
Needs pydicom and the standard library only, and writes nowhere but into FOLDER (by default its own).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
import uuid
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RLELossless,
    UltrasoundImageStorage,
)

NAMESPACE = uuid.UUID("5f0c2a52-6f1e-4d0a-9a57-0d6f1a3c7e11")  # ours; any fixed one would do
HOSPITAL, MAKER = "示例医院 Sample Hospital", "folder-agent samples"
Fields = dict[str, object]
Ellipse = tuple[int, int, int, int, int]  # centre x, y and radii x, y in thousandths of the image; value


def uid(*names: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that is the same for the same names."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, names))).int}"


# --- who and what -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patient:
    """An invented person; the serial of the id card and of the phone is all zeros but the last digits."""

    number: int
    name: str
    latin: str
    sex: str
    birthday: str

    @property
    def id(self) -> str:
        return f"P{self.number:06}"

    @property
    def age(self) -> int:
        return 2026 - int(self.birthday[:4])  # all were born before the day of their exam

    @property
    def dicom_name(self) -> str:
        """Alphabetic and ideographic groups (PS3.5 6.2.1)."""
        return f"{self.latin}={self.name[0]}^{self.name[1:]}"


@dataclass(frozen=True)
class Study:
    """One exam, as sidecar and DICOM files both tell it."""

    patient: Patient
    accession: str
    modality: str
    part: str
    part_zh: str
    text: str
    time: str = "09:05:00"
    charset: str = "ISO_IR 192"
    patient_id: str = ""  # where the local number has another form than ours

    @property
    def uid(self) -> str:
        return uid("study", self.accession)

    @property
    def id(self) -> str:
        return f"S{self.accession}"[:16]  # VR SH

    @property
    def owner(self) -> str:
        return self.patient_id or self.patient.id


ZHANG = Patient(1, "张三", "Zhang^San", "M", "1961-05-20")
LI = Patient(2, "李四", "Li^Si", "M", "1990-11-03")
WANG = Patient(3, "王五", "Wang^Wu", "F", "1980-01-02")
ZHAO = Patient(4, "赵六", "Zhao^Liu", "F", "1975-02-14")
TIAN = Patient(5, "田𠮷", "Tian^Ji", "M", "1988-01-08")  # 𠮷 is U+20BB7: four bytes in GB18030, none in GBK
QIAN = Patient(6, "钱七", "Qian^Qi", "M", "1955-02-09")
SUN = Patient(7, "孙八", "Sun^Ba", "F", "1969-01-17")
ZHOU = Patient(8, "周九", "Zhou^Jiu", "M", "1983-01-25")
WU = Patient(9, "吴十", "Wu^Shi", "F", "1947-02-06")
ZHENG = Patient(10, "郑十一", "Zheng^Shiyi", "M", "1999-01-30")
FENG = Patient(11, "冯十二", "Feng^Shier", "F", "1972-02-22")
CHEN = Patient(12, "陈十三", "Chen^Shisan", "M", "1966-01-11")


def sidecar(study: Study, **changes: object) -> Fields:
    """All A fields and the B fields that a hospital usually has (the gateway's page, 请求参数); None takes one out."""
    who = study.patient
    fields: Fields = {
        "patientId": study.owner,
        "patientName": who.name,
        "patientSex": who.sex,
        "studyId": study.id,
        "accessNumber": study.accession,
        "modality": study.modality,
        "patientAge": str(who.age),
        "patientAgeUnit": "Y",
        "patientBirthday": who.birthday,
        "size": "1.68",
        "weight": "63.5",
        "phoneNum": f"1000000{who.number:04}",
        "idCardNum": f"000000{who.birthday.replace('-', '')}0000",
        "medicalInsuranceNum": f"YB0000{who.number:04}",
        "bodyPart": study.part_zh,
        "studyDesc": study.text,
        "studyDate": f"2026-03-01 {study.time}",
        "scanMode": "平扫",
        "studyCategory": "normal",
        "applyDept": "呼吸内科",
        "applyDoctor": "示例医生甲",
        "applyDeptId": "D010",
        "applyDoctorId": "Y0001",
        "hisNum": f"H{who.number:06}",
        "examDept": "放射科",
        "examDoctor": "示例医生乙",
        "examDeptId": "D020",
        "examDoctorId": "Y0002",
        "status": "final",
        "studyUid": study.uid,
        "clinicNum": f"MZ{who.number:06}",
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def counts(images: int, reports: int = 0, pdfs: int = 0, series: int = 1) -> Fields:
    """The four counts for reconciliation."""
    return {"imageCnt": images, "reportCnt": reports, "pdfCnt": pdfs, "seriesCnt": series}


def write_sidecar(path: Path, fields: Fields, encoding: str = "utf-8") -> None:
    """As bytes, so that no platform changes the line ends."""
    put(path, (json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode(encoding))


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """Grey values, row by row."""

    columns: int
    rows: int
    bits: int  # significant: 8, or up to 16
    values: Sequence[int]

    @property
    def pixel_data(self) -> bytes:
        if self.bits == 8:
            return bytes(self.values)
        words = array("H", self.values)
        if sys.byteorder == "big":
            words.byteswap()
        return words.tobytes()


def paint(
    columns: int, rows: int, bits: int, ellipses: Sequence[Ellipse], *, noise: int, seed: int, background: int = 0
) -> Picture:
    """Ellipses over each other, later ones on top, and a little noise so that it looks like an image."""
    values = [background] * (columns * rows)
    for ellipse in ellipses:
        for row, first, last in _spans(columns, rows, ellipse):
            values[row * columns + first : row * columns + last] = [ellipse[4]] * (last - first)
    if noise:
        grain = random.Random(seed).randbytes(len(values))
        values = [value + byte % noise for value, byte in zip(values, grain, strict=True)]
    return Picture(columns, rows, bits, values)


def _spans(columns: int, rows: int, ellipse: Ellipse) -> Iterator[tuple[int, int, int]]:
    """Row, first and last column of an ellipse; whole numbers only, so that every machine agrees."""
    x, y, wide, high, _ = ellipse
    for row in range(rows):
        away = (2 * row + 1) * 500 // rows - y
        if abs(away) < high:
            half = wide * math.isqrt(high * high - away * away) // high
            first, last = max(0, (x - half) * columns // 1000), min(columns, (x + half) * columns // 1000)
            if first < last:
                yield row, first, last


def chest_slice(number: int, seed: int) -> Picture:
    """A CT slice through a chest; stored values are HU + 1024."""
    lung, heart = 130 + 9 * min(number, 13 - number), 60 + 10 * number
    body = [(500, 500, 450, 340, 950), (500, 500, 430, 320, 1064)]
    lungs = [(290, 480, lung, lung + 60, 224), (710, 480, lung, lung + 60, 224)]
    middle = [(545, 450, min(heart, 150), min(heart, 140), 1074), (500, 700, 60, 60, 1524), (500, 700, 25, 25, 1054)]
    spot = [(690, 430, 28, 28, 1084)] if 5 <= number <= 7 else []  # something for the report to speak of
    return paint(128, 128, 12, body + lungs + middle + spot, noise=24, seed=seed)


def head_slice(number: int, seed: int, *, bleeding: bool = False) -> Picture:
    """A slice through a head (HU + 1024)."""
    skull = [(500, 500, 360, 430, 1064), (500, 500, 345, 415, 1924), (500, 500, 310, 380, 1060)]
    ventricles = [(450, 470, 35, 110 - 8 * number, 1030), (550, 470, 35, 110 - 8 * number, 1030)]
    blood = [(650, 420, 70, 100, 1090), (655, 425, 45, 70, 1096)] if bleeding else []
    return paint(128, 128, 12, skull + ventricles + blood, noise=10, seed=seed)


def brain_slice(number: int, seed: int) -> Picture:
    """A T1-like MR slice."""
    scalp = [(500, 500, 370, 440, 900), (500, 500, 345, 415, 60), (500, 500, 320, 390, 420)]
    white = [(360, 480, 130, 260, 640), (640, 480, 130, 260, 640)]
    return paint(96, 96, 12, [*scalp, *white, (460, 480, 30, 100 - 6 * number, 120), (540, 480, 30, 90, 120)],
                 noise=40, seed=seed)  # fmt: skip


def chest_film(seed: int) -> Picture:
    """A radiograph of a chest, bright where dense."""
    ribs = [(side, 240 + 70 * rib, 170, 16, 1500) for rib in range(7) for side in (300, 700)]
    lungs = [(300, 450, 180, 310, 1000), (700, 450, 180, 310, 1000)]
    return paint(192, 240, 12, [(500, 560, 470, 520, 2300), *lungs, *ribs, (560, 590, 170, 150, 2600),
                 (500, 500, 45, 480, 2800)], noise=64, seed=seed, background=200)  # fmt: skip


def hand_film(seed: int) -> Picture:
    """A radiograph of a hand."""
    fingers = [(180 + 160 * n, 330 - 30 * (2 - abs(2 - n)), 60, 270, 1300) for n in range(5)]
    bones = [(180 + 160 * n, 330 - 30 * (2 - abs(2 - n)), 28, 240, 2700) for n in range(5)]
    return paint(192, 240, 12, [(500, 720, 390, 250, 1400), *fingers, *bones, (500, 800, 200, 90, 2600)],
                 noise=48, seed=seed, background=150)  # fmt: skip


def breast_film(seed: int) -> Picture:
    """A mammogram, the chest wall on the left."""
    tissue = [(250, 520, 260, 260, 1900), (330, 430, 120, 90, 2300), (400, 560, 60, 60, 2500)]
    return paint(160, 200, 12, [(0, 500, 720, 440, 1300), *tissue], noise=56, seed=seed, background=40)


def ultrasound(seed: int) -> Picture:
    """Layers and a cyst; without noise, so that run lengths are worth while."""
    layers = [(500, 60 + 90 * n, 470 - 12 * n, 50, 60 + 14 * (n * 7 % 9)) for n in range(10)]
    return paint(320, 240, 8, [*layers, (430 + seed % 5, 500, 150, 130, 150), (430, 500, 135, 115, 6)], noise=0, seed=0)


# --- DICOM ------------------------------------------------------------------------------------------------------------

CT: Fields = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": 120, "RescaleIntercept": -1024, "RescaleSlope": 1,
              "RescaleType": "HU", "AcquisitionNumber": 1, "WindowCenter": 40, "WindowWidth": 400}  # fmt: skip
MR: Fields = {"ImageType": ["ORIGINAL", "PRIMARY", "M"], "ScanningSequence": "SE", "SequenceVariant": "NONE",
              "ScanOptions": "", "MRAcquisitionType": "2D", "RepetitionTime": 500, "EchoTime": 12,
              "EchoTrainLength": 1, "WindowCenter": 450, "WindowWidth": 900}  # fmt: skip
US: Fields = {"ImageType": ["ORIGINAL", "PRIMARY", "ABDOMINAL"], "LossyImageCompression": "00"}
CR: Fields = {"ViewPosition": "PA", "WindowCenter": 1500, "WindowWidth": 3000}
DX: Fields = {"ImageType": ["ORIGINAL", "PRIMARY", ""], "PresentationIntentType": "FOR PRESENTATION",
              "ImageLaterality": "U", "ImagerPixelSpacing": [1.8, 1.8], "PositionerType": "NONE",
              "PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1, "RescaleIntercept": 0,
              "RescaleSlope": 1, "RescaleType": "US", "PresentationLUTShape": "IDENTITY",
              "LossyImageCompression": "00", "BurnedInAnnotation": "NO", "DetectorType": "DIRECT",
              "PatientOrientation": ["L", "F"], "WindowCenter": 1500, "WindowWidth": 3000}  # fmt: skip
MG: Fields = {**DX, "ImageLaterality": "L", "OrganExposed": "BREAST", "PositionerType": "MAMMOGRAPHIC",
              "PatientOrientation": ["A", "F"], "ViewPosition": "MLO"}  # fmt: skip
CLASSES = {
    "CT": (CTImageStorage, CT),
    "MR": (MRImageStorage, MR),
    "US": (UltrasoundImageStorage, US),
    "CR": (ComputedRadiographyImageStorage, CR),
    "DX": (DigitalXRayImageStorageForPresentation, DX),
    "MG": (DigitalMammographyXRayImageStorageForPresentation, MG),
}


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a coded entry (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def header(study: Study, sop_class: str, series: int, number: int) -> Dataset:
    """Patient, study, series and equipment: what every composite object has (PS3.3 C.7)."""
    who, clock = study.patient, study.time.replace(":", "")
    ds = Dataset()
    ds.SpecificCharacterSet = study.charset
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid("instance", study.accession, series, number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study.uid, uid("series", study.accession, series)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20260301"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = clock
    ds.AccessionNumber, ds.StudyID, ds.StudyDescription = study.accession, study.id, study.text
    ds.PatientID, ds.PatientName = study.owner, who.dicom_name
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = who.birthday.replace("-", ""), who.sex, f"{who.age:03}Y"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = study.modality, series, number
    ds.ReferringPhysicianName = ""
    ds.InstitutionName, ds.Manufacturer = HOSPITAL, MAKER
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "Phantom", "0000", "1"
    return ds


def image(study: Study, number: int, picture: Picture, series: int = 1) -> Dataset:
    """One image instance with what its class asks for (PS3.3 A.2, A.3, A.4, A.6, A.26, A.27)."""
    sop_class, extra = CLASSES[study.modality]
    ds = header(study, sop_class, series, number)
    ds.BodyPartExamined, ds.PatientOrientation = study.part, ""
    for keyword, value in extra.items():
        setattr(ds, keyword, value)
    if study.modality in ("CT", "MR"):
        _place_in_space(ds, number, picture)
    if study.modality in ("DX", "MG"):
        _describe_projection(ds, study)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns = picture.rows, picture.columns
    ds.BitsAllocated = 8 if picture.bits == 8 else 16
    ds.BitsStored, ds.HighBit = picture.bits, picture.bits - 1
    ds.add_new("PixelData", "OB" if picture.bits == 8 else "OW", picture.pixel_data)
    return ds


def _place_in_space(ds: Dataset, number: int, picture: Picture) -> None:
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid("frame", ds.StudyInstanceUID), ""
    ds.PatientPosition, ds.SliceThickness = "HFS", 5
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-160, -160, -5 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [round(320 / picture.rows, 4), round(320 / picture.columns, 4)]
    ds.SliceLocation = -5 * number


def _describe_projection(ds: Dataset, study: Study) -> None:
    """Digital X-ray: anatomy, view and the empty acquisition context are asked for (PS3.3 C.8.11)."""
    breast = study.modality == "MG"
    ds.AnatomicRegionSequence = Items([code("76752008", "SCT", "Breast") if breast else _region(study)])
    ds.AcquisitionContextSequence = Items([])
    if breast:
        view = code("399368009", "SCT", "medio-lateral oblique")
        view.ViewModifierCodeSequence = Items([])
        ds.ViewCodeSequence = Items([view])


def _region(study: Study) -> Dataset:
    return code("85562004", "SCT", "Hand") if study.part == "HAND" else code("51185008", "SCT", "Chest")


def report(study: Study, evidence: Sequence[Dataset], lines: Sequence[tuple[str, str, str]], series: int) -> Dataset:
    """A Basic Text SR (PS3.3 A.35.1) about the images; `lines` are LOINC code, heading and text."""
    ds = header(study, BasicTextSRStorage, series, 1)
    ds.Modality = "SR"
    ds.ReferencedPerformedProcedureStepSequence, ds.PerformedProcedureCodeSequence = Items([]), Items([])
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.CurrentRequestedProcedureEvidenceSequence = Items([_evidence(evidence)])
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Items([code("18748-4", "LN", "Diagnostic Imaging Report")])
    ds.ContentSequence = Items([_text_item(*line) for line in lines])
    return ds


def _text_item(loinc: str, heading: str, text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = Items([code(loinc, "LN", heading)])
    return item


def _evidence(images: Sequence[Dataset]) -> Dataset:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedSOPSequence = Items([_reference(one) for one in images])
    study.StudyInstanceUID, study.ReferencedSeriesSequence = images[0].StudyInstanceUID, Items([series])
    return study


def _reference(instance: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    return item


def write_dicom(path: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> None:
    """A Part 10 file (PS3.10 7.1) whose meta information names us, not the pydicom version of the day."""
    put(path, part_10(ds, syntax))


def part_10(ds: Dataset, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", MediaStorageDirectoryStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", uid("dicomdir"))
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("implementation"), "FA_SAMPLES_1"
    ds.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def compressed(ds: Dataset) -> Dataset:
    """With its 8-bit pixels as RLE (PS3.5 annex G: one segment, a header of 64 bytes)."""
    rows = [ds.PixelData[at : at + ds.Columns] for at in range(0, len(ds.PixelData), ds.Columns)]
    segment = b"".join(map(_pack_bits, rows))  # a run must not cross the end of a row (G.3.1)
    frame = array("I", [1, 64] + [0] * 14)
    if sys.byteorder == "big":
        frame.byteswap()
    ds["PixelData"].value = encapsulate([frame.tobytes() + segment + b"\0" * (len(segment) % 2)])
    ds["PixelData"].is_undefined_length = True
    return ds


def _pack_bits(row: bytes) -> bytes:
    """Replicate runs only (PS3.5 G.3.1): a lone byte is a literal run of one."""
    packed, at = bytearray(), 0
    while at < len(row):
        run = 1
        while run < 128 and at + run < len(row) and row[at + run] == row[at]:
            run += 1
        packed += bytes([(257 - run) % 256, row[at]])  # 257 - 1 is 0: one literal byte follows
        at += run
    return bytes(packed)


# --- DICOMDIR ---------------------------------------------------------------------------------------------------------


def write_dicomdir(path: Path, images: Sequence[Dataset], names: Sequence[Sequence[str]]) -> None:
    """One patient, study and series with its images (PS3.3 annex F).

    Written twice: where the records lie is known only once they are written, and the lengths do not change.
    """
    records = [*_upper_records(images[0]), *map(_image_record, images, names)]
    ds = Dataset()
    ds.FileSetID = "SAMPLE"
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.FileSetConsistencyFlag = 0
    ds.DirectoryRecordSequence = Items(records)
    draft = dcmread(BytesIO(part_10(ds, ExplicitVRLittleEndian)))
    offsets = [record.seq_item_tell for record in draft.DirectoryRecordSequence]
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = offsets[0]
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = offsets[0]
    for upper, below in zip(records[:3], offsets[1:4], strict=True):
        upper.OffsetOfReferencedLowerLevelDirectoryEntity = below
    for record, following in zip(records[3:-1], offsets[4:], strict=True):
        record.OffsetOfTheNextDirectoryRecord = following
    write_dicom(path, ds)


def _record(kind: str, source: Dataset, keywords: str) -> Dataset:
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord, record.RecordInUseFlag = 0, 0xFFFF
    record.OffsetOfReferencedLowerLevelDirectoryEntity, record.DirectoryRecordType = 0, kind
    for keyword in ("SpecificCharacterSet", *keywords.split()):
        setattr(record, keyword, source[keyword].value)
    return record


def _upper_records(source: Dataset) -> list[Dataset]:
    return [
        _record("PATIENT", source, "PatientID PatientName"),
        _record("STUDY", source, "StudyDate StudyTime StudyDescription StudyInstanceUID StudyID AccessionNumber"),
        _record("SERIES", source, "Modality SeriesInstanceUID SeriesNumber"),
    ]


def _image_record(source: Dataset, name: Sequence[str]) -> Dataset:
    record = _record("IMAGE", source, "InstanceNumber")
    record.ReferencedFileID = list(name)
    record.ReferencedSOPClassUIDInFile = source.SOPClassUID
    record.ReferencedSOPInstanceUIDInFile = source.SOPInstanceUID
    record.ReferencedTransferSyntaxUIDInFile = ExplicitVRLittleEndian
    return record


# --- PDF --------------------------------------------------------------------------------------------------------------


def write_pdf(path: Path, study: Study, finding: str) -> None:
    """One A4 page of plain lines (ISO 32000-1 7.5); Latin text, since an embedded Chinese font weighs megabytes."""
    lines = ["SAMPLE REPORT - INVENTED PATIENT", f"Patient {study.owner}  {study.patient.latin.replace('^', ' ')}",
             f"Exam {study.accession}  {study.modality}  {study.part}  2026-03-01 {study.time}", finding]  # fmt: skip
    drawing = "BT /F1 14 Tf 20 TL 60 770 Td\n" + "".join(f"({line}) Tj T*\n" for line in lines) + "ET"
    put(path, _pdf([
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]))  # fmt: skip


def _pdf(objects: Sequence[str]) -> bytes:
    content, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []  # the second line tells transfer programs: binary
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return content + f"{tail}startxref\n{len(content)}\n%%EOF\n".encode("ascii")


# --- the bundles ------------------------------------------------------------------------------------------------------


def chest_ct(root: Path) -> None:
    """Folder layout, counts declared: a series and a PDF."""
    study, folder = Study(ZHANG, "CT20260301001", "CT", "CHEST", "胸部", "胸部CT平扫"), root / "CT20260301-001"
    for number in range(1, 13):
        write_dicom(folder / "images" / f"IM{number:04}.dcm", image(study, number, chest_slice(number, number)))
    write_pdf(folder / "report.pdf", study, "Small nodule in the left lung. Follow-up in 3 months.")
    write_sidecar(folder / "exam.json", sidecar(study, **counts(12, pdfs=1)))


def outpatient(root: Path) -> None:
    """Flat layout: two exams in one folder, told apart by stem and, for one file, by header."""
    folder = root / "outpatient"
    first = Study(LI, "DX1001", "DX", "CHEST", "胸部", "胸部正位", "08:40:00")
    write_dicom(folder / "DX1001_0001.dcm", image(first, 1, chest_film(1001)), ImplicitVRLittleEndian)
    write_pdf(folder / "DX1001.pdf", first, "Heart and lungs without finding.")
    write_sidecar(folder / "DX1001.json", sidecar(first, **counts(1, pdfs=1)))
    second = Study(WANG, "DX1002", "DX", "HAND", "右手", "右手正斜位", patient_id="20020033")
    write_dicom(folder / "DX1002-1.dcm", image(second, 1, hand_film(1002)))
    write_dicom(folder / "IMG_0007.dcm", image(second, 2, hand_film(7)))  # DX1002's, but only the header says so
    write_sidecar(folder / "DX1002.json", sidecar(second, **_as_written_locally()), "utf-8-sig")


def _as_written_locally() -> Fields:
    """What hospitals write: numbers for strings and the other way round, Chinese words, other dates, centimetres."""
    return {
        "patientId": 20020033,
        "patientSex": "女",
        "patientAge": "46岁",
        "patientAgeUnit": None,
        "patientBirthday": "19800102",
        "studyDate": "2026/3/1 9:05:00",
        "size": 162,
        "weight": 58.5,
        "studyCategory": "平诊",
        "status": "已审核",
        "imageCnt": "2",
        "reportCnt": 0,
        "pdfCnt": 0,
        "seriesCnt": 1.0,
    }


def mr_disc(root: Path) -> None:
    """A CD as it came: DICOMDIR and images without extension."""
    study, folder = Study(ZHAO, "MR77", "MR", "HEAD", "头颅", "头颅MR平扫", "10:20:00"), root / "CD-MR77"
    images = [image(study, number, brain_slice(number, 770 + number)) for number in range(1, 7)]
    names = [("IMAGES", f"IM{number:05}") for number in range(1, 7)]
    for one, name in zip(images, names, strict=True):
        write_dicom(folder.joinpath(*name), one)
    write_dicomdir(folder / "DICOMDIR", images, names)
    write_sidecar(folder / "exam.json", sidecar(study, **counts(6)))


def ultrasound_gb18030(root: Path) -> None:
    """A sidecar in GB18030 and an RLE image; no counts, so that quiet completes it."""
    study = Study(TIAN, "US9", "US", "ABDOMEN", "腹部", "腹部彩超", "11:00:00", charset="GB18030")
    folder = root / "GB18030-US9"
    write_dicom(folder / "US0001.dcm", compressed(image(study, 1, ultrasound(9))), RLELossless)
    write_sidecar(folder / "检查信息.json", sidecar(study, examDept="超声科", scanMode="二维"), "gb18030")


def structured_report(root: Path) -> None:
    """Images and a structured report, which is counted apart and is a series of its own."""
    study, folder = Study(QIAN, "CT55", "CT", "CHEST", "胸部", "胸部CT平扫", "13:30:00"), root / "SR-CT55"
    images = [image(study, number, chest_slice(4 + number, 550 + number)) for number in (1, 2, 3)]
    for number, one in enumerate(images, 1):
        write_dicom(folder / f"CT{number:03}.dcm", one)
    lines = [("59776-5", "Findings", "左肺上叶见一小结节。A small nodule in the left upper lobe."),
             ("19005-8", "Impression", "左肺小结节,建议复查。Follow-up advised.")]  # fmt: skip
    write_dicom(folder / "SR001.dcm", report(study, images, lines, series=2))
    write_sidecar(folder / "exam.json", sidecar(study, **counts(3, reports=1, series=2)))


def incomplete_mammography(root: Path) -> None:
    """Two of four images, and the PDF has not come."""
    study, folder = Study(SUN, "MG3", "MG", "BREAST", "乳腺", "双乳钼靶", "14:00:00"), root / "WAIT-MG3"
    for number in (1, 2):
        write_dicom(folder / f"MG{number}.dcm", image(study, number, breast_film(300 + number)))
    write_sidecar(folder / "exam.json", sidecar(study, **counts(4, pdfs=1)))


def mixed_radiographs(root: Path) -> None:
    """The second image is another patient's."""
    study, folder = Study(ZHOU, "CR8", "CR", "CHEST", "胸部", "胸部正侧位", "14:30:00"), root / "MIXED-CR8"
    stranger = Study(WU, "CR9", "CR", "CHEST", "胸部", "胸部正位", "14:35:00")
    write_dicom(folder / "CR1.dcm", image(study, 1, chest_film(81)))
    write_dicom(folder / "CR2.dcm", image(stranger, 1, chest_film(82)))
    write_sidecar(folder / "exam.json", sidecar(study, **counts(2)) | {"seriesCnt": 2})


def without_patient_id(root: Path) -> None:
    """The required patientId is missing."""
    study, folder = Study(ZHENG, "DX5", "DX", "CHEST", "胸部", "胸部正位", "15:00:00"), root / "NOID-DX5"
    write_dicom(folder / "DX1.dcm", image(study, 1, chest_film(5)))
    write_sidecar(folder / "exam.json", sidecar(study, patientId=None, **counts(1)))


def emergency_ct(root: Path) -> None:
    """An emergency exam, complete by its counts: no marker file and no quiet period needed."""
    study, folder = Study(FENG, "CT2", "CT", "HEAD", "头颅", "头颅CT平扫", "03:12:00"), root / "EMERG-CT2"
    for number in range(1, 5):
        write_dicom(folder / f"CT{number}.dcm", image(study, number, head_slice(number, 20 + number, bleeding=True)))
    changes: Fields = {"studyCategory": "emergency", "applyDept": "急诊科", "status": "preliminary"}
    write_sidecar(folder / "exam.json", sidecar(study, **changes, **counts(4)))


def listed_ct(root: Path) -> None:
    """The sidecar lists its files with size and digest, and says no counts: the list alone decides."""
    study, folder = Study(CHEN, "CT6", "CT", "HEAD", "头颅", "头颅CT平扫", "16:00:00"), root / "LISTED-CT6"
    for number in (1, 2, 3):
        write_dicom(folder / "images" / f"CT{number}.dcm", image(study, number, head_slice(number, 60 + number)))
    write_pdf(folder / "report.pdf", study, "No haemorrhage, no mass effect.")
    names = [*(f"images/CT{number}.dcm" for number in (1, 2, 3)), "report.pdf"]
    write_sidecar(folder / "exam.json", sidecar(study, files=[_entry(folder, name) for name in names]))


def _entry(folder: Path, name: str) -> Fields:
    content = (folder / name).read_bytes()
    return {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def make(root: Path) -> None:
    """Write every bundle below `root`; what else is there stays."""
    for bundle in (chest_ct, outpatient, mr_disc, ultrasound_gb18030, structured_report, incomplete_mammography,
                   mixed_radiographs, without_patient_id, emergency_ct, listed_ct):  # fmt: skip
        bundle(root)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
