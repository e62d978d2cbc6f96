"""The Gateway and Transport ports in memory, for the agent's tests. Pass the same contract tests as the real ones.

What is to go wrong is put into a queue, `coming`, of which each exchange takes one entry; `down` is raised by every
exchange while it is set.
"""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, Answer, Claim, Outgoing
from tests.contracts.fake_shelves import Held

DUPLICATE = 10004
_REFUSED, _PERMISSION = frozenset({10003, 10005, 100001, 100004}), frozenset({20008, 20010})


@dataclass(frozen=True)
class Lost:
    """The gateway takes what is sent, and its answer never comes."""

    error: AgentError = field(default_factory=lambda: failure(problem("FA-GW-BROKEN", detail="connection reset")))


Coming = int | BaseException | Lost | None  # a code of the gateway's, something to raise, or None: all goes well


def told(code: int, message: str = "simulated failure") -> AgentError:
    """The failure that a code of the gateway's stands for (gateway.md, "Error codes")."""
    kind = "REFUSED" if code in _REFUSED else "PERMISSION" if code in _PERMISSION else "AGAIN"
    return failure(Problem(f"FA-GW-{kind}", None, (("code", code),), (("message", message),)))


@dataclass
class _Line:
    """What images, reports and the exam interface share: the way to the gateway, and what happens on it."""

    coming: deque[Coming] = field(default_factory=deque)
    down: AgentError | None = None
    on_way: Callable[[], None] = lambda: None  # called when an exchange begins: whatever else happens just then

    def meet(self) -> Coming:
        """What happens to this exchange. Raises what keeps it from reaching the gateway."""
        self.on_way()
        if self.down is not None:
            raise self.down
        comes = self.coming.popleft() if self.coming else None
        if isinstance(comes, BaseException):
            raise comes
        if isinstance(comes, int) and comes not in (0, DUPLICATE):
            raise told(comes)
        return comes


@dataclass
class FakeTransport(_Line):
    """Accepts files one by one. `held` gives what is at a place now."""

    destination: str = "fake://gateway/images"
    held: Callable[[Path], Held | None] = lambda location: None
    received: list[tuple[str, str]] = field(default_factory=list)  # (name, SHA-256) of everything that arrived
    exam: Mapping[str, str | int] | None = None  # what `for_exam` was last given

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        for file in files:
            comes = self.meet()
            here = self.held(file.location)
            if here is None or not here.is_of(file.stamp):
                raise failure(problem("FA-CHANGED", file.path))
            progress(len(here.content))
            digest = hashlib.sha256(here.content).hexdigest()
            self.received.append((file.sop_instance or file.path, digest))
            if isinstance(comes, Lost):
                raise comes.error
            accepted([Acceptance(file.file_id, digest, self.destination, "code 0")])

    @property
    def names(self) -> list[str]:
        """What arrived, in order: SOPInstanceUIDs, and paths of what has none."""
        return [name for name, _ in self.received]


@dataclass
class FakeProof(_Line):
    """Knows what has arrived, less what the gateway has lost: `loses` are names, once for each entry."""

    words: str = "found by a fake"
    lines: Sequence[FakeTransport] = ()
    loses: list[str] = field(default_factory=list)
    says_nothing: bool = False

    def held(self, claims: Sequence[Claim]) -> Mapping[int, bool]:
        self.meet()
        if self.says_nothing:
            raise failure(problem("FA-GW-UNPROVEN", detail="a fake"))
        for line in self.lines:
            for name in [name for name in line.names if name in self.loses]:
                self.loses.remove(name)
                line.received = [one for one in line.received if one[0] != name]
        there = {name for line in self.lines for name in line.names}
        return {one.file.file_id: one.file.sop_instance in there for one in claims if one.file.sop_instance}


class FakeGateway:
    """Accepts every exam unless told otherwise; `exams` are the accepted bodies, repeats included."""

    def __init__(self, held: Callable[[Path], Held | None] = lambda location: None) -> None:
        self.address = "fake://gateway/study"
        self.line = _Line()
        self.image_line = FakeTransport(held=held)
        self.report_line = FakeTransport(destination="fake://gateway/reports", held=held)
        self.images: FakeTransport | None = self.image_line
        self.reports: FakeTransport | None = self.report_line
        self.proof: FakeProof | None = None
        self.exams: list[dict[str, str | int]] = []

    def prove(self) -> FakeProof:
        """From now on it can be asked what it has."""
        self.proof = FakeProof(lines=[self.image_line])
        return self.proof

    @property
    def posted(self) -> list[str | int]:
        """The accession numbers of the accepted exams, in order."""
        return [exam["accessNumber"] for exam in self.exams]

    def lines(self) -> tuple[_Line, ...]:
        """Everything that can be down."""
        return self.line, self.image_line, self.report_line

    def go_down(self, error: AgentError | None = None) -> None:
        """Nothing reaches it."""
        for line in self.lines():
            line.down = error or failure(problem("FA-GW-UNREACHABLE", detail="connection refused"))

    def come_back(self) -> None:
        """All is well again."""
        for line in self.lines():
            line.down = None

    def for_exam(self, exam: Mapping[str, str | int], image: Outgoing | None = None) -> FakeGateway:
        self.report_line.exam = dict(exam)
        return copy.copy(self)  # the same lines and lists

    def commit(self, exam: Mapping[str, str | int]) -> Answer:
        comes = self.line.meet()
        self.exams.append(dict(exam))
        if isinstance(comes, Lost):
            raise comes.error
        return Answer(DUPLICATE if comes == DUPLICATE else 0, "", duplicate=comes == DUPLICATE)
