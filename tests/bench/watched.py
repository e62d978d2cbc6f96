"""`python -m tests.bench.watched MODE CONFIG …`: the agent in a process of its own, with a clock at its transitions.

Prints one JSON line. `once` runs until all is done; `looks` times looks; `idle` waits for all to settle, and then only
watches what idling costs.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.agent.intake import Intake
from folder_agent.assembly import Assembly
from folder_agent.core.records import BundleRecord
from folder_agent.edges import logs
from folder_agent.edges.clock import SystemClock
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.ledger import open_ledger

_SETTLED_WITHIN_S = 600.0


class Stopwatch(logs.LogPublisher):
    """Logs as the real agent does, and notes when the first bundle was complete and when the last one was done."""

    def __init__(self) -> None:
        self.complete: float | None = None
        self.done = 0.0
        self.states: dict[int, str] = {}

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        now = time.monotonic()
        super().transition(bundle, before, event, personal)
        self.states[bundle.id] = str(bundle.state)
        if bundle.state == "COMPLETE" and self.complete is None:
            self.complete = now
        elif bundle.state == "DONE":
            self.done = now


def once(config: Path) -> dict[str, Any]:
    """Deliver everything that lies in the drop folder."""
    loaded, watch = settings.load(config, {}), Stopwatch()
    logs.set_up(loaded.log.dir, "INFO", 1, console=False)
    with Assembly(loaded, watch) as assembly:
        began, cpu = time.monotonic(), time.process_time()
        assembly.agent.run(until_idle=lambda: True)
        cpu_s = time.process_time() - cpu
    done = sum(state == "DONE" for state in watch.states.values())
    complete = began if watch.complete is None else watch.complete
    return {"done": done, "sending_s": watch.done - complete, "whole_s": watch.done - began, "cpu_s": cpu_s}


def looks(config: Path) -> dict[str, Any]:
    """The first look at a full drop folder, and the looks that find nothing new."""
    loaded = settings.load(config, {})
    drop, ledger = RealDropFolder("bench", loaded.drops[0].path), open_ledger(loaded.ledger.url or "")
    intake = Intake(drop, ledger, SystemClock(), 2.0)
    first = _timed(lambda: intake.look(frozenset()))
    again = [_timed(lambda: intake.look(frozenset())) for _ in range(3)]
    ledger.close()
    return {"files": len(intake.tracked), "first_s": first, "again_s": statistics.median(again)}


def idle(config: Path, files: int, for_s: float) -> dict[str, Any]:
    """The CPU that the agent uses in `for_s` seconds once everything has settled, and how long settling took."""
    loaded, used = settings.load(config, {}), dict[str, Any]()
    logs.set_up(loaded.log.dir, "INFO", 1, console=False)
    with Assembly(loaded, Stopwatch()) as assembly:
        observer = threading.Thread(target=_observe, args=(assembly, files, for_s, used), daemon=True)
        observer.start()
        assembly.agent.run()
    return used


def _observe(assembly: Assembly, files: int, for_s: float, used: dict[str, Any]) -> None:
    began = time.monotonic()
    try:
        while assembly.ledger.tallies().files.get("SETTLED", 0) < files:
            if time.monotonic() - began > _SETTLED_WITHIN_S:
                return
            time.sleep(0.25)
        used["settling_s"] = time.monotonic() - began
        time.sleep(2.0)  # the bundles are judged and their folders looked at once more
        cpu = time.process_time()
        time.sleep(for_s)
        used["cpu_s"] = time.process_time() - cpu
    finally:
        assembly.agent.stop()


def _timed(action: Any) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main(mode: str, config: str, *more: str) -> None:
    """Measure, and print what was found."""
    if mode == "idle":
        found = idle(Path(config), int(more[0]), float(more[1]))
    else:
        found = {"once": once, "looks": looks}[mode](Path(config))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
