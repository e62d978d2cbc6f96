"""`python -m tests.bench.console [--quick]`: how fast pages are with a million bundles, and what ten browsers cost.

Prints one JSON object. The throughput is measured with and without browsers by turns, in one run, against one gateway.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.console import Live
from folder_agent.console.server import Console
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.records import BundleRecord, Counts, FileKind, FileRecord, Stamp
from folder_agent.edges import logs
from folder_agent.edges.ledger import codec, open_ledger, tables
from tests.bench import materials
from tests.bench.processes import configure
from tests.bench.receivers import GATEWAY, Receiver, running

BUNDLES, DAYS, DROPS = 1_000_000, 300, ("bench", "mr", "us")
BROWSERS, TURNS = 10, 3
_PAGES = (
    "/",
    "/bundles",
    "/bundles?state=DONE",
    "/bundles?state=FAILED&sort=created",
    "/bundles?drop=mr",
    "/bundles?drop=us&state=DONE&order=oldest",
    "/bundles?q=CT000500",
    "/bundles?q=CT0",
    "/bundles?q=A777777",
    "/bundles?day={day}",
    "/bundles?after={deep}",
    "/bundles?after={deep}&drop=mr&state=DONE",
    "/bundles/{half}",
    "/attention",
    "/proof",
    "/doctor",
    "/settings",
    "/log",
    "/history",
)
_FOR_MACHINES = ("/readyz", "/api/bundles", "/api/bundles/{half}", "/api/status", "/metrics")


def fill(url: str, bundles: int) -> None:
    """So many delivered bundles of one file each, over 300 days; one in 200 has failed, the last 300 wait."""
    ledger = open_ledger(url)
    session = ledger._session
    engine, now = session.engine, time.time()
    step = DAYS * 86400 / bundles
    for first in range(1, bundles + 1, 20_000):
        rows, contents = [], []
        for number in range(first, min(first + 20_000, bundles + 1)):
            at, name = now - (bundles - number + 1) * step, f"CT{number:07}"
            is_open, is_bad = number > bundles - 300, number % 200 == 0
            state = BundleState.GATHERING if is_open else BundleState.REFUSED if is_bad else BundleState.DONE
            why = problem("FA-NO-SIDECAR") if is_open else problem("FA-TWO-SIDECARS", first="a", second="b")
            record = BundleRecord(
                *(number, DROPS[number % 3], f"{name}/", name, state, at, at + 20),
                study_uid=f"1.2.3.{number}",
                access_number=f"A{number}",
                study_id=f"S{number}",
                counts=Counts(1, 0, 0, 1),
                reasons=() if state is BundleState.DONE else (why,),
                committed_at=at + 19 if state is BundleState.DONE else None,
                target=None if is_open else f"/nowhere/{name}",
                is_open=is_open,
            )
            file = FileRecord(
                *(number, record.drop, f"{name}/IM1.dcm", Stamp(1000, 1, 1), FileState.SENT, FileKind.DICOM, number),
                is_open=is_open,
                seen_at=at,
            )
            rows.append((number, *codec.bundle_values(record)))
            contents.append((number, *codec.file_values(file)))
        with session.writing():
            engine.insert_rows(ledger._tables.bundle, ("id", *tables.BUNDLE_COLUMNS), rows)
            engine.insert_rows(ledger._tables.file, ("id", *tables.FILE_COLUMNS), contents)
    ledger.close()


def configured(place: Path, drop: Path, server: Receiver) -> Path:
    """Settings with a console at a free port."""
    assert server.ca_file is not None
    file = configure(place, drop, server.url, server.ca_file)
    file.write_text(file.read_text().replace('listen = "off"', 'listen = "127.0.0.1:0"'), encoding="utf-8")
    return file


@contextmanager
def serving(config: Path) -> Iterator[tuple[Console, Assembly]]:
    """The console of an agent that does nothing."""
    loaded, live = settings.load(config, {}), Live()
    logs.set_up(loaded.log.dir, "INFO", 1, console=False)
    with Assembly(loaded, logs.Publishers(logs.LogPublisher(), live)) as assembly:
        console = Console(loaded, assembly, live)
        console.start()
        try:
            yield console, assembly
        finally:
            live.close()
            console.stop()


def pages(bundles: int, kept: Path | None) -> dict[str, Any]:
    """Milliseconds of each page, each time made anew: the median and the worst of seven, and the median of what both
    ends take of a processor, which other programs' load does not change."""
    with tempfile.TemporaryDirectory() as folder:
        place = kept or Path(folder)
        with running(GATEWAY, Path(folder) / "gateway") as server:
            config = configured(place / "agent", place / "drop", server)
            began = time.monotonic()
            if not (place / "agent" / "ledger.db").exists():
                fill(settings.load(config, {}).ledger.url or "", bundles)
            told(f"filled in {time.monotonic() - began:.0f} s")
            with serving(config) as (console, _):
                day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 30 * 86400))
                deep = f"{time.time() - DAYS * 43200},{bundles // 2}"
                found: dict[str, Any] = {}
                with httpx.Client(base_url=f"http://127.0.0.1:{console.port}", trust_env=False, timeout=60) as client:
                    began = time.perf_counter()
                    client.get("/")
                    found["first answer after the start"] = {"ms": round(1000 * (time.perf_counter() - began), 1)}
                    while not console.context.pulse.now.days:
                        time.sleep(0.1)
                    found["all counted after the start"] = {"ms": round(1000 * (time.perf_counter() - began), 1)}
                    for page in (*_PAGES, *_FOR_MACHINES):
                        path = page.format(day=day, deep=deep, half=bundles // 2)
                        took, cpu = [], []
                        for number in range(7):
                            began, busy = time.perf_counter(), time.process_time()
                            answer = client.get(path + ("&" if "?" in path else "?") + f"anew={number}")
                            took.append(1000 * (time.perf_counter() - began))
                            cpu.append(1000 * (time.process_time() - busy))
                            assert answer.status_code == 200, (path, answer.status_code)
                        times = (("median_ms", took), ("cpu_ms", cpu))
                        found[page] = {name: round(statistics.median(each), 1) for name, each in times}
                        found[page]["worst_ms"] = round(max(took), 1)
                        told(f"{page} {found[page]}")
    return found


def throughput(exams: int, turns: int = TURNS) -> dict[str, Any]:
    """Exams a second and CPU seconds an exam, by turns without and with ten browsers that look at it."""
    alone: list[dict[str, float]] = []
    watched: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, running(GATEWAY, Path(folder) / "gateway") as server:
        for turn in range(2 * turns):
            is_watched = bool(turn % 2)
            place = Path(folder) / f"turn{turn}"
            drop = place / "drop"
            materials.small_exams(drop, exams, flat=False)
            config = configured(place / "agent", drop, server)
            found = deliver(config, exams, BROWSERS if is_watched else 0)
            told(f"{'ten browsers' if is_watched else 'alone'}: {found}")
            (watched if is_watched else alone).append(found)

    def middle(of: list[dict[str, float]], name: str) -> float:
        return statistics.median(one[name] for one in of)

    return {
        "alone": {name: middle(alone, name) for name in alone[0]},
        "watched": {name: middle(watched, name) for name in watched[0]},
        "rate_ratio": round(middle(watched, "exams_per_s") / middle(alone, "exams_per_s"), 3),
        "cpu_ratio": round(middle(watched, "cpu_s") / middle(alone, "cpu_s"), 3),
    }


class Stopwatch(Live):
    """Notes when the first bundle was opened and the last one done."""

    first = last = 0.0
    done = 0

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Any) -> None:
        """As Live, with a look at the clock."""
        super().transition(bundle, before, event, personal)
        self.first = self.first or time.monotonic()
        if bundle.state == "DONE":
            self.last, self.done = time.monotonic(), self.done + 1


