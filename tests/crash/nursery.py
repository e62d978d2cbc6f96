"""Many trials side by side, each in a process that is forked after everything has been imported once. POSIX only."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.crash.trial import Job, Outcome, play

AT_ONCE = 8  # most of a life is waiting
TRIAL_S = 200
_TRIES = 3  # a step that depends on timing is not met in every life


class Nursery:
    """A process of its own that plays jobs: forking needs one without threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = 0
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        line = [sys.executable, "-m", "tests.crash.nursery", str(self._folder)]
        self._process = subprocess.Popen(
            line, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def play(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Their outcomes, in the same order. A job that did not meet its deaths is tried again."""
        outcomes: dict[int, Outcome] = {}
        waiting = dict(enumerate(jobs))
        for _ in range(_TRIES):
            found = dict(zip(waiting, self._play(list(waiting.values())), strict=True))
            outcomes.update(found)
            waiting = {n: waiting[n] for n, one in found.items() if one.died < len(waiting[n].deaths) and not one.wrong}
        return [outcomes[number] for number in range(len(jobs))]

    def _play(self, jobs: Sequence[Job]) -> list[Outcome]:
        numbered = []
        for job in jobs:
            self._numbers += 1
            numbered.append(replace(job, number=self._numbers))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(job) for job in numbered]) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"
        return [self._outcome(job) for job in numbered]

    def _outcome(self, job: Job) -> Outcome:
        file = self._folder / f"{job.number}.json"
        if not file.exists():
            return Outcome(job.number, wrong=[f"the trial did not end in {TRIAL_S} s"])
        return Outcome(**json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    """Reads a list of jobs from each line of the standard input; says "done" when all of them are."""
    folder = Path(sys.argv[1])
    gc.freeze()  # so that collecting garbage does not copy every page into each child
    for line in sys.stdin:
        running = set[int]()
        for given in json.loads(line):
            while len(running) >= AT_ONCE:
                running.discard(os.wait()[0])
            child = os.fork()
            if child == 0:
                _play(Job(**{**given, "deaths": tuple(given["deaths"])}), folder)
            running.add(child)
        while running:
            running.discard(os.wait()[0])
        print("done", flush=True)


def _play(job: Job, outcomes: Path) -> None:
    signal.alarm(TRIAL_S)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)  # the jobs are the nursery's to read
    outcome = play(replace(job, folder=f"{job.folder}-{job.number}"))
    part = outcomes / f"{job.number}.part"
    part.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    part.rename(outcomes / f"{job.number}.json")
    os._exit(0)


if __name__ == "__main__":
    main()
