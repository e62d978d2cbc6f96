"""One run of Windows: a copy of the pristine prefix, an interpreter that sees this checkout, and what holds it up.

Touches its own folder. A Wine session ends with its last ordinary process, and services with it; the holder keeps it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.windows.lab.assembling import HERE, Lab, environment, windows_path

ROOT = HERE.parent.parent.parent
_START_S = 120.0  # for the server to start, and for the first process
_LAST_WORDS = 2000  # characters of what the server said
_TOOLS = ("wine", "wineserver", "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-windres", "x86_64-w64-mingw32-objdump")


def missing_tools() -> list[str]:
    """What Debian has and this machine does not, of what the lab needs."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    spoken = subprocess.run(["locale", "-a"], capture_output=True, encoding="utf-8", check=False).stdout
    return missing if "zh_CN.utf8" in spoken else [*missing, "the locale zh_CN.UTF-8"]


def _cheaply(source: str, target: str) -> None:
    """A hard link to Windows' own files (700 MB, never written to); a copy of everything else."""
    if "/drive_c/windows/" in source:
        with suppress(OSError):  # another file system
            os.link(source, target)
            return
    shutil.copy2(source, target)


class Session:
    """A running Windows. `source` is the folder that its Python imports our code from."""

    def __init__(self, lab: Lab, folder: Path, source: Path = ROOT, holder: bool = True) -> None:
        self.lab = lab
        self.folder = folder
        self.prefix = folder / "prefix"
        self.python = folder / "python" / "python.exe"
        self.environment = environment(self.prefix)
        self._holder: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._said = folder / "wineserver.log"
        if not self.prefix.exists():
            shutil.copytree(lab.prefix, self.prefix, symlinks=True, copy_function=_cheaply)
        self._lay_interpreter(source)
        if holder:
            self.hold()

    def _lay_interpreter(self, source: Path) -> None:
        """The executable with paths of its own: an isolated interpreter has no PYTHONPATH."""
        self.python.parent.mkdir(exist_ok=True)
        for file in (*self.lab.python.glob("*.exe"), *self.lab.python.glob("*.dll")):
            shutil.copy2(file, self.python.parent)
        lines = self.lab.path_lines(windows_path(source))
        (self.python.parent / "python311._pth").write_text(lines, encoding="utf-8")

    def hold(self) -> None:
        """Keep the session up until `cut`: a process that waits for the end of its input."""
        self._serve()
        command = ["wine", str(self.python), "-S", "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
        self._holder = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, env=self.environment)
        assert self._holder.stdout is not None
        too_late = threading.Timer(_START_S, self._end_processes)
        too_late.start()
        try:
            if self._holder.stdout.readline().strip() != b"up":
                raise RuntimeError(f"Windows does not start: {self.broken}")
        finally:
            too_late.cancel()

    def _serve(self) -> None:
        """Start Wine's server in the foreground, so that it is seen when it dies; a client would start it unseen."""
        with self._said.open("wb") as said:
            self._server = subprocess.Popen(["wineserver", "-f"], stderr=said, env=self.environment)
        deadline = time.monotonic() + _START_S
        while subprocess.run(["wineserver", "-k0"], env=self.environment, check=False).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Windows does not start: {self.broken}")
            time.sleep(0.01)

    @property
    def broken(self) -> str:
        """Why this Windows is no longer there though it is held; "" while it is, and after `cut`."""
        if self._server is None or self._server.poll() is None:
            return ""
        said = self._said.read_text(encoding="utf-8", errors="replace")
        return f"wineserver ended with {self._server.returncode}: {said[-_LAST_WORDS:]}"

    def cut(self) -> None:
        """End every process of this Windows at once."""
        subprocess.run(["wineserver", "-k"], env=self.environment, check=False, timeout=60, capture_output=True)
        self._end_processes()
        for process in (self._holder, self._server):
            if process is not None:
                process.kill()
                process.communicate(timeout=30)
        self._holder = self._server = None

    def _end_processes(self) -> None:
        """Kill what runs of this prefix, its server included: without a server, not all of them end by themselves."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("WINEPREFIX") == str(self.prefix):
                    process.kill()

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """`python.exe ARGUMENTS` to its end. Streams are pipes: regular files keep it from starting."""
        return self.execute(str(self.python), *arguments, **more)

    def execute(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Any Windows command to its end; its output as UTF-8, or what can be made of it."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "input": ""}
        settings = {"encoding": "utf-8", "errors": "replace", "timeout": 120, "env": self.environment, "check": False}
        return subprocess.run(["wine", *command], **{**streams, **settings, **more})

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """`python.exe ARGUMENTS`, left running, with pipes."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        settings = {"encoding": "utf-8", "errors": "replace", "env": self.environment}
        return subprocess.Popen(["wine", str(self.python), *arguments], **{**streams, **settings, **more})

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
