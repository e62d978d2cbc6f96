"""The note that lies in a drop folder itself: put together now and then, written by a thread of its own, so that a
share that hangs or a note that somebody holds keeps nobody waiting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from folder_agent.agent.concerns import Concerns, of_drop
from folder_agent.agent.desk import Desk
from folder_agent.agent.workers import Workers
from folder_agent.core.answers import AnswerRules
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.planning import in_order
from folder_agent.core.ports import Clock, Ledger
from folder_agent.core.records import BundleRecord
from folder_agent.core.status_note import MOST, Standing, status_note

CHANGED_S = 10.0  # the least time between two notes
UNCHANGED_S = 60.0  # the longest: that the agent lives is news, too
_LOOKED_BACK = 500  # bundles that changed last, for those that failed today
_ENDED_BADLY = frozenset({BundleState.REFUSED, BundleState.FAILED})


class Notices:
    """The notes of all drop folders that want one. Called from the agent's thread only. `today` and `local` tell the
    day and an epoch time by the wall clock of this place."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        concerns: Concerns,
        today: Callable[[], str],
        local: Callable[[float], str],
        done: Callable[[], None],
    ) -> None:
        self._ledger, self._clock, self._concerns = ledger, clock, concerns
        self._today, self._local = today, local
        self._workers: Workers[tuple[Desk, bytes], Problem | None] = Workers(1, _write, done)
        self._told: dict[str, tuple[float, Standing]] = {}  # by drop folder: when (monotonic), and what
        self._asked: dict[str, float] = {}  # monotonic

    def tell(self, desks: Iterable[Desk], held: Problem | None, *, at_once: bool = False) -> None:
        """Write the notes that are due; `held` is why nothing is sent now."""
        for (desk, _), trouble in self._workers.results():
            self._concerns.settle("note", desk.name, trouble)
        for desk in desks:
            if desk.setup.write_status is None or desk.intake.outage is not None or not desk.intake.has_looked:
                continue
            now = self._clock.monotonic()
            is_early = self._workers.room() < 1 or now < self._asked.get(desk.name, float("-inf")) + CHANGED_S
            if is_early and not at_once:
                continue
            self._asked[desk.name] = now
            standing = self._standing(desk, held)
            told_at, told = self._told.get(desk.name, (float("-inf"), None))
            if at_once or told != standing or now >= told_at + UNCHANGED_S:
                self._told[desk.name] = (now, standing)
                looked_at = self._local(desk.intake.looked_at)
                self._workers.submit((desk, status_note(standing, looked_at)))

    def in_hand(self) -> int:
        """Notes that are being written, or whose outcome was not heard yet."""
        return self._workers.in_hand()

    def stop(self, grace_s: float) -> None:
        """Let it finish, for at most so many seconds."""
        self._workers.stop(grace_s)

    def _standing(self, desk: Desk, held: Problem | None) -> Standing:
        every = of_drop(self._ledger, desk.name)
        troubles = [*([held] if held is not None else []), *(one for one in every if one.code != "FA-STATUS-NOTE")]
        open_ones = in_order(desk.bundles.open.values())
        setup = desk.setup
        ignored = desk.bundles.answers(AnswerRules(setup.depth, setup.unpacker is not None, setup.rules.by_headers))
        return Standing(
            drop=desk.name,
            troubles=tuple(troubles),
            waiting=tuple(bundle for bundle in open_ones if bundle.state not in _ENDED_BADLY),
            failed=tuple(self._failed(desk.name)),
            ignored=tuple(ignored[:MOST]),
            ignored_in_all=len(ignored),
        )

    def _failed(self, drop: str) -> Sequence[BundleRecord]:
        today, found, later = self._today(), [], set()
        for bundle in sorted(self._ledger.latest_bundles(_LOOKED_BACK), key=lambda one: -one.id):
            if bundle.drop != drop:
                continue
            is_todays = today in re.split(r"[\\/]", bundle.target or "")
            if bundle.state in _ENDED_BADLY and is_todays and bundle.name not in later:
                found.append(bundle)
            later.add(bundle.name)  # what was dropped again is not told of any more
        return found


def _write(job: tuple[Desk, bytes]) -> Problem | None:
    desk, content = job
    assert desk.setup.write_status is not None
    try:
        desk.setup.write_status(content)
    except AgentError as error:
        return error.problem if error.problem.code == "FA-STATUS-NOTE" else None  # an outage is told by itself
    except Exception as raw:  # noqa: BLE001  whatever keeps a note from being written must not stop an exam
        return failure(problem("FA-STATUS-NOTE", detail=type(raw).__name__)).problem
    return None
