"""Everything that goes wrong around the agent: the gateway, the line to it, a full volume; and the agent's death."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from tests.crash.storm.soak.stage import Hospital
from tests.servers.line import Fault, Line
from tests.volumes import fill

STOW, FORM, STUDY = "/dicom-web/studies", "/ris/file/add", "/ris/study/add"


@dataclass
class Diary:
    """What was done to the agent and around it, and when (epoch seconds)."""

    entries: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, text: str) -> None:
        self.entries.append((time.time(), text))
        self.counts[what] += 1


class Havoc(threading.Thread):
    """Makes something fail for seconds at a time, until it is told to stop; then all is mended."""

    def __init__(self, site: Hospital, line: Line, diary: Diary, seed: int, *, small_volume: bool) -> None:
        super().__init__(name="havoc", daemon=True)
        self._site, self._line, self._diary = site, line, diary
        self._rng = random.Random(f"{seed}/havoc")
        self._ended = threading.Event()
        self.error: BaseException | None = None
        self._faults: list[Callable[[], str]] = [self._rule, self._rule, self._rule, self._trouble, self._trouble]
        self._faults += [self._cut, self._restart, self._revoke, self._clock]
        if small_volume:
            self._faults.append(self._fill)
        self._ballast: Path | None = None

    def stop(self) -> None:
        self._ended.set()
        self.join(60)
        assert not self.is_alive()

    def run(self) -> None:
        try:
            while not self._ended.wait(self._rng.uniform(1.0, 6.0)):
                self._diary.note("fault", self._rng.choice(self._faults)())
                self._ended.wait(self._rng.uniform(0.5, 5.0))
                self.mend()
        except BaseException as error:  # noqa: BLE001 - the test's thread tells it
            self.error = error
        finally:
            self.mend()

    def mend(self) -> None:
        gateway = self._site.gateway
        gateway.rules.clear()
        gateway.behaviour.token, gateway.behaviour.clock_offset_s = self._site.token, 0.0
        if gateway._listener is None:
            gateway.start()
        self._line.mend()
        if self._ballast is not None:
            self._ballast.unlink(missing_ok=True)
            self._ballast = None
        self._diary.entries.append((time.time(), "all is mended"))

    def _rule(self) -> str:
        rng = self._rng
        rules: list[dict[str, Any]] = [
            {"do": "status", "status": 500},
            {"do": "status", "status": 503, "headers": {"Retry-After": "1"}},
            {"do": "status", "status": 429, "headers": {"Retry-After": "2"}},
            {"do": "status", "status": 404},
            {"do": "code", "code": rng.choice((1, 100002, 10001, 31337, 20008))},
            {"do": "garbage"},
            {"do": "huge", "bytes": 1_000_000},
            {"do": "truncate"},
            {"do": "refuse"},
            {"do": "reset"},
            {"do": "reset", "after": True},
            {"do": "reset-in-body"},
            {"do": "hang", "seconds": 7.0},
            {"do": "hang", "seconds": 7.0, "after": True},
            {"do": "delay", "seconds": 0.5},
            {"do": "stow-fail", "reason": rng.choice((0x0110, 0xA700))},
        ]
        rule = rng.choice(rules)
        match = rng.choice(("*", STOW, FORM, STUDY)) if rule["do"] != "stow-fail" else "*"
        times = rng.choice((1, 3, 10, -1))
        self._site.gateway.misbehave(match=match, times=times, **rule)
        return f"{times} x {rule} for {match}"

    def _trouble(self) -> str:
        fault, after = self._rng.choice(list(Fault)), self._rng.choice((0, 500, 4000, 30_000, 300_000))
        self._line.trouble(fault, after, pause_s=0.05)
        return f"the line: {fault} after {after} bytes"

    def _cut(self) -> str:
        self._line.cut()
        return "connections are refused"

    def _restart(self) -> str:
        self._site.gateway.stop()
        return "the gateway is down"

    def _revoke(self) -> str:
        self._site.gateway.behaviour.token = "another"
        return "the token is revoked"

    def _clock(self) -> str:
        self._site.gateway.behaviour.clock_offset_s = 900.0
        return "the gateway's clock is off"

    def _fill(self) -> str:
        assert self._site.far is not None
        self._ballast = self._site.far / "ballast.tmp"
        fill(self._site.far, leave=self._rng.choice((0, 5000, 100_000)))
        return "the volume of the shelves is full"


@dataclass
class Peaks:
    """The most that any life of the agent used."""

    rss: int = 0  # bytes
    fds: int = 0
    lives: int = 0


class Keeper(threading.Thread):
    """Keeps the agent running: kills it at random moments, or asks it to stop, or freezes it, and starts it again."""

    def __init__(self, site: Hospital, diary: Diary, seed: int) -> None:
        super().__init__(name="keeper", daemon=True)
        self._site, self._diary = site, diary
        self._rng = random.Random(f"{seed}/keeper")
        self._ended = threading.Event()
        self.peaks, self.errors = Peaks(), list[str]()
        self._stderr: IO[bytes] = (site.root / "agent.stderr").open("ab")
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """Until it is told to stop; the agent runs on then."""
        try:
            self._begin()
            while not self._ended.is_set():
                self._live(self._rng.choice((0.5, 2.0, 6.0, 15.0, 45.0)) * self._rng.random())
                if not self._ended.is_set():
                    self._rng.choice((self._kill, self._kill, self._kill, self._halt, self._freeze))()
        except BaseException as error:  # noqa: BLE001 - the test's thread tells it
            self.errors.append(repr(error))

    def stop(self) -> None:
        """No more kills; the agent runs on."""
        self._ended.set()
        self.join(120)
        assert not self.is_alive()

    def rest(self, is_over: Callable[[], bool], within_s: float) -> bool:
        """Let the agent run, watched, until all is over; whether it was."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self._live(1.0, patiently=True)
            if is_over():
                return True
        return False

    def end(self) -> None:
        """Ask the agent to stop, for good."""
        if self._process is not None:
            self._ask_to_stop()
        self._stderr.close()

    def abandon(self) -> None:
        """Whatever has happened: leave no process behind."""
        self._ended.set()
        if self.is_alive():
            self.join(120)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def _begin(self) -> None:
        self.peaks.lives += 1
        self._process = self._site.start("run", stderr=self._stderr)

    def _live(self, seconds: float, *, patiently: bool = False) -> None:
        """Let the agent be for so long, and watch it. It never ends by itself."""
        assert self._process is not None
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and (patiently or not self._ended.is_set()):
            if self._process.poll() is not None:
                self.errors.append(f"the agent ended by itself with {self._process.returncode}")
                self._begin()
            with suppress(psutil.Error):
                it = psutil.Process(self._process.pid)
                self.peaks.rss = max(self.peaks.rss, it.memory_info().rss)
                self.peaks.fds = max(self.peaks.fds, it.num_fds())
            time.sleep(min(left, 0.5))

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._diary.note("kill", "the agent is killed")
        self._ended.wait(self._rng.choice((0.0, 0.0, 1.0, 4.0)))
        self._begin()

    def _halt(self) -> None:
        self._ask_to_stop()
        self._diary.note("stop", "the agent was asked to stop")
        self._begin()

    def _ask_to_stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.errors.append("the agent did not stop within a minute")
            self._process.kill()
            code = self._process.wait(30)
        # Asked before its handler was set, it dies of the signal; that is as good as a kill.
        if code not in (0, -signal.SIGTERM):
            self.errors.append(f"asked to stop, the agent ended with {code}")

    def _freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        self._diary.note("freeze", "the agent is frozen")
        self._ended.wait(self._rng.uniform(0.5, 7.0))
        os.kill(self._process.pid, signal.SIGCONT)
