"""Reading the sidecar of a bundle, or any other, for somebody who asks. Changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from folder_agent.core.mapping import NO_MAPPING
from folder_agent.core.receipts import Receipt, parse
from folder_agent.core.records import BundleRecord, FileKind, FileRecord
from folder_agent.core.shelving import RECEIPT, places
from folder_agent.core.sidecar import MAX_BYTES, encoding_of, read_sidecar
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.paths import from_text, openable
from folder_agent.settings import DropSettings

_WITHIN_S = 5.0
MAX_RECEIPT = 64 * 1024 * 1024  # bytes; some hundred thousand files


def content_of(file: Path) -> bytes:
    """As much of the file as a sidecar may have, and a byte more. Raises OSError."""
    with open_for_reading(file) as opened:
        return opened.read(MAX_BYTES + 1)


def encoding_in(drop: Path | None, bundle: BundleRecord, files: Sequence[FileRecord]) -> str | None:
    """The encoding of the bundle's sidecar, wherever it lies now; None where it cannot be read."""
    content = _content(drop, bundle, files)
    return None if content is None else encoding_of(content)


def shown_name(drop: DropSettings | None, bundle: BundleRecord, files: Sequence[FileRecord]) -> str | None:
    """The patient's name as the bundle's sidecar gives it; None where it cannot be read, or gives none."""
    content = _content(None if drop is None else drop.path, bundle, files)
    if content is None:
        return None
    return read_sidecar(content, (drop.mapping if drop else None) or NO_MAPPING).get("patientName")


def receipt_of(bundle: BundleRecord) -> Receipt | None:
    """What the receipt beside the shelved bundle says; None where there is none that can be read."""
    if bundle.target is None:
        return None
    content = _first([openable(Path(bundle.target)) / RECEIPT], MAX_RECEIPT)
    return None if content is None else parse(content)


def _content(drop: Path | None, bundle: BundleRecord, files: Sequence[FileRecord]) -> bytes | None:
    """The bundle's sidecar, wherever it lies now."""
    return _first(_places(drop, bundle, files), MAX_BYTES)


def _first(places_: Iterable[Path], most: int) -> bytes | None:
    """What lies at the first of the places that can be read, and a byte more than `most` of it. The thread of a read
    that hangs is left behind: nothing can end a call that waits for a dead share."""
    found: list[bytes] = []

    def read() -> None:
        for place in places_:
            with suppress(OSError, ValueError), open_for_reading(place) as opened:
                found.append(opened.read(most + 1))
                return

    thread = threading.Thread(target=read, name="a bundle's note", daemon=True)
    thread.start()
    thread.join(_WITHIN_S)
    return found[0] if found else None


def _places(drop: Path | None, bundle: BundleRecord, files: Sequence[FileRecord]) -> Iterator[Path]:
    inside = places([file.path for file in files])
    for file in files:
        if file.kind is FileKind.SIDECAR:
            if bundle.target is not None:
                yield openable(Path(bundle.target)).joinpath(*from_text(inside[file.path]).split("/"))
            if drop is not None:
                yield openable(drop).joinpath(*from_text(file.path).split("/"))
