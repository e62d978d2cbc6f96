"""Who holds something: what is written into lock files and leases, so that whoever is refused can be told.

Touches nothing but the machine's own name and clock. A hold never depends on what is written here.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime

MOST_BYTES = 16 * 1024  # of a lock file or lease that is read; ours are a few hundred


@dataclass(frozen=True, slots=True)
class Holder:
    """One run of one agent. `owner` is new with every run; the rest is for people."""

    host: str
    pid: int
    since: str  # ISO 8601 with the offset of the place
    settings: str
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    place: str = ""  # what is held: the folder's real path, or the ledger's

    def text(self, beat: int = 0) -> str:
        """One line of JSON, in ASCII, which every place can keep; each beat of a lease makes another text."""
        return json.dumps({**asdict(self), "beat": beat}) + "\n"


class Taken(Exception):
    """Another agent holds it; which one, where that can be read."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__("held by another agent")
        self.holder = holder


def this_process(settings: str) -> Holder:
    """A new run of an agent in this process."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return Holder(socket.gethostname(), os.getpid(), now, settings)


def read_holder(text: str | None) -> Holder | None:
    """The holder of `Holder.text`; None for anything else, such as half of it."""
    try:
        found = json.loads(text or "")
        values = {one.name: found[one.name] for one in fields(Holder)}
        if not all(isinstance(value, int if name == "pid" else str) for name, value in values.items()):
            return None
        return Holder(**values)
    except (ValueError, KeyError, TypeError):
        return None
