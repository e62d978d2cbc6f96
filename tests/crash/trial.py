"""One trial: a scenario lived through with, at most, two deaths on the way, and everything that is wrong afterwards.

Runs in a process of its own. The lives are forked before anything here has a thread, and wait for their orders.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from folder_agent.simulator import Simulator
from tests.crash import checks
from tests.crash.scenarios import BY_NAME, Scenario, Stage
from tests.crash.victim import KILL, Order, live
from tests.crash.yard import Yard
from tests.servers.storescp import ScriptedScp
from tests.site import Site

BY_DIMSE = """
[images]
transport = "dimse"
[reports]
transport = "encapsulate"
[dimse]
host = "127.0.0.1"
port = {port}
"""
LIFETIME_S = 60
_MOST_DEATHS = 2


@dataclass(frozen=True)
class Job:
    """A scenario, where to play it, and at which steps of which stage to die: first in the life, then in the next."""

    number: int
    scenario: str
    folder: str
    materials: str
    other_volume: str
    stage: int = 0
    deaths: tuple[str, ...] = ()
    record: bool = False  # whether what is done to the disk is to be told


@dataclass
class Outcome:
    """What came of it. `steps` are those that each life reached, by stage; `next_steps` those after the last death."""

    number: int
    died: int = 0
    steps: list[list[str]] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    disk: list[str] = field(default_factory=list)  # a recording for each stage


class Lives:
    """Processes that wait for what they are to do."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._waiting: list[tuple[int, int]] = []
        for number in range(count):
            self._waiting.append(self._fork(number))

    def _fork(self, number: int) -> tuple[int, int]:
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(reading)
            return child, writing
        for pipe in (writing, *(pipe for _, pipe in self._waiting)):
            os.close(pipe)  # only the trial may hold it: closing it tells a life that it is not needed
        try:
            signal.alarm(LIFETIME_S)
            output = os.open(self._folder / f"output-{number}", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            with os.fdopen(reading) as pipe:
                text = pipe.readline()
            if text:
                live(Order.of(text))
        except BaseException:  # noqa: BLE001 - the end of a process
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def spend(self, order: Order) -> int:
        """Have one of them carry out the order; its exit code, negative for a signal."""
        child, pipe = self._waiting.pop()
        with os.fdopen(pipe, "w") as orders:
            orders.write(order.text() + "\n")
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        for child, pipe in self._waiting:
            os.close(pipe)
            os.waitpid(child, 0)

    def said(self) -> str:
        """What they wrote, for whoever looks for a fault."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._folder.glob("output-*")))[-3000:]


def play(job: Job) -> Outcome:
    """Play it, and clean up."""
    scenario, folder = BY_NAME[job.scenario], Path(job.folder)
    folder.mkdir(parents=True)
    lives = Lives(folder, len(scenario.stages) + _MOST_DEATHS)
    outcome = Outcome(job.number)
    shelf = Path(job.other_volume) / folder.name if scenario.other_volume else None
    try:
        with _yard(scenario, folder, Path(job.materials), shelf) as yard:
            for number, stage in enumerate(scenario.stages):
                deaths = job.deaths if number == job.stage else ()
                _play_stage(yard, stage, lives, deaths, outcome, folder / f"steps-{number}", record=job.record)
            outcome.wrong += checks.at_the_end(yard, scenario)
    except Exception:  # noqa: BLE001 - told with the rest
        outcome.wrong.append(traceback.format_exc())
    finally:
        lives.end()
        if outcome.wrong:
            outcome.wrong.append(lives.said())
        for one in (folder, shelf):
            if one is not None:
                shutil.rmtree(one, ignore_errors=True)
    return outcome


@contextmanager
def _yard(scenario: Scenario, folder: Path, materials: Path, shelf: Path | None) -> Iterator[Yard]:
    (folder / "gateway").mkdir()
    for name in ("cert.pem", "key.pem"):
        shutil.copy(materials / "gateway" / name, folder / "gateway")
    with (
        Simulator(folder / "gateway", strict_counts=not scenario.by_dimse) as gateway,
        ScriptedScp() if scenario.by_dimse else nullcontext() as node,
    ):
        lines = f"retry_first_s = 3000\nretry_max_s = 3600\n{scenario.lines}"
        if shelf is not None:
            shelf.mkdir(parents=True)
        top = scenario.top + (BY_DIMSE.format(port=node.port) if node else "")
        yard = Yard(Site(folder / "site", gateway, lines=lines, top=top), materials, shelf, node)
        yard.settings()
        yield yard


def _play_stage(
    yard: Yard,
    stage: Stage,
    lives: Lives,
    deaths: tuple[str, ...],
    outcome: Outcome,
    log: Path,
    *,
    record: bool,
) -> None:
    stage.act(yard)
    disturbed = None
    if stage.disturb is not None:
        step, place, text = stage.disturb
        disturbed = (step, str(yard.drop / place), text)
        yard.written((yard.drop / place).read_bytes(), text.encode())
    config = str(yard.site.config())
    roots = tuple(str(root) for root in yard.roots())
    journal = str(yard.gateway.state_dir / "journal.jsonl")
    over = checks.closed(yard)
    for life, fatal in enumerate((*deaths, None)):
        name = f"{log}-{life}"
        before = checks.known(yard, over) if life else None
        recording = f"{log}-disk" if record else None  # of all lives of a stage
        code = lives.spend(Order(stage.command, config, name, journal, roots, fatal, recording, disturbed))
        reached = Path(name).read_text("utf-8").splitlines()
        if before is not None:
            outcome.wrong += checks.sent_again(yard, before)
        if fatal is not None and code == -KILL:
            outcome.died += 1
            continue
        if code != 0:
            outcome.wrong.append(f"the agent ended with {code}")
        if life:
            outcome.next_steps = reached
        outcome.steps.append(reached)
        if recording is not None:
            outcome.disk.append(Path(recording).read_text("utf-8"))
        break
    outcome.wrong += checks.at_rest(yard)
    if stage.command == "run":
        outcome.wrong += checks.agrees_on_the_drop(yard)


def main() -> None:
    """`python -m tests.crash.trial JOB`: one trial by itself, for looking into a fault."""
    given = json.loads(sys.argv[1])
    print(json.dumps(asdict(play(Job(**{**given, "deaths": tuple(given.get("deaths", ()))}))), indent=1))


if __name__ == "__main__":
    main()
