"""What of gathering bundles is sent ahead (`eager`): which images are next, and which are in a worker's hands. The
agent's own thread.

Sending ahead moves no bundle's state. A worker has some of the bundle's images in hand, no more; everything else of it
goes on gathering, and is judged, meanwhile. What is in hand stays as it is for the ledger until the worker is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from folder_agent.agent.dossier import Dossier
from folder_agent.agent.intake import Intake
from folder_agent.core import checking
from folder_agent.core.bundling import BundleRules
from folder_agent.core.delivered import Content
from folder_agent.core.eager import may_go_ahead, reading_of
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.exam import personal_values
from folder_agent.core.grouping import Group, Member
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.planning import AGAIN_S
from folder_agent.core.ports import Clock
from folder_agent.core.records import BundleRecord, SidecarReading

SLICE_FILES, SLICE_BYTES = 100, 64 * 1024 * 1024  # so that what is complete, or urgent, need not wait for long
_NEVER = float("inf")


@dataclass(slots=True)
class _Plan:
    """What may go ahead of one bundle."""

    group: Group
    reading: SidecarReading
    members: dict[str, Member]
    left: deque[str]
    failures: int = 0
    not_before: float = 0.0  # monotonic
    by_instance: dict[str, list[str]] = field(default_factory=dict)


class Ahead:
    """Of the bundles of one drop folder."""

    def __init__(self, intake: Intake, clock: Clock, rules: BundleRules) -> None:
        self._intake, self._clock, self._rules = intake, clock, rules
        self._plans: dict[int, _Plan] = {}
        self.in_hand: dict[int, frozenset[str]] = {}  # by bundle: the paths that a worker has

    def note(self, bundle: BundleRecord, group: Group) -> None:
        """The bundle goes on gathering, as this group."""
        reading = reading_of(group) if self._rules.eager and bundle.state is BundleState.GATHERING else None
        members = may_go_ahead(group, self._rules) if reading is not None else ()
        if reading is None or not members:
            self._plans.pop(bundle.id, None)
            return
        tracked, before = self._intake.tracked, self._plans.get(bundle.id)
        left = deque(one.path for one in members if tracked[one.path].record.state is FileState.SETTLED)
        plan = _Plan(group, reading, {one.path: one for one in members}, left)
        for one in members:
            plan.by_instance.setdefault(_instance(one), []).append(one.path)
        if before is not None:
            plan.failures, plan.not_before = before.failures, before.not_before
        self._plans[bundle.id] = plan

    def forget(self, bundle_id: int) -> None:
        """It gathers no more, or nothing is known of it that may go."""
        self._plans.pop(bundle_id, None)

    def holds(self, group: Group, bundle: BundleRecord | None) -> bool:
        """Whether a worker has a file of the group in hand for another bundle than this one."""
        mine = None if bundle is None else bundle.id
        return any(
            not paths.isdisjoint(member.path for member in group.members)
            for bundle_id, paths in self.in_hand.items()
            if bundle_id != mine
        )

    def has(self, bundle_id: int) -> bool:
        """Whether something of the bundle may go."""
        return bundle_id in self._plans

    def ready(self, now: float) -> list[int]:
        """The bundles of which something may go at the monotonic time."""
        return [
            bundle_id
            for bundle_id, plan in self._plans.items()
            if plan.left and plan.not_before <= now and bundle_id not in self.in_hand
        ]

    def next_due(self) -> float:
        """The monotonic time at which something that failed is tried again."""
        return min((plan.not_before for plan in self._plans.values() if plan.left), default=_NEVER)

    def is_urgent(self, bundle_id: int) -> bool:
        """Whether the exam is an emergency."""
        return self._plans[bundle_id].reading.get("studyCategory") == "emergency"

    def take(self, bundle: BundleRecord) -> Dossier | None:
        """The next images, for a worker: they are in hand until `ended`."""
        plan = self._plans[bundle.id]
        paths = self._slice(plan)
        if not paths:
            return None
        taken = frozenset(paths)
        twins = {path for one in paths for path in plan.by_instance[_instance(plan.members[one])]}
        self.in_hand[bundle.id] = taken | twins
        self._intake.held.update(taken | twins)
        return self._dossier(plan, sorted(taken | twins))

    def ended(self, bundle_id: int, error: AgentError | None, pause: Callable[[int], float]) -> None:
        """The worker is done with them. What was not sent is tried again, after a `pause` by the number of failures if
        it failed; what the gateway refuses is left for the exam as a whole to meet."""
        self._intake.held -= self.in_hand.pop(bundle_id, frozenset())
        plan = self._plans.get(bundle_id)
        if plan is None:
            return
        if error is None:
            plan.failures, plan.not_before = 0, 0.0
            return
        plan.failures += 1
        pause_s = {
            Disposition.WAIT: AGAIN_S,
            Disposition.REFUSE: _NEVER,
        }.get(error.disposition) or pause(plan.failures)
        plan.not_before = self._clock.monotonic() + pause_s
        tracked = self._intake.tracked
        plan.left = deque(
            path for path in plan.members if path in tracked and tracked[path].record.state is FileState.SETTLED
        )

    def _slice(self, plan: _Plan) -> list[str]:
        """The next ones that are still as they were judged."""
        found, total = list[str](), 0
        while plan.left and len(found) < SLICE_FILES:
            tracked = self._intake.tracked.get(plan.left[0])
            member = plan.members[plan.left[0]]
            if tracked is None or tracked.member is not member or tracked.record.state is not FileState.SETTLED:
                plan.left.popleft()
                continue
            if found and total + member.watched.stamp.size > SLICE_BYTES:
                break
            total += member.watched.stamp.size
            found.append(plan.left.popleft())
        return found

    def _dossier(self, plan: _Plan, paths: Sequence[str]) -> Dossier:
        known = {path: plan.members[path] for path in paths}
        digests = checking.digests(plan.group, plan.reading)
        return Dossier(
            base=plan.group.base,
            is_folder=plan.group.is_folder,
            sidecar_path=plan.group.sidecars[0].path,
            exam={},  # nothing that goes ahead needs it
            personal=personal_values(plan.reading),
            content=Content(),
            warnings=(),
            files=self._intake.records(paths),
            findings={path: member.finding for path, member in known.items() if member.finding is not None},
            digests={path: digest for path, digest in digests.items() if path in known},
        )


def _instance(member: Member) -> str:
    facts = member.finding.dicom if member.finding else None
    return facts.sop_instance if facts else member.path
