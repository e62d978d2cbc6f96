"""The Proof port: which instances of an exam the receiver has, whichever way it is asked (`[images] verify`).

Touches nothing itself; the Asker does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from folder_agent.core.records import Claim, FileKind
from folder_agent.edges.gateway.encapsulate import Encapsulate


@dataclass(frozen=True, slots=True)
class Instance:
    """One object, as DICOM names it (PS3.3 C.12.1)."""

    study: str
    sop_class: str
    sop_instance: str


class Asker(Protocol):
    """One way of asking."""

    words: str  # what is kept with the answer of a file that is there

    def lacking(self, wanted: Sequence[Instance]) -> frozenset[str]:
        """The SOPInstanceUIDs of those that the receiver does not have. Raises AgentError if it does not say."""
        ...

    def close(self) -> None:
        """Ask nothing more."""
        ...


class AskedProof:
    """Files are told apart by what they are called in DICOM: reports, too, if they travel so."""

    def __init__(self, asker: Asker, reports: Encapsulate | None = None) -> None:
        self.words = asker.words
        self._asker = asker
        self._reports = reports

    def for_reports(self, reports: Encapsulate) -> AskedProof:
        """The same, with what tells how the exam's reports are called."""
        bound = copy.copy(self)
        bound._reports = reports
        return bound

    def held(self, claims: Sequence[Claim]) -> Mapping[int, bool]:
        """See ports.Proof."""
        named = {claim.file.file_id: found for claim in claims if (found := self._named(claim)) is not None}
        lacking = self._asker.lacking(list(dict.fromkeys(named.values()))) if named else frozenset()
        return {file_id: instance.sop_instance not in lacking for file_id, instance in named.items()}

    def close(self) -> None:
        """Ask nothing more."""
        self._asker.close()

    def _named(self, claim: Claim) -> Instance | None:
        file = claim.file
        if file.kind is FileKind.PDF:
            return None if self._reports is None else Instance(*self._reports.names(file, claim.sha256))
        if not (file.study and file.sop_instance):
            return None
        return Instance(file.study, file.sop_class or "", file.sop_instance)
