"""Which bundle a worker takes next: those that end first, then what may be sent, emergencies first. Lined up only when
something has changed, since of thousands that are ready a few at a time can begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from folder_agent.agent.desk import Desk
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.planning import Action, in_order, next_action
from folder_agent.core.records import BundleRecord

LASTS_S = 1.0  # after which it is made anew in any case


class Lineup:
    """The bundles of all drop folders that are ready. Used by the agent's thread only."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s  # no delay is longer: what is due later is due by a clock that was set back
        self._lines: dict[Action, deque[BundleRecord]] = {Action.SHELVE: deque(), Action.SEND: deque()}
        self._until = float("-inf")  # monotonic

    def refresh(self, desks: Mapping[str, Desk], now: float, monotonic: float) -> None:
        """Line up anew, if anything has changed that matters, or may have by time. `now` is epoch seconds."""
        changed = [desk for desk in desks.values() if desk.bundles.fresh]
        if not changed and monotonic < self._until:
            return
        for desk in changed:
            desk.bundles.fresh = False
        self._until = monotonic + LASTS_S
        for action, line in self._lines.items():
            line.clear()
            line.extend(self.ready(desks.values(), action, now))
        later = [b.due_at - now for d in desks.values() for b in d.bundles.open.values() if b.due_at is not None]
        self._until = min([self._until, *(monotonic + due for due in later if due > 0)])

    def ready(self, desks: Iterable[Desk], action: Action, now: float) -> list[BundleRecord]:
        """All that is ready for that, in order."""
        return in_order(b for desk in desks for b in desk.bundles.open.values() if self._is_ready(desk, b, action, now))

    def take(
        self,
        desks: Mapping[str, Desk],
        action: Action,
        now: float,
        most: int,
        may_go: Callable[[BundleRecord], bool] = lambda _: True,
    ) -> list[BundleRecord]:
        """The next ones, at most so many, up to the first that may not go; they are out of the line."""
        found = list[BundleRecord]()
        line = self._lines[action]
        while line and len(found) < most:
            bundle = line[0]
            desk = desks[bundle.drop]
            current = desk.bundles.open.get(bundle.id)
            if current is not None and self._is_ready(desk, current, action, now):
                if not may_go(current):
                    break
                found.append(current)
            line.popleft()
        return found

    def ahead(self, desks: Iterable[Desk], monotonic: float) -> list[BundleRecord]:
        """The bundles of which something may go ahead, in order."""
        found = [
            (not desk.bundles.ahead.is_urgent(bundle_id), bundle.created_at, bundle_id, bundle)
            for desk in desks
            if desk.intake.outage is None
            for bundle_id in desk.bundles.ahead.ready(monotonic)
            if (bundle := desk.bundles.open.get(bundle_id)) is not None and bundle.state is BundleState.GATHERING
        ]
        return [bundle for *_, bundle in sorted(found, key=lambda one: one[:3])]

    def _is_ready(self, desk: Desk, bundle: BundleRecord, action: Action, now: float) -> bool:
        if desk.intake.outage is not None or bundle.id in desk.bundles.busy or bundle.id in desk.bundles.ahead.in_hand:
            return False
        at = now if bundle.due_at is None or bundle.due_at - now <= self._longest_s else bundle.due_at
        if next_action(bundle, at) is not action:
            return False
        return action is Action.SHELVE or bundle.id in desk.bundles.dossiers
