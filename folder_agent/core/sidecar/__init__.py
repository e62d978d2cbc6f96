"""Bytes of a sidecar → what it says, in the gateway's names and forms, with every problem told at once.

Whatever the bytes are, reading them gives a SidecarReading: nothing is raised, and no limit of the interpreter is met.
`decoding` and `guessing` (bytes → text) · `parsing` (text → JSON object) · `locating` and `gathering` (object → raw
values, by a site's mapping) · `reading` (raw values → fields) · `listing` (its `files`) · `wording` (what is told).
"""

from __future__ import annotations

from folder_agent.core.mapping import NO_MAPPING, SiteMapping
from folder_agent.core.records import SidecarReading
from folder_agent.core.sidecar.decoding import MAX_BYTES, decoded
from folder_agent.core.sidecar.listing import MAX_LISTED
from folder_agent.core.sidecar.parsing import MAX_DEPTH, parsed
from folder_agent.core.sidecar.reading import Reader
from folder_agent.core.sidecar.wording import MAX_TOLD, Unreadable
from folder_agent.core.template import HELP, is_from_template

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_LISTED", "MAX_TOLD", "encoding_of", "read_sidecar"]


def encoding_of(content: bytes) -> str | None:
    """The encoding by which the bytes are read; None if they are no text."""
    try:
        return decoded(content)[0]
    except Unreadable:
        return None


def read_sidecar(content: bytes, mapping: SiteMapping = NO_MAPPING) -> SidecarReading:
    """What a sidecar says (fields: the gateway's page, 请求参数), in the words of its site if it has a mapping; a
    reading with problems must not be sent."""
    encoding = "utf-8"
    try:
        encoding, text = decoded(content)
        document = parsed(text)
    except Unreadable as error:
        return SidecarReading(encoding=encoding, problems=(error.problem,))
    if is_from_template(document):
        document, mapping = {key: value for key, value in document.items() if key != HELP}, NO_MAPPING
    return Reader(document, mapping).reading(encoding)
