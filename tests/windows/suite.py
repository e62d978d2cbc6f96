"""The ordinary tests inside of Windows: which of them, dealt out to a few processes, and what came of it.

`python -m tests.windows.suite [FILE...]` runs them by hand, or those files alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.windows.lab import Session, assemble
from tests.windows.lab.session import ROOT

# Whole folders, because what breaks on Windows is rarely where one looks for it. Left out: tests/crash and tests/faults
# (SIGKILL, fork, mounts), tests/bench and tests/vendor (measures and collections, the same everywhere), the property
# tests of the core, which touches no platform, and what needs a server of Linux' (PostgreSQL, Orthanc, DCMTK).
FOLDERS = ("tests/windows/inside", "tests/edges", "tests/contracts", "tests/agent", "tests/core", "tests/e2e")
LEFT_OUT = frozenset(
    {
        "tests/e2e/test_orthanc.py",
        "tests/e2e/test_dimse_receivers.py",
        "tests/edges/test_ledger_postgres.py",
        "tests/edges/test_ledger_property.py",
        "tests/edges/test_long_life.py",
    }
)
_PROCESSES = 3
_COUNTS = re.compile(r"(\d+) (passed|failed|skipped|error)")


@dataclass(frozen=True)
class Outcome:
    """Of all processes together."""

    passed: int
    failed: int
    skipped: int
    output: str  # of the processes that did not end well

    def __str__(self) -> str:
        return f"Windows suite: {self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def chosen() -> list[str]:
    """The test files, largest first."""
    files = [file for folder in FOLDERS for file in (ROOT / folder).glob("test_*.py")]
    named = {file.relative_to(ROOT).as_posix(): file.stat().st_size for file in files}
    return sorted(named.keys() - LEFT_OUT, key=lambda name: -named[name])


def run(session: Session, files: Sequence[str], processes: int = _PROCESSES) -> Outcome:
    """Run the files' tests."""
    _make_network_drive(session)
    hands = [list(files[number::processes]) for number in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        told = list(pool.map(lambda numbered: _run(session, *numbered), enumerate(hand for hand in hands if hand)))
    counts = {"passed": 0, "failed": 0, "skipped": 0, "error": 0}
    for _, output in told:
        for number, what in _COUNTS.findall(output.strip().rpartition("\n")[2]):
            counts[what] += int(number)
    bad = [output for code, output in told if code]
    failed = counts["failed"] + counts["error"] + (0 if counts["failed"] + counts["error"] else len(bad))
    return Outcome(counts["passed"], failed, counts["skipped"], "\n".join(bad))


def _make_network_drive(session: Session) -> None:
    """R:, which Wine calls a network drive, for tests/windows/inside."""
    (session.prefix / "drive_r").mkdir(exist_ok=True)
    drive = session.prefix / "dosdevices" / "r:"
    if not drive.is_symlink():
        drive.symlink_to("../drive_r")
    session.execute("reg", "add", r"HKLM\Software\Wine\Drives", "/v", "r:", "/d", "network", "/f")


def _run(session: Session, number: int, files: list[str]) -> tuple[int, str]:
    """One process: its exit code, and what it said."""
    folder = session.prefix / "drive_c" / "t"
    folder.mkdir(exist_ok=True)
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", f"C:\\t\\{number}"]
    # No bytecode: the checkout is shared with Linux, whose tracebacks would show Windows' paths.
    with session.start(
        "-B", *pytest, "-q", "--tb=short", "--timeout=100", "-o", "addopts=-rfE", "-m", "not soak and not slow", *files
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        running.stdin.close()
        output = running.stdout.read()
    return running.wait(), output


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, Session(assemble(), Path(made)) as windows:
        outcome = run(windows, sys.argv[1:] or chosen())
    print(outcome.output)
    print(outcome)
    sys.exit(outcome.failed > 0)
