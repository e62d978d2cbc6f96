"""Whether a PDF is whole, from its first and last kilobytes (ISO 32000-1, 7.5.2, 7.5.5 and annexes F and H).

Reads from an open file only.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

HEADER_WITHIN = 1024  # ISO 32000-1 annex H.3: readers accept the header and the end mark within this many bytes
_BLANK = b"\0\t\n\f\r "
_LINEARIZED_LENGTH = re.compile(rb"/Linearized\b[^>]{0,256}/L\s+(\d{1,15})|/L\s+(\d{1,15})[^>]{0,256}/Linearized\b")


def is_pdf(head: bytes) -> bool:
    """Whether the file's first bytes are those of a PDF; mail gateways and printers put a little in front."""
    return b"%PDF-" in head[:HEADER_WITHIN]


def what_is_missing(file: BinaryIO, head: bytes, size: int) -> str | None:
    """Why the PDF is not whole, in a few words; None if it is. `size` is the file's length in bytes."""
    announced = _LINEARIZED_LENGTH.search(head[:HEADER_WITHIN])
    # A linearized PDF has an %%EOF near its start, so that its end mark proves nothing; but it tells its length.
    if announced and size < (length := int(announced[1] or announced[2])):
        return f"{length} bytes announced, {size} there"
    file.seek(max(0, size - 2 * HEADER_WITHIN), os.SEEK_SET)
    tail = file.read(2 * HEADER_WITHIN)
    text = tail.rstrip(_BLANK)
    # CopyFile sets the length first and leaves zeros after a crash: a long blank tail is no padding.
    if len(tail) - len(text) > HEADER_WITHIN or b"%%EOF" not in text[-HEADER_WITHIN:]:
        return "no %%EOF"
    return None
