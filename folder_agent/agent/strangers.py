"""Of which studies, among those of loose images, something was delivered. The ledger is asked at each grouping, but of
the same study not more than once a minute: there may be thousands that wait for their sidecars."""

from __future__ import annotations

from collections.abc import Iterable

from folder_agent.core.grouping import Group, Member
from folder_agent.core.late import by_delivered_study
from folder_agent.core.ports import Clock, Ledger

AGAIN_S = 60.0
_NEVER = float("inf")


class Strangers:
    """Of one drop folder. The agent's own thread."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._asked: dict[str, tuple[float, bool]] = {}  # by study: when (monotonic), and the answer

    def sort(self, loose: Iterable[Member]) -> tuple[list[Group], tuple[Member, ...]]:
        """The loose files that go with what was delivered of their study, and the others."""
        now, seen = self._clock.monotonic(), dict[str, tuple[float, bool]]()

        def is_delivered(study: str) -> bool:
            asked_at, was = self._asked.get(study, (-_NEVER, False))
            if not was and now - asked_at >= AGAIN_S:
                asked_at, was = now, bool(self._ledger.delivered(None, study))
            seen[study] = (asked_at, was)
            return was

        sorted_ = by_delivered_study(loose, is_delivered)
        self._asked = seen
        return sorted_

    def ask_anew(self) -> None:
        """Something was delivered: whatever was answered before may be different now."""
        self._asked.clear()

    def is_due(self) -> bool:
        """Whether it is time to ask once more of those of which nothing was delivered."""
        oldest = min((asked_at for asked_at, was in self._asked.values() if not was), default=_NEVER)
        return self._clock.monotonic() - oldest >= AGAIN_S
