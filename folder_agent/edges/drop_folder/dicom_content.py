"""Whether a DICOM instance holds what it is made for: an image its pixels, a report its content.

Pure; the only sign of a file that was cut exactly between two elements (DICOM PS3.3 annex A, PS3.5 chapter 8).
"""

from __future__ import annotations

from pydicom import config
from pydicom.uid import UID

from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Unreadable
from folder_agent.edges.drop_folder.dicom_walk import Elements

STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _PIXEL_DATA, _PIXEL_URL = 0x00280100, 0x7FE00010, 0x00287FE0
_CONTENT, _DOCUMENT, _WAVEFORM, _SPECTROSCOPY = 0x0040A730, 0x00420011, 0x54000100, 0x56000020
SIZES = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED})  # elements to be kept
PURPOSES = frozenset({_CONTENT, _DOCUMENT, _WAVEFORM, _SPECTROSCOPY, _PIXEL_URL})  # elements to be noticed
# What an object of that class is made for: without it, the file was cut between two elements.
_ESSENTIAL = (
    (STRUCTURED_REPORTS, _CONTENT, "ContentSequence"),
    ("1.2.840.10008.5.1.4.1.1.104.", _DOCUMENT, "EncapsulatedDocument"),
    ("1.2.840.10008.5.1.4.1.1.9.", _WAVEFORM, "WaveformSequence"),
)
# Stored chroma of native YBR data, in samples for each pixel (DICOM PS3.3 C.7.6.3.1.2).
_SUBSAMPLED = {"YBR_FULL_422": 2.0, "YBR_PARTIAL_422": 2.0, "YBR_PARTIAL_420": 1.5}


# DICOM PS3.5 A.4: JPEG, JPEG-LS, JPEG 2000, MPEG, HEVC, HTJ2K and RLE hold their pixels in fragments.
_ENCAPSULATED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")


def check_content(found: Elements, sop_class: str, transfer_syntax: str, little: bool) -> bool:
    """Whether it is an image. Raises CutShort where what the object is made for is missing or too short, Unreadable
    where its pixels cannot be what the transfer syntax says."""
    sized = {_ROWS, _COLUMNS} <= found.values.keys()
    elsewhere = found.present & {_SPECTROSCOPY, _PIXEL_URL}
    if found.pixels is None and not elsewhere and (sized or "Image Storage" in UID(sop_class, config.IGNORE).name):
        raise CutShort("no pixel data")
    for prefix, tag, name in _ESSENTIAL:
        if sop_class.startswith(prefix) and tag not in found.present:
            raise CutShort(f"no {name}")
    if found.pixels is None:
        return False
    if found.pixels.native_bytes is None and not found.pixels.fragments:
        raise CutShort("pixel data: no fragment")
    if found.pixels.native_bytes is not None and transfer_syntax.startswith(_ENCAPSULATED):
        raise Unreadable("pixel data: not in fragments, as the transfer syntax says")
    needed = _native_bytes(found, little) if found.pixels.tag == _PIXEL_DATA else 0
    if found.pixels.native_bytes is not None and found.pixels.native_bytes < needed:
        raise CutShort(f"pixel data: {needed} bytes needed, {found.pixels.native_bytes} there")
    return sized


def _native_bytes(found: Elements, little: bool) -> int:
    """Bytes that uncompressed pixel data must have (DICOM PS3.5 8.1.1), 0 where the header does not say. One-bit
    pixels are packed without regard to rows and frames."""
    numbers = [_number(found, tag, little) for tag in (_ROWS, _COLUMNS, _ALLOCATED)]
    if None in numbers:
        return 0
    rows, columns, allocated = (number or 0 for number in numbers)
    samples: float = _number(found, _SAMPLES, little) or 1
    samples = _SUBSAMPLED.get(ascii_of(found.values.get(_PHOTOMETRIC, b"")), samples) if samples == 3 else samples
    frames = ascii_of(found.values.get(_FRAMES, b""))
    count = int(frames) if frames.isdigit() and len(frames) <= 12 else 1  # IS: at most 12 characters
    return int(rows * columns * max(count, 1) * samples * allocated + 7) // 8


def _number(found: Elements, tag: int, little: bool) -> int | None:
    raw = found.values.get(tag, b"")
    return int.from_bytes(raw, "little" if little else "big") if len(raw) in (2, 4) else None


def ascii_of(raw: bytes) -> str:
    """A value of VR UI, CS or IS, without its padding."""
    return raw.decode("ascii", "replace").strip("\0 ")
