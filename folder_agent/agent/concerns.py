"""What troubles a drop folder as a whole: said once when it begins and once when it is over, and kept in the ledger in
between, so that `status` can tell."""

from __future__ import annotations

import json
from typing import Literal

from folder_agent.core.errors import Problem
from folder_agent.core.ports import Ledger, Publisher

Kind = Literal["outage", "unlisted", "watcher", "note", "area", "purge", "space"]
KINDS: tuple[Kind, ...] = ("outage", "unlisted", "watcher", "note", "area", "purge", "space")


class Concerns:
    """The troubles of all drop folders, at most one of each kind."""

    def __init__(self, ledger: Ledger, publisher: Publisher) -> None:
        self._ledger, self._publisher = ledger, publisher
        self._known: dict[str, Problem | None] = {}

    def settle(self, kind: Kind, drop: str, trouble: Problem | None) -> None:
        """How things are now; only a change is told and kept."""
        name = f"{kind}:{drop}"
        if name not in self._known:
            self._known[name] = read(self._ledger.recall(name))
        before = self._known[name]
        if before == trouble:
            return
        self._ledger.remember(name, written(trouble))
        self._known[name] = trouble  # only now: if the ledger failed, it is told and kept the next time
        if trouble is not None and (before is None or before.code != trouble.code):
            self._publisher.notice(trouble)
        elif trouble is None and before is not None:
            self._publisher.notice(before, is_over=True)


def of_drop(ledger: Ledger, drop: str) -> list[Problem]:
    """What troubles a drop folder now, as the ledger knows it."""
    found = (read(ledger.recall(f"{kind}:{drop}")) for kind in KINDS)
    return [trouble for trouble in found if trouble is not None]


def written(trouble: Problem | None) -> str | None:
    """The trouble as the ledger keeps it: no private values, and no path, which may be named for a person."""
    return None if trouble is None else json.dumps({"code": trouble.code, "values": dict(trouble.values)})


def read(text: str | None) -> Problem | None:
    """The trouble of `written`."""
    if text is None:
        return None
    found = json.loads(text)
    return Problem(found["code"], values=tuple(found["values"].items()))
