"""Accepted though refused: an operator's order for what lies in failed/ for its counts alone. It is brought back as
`retry` would, and the bundle that it makes takes the order over.

The order stands in the ledger until a bundle has taken it over, so that a kill loses none; of whom it is told by one
note there, so that it is used once.
"""

from __future__ import annotations

from dataclasses import replace

from folder_agent.core import acceptance
from folder_agent.core.bundling import Complete, Refused, Verdict
from folder_agent.core.grouping import Group
from folder_agent.core.ports import Ledger
from folder_agent.core.records import Act, BundleRecord, Deed, SidecarReading


class Acceptances:
    """Of one drop folder. The agent's own thread."""

    def __init__(self, drop: str, ledger: Ledger) -> None:
        self._drop, self._ledger = drop, ledger
        self._returning: dict[int, BundleRecord] = {}
        self._not_before: dict[int, float] = {}  # monotonic: of those that could not be brought back

    def hear(self, order: Deed) -> None:
        """Take in an order for a bundle that is not open here; to hear one again changes nothing."""
        refused = self._refused(order)
        if refused is not None:
            self._returning[refused.id] = refused

    def next_return(self, now: float) -> BundleRecord | None:
        """One that is to be brought back from failed/ at the monotonic time `now`."""
        due = (one for number, one in self._returning.items() if self._not_before.get(number, 0.0) <= now)
        return next(due, None)

    def returned(self, bundle_id: int) -> None:
        """It is in the drop folder, or was taken from failed/ by somebody else."""
        self._returning.pop(bundle_id, None)
        self._not_before.pop(bundle_id, None)

    def put_off(self, bundle_id: int, until: float) -> bool:
        """It could not be brought back, and is tried again at that monotonic time; whether that is news."""
        is_news = bundle_id not in self._not_before
        self._not_before[bundle_id] = until
        return is_news

    def order_for(self, group: Group, verdict: Verdict, reading: SidecarReading | None) -> Deed | None:
        """The order that holds for the group: nothing but its counts is wrong, and it is what was accepted."""
        if isinstance(verdict, Complete) or reading is None:
            return None
        wrong = acceptance.counts_alone(verdict.problems if isinstance(verdict, Refused) else verdict.reasons)
        for order in self._ledger.orders() if wrong else ():
            refused = self._refused(order)
            if refused is not None:
                files = self._ledger.files_of(refused.id)
                if acceptance.is_the_same(refused, files, group, wrong, reading):
                    return order
        return None

    def take_over(self, order: Deed, bundle_id: int) -> Deed:
        """The order as it is that bundle's from now on."""
        taken = replace(order, bundle_id=bundle_id, id=0)

        def note() -> None:
            self._ledger.keep_deed(taken)
            self._ledger.remember(_name(order.bundle_id), str(bundle_id))

        self._ledger.together(note)
        return taken

    def _refused(self, order: Deed) -> BundleRecord | None:
        """The bundle that may be accepted by the order, if nobody has taken that over yet."""
        found = self._ledger.bundle(order.bundle_id or 0) if order.act == Act.ACCEPT else None
        if found is None or found.drop != self._drop or not acceptance.is_acceptable(found):
            return None
        return found if self._ledger.recall(_name(found.id)) is None else None


def _name(refused: int | None) -> str:
    return f"accepted:{refused}"
