"""The agent as a process that kills itself at one named step. `python -m tests.crash.victim CONFIG LOG [STEP]`.

Every call that changes something outside of the process (ledger, shelves, disk, gateway) has a step before and a step
after it, numbered as it occurs: "before ledger.apply #7". Without STEP the steps are written to LOG; with it, the
process is killed (SIGKILL: nothing is flushed, no handler runs) when it comes to that step.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.agent import delivery
from folder_agent.assembly import Assembly
from folder_agent.edges import durable, logs
from folder_agent.edges.gateway import HttpGateway
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.shelves import RealShelves

STEPS: list[tuple[Any, str, tuple[str, ...]]] = [
    (PeeweeLedger, "ledger", ("sight", "open_bundle", "apply", "amend", "claim", "release")),
    (RealShelves, "shelves", ("prepare", "write_note", "move", "sync", "tidy")),
    (HttpGateway, "gateway", ("commit",)),
    (delivery.Delivery, "delivery", ("_accepted", "_check_unchanged")),
    (durable, "durable", ("rename_new", "sync_folder", "write_whole", "copy_whole", "remove", "make_folder")),
    (durable, "durable", ("_write_part", "_compare", "_rename")),
]


class Steps:
    """Counts the steps, and ends the process at one of them."""

    def __init__(self, log: Path, fatal: str | None) -> None:
        self._log, self._fatal = log, fatal
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        with self._lock:
            self._seen[name] += 1
            step = f"{name} #{self._seen[name]}"
            if step == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._fatal is None:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(step + "\n")

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.reach(f"before {name}")
            result = function(*args, **kwargs)
            self.reach(f"after {name}")
            return result

        return stepped


def main() -> None:
    config, log = Path(sys.argv[1]), Path(sys.argv[2])
    steps = Steps(log, sys.argv[3] if len(sys.argv) > 3 else None)
    for owner, label, names in STEPS:
        for name in names:
            wrapped = steps.around(f"{label}.{name}", getattr(owner, name))
            _put_everywhere(owner, name, wrapped)
    loaded = settings.load(config, {})
    with Assembly(loaded, logs.LogPublisher()) as assembly:
        assembly.agent.run(until_idle=lambda: True)


def _put_everywhere(owner: Any, name: str, wrapped: Callable[..., Any]) -> None:
    """In the class or module itself, and wherever a module took a function of it by name."""
    original = getattr(owner, name)
    setattr(owner, name, wrapped)
    for module in [m for key, m in sys.modules.items() if key.startswith("folder_agent")]:
        if module.__dict__.get(name) is original:
            setattr(module, name, wrapped)


if __name__ == "__main__":
    main()
