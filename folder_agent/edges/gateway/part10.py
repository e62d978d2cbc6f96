"""What stands before the data set of a DICOM file (PS3.10 7.1): preamble and file meta information. Pure.

For objects that are made here, and for files that a device wrote without it: their data sets stay as they are.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from folder_agent.core.records import Outgoing
from folder_agent.edges.gateway import implementation as ours


def in_file_form(file: Outgoing) -> Outgoing:
    """The file as STOW-RS takes it (PS3.18 10.5.1): where it has not the form of a DICOM file, what stands before its
    data set is replaced on the way."""
    if file.data_at is None:
        return file
    lead = file_head(file.sop_class or "", file.sop_instance or "", file.transfer_syntax or "")
    return replace(file, lead=lead, skip=file.data_at)


def file_head(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Preamble and file meta information, which is explicit VR little endian whatever follows it."""
    version = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    meta = version + b"".join(
        element(0x00020000 + number, vr, text)
        for number, vr, text in (
            (0x02, "UI", sop_class),
            (0x03, "UI", sop_instance),
            (0x10, "UI", transfer_syntax),
            (0x12, "UI", ours.UID),
            (0x13, "SH", ours.VERSION),
        )
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta


def element(tag: int, vr: str, text: str) -> bytes:
    """An element with a value of characters, or an empty sequence (PS3.5 7.1.2), padded as its VR asks for."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    if vr == "SQ":
        return head + bytes(6)
    value = text.encode("utf-8", "replace")
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return head + struct.pack("<H", len(value)) + value
