"""How long what was delivered is kept: which days of done/ may be purged, and which bundle of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from folder_agent.core.lifecycle import BundleState
from folder_agent.core.receipts import Receipt
from folder_agent.core.records import BundleRecord

YOUNGEST_DAYS = 2  # a bundle of yesterday may be minutes old: until then nothing goes, however full the disk is


@dataclass(frozen=True, slots=True)
class Retention:
    """What a site wants. None: never for that reason."""

    keep_done_days: int | None = None
    min_free_bytes: int | None = None

    @property
    def is_on(self) -> bool:
        return self.keep_done_days is not None or self.min_free_bytes is not None

    def is_short(self, free_bytes: int) -> bool:
        """Whether less is free than there should be."""
        return self.min_free_bytes is not None and free_bytes < self.min_free_bytes

    def is_over(self, day: str, today: date, *, is_short: bool) -> bool:
        """Whether the bundles that were shelved on that day (YYYY-MM-DD) may be purged. Anything else is no day."""
        try:
            age_days = (today - date.fromisoformat(day)) // timedelta(days=1)
        except ValueError:
            return False
        is_old = self.keep_done_days is not None and age_days > self.keep_done_days
        return age_days >= YOUNGEST_DAYS and (is_old or is_short)


def purgeable(receipt: Receipt | None, row: BundleRecord | None, drop: str) -> Mapping[str, int] | None:
    """The files of a folder in done/ that may be deleted, with their sizes (bytes); None: the folder is not ours to
    touch. Only its own receipt proves that all of it was delivered; a ledger that says otherwise is believed."""
    if receipt is None or not receipt.is_delivered or receipt.drop != drop:
        return None
    if row is not None and (row.drop, row.state) != (drop, BundleState.DONE):
        return None
    return {file.path: file.size for file in (*receipt.sent, *receipt.unsent) if file.size is not None}
