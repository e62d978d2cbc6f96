"""DICOM files by C-STORE (PS3.4 annex B, PS3.7 9.1.1): one association for each send, used for all of its files.

Touches the files by reading them once, and the network by an Association. What is in a file goes as it is: a data set
is neither decoded nor converted, and no more of it than two blocks is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, Outgoing
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Unreadable
from folder_agent.edges.gateway.dimse.association import Association
from folder_agent.edges.gateway.dimse.commitment import Commitment, check_offered
from folder_agent.edges.gateway.dimse.contexts import Pair, numbered, pair_of, voyages
from folder_agent.edges.gateway.dimse.messages import IMPLICIT, VERIFICATION
from folder_agent.edges.gateway.dimse.node import Node, node_of, place_of
from folder_agent.edges.gateway.dimse.verdicts import unwanted, verdict
from folder_agent.edges.gateway.lanes import Lanes
from folder_agent.edges.gateway.multipart import Body, Reading, ShouldStop
from folder_agent.edges.gateway.stow_verdicts import lacks_resources
from folder_agent.edges.meters import Meters

__all__ = ["Commitment", "Dimse", "Node", "check_offered", "echo", "node_of", "place_of"]

_STRUGGLES = frozenset({"FA-GW-TIMEOUT", "FA-GW-BUSY"})  # what is said of a node that has too much to do
_REPORT_FILES, _REPORT_S = 100, 0.5  # acceptances are told in batches: each costs the ledger a synchronous write


class Dimse:
    """The Transport to one DICOM node. Safe for many threads: each send has an association of its own."""

    def __init__(self, node: Node, reading: Reading, lanes: Lanes | None = None, meters: Meters | None = None) -> None:
        self.destination = node.address
        self._node = node
        self._reading = reading
        self._lanes = lanes or Lanes()
        self._meters = meters or Meters()

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Store one after the other; see ports.Transport. Nothing is stored if the receiver does not take them all."""
        for voyage in voyages(files):
            self._send(voyage, accepted, progress)

    def _send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        for file in files:
            if not pair_of(file).can_be_proposed:
                raise failure(problem("FA-FILE-UNREADABLE", file.path, detail="its transfer syntax is no UID"))
        with self._lanes.lane():
            with self._measured("A-ASSOCIATE") as measured:
                association = Association(self._node, numbered(files), self._reading.should_stop)
                measured.outcome = "accepted"
            try:
                _check_wanted(files, association)
                _in_batches((self._store(association, file, progress) for file in files), accepted)
            except BaseException:
                association.abort()
                raise
            association.release()

    def _store(self, association: Association, file: Outgoing, progress: Progress) -> Acceptance:
        with (
            closing(Body([file], self._reading, progress)) as body,
            closing(_data_set(file, body)) as blocks,
            self._measured("C-STORE") as measured,
        ):
            status = association.store(pair_of(file), file.sop_instance or "", blocks)
            measured.outcome = f"0x{status:04X}"
        found = verdict(file, status)
        if isinstance(found, Problem) and lacks_resources(found):
            self._lanes.troubled(measured.began)
        else:
            self._lanes.answered("C-STORE", measured.began, association.waited_s, file.length)
        if isinstance(found, Problem):
            raise failure(found)
        if file.file_id not in body.digests:
            raise failure(problem("FA-GW-ANSWER", file.path, detail="it came before the file was sent"))
        return Acceptance(file.file_id, body.digests[file.file_id], self.destination, found)

    @contextmanager
    def _measured(self, request: str) -> Iterator[_Measured]:
        """Counts the request under its outcome, and notes if the node did not answer it in time, or is too busy."""
        measured = _Measured(time.monotonic())
        try:
            yield measured
        except AgentError as error:
            if error.problem.code in _STRUGGLES:
                self._lanes.troubled(measured.began)
            raise
        finally:
            self._meters.request(request, measured.outcome, time.monotonic() - measured.began)


@dataclass(slots=True)
class _Measured:
    """One request, from its beginning (monotonic)."""

    began: float
    outcome: str = "error"


def echo(node: Node, should_stop: ShouldStop = lambda: False) -> int | None:
    """Ask the node whether it is there (C-ECHO); its status, or None if it does not offer that. Raises AgentError."""
    association = Association(node, {1: Pair(VERIFICATION, IMPLICIT)}, should_stop)
    try:
        status = association.echo() if association.agreement.contexts else None
    except BaseException:
        association.abort()
        raise
    association.release()
    return status


def _check_wanted(files: Sequence[Outgoing], association: Association) -> None:
    """Before the first byte of the first one leaves: nothing is half-sent to a receiver that will not have the rest."""
    for file in files:
        why = association.agreement.refusals.get(pair_of(file))
        if why is not None:
            raise unwanted(file, pair_of(file), why)


def _in_batches(acceptances: Iterable[Acceptance], accepted: Accepted) -> None:
    """Tell them before long, and in any case before whatever ends them."""
    waiting: list[Acceptance] = []
    told_at = time.monotonic()
    try:
        for one in acceptances:
            waiting.append(one)
            if len(waiting) >= _REPORT_FILES or time.monotonic() - told_at >= _REPORT_S:
                batch, waiting = waiting, []
                accepted(batch)
                told_at = time.monotonic()
    finally:
        if waiting:
            accepted(waiting)


def _data_set(file: Outgoing, body: Body) -> Generator[bytes, None, None]:
    """The blocks of a DICOM file without its preamble and meta information, which do not travel (PS3.10 7.1)."""
    head: bytes | None = b""  # None: that is behind us
    for block in body:
        if head is None:
            yield block
        elif (begins := _begins(file, head + block)) is not None:
            yield (head + block)[begins:]
            head = None
        else:
            head += block
    if head:
        yield head[_begins(file, head, is_all=True) :]


def _begins(file: Outgoing, head: bytes, *, is_all: bool = False) -> int | None:
    """Where the data set begins; None if it does not begin in what has been read so far."""
    try:
        return data_set_begins(head, is_all=is_all)
    except (CutShort, Unreadable) as error:
        if isinstance(error, CutShort) and not is_all:
            return None
        raise _unreadable(file, error) from None


def _unreadable(file: Outgoing, error: Exception) -> AgentError:
    return failure(problem("FA-FILE-UNREADABLE", file.path, detail=str(error)))
