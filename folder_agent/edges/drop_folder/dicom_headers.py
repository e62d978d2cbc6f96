"""Reads the header of one DICOM element: its tag, its value representation (VR) and its length.

Pure over a Source; DICOM PS3.5, chapter 7.1, with the departures that old devices made from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, auto

from folder_agent.edges.drop_folder.dicom_bytes import Source

DELIMITERS = 0xFFFE  # the group of items and delimiters, which have no VR

# DICOM PS3.5 7.1.2: these have a 16-bit length, all others a 32-bit length after two reserved bytes.
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_HEADER = {True: struct.Struct("<HHL"), False: struct.Struct(">HHL")}
_LENGTH16 = {True: struct.Struct("<H"), False: struct.Struct(">H")}
_LENGTH32 = {True: struct.Struct("<L"), False: struct.Struct(">L")}


class Coding(Enum):
    """How an element's header says its value representation (VR)."""

    EXPLICIT = auto()
    IMPLICIT = auto()
    EITHER = auto()  # file meta information and UN sequences: the standard says one, writers do the other


@dataclass(frozen=True, slots=True)
class Syntax:
    """The part of a transfer syntax that reading elements depends on."""

    coding: Coding
    little: bool


def looks_explicit(header: bytes) -> bool:
    """Whether the eight bytes at an element's start carry a known VR where explicit VR has it."""
    vr = header[4:6]
    return vr in _SHORT or (vr in _LONG and header[6:8] == b"\0\0")


def read_header(source: Source, syntax: Syntax) -> tuple[int, bytes, int]:
    """Tag, VR (empty if not told) and length of the next element (DICOM PS3.5 7.1.2 and 7.1.3)."""
    raw = source.take(8)
    group, element, length = _HEADER[syntax.little].unpack(raw)
    tag = group << 16 | element
    if group == DELIMITERS or syntax.coding is Coding.IMPLICIT:
        return tag, b"", length
    vr = raw[4:6]
    if vr in _SHORT:
        return tag, vr, _LENGTH16[syntax.little].unpack_from(raw, 6)[0]
    if vr in _LONG and (syntax.coding is Coding.EXPLICIT or raw[6:8] == b"\0\0"):
        return tag, vr, _LENGTH32[syntax.little].unpack(source.take(4))[0]
    if syntax.coding is Coding.EXPLICIT and vr.isalpha() and vr.isupper():
        return tag, vr, _unknown_vr_length(source, raw, syntax.little)
    return tag, b"", length  # some writers fall into implicit VR inside of an explicit data set


def _unknown_vr_length(source: Source, raw: bytes, little: bool) -> int:
    # A VR of the future has the long form, whose reserved bytes are zero; a misspelt one of the past the short form.
    short: int = _LENGTH16[little].unpack_from(raw, 6)[0]
    return short or int(_LENGTH32[little].unpack(source.take(4))[0])