def deliver(config: Path, exams: int, browsers: int) -> dict[str, float]:
    """Deliver all of them; the browsers are in a process of their own."""
    loaded, live = settings.load(config, {}), Stopwatch()
    logs.set_up(loaded.log.dir, "INFO", 1, console=False)
    with Assembly(loaded, logs.Publishers(logs.LogPublisher(), live)) as assembly:
        console = Console(loaded, assembly, live)
        console.start()
        line = [sys.executable, "-m", "tests.bench.console", "--browse", f"http://127.0.0.1:{console.port}"]
        lookers = (
            subprocess.Popen([*line, str(browsers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if browsers
            else None
        )
        if lookers is not None and lookers.stdout is not None:
            lookers.stdout.readline()  # all of them are there
        cpu = time.process_time()
        agent = threading.Thread(target=assembly.work)
        agent.start()
        try:
            while live.done < exams:
                time.sleep(0.05)
            cpu = time.process_time() - cpu
        finally:
            if lookers is not None:
                lookers.kill()
                lookers.communicate()
            assembly.agent.stop()
            agent.join()
            live.close()
            console.stop()
    return {"exams_per_s": round(exams / (live.last - live.first), 2), "cpu_s": round(cpu, 3)}


def browse(url: str, browsers: int) -> None:
    """So many browsers, as console.js makes them behave: listen, and load the page anew every three seconds."""
    pages_ = ("/", "/bundles", "/attention", "/bundles?state=DONE", "/")
    ready = threading.Barrier(browsers + 1)

    def look(page: str) -> None:
        with (
            httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
            client.stream("GET", "/events") as events,
        ):
            client.get(page)
            ready.wait()
            version, loaded_at = None, time.monotonic()
            for text in events.iter_lines():
                if text.startswith("data: "):
                    version, before = json.loads(text[6:])["v"], version
                    if version != before and time.monotonic() - loaded_at > 3.0:
                        client.get(page, headers={"X-Fragment": "1"})
                        loaded_at = time.monotonic()

    for number in range(browsers):
        threading.Thread(target=look, args=(pages_[number % len(pages_)],), daemon=True).start()
    ready.wait()
    print("there", flush=True)
    sys.stdin.read()


def told(text: str) -> None:
    """Progress goes to stderr."""
    print(f"… {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.console", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small amounts: shows that it works")
    parser.add_argument("--keep", type=Path, help="where the large ledger is made, and found again the next time")
    parser.add_argument("--only", choices=["pages", "throughput"])
    parser.add_argument("--browse", nargs=2, metavar=("URL", "HOW_MANY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.browse:
        browse(given.browse[0], int(given.browse[1]))
        return
    found: dict[str, Any] = {}
    if given.only != "throughput":
        found["pages"] = pages(20_000 if given.quick else BUNDLES, given.keep)
    if given.only != "pages":
        found["throughput"] = throughput(40 if given.quick else 1000)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
