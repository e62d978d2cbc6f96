"""Which presentation contexts are proposed, and which files travel in which association (DICOM PS3.8 7.1.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from folder_agent.core.records import Outgoing

_UID = re.compile(r"[0-9][0-9.]{0,63}")  # but for leading zeros, which old devices write
MOST_CONTEXTS = 128  # of one association: their ids are the odd numbers of one byte (PS3.8 9.3.2.2)


@dataclass(frozen=True, slots=True)
class Pair:
    """What one presentation context is about. One transfer syntax each: if several were offered for a SOP class, the
    receiver would choose one of them for all, and files in the others would have to be converted."""

    sop_class: str
    syntax: str

    @property
    def can_be_proposed(self) -> bool:
        """Whether both can be UIDs at all (PS3.5 9.1): what a file calls its transfer syntax may be anything."""
        return all(_UID.fullmatch(uid) for uid in (self.sop_class, self.syntax))


def pair_of(file: Outgoing) -> Pair:
    """What the file needs the receiver to take."""
    return Pair(file.sop_class or "", file.transfer_syntax or "")


def voyages(files: Sequence[Outgoing], most_contexts: int = MOST_CONTEXTS) -> list[list[Outgoing]]:
    """The files of each association, in order: as few associations as the number of their pairs allows."""
    number: dict[Pair, int] = {}
    for file in files:
        number.setdefault(pair_of(file), len(number))
    found: list[list[Outgoing]] = [[] for _ in range(-(-len(number) // most_contexts))]
    for file in files:
        found[number[pair_of(file)] // most_contexts].append(file)
    return found


def numbered(files: Sequence[Outgoing]) -> dict[int, Pair]:
    """The contexts to propose for these files, by their ids."""
    pairs = dict.fromkeys(pair_of(file) for file in files)
    return {2 * place + 1: pair for place, pair in enumerate(pairs)}
