"""The ordinary tests inside of Windows: which of them, dealt out to a few processes, and what came of it.

`python -m tests.windows.suite` is a step of `.ci/run`; with `--all` it takes all of them and some minutes more, with
names of test files those alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.windows.lab import Lab, Session, assemble
from tests.windows.lab.assembling import windows_path
from tests.windows.lab.session import ROOT

# Whole folders, because what breaks on Windows is rarely where one looks for it. tests/crash and tests/faults are
# POSIX' (fork, mounts; tests/windows/inside/test_killed.py kills in small), tests/bench and tests/vendor are measures
# and collections, the same everywhere. tests/conftest.py gives properties few tries.
FOLDERS = ("windows/inside", "edges", "contracts", "agent", "core", "service", "e2e", "console", "installing", "fuzz")
_SERVERS_OF_LINUX = (
    "edges/test_ledger_postgres",
    "e2e/test_dimse_receivers",
    "e2e/test_nginx",
    "e2e/test_orthanc",
    "e2e/test_third_parties",
)
_ASKS_A_BROWSER = ("console/test_access", "console/test_acts", "console/test_pages")
_OTHERWISE_POSIX = (
    "edges/test_ledger_property",  # its files are removed while they are open; the contract tests run
    "edges/test_long_life",  # memory and descriptors, as Linux tells them
    "e2e/test_sample_drop",  # numpy, to look at every pixel
    "fuzz/test_fuzz",  # atheris
    "installing/test_steps",  # the steps on a made-up machine; tests/windows/test_installer.py has the real one
    "service/test_systemd",
)
LEFT_OUT = frozenset(f"tests/{name}.py" for name in (*_SERVERS_OF_LINUX, *_ASKS_A_BROWSER, *_OTHERWISE_POSIX))
# For --all alone, because the gate has no time for what takes half a minute and more under Wine: most of them start the
# command dozens of times, each time for seconds.
_LONG = (
    "e2e/test_bad_input",
    "e2e/test_gallery",
    "e2e/test_gallery_of_drops",
    "e2e/test_rebuild",
    "e2e/test_reconcile",
)
_LONG += ("e2e/test_run_once", "e2e/test_secret", "e2e/test_stow_servers", "e2e/test_two_agents", "e2e/test_uploads")
_LONG += ("e2e/test_doctor", "e2e/test_eager", "e2e/test_simulator", "e2e/test_zip")
_LONG += ("agent/test_layouts", "agent/test_ledger_trouble", "edges/test_drop_folder_dicom")
ALL_ALONE = frozenset(f"tests/{name}.py" for name in _LONG)
_LONGEST = ("inside/test_killed", "test_gallery_of_drops", "test_cli")  # so they begin first
_PROCESSES = 5  # at one time, for two cores: some tests wait
_HANDS = 10  # that the files are dealt out to: whoever is done takes the next, so that nobody is left with too much
_MOST_S = 900.0  # of a process that hangs, so that the gate ends
_LOOK_S = 2.0  # between two looks at whether it still has its Windows
_ENDING_S = 60.0  # for a process that has been killed
_TRIES = 3  # of a hand whose Windows broke away
_CLOSING = re.compile(r"^=* ?((?:\d+ \w+,? ?)+) in [\d.]+s", re.MULTILINE)
_COUNTS = re.compile(r"(\d+) (passed|failed|skipped|error)")
_SKIPS = re.compile(r"^SKIPPED \[(\d+)\] \S+?: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """Of all processes together."""

    passed: int
    failed: int
    skipped: int
    output: str  # of the processes that did not end well
    reasons: Counter[str] = field(default_factory=Counter)  # why how many were skipped

    def __str__(self) -> str:
        return f"Windows suite: {self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def chosen(*, everything: bool = False) -> list[str]:
    """The test files, largest first; `everything` there is for Windows, or what the gate has time for."""
    files = [file for folder in FOLDERS for file in (ROOT / "tests" / folder).glob("test_*.py")]
    named = {file.relative_to(ROOT).as_posix(): file.stat().st_size for file in files}
    found = named.keys() - LEFT_OUT - (frozenset() if everything else ALL_ALONE)
    return sorted(found, key=lambda name: (not any(one in name for one in _LONGEST), -named[name]))


@dataclass(frozen=True)
class Told:
    """By one process: its exit code, what it said, and why its Windows broke away under it, if it did."""

    code: int
    output: str
    broke: str = ""

    @property
    def counts(self) -> Counter[str]:
        """Of the closing line, after which an interpreter that ends may still say something."""
        closing = _CLOSING.findall(self.output) or [""]
        return Counter({what: int(number) for number, what in _COUNTS.findall(closing[-1])})

    @property
    def reasons(self) -> Counter[str]:
        """Why how many were skipped."""
        found = Counter[str]()
        for number, reason in _SKIPS.findall(self.output):
            found[reason.strip()] += int(number)
        return found


def run(hand: Callable[[list[str]], list[Told]], files: Sequence[str], processes: int = _PROCESSES) -> Outcome:
    """Deal the files out to hands; each tells of its tests and, where some failed, of those once more."""
    hands = [list(files[number::_HANDS]) for number in range(min(_HANDS, len(files)))]
    with ThreadPoolExecutor(processes) as pool:
        told = list(pool.map(hand, hands))
    counts, reasons, bad = Counter[str](), Counter[str](), list[str]()
    for first, *again in told:
        found = first.counts
        reasons.update(first.reasons)
        if again and not again[0].code:
            found = Counter(passed=found["passed"] + again[0].counts["passed"], skipped=found["skipped"])
        elif not found["failed"] + found["error"] and (first.code or not found["passed"]):
            found["failed"] = 1  # one that ended without a word is no success
        bad += [one.output for one in (first, *again) if one.code or not one.counts["passed"]]
        counts.update(found)
    return Outcome(counts["passed"], counts["failed"] + counts["error"], counts["skipped"], "\n".join(bad), reasons)


def in_windows(lab: Lab, shared: Path, files: list[str]) -> list[Told]:
    """A hand's tests in a Windows of their own; what failed is tried once more, alone, as `.ci/run` does it on Linux.

    Wine's server breaks down now and then, and all that runs there with it: nothing is known then, and all of the
    hand's tests run again.
    """
    for attempt in range(1, _TRIES + 1):
        with tempfile.TemporaryDirectory(dir=shared) as folder, Session(lab, Path(folder), holder=False) as windows:
            _prepare(windows)
            told = [_run(windows, shared, files)]
            if told[0].counts["failed"] + told[0].counts["error"]:
                told.append(_run(windows, shared, files, "--last-failed", "--last-failed-no-failures=none"))
        if not (broke := told[-1].broke):
            break
        print(f"Windows broke away under {files[0]} and others (try {attempt} of {_TRIES}): {broke}", flush=True)
    return told


def _prepare(session: Session) -> None:
    """A folder for what the tests make; and R:, which Wine calls a network drive, for tests/windows/inside."""
    (session.prefix / "drive_c" / "t").mkdir()
    (session.prefix / "drive_r").mkdir()
    (session.prefix / "dosdevices" / "r:").symlink_to("../drive_r")
    session.execute("reg", "add", r"HKLM\Software\Wine\Drives", "/v", "r:", "/d", "network", "/f")
    session.cut()  # it asks once, when it starts
    session.hold()


def _run(session: Session, shared: Path, files: list[str], *more: str) -> Told:
    """One process."""
    # Bytecode goes aside: the checkout is shared with Linux, whose tracebacks would show Windows' paths.
    python = ["-X", f"pycache_prefix={windows_path(shared / 'bytecode')}", "-m", "pytest", "-p", "no:xdist"]
    places = ["--basetemp", "C:\\t\\made", "-o", "cache_dir=C:\\t\\cache"]
    manner = ["-q", "--tb=short", "--timeout=300", "-o", "addopts=-rfEs", "-m", "not soak and not slow"]
    with session.start(*python, *places, *manner, *more, *files) as running:
        deadline = time.monotonic() + _MOST_S
        while not (broke := session.broken) and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                output, _ = running.communicate(timeout=_LOOK_S)
                return Told(running.wait(_ENDING_S), output, session.broken)
        session.cut()  # one that has lost its Windows may never notice
        output, _ = running.communicate(timeout=_ENDING_S)
        return Told(1, f"{output}\nended: {broke or f'took more than {_MOST_S:.0f} s'}", broke)


def main(files: Sequence[str]) -> int:
    """Run and tell; 1 if anything failed."""
    began = time.monotonic()
    lab = assemble()
    with tempfile.TemporaryDirectory() as made:
        hand = partial(in_windows, lab, Path(made))
        outcome = run(hand, chosen(everything=True) if files == ["--all"] else files or chosen())
    print(outcome.output)
    print("skipped inside of Windows, and why:")
    for reason, number in sorted(outcome.reasons.items(), key=lambda counted: (-counted[1], counted[0])):
        print(f"  {number:3} {reason}")
    print(f"in {time.monotonic() - began:.0f} s")
    print(outcome)
    return int(outcome.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
