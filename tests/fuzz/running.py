"""Starts libFuzzer in a process of its own, within bounds of time and memory, in a folder that goes away with it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.seeds import seeds, words

REGRESSIONS = Path(__file__).with_name("regressions")
ROOT = Path(__file__).parent.parent.parent
SLOWEST_S = 10  # of one input
MOST_MB = 512  # of the whole process; starting takes about 120
_LONGEST = {"sidecar": 4096, "mapping": 4096, "dicom": 16384, "pdf": 8192, "archive": 8192}  # bytes of an input


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int
    log: str
    runs: int
    found: tuple[Path, ...]  # inputs that broke something

    @property
    def per_second(self) -> int:
        return _number(r"exec/s: (\d+)", self.log)


def missing() -> str | None:
    """Why there is no fuzzing here; None if there is."""
    if importlib.util.find_spec("atheris") is not None:
        return None
    here = (sys.platform, platform.machine(), platform.python_implementation())
    if here == ("linux", "x86_64", "CPython"):
        return 'atheris is not installed (pip install ".[test]" brings it)'
    return "atheris is made for CPython on Linux x86_64 alone"


def run(name: str, seconds: float, found: Path, corpus: Path | None = None, slowest_s: int = SLOWEST_S) -> Ran:
    """Fuzz one target for so many seconds. Inputs that break something are left in the folder `found`; `corpus` keeps
    what was learnt."""
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="folder-agent-fuzz-", dir=_memory()) as place:
        start = Path(place, "seeds")
        start.mkdir()
        for number, content in enumerate(seeds(name)):
            (start / f"seed{number:04}").write_bytes(content)
        learnt = corpus or Path(place, "corpus")
        learnt.mkdir(parents=True, exist_ok=True)
        dictionary = Path(place, "words")
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in (*words(name), b"\0")), encoding="ascii")
        known = REGRESSIONS / name
        options = [
            f"-max_total_time={max(1, round(seconds))}",
            f"-max_len={_LONGEST.get(name, 64)}",
            f"-timeout={slowest_s}",
            f"-rss_limit_mb={MOST_MB}",
            f"-artifact_prefix={found}{os.sep}",
            f"-dict={dictionary}",
            "-print_final_stats=1",
            *map(str, (learnt, start, *([known] if known.is_dir() else []))),
        ]
        line = [sys.executable, "-m", "tests.fuzz.child", name, *options]
        scratch = {"TMPDIR": place, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        limit_s = seconds + 180  # starting, and what is known already, is not reckoned in
        ended = subprocess.run(
            line,
            cwd=ROOT,
            env={**os.environ, **scratch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
        )
    log = ended.stdout.decode("utf-8", "replace")
    inputs = tuple(sorted(path for path in found.iterdir() if path.is_file()))
    return Ran(ended.returncode, log, _number(r"stat::number_of_executed_units: (\d+)", log), inputs)


def keep(name: str, ran: Ran) -> list[Path]:
    """Put what was found where it is tried by every later run."""
    place = REGRESSIONS / name
    place.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(path, place / path.name)) for path in ran.found]


def _memory() -> str | None:
    """A folder in memory, where there is one: targets write thousands of files a second, and sync them."""
    place = Path("/dev/shm")
    return str(place) if os.access(place, os.W_OK) and shutil.disk_usage(place).free > 1024**3 else None


def _number(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)
