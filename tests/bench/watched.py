"""`python -m tests.bench.watched MODE CONFIG …`: the agent in a process of its own, with a clock at its transitions.

Prints one JSON line. `live` says "ready", waits for files and ends when so many exams are done; `looks` times looks;
`idle` waits for all to settle, and then only watches what idling costs. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
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
    """Logs as the real agent does, and notes when bundles were first complete and last committed and done."""

    def __init__(self, exams: int = 0, enough: Callable[[], None] = lambda: None) -> None:
        self._exams, self._enough = exams, enough
        self._lock = threading.Lock()
        self.complete: float | None = None
        self.committed = self.ended = 0.0
        self.done = self.failed = 0

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        now = time.monotonic()
        super().transition(bundle, before, event, personal)
        with self._lock:
            if bundle.state == "COMPLETE" and self.complete is None:
                self.complete = now
            elif bundle.state == "COMMITTED" and before != "COMMITTED":
                self.committed = now
            elif not bundle.is_open:
                self.ended = now
                self.done += bundle.state == "DONE"
                self.failed += bundle.state in ("REFUSED", "FAILED")
            is_enough = self.done + self.failed >= self._exams > 0
        if is_enough:
            self._enough()


def live(config: Path, exams: int) -> dict[str, Any]:
    """Deliver so many exams, which come as soon as it is ready."""
    loaded = settings.load(config, {})
    watch = Stopwatch(exams, lambda: assembly.agent.stop())
    logs.set_up(loaded.log.dir, "INFO", 1, console=False)
    with Assembly(loaded, watch) as assembly:
        cpu = time.process_time()
        print("ready", flush=True)
        assembly.agent.run()
        cpu_s = time.process_time() - cpu
    times = {"complete": watch.complete, "committed": watch.committed, "ended": watch.ended}
    return {"done": watch.done, "cpu_s": cpu_s, **times}


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
        found = live(Path(config), int(more[0])) if mode == "live" else looks(Path(config))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
