"""The processes of a measurement, whose CPU and memory are seen from outside: clients, and the agent while files come.

Everything started here is ended here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).parents[2]
APP_ID, TOKEN = "1251", "0123456789abcdef0123456789abcdef"
LONGEST_S = 900.0
SETTLE_S = 0.1
_GLANCE_S = 0.02
_WATCHED = "tests.bench.watched"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a process used, and the last line that it printed, as JSON (or None)."""

    code: int
    seconds: float
    cpu_s: float
    peak_rss: int  # bytes
    said: Any
    complaint: str  # the last line of its stderr


def configure(place: Path, drop: Path, url: str, ca_file: Path, *, sections: str = "", drop_lines: str = "") -> Path:
    """Settings for one agent over one drop folder; everything of it lies in `place`."""
    place.mkdir(parents=True, exist_ok=True)
    drop.mkdir(parents=True, exist_ok=True)
    q = json.dumps
    lines = [
        "[gateway]",
        f'url = {q(url)}\napp_id = "{APP_ID}"\ntoken = "{TOKEN}"\nca_file = {q(str(ca_file))}\ntimeout_s = 120',
        '[console]\nlisten = "off"',
        sections,
        "[[drops]]",
        f'name = "bench"\npath = {q(str(drop))}\nsettle_s = {SETTLE_S}\n{drop_lines}',
    ]
    file = place / "folder-agent.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def run_module(module: str, *arguments: str) -> Ran:
    """Run a module of ours to its end, watching what it uses. Raises TimeoutError after a quarter of an hour."""
    return run_program([sys.executable, "-m", module, *arguments])


def run_program(line: Sequence[str], environment: Mapping[str, str] | None = None) -> Ran:
    """The same for any program; `environment` is laid over ours."""
    return _run(line, environment or {}, lambda _: None)


def run_agent(config: Path, exams: int, drop_files: Callable[[], None]) -> Ran:
    """Have the agent wait for files, drop them, and let it work until so many exams are done."""

    def once_ready(out: Path) -> None:
        end = time.monotonic() + 60
        while b"ready" not in out.read_bytes():
            if time.monotonic() > end:
                raise TimeoutError("the agent does not start")
            time.sleep(_GLANCE_S)
        drop_files()

    return _run([sys.executable, "-m", _WATCHED, "live", str(config), str(exams)], {}, once_ready)


def _run(line: Sequence[str], environment: Mapping[str, str], meanwhile: Callable[[Path], None]) -> Ran:
    # Into files, not pipes: a log that nobody empties would stop the process.
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        with out.open("wb") as o, err.open("wb") as e:
            began = time.monotonic()
            with subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=o, stderr=e, cwd=ROOT, env={**os.environ, **environment}
            ) as process:
                try:
                    meanwhile(out)
                    cpu_s, peak = _watch(process, began)
                finally:
                    process.kill()
                seconds = time.monotonic() - began
        with out.open("rb") as o, err.open("rb") as e:
            said, complaint = _last_line(o), _last_line(e)
    return Ran(process.returncode, seconds, cpu_s, peak, _parsed(said), complaint)


def _last_line(file: IO[bytes]) -> str:
    return file.read().decode("utf-8", "replace").strip().rpartition("\n")[2]


def _watch(process: subprocess.Popen[bytes], began: float) -> tuple[float, int]:
    """CPU seconds and peak memory. Linux and Windows keep the peak themselves, so that no spike hides between glances.
    (Not ru_maxrss: a child begins with its parent's.)"""
    cpu_s, peak, it = 0.0, 0, psutil.Process(process.pid)
    while process.poll() is None:
        try:
            used = it.cpu_times()
            cpu_s, peak = used.user + used.system, max(peak, peak_rss(it))
        except psutil.Error:  # it has just ended
            continue
        if time.monotonic() - began > LONGEST_S:
            process.kill()
            raise TimeoutError(f"{process.args!r} takes too long")
        time.sleep(_GLANCE_S)
    return cpu_s, peak


def peak_rss(process: psutil.Process) -> int:
    """The most memory that a process has held so far, in bytes, where the platform says; else what it holds now."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def sync_disks() -> None:
    """Have what was written on its way to the disk, so that the fsyncs of a measurement pay for their own data only."""
    if hasattr(os, "sync"):
        os.sync()
