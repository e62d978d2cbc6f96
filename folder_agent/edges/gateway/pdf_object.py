"""A PDF as a DICOM object: Encapsulated PDF Storage (PS3.3 A.45.1), explicit VR little endian. Pure.

Only what stands before and after the PDF's bytes is made here; they themselves are streamed between the two. Nothing in
it depends on when or how often it is made: the same report of the same study is the same object for ever.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from folder_agent.edges.gateway.part10 import element, file_head

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
EXPLICIT = "1.2.840.10008.1.2.1"
MOST_BYTES = 0xFFFFFFFE - 1  # of one element's value, and one may be padding

PATIENT_NAME, PATIENT_ID, ISSUER, BIRTH_DATE, SEX, AGE = (
    *(0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100040),
    0x00101010,
)
STUDY, STUDY_ID, STUDY_DATE, STUDY_TIME = 0x0020000D, 0x00200010, 0x00080020, 0x00080030
ACCESSION, REFERRER, DESCRIPTION = 0x00080050, 0x00080090, 0x00081030
# The patient and study modules (PS3.3 C.7.1.1 and C.7.2.1), as far as images and exam information know them.
IDENTITY = {
    STUDY_DATE: "DA",
    STUDY_TIME: "TM",
    ACCESSION: "SH",
    REFERRER: "PN",
    DESCRIPTION: "LO",
    PATIENT_NAME: "PN",
    PATIENT_ID: "LO",
    ISSUER: "LO",
    BIRTH_DATE: "DA",
    SEX: "CS",
    AGE: "AS",
    STUDY: "UI",
    STUDY_ID: "SH",
}
_OPTIONAL = frozenset({ISSUER, AGE, DESCRIPTION})  # left out where nothing is known; the others stand there empty
_DOCUMENT, _MIME_TYPE, _LENGTH = 0x00420011, 0x00420012, 0x00420015
_NAMESPACE = uuid.UUID("a19d0f62-51c1-4f2c-9be2-6a39d0b1c57e")  # of every UID that is derived here; for ever
_SERIES_NUMBER = "9999"  # behind those of the images
_MOST_INSTANCE_NUMBER = 2**31 - 1  # of VR IS


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What stands around the PDF, and what the object is called."""

    sop_instance: str
    lead: bytes
    tail: bytes


def derived_uid(*parts: str) -> str:
    """The same UID for the same parts, for ever (PS3.5 B.2: a UUID as a decimal number)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


def study_of(identity: Mapping[int, str]) -> str:
    """The study's UID; where neither images nor exam have one, one that is derived from how the exam is known."""
    known = (identity.get(tag, "") for tag in (ACCESSION, STUDY_ID, PATIENT_ID))
    return identity.get(STUDY) or derived_uid("study", *known)


def enclosed(identity: Mapping[int, str], sha256: str, size: int) -> Enclosure:
    """What makes an object of a PDF of that digest and size (bytes, at most MOST_BYTES), in that study."""
    study = study_of(identity)
    instance = derived_uid("instance", study, sha256)
    texts = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080016: ("UI", ENCAPSULATED_PDF),
        0x00080018: ("UI", instance),
        0x00080023: ("DA", ""),
        0x0008002A: ("DT", ""),
        0x00080033: ("TM", ""),
        0x00080060: ("CS", "DOC"),
        0x00080064: ("CS", "WSD"),
        0x00080070: ("LO", ""),
        0x0008103E: ("LO", "Report"),
        0x0020000E: ("UI", derived_uid("series", study)),
        0x00200011: ("IS", _SERIES_NUMBER),
        # Of its content, too: it must not depend on which reports happen to travel together.
        0x00200013: ("IS", str(int(sha256[:8], 16) % _MOST_INSTANCE_NUMBER + 1)),
        0x00280301: ("CS", "YES"),  # the report may name the patient
        0x0040A043: ("SQ", ""),
        0x00420010: ("ST", ""),
    }
    for tag, vr in IDENTITY.items():
        if tag not in _OPTIONAL or identity.get(tag):
            texts[tag] = (vr, study if tag == STUDY else identity.get(tag, ""))
    padding = size % 2
    head = b"".join(element(tag, vr, text) for tag, (vr, text) in sorted(texts.items()))
    document = struct.pack("<HH2sHL", _DOCUMENT >> 16, _DOCUMENT & 0xFFFF, b"OB", 0, size + padding)
    length = struct.pack("<HH2sHL", _LENGTH >> 16, _LENGTH & 0xFFFF, b"UL", 4, size)
    tail = bytes(padding) + element(_MIME_TYPE, "LO", "application/pdf") + length
    return Enclosure(instance, file_head(ENCAPSULATED_PDF, instance, EXPLICIT) + head + document, tail)
