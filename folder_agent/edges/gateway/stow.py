"""DICOM files by STOW-RS (PS3.18 10.5): batches as multipart/related, each instance's fate read from the answer.

Touches the files by reading them once, and the network by a Link. Nothing is held in memory but the block being sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, Outgoing
from folder_agent.edges.gateway.client import Link, Reply
from folder_agent.edges.gateway.multipart import Body, Piece, Reading, length_of, new_boundary
from folder_agent.edges.gateway.stow_verdicts import Halve, store_response, verdict

BATCH_FILES = 100
BATCH_BYTES = 64 * 1024 * 1024
STOW_ANSWER_LIMIT = 16 * 1024 * 1024  # bytes
_LEAST_BATCH_BYTES = 1024 * 1024
_FIRST = (Disposition.REFUSE, Disposition.HOLD, Disposition.RETRY)


class Stow:
    """The Transport to one STOW-RS address."""

    def __init__(
        self,
        link: Link,
        url: str,
        reading: Reading,
        batch_files: int = BATCH_FILES,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self.destination = url
        self._link = link
        self._reading = reading
        self._batch_files = batch_files
        self._batch_bytes = batch_bytes

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Send in batches; see ports.Transport. A file larger than a batch goes alone."""
        waiting = list(files)
        while waiting:
            batch = next_batch(waiting, self._batch_files, self._batch_bytes)
            self._send(batch, accepted, progress)
            gone = {file.file_id for file in batch}
            waiting = [file for file in waiting if file.file_id not in gone]

    def _send(self, batch: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Send one batch, in halves if it is too much at once."""
        try:
            acceptances, failures = self._attempt(batch, progress)
        except Halve as request:
            if request.too_large:
                self._expect_less(batch)
            middle = len(batch) // 2
            self._send(batch[:middle], accepted, progress)
            self._send(batch[middle:], accepted, progress)
            return
        if acceptances:
            accepted(acceptances)
        if failures:
            raise min(failures, key=lambda error: _FIRST.index(error.disposition))

    def _expect_less(self, batch: Sequence[Outgoing]) -> None:
        """Remember what was too much, so that the next batches are not sent in vain, too."""
        total = sum(file.length for file in batch)
        self._batch_bytes = min(self._batch_bytes, max(_LEAST_BATCH_BYTES, total // 2))

    def _attempt(self, batch: Sequence[Outgoing], progress: Progress) -> tuple[list[Acceptance], list[AgentError]]:
        boundary = new_boundary()
        pieces = stow_pieces(batch, boundary)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(length_of(pieces)),
            "Accept": "application/dicom+json",
        }
        with closing(Body(pieces, self._reading, progress)) as body:
            reply = self._link.exchange(self.destination, headers, body, STOW_ANSWER_LIMIT)
        return self._verdicts(batch, body, reply)

    def _verdicts(
        self, batch: Sequence[Outgoing], body: Body, reply: Reply
    ) -> tuple[list[Acceptance], list[AgentError]]:
        response = store_response(batch, reply)
        acceptances, failures = [], []
        for file in batch:
            found, digest = verdict(file, response), body.digests.get(file.file_id)
            if isinstance(found, Problem):
                failures.append(failure(found))
            elif digest is None:
                failures.append(failure(problem("FA-GW-ANSWER", file.path, detail="it came before the file was sent")))
            else:
                answer = f"HTTP {reply.status}{found}"
                acceptances.append(Acceptance(file.file_id, digest, self.destination, answer))
        return acceptances, failures


def next_batch(files: Sequence[Outgoing], most_files: int, most_bytes: int) -> list[Outgoing]:
    """The files that go next, in order: within the bounds, and never two of one SOPInstanceUID, whose verdicts could
    not be told apart. The first file always goes."""
    batch: list[Outgoing] = []
    instances: set[str | None] = set()
    total = 0
    for file in files:
        if file.sop_instance in instances:
            continue
        if batch and (len(batch) >= most_files or total + file.length > most_bytes):
            break
        batch.append(file)
        instances.add(file.sop_instance)
        total += file.length
    return batch


def stow_pieces(batch: Sequence[Outgoing], boundary: str) -> list[Piece]:
    """The body of one request (PS3.18 8.6.1.2): a part for each file."""
    pieces: list[Piece] = []
    for file in batch:
        head = f"Content-Type: application/dicom\r\nContent-Length: {file.length}\r\n\r\n"
        lead = "\r\n" if pieces else ""
        pieces += [f"{lead}--{boundary}\r\n{head}".encode(), file]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]
