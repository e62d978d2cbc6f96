"""The processes of a measurement: the discarding gateway, and the agent, whose CPU and memory are seen from outside.

Everything started here is ended here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).parents[2]
APP_ID, TOKEN = "1251", "0123456789abcdef0123456789abcdef"
_LONGEST_S = 900.0
_GLANCE_S = 0.02


@dataclass(frozen=True, slots=True)
class Server:
    """Where the gateway listens, and the certificate that it shows."""

    url: str
    ca_file: Path


@dataclass(frozen=True, slots=True)
class Ran:
    """What a process used, and the last line that it printed, as JSON (or None)."""

    code: int
    seconds: float
    cpu_s: float
    peak_rss: int  # bytes
    said: Any
    complaint: str  # the last line of its stderr


@contextmanager
def discarding_server(state: Path) -> Iterator[Server]:
    """A simulated gateway over TLS in its own process, that keeps no bytes of images."""
    line = [sys.executable, "-m", "folder_agent.simulator", "--discard", "--no-strict-counts"]
    line += ["--state", str(state), "--app-id", APP_ID, "--token", TOKEN]
    with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            found = json.loads(process.stdout.readline())
            yield Server(found["url"], Path(found["ca_file"]))
        finally:
            process.terminate()


def configure(place: Path, drop: Path, server: Server, drop_lines: str = "") -> Path:
    """Settings for one agent over one drop folder; everything of it lies in `place`."""
    place.mkdir(parents=True, exist_ok=True)
    drop.mkdir(parents=True, exist_ok=True)
    q = json.dumps
    lines = [
        "[gateway]",
        f'url = {q(server.url)}\napp_id = "{APP_ID}"\ntoken = "{TOKEN}"\nca_file = {q(str(server.ca_file))}',
        '[console]\nlisten = "off"',
        "[[drops]]",
        f'name = "bench"\npath = {q(str(drop))}\nsettle_s = 0.1\n{drop_lines}',
    ]
    file = place / "folder-agent.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def run_module(module: str, *arguments: str) -> Ran:
    """Run a module of ours to its end, watching what it uses. Raises TimeoutError after a quarter of an hour."""
    began = time.monotonic()
    line = [sys.executable, "-m", module, *arguments]
    # Into files, not pipes: a log that nobody empties would stop the process.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT) as process:
            cpu_s, peak = _watch(process, began)
            seconds = time.monotonic() - began
        said, complaint = _last_line(out), _last_line(err)
    return Ran(process.returncode, seconds, cpu_s, peak, _parsed(said), complaint)


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
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
        if time.monotonic() - began > _LONGEST_S:
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
