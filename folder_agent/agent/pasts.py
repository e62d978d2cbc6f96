"""What was delivered of a study, asked of the ledger; what was asked last is remembered, because it never changes: a
committed bundle gets no more files, and one more bundle makes another question."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from folder_agent.core.delivered import Past, past_of
from folder_agent.core.ports import Ledger

MOST = 64  # studies in memory: of 5,000 images, half a megabyte each


class Pasts:
    """Any thread may ask."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, ...], Past] = OrderedDict()

    def of(self, access_number: str | None, study_uid: str | None) -> Past | None:
        """The past of that study; None if nothing of it was delivered, or nothing is known of it any more."""
        bundles = self._ledger.delivered(access_number, study_uid)
        if not bundles:
            return None
        key = tuple(bundle.id for bundle in bundles)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is None:
            known = past_of(bundles, {bundle.id: self._ledger.files_of(bundle.id) for bundle in bundles})
            assert known is not None
            with self._lock:
                self._known[key] = known
                while len(self._known) > MOST:
                    self._known.popitem(last=False)
        return replace(known, bundles=tuple(bundles))  # their places on the shelf may be newer
