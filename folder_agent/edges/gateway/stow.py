"""DICOM files by STOW-RS (PS3.18 10.5): batches as multipart/related, each instance's fate read from the answer.

Touches the files by reading them once, and the network by a Link. Nothing is held in memory but the block being sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, Outgoing
from folder_agent.edges.gateway.batching import BATCH_BYTES, BATCH_FILES, Bounds, Sizing, next_batch
from folder_agent.edges.gateway.client import Link, Reply
from folder_agent.edges.gateway.multipart import Body, Piece, Reading, length_of, new_boundary
from folder_agent.edges.gateway.part10 import in_file_form
from folder_agent.edges.gateway.stow_verdicts import Halve, lacks_resources, store_response, verdict

__all__ = ["BATCH_BYTES", "BATCH_FILES", "Stow", "next_batch"]

STOW_ANSWER_LIMIT = 16 * 1024 * 1024  # bytes
_ROUNDS = 2  # how often an instance that may yet be stored is sent, before it is for a later attempt
_UNTOLD = "FA-GW-ANSWER"
_FIRST = (Disposition.REFUSE, Disposition.HOLD, Disposition.RETRY)

Failed = tuple[Outgoing, AgentError]


class Stow:
    """The Transport to one STOW-RS address. `trusts_status`: HTTP 200 alone counts as "all stored", where the answer
    says nothing of the single instances."""

    def __init__(
        self,
        link: Link,
        url: str,
        reading: Reading,
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
        *,
        trusts_status: bool = False,
    ) -> None:
        self.destination = url
        self._link = link
        self._reading = reading
        self._sizing = Sizing(bounds)
        self._trusts_status = trusts_status

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Send in batches; see ports.Transport. What the server could not store for the moment goes once more behind
        the rest, and what the answer did not tell of each by itself."""
        groups = [[in_file_form(file) for file in files]]
        for _ in range(_ROUNDS):
            failed = [one for group in groups for one in self._send_all(group, accepted, progress)]
            if not failed:
                return
            untold = [file for file, error in failed if error.problem.code == _UNTOLD]
            groups = [[file for file, _ in failed if file not in untold], *([file] for file in untold)]
        raise failed[0][1]

    def _send_all(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> list[Failed]:
        waiting, failed = list(files), list[Failed]()
        while waiting:
            batch = self._sizing.next_batch(waiting)
            failed += self._send(batch, accepted, progress)
            gone = {file.file_id for file in batch}
            waiting = [file for file in waiting if file.file_id not in gone]
        return failed

    def _send(self, batch: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> list[Failed]:
        """Send one batch, in halves if it is too much at once. Those that failed for the moment, if others did not;
        a failure that ends it all is raised."""
        try:
            acceptances, failed, took_s = self._attempt(batch, progress)
        except Halve as request:
            if request.too_large:
                self._sizing.was_too_large(batch)
            middle = len(batch) // 2
            halves = (batch[:middle], batch[middle:])
            return [one for half in halves for one in self._send(half, accepted, progress)]
        self._sizing.took(batch, took_s)
        if acceptances:
            accepted(acceptances)
        if failed:
            worst = min((error for _, error in failed), key=lambda error: _FIRST.index(error.disposition))
            if worst.disposition is not Disposition.RETRY or not acceptances:
                raise worst
        return failed

    def _attempt(self, batch: Sequence[Outgoing], progress: Progress) -> tuple[list[Acceptance], list[Failed], float]:
        """What was accepted, what failed, and the seconds that it took."""
        boundary = new_boundary()
        pieces = stow_pieces(batch, boundary)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(length_of(pieces)),
            "Accept": "application/dicom+json",
        }
        with closing(Body(pieces, self._reading, progress)) as body:
            reply = self._link.exchange(self.destination, headers, body, STOW_ANSWER_LIMIT, parts=len(batch))
            took_s = time.monotonic() - reply.asked_at  # not the time for which it waited for its turn
        acceptances, failed = self._verdicts(batch, body, reply)
        if any(lacks_resources(error.problem) for _, error in failed):
            self._link.lanes.troubled(reply.asked_at)
        return acceptances, failed, took_s

    def _verdicts(self, batch: Sequence[Outgoing], body: Body, reply: Reply) -> tuple[list[Acceptance], list[Failed]]:
        response = store_response(batch, reply, trusts_status=self._trusts_status)
        acceptances, failed = [], []
        for file in batch:
            found, digest = verdict(file, response), body.digests.get(file.file_id)
            if isinstance(found, Problem):
                failed.append((file, failure(found)))
            elif digest is None:
                early = problem("FA-GW-ANSWER", file.path, detail="it came before the file was sent")
                failed.append((file, failure(early)))
            else:
                answer = f"HTTP {reply.status}{found}"
                acceptances.append(Acceptance(file.file_id, digest, self.destination, answer))
        return acceptances, failed


def stow_pieces(batch: Sequence[Outgoing], boundary: str) -> list[Piece]:
    """The body of one request (PS3.18 8.6.1.2): a part for each file."""
    pieces: list[Piece] = []
    for file in batch:
        head = f"Content-Type: application/dicom\r\nContent-Length: {file.length}\r\n\r\n"
        lead = "\r\n" if pieces else ""
        pieces += [f"{lead}--{boundary}\r\n{head}".encode(), file]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]
