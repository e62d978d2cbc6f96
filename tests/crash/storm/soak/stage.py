"""Where a soak happens: drop folders of every layout, one with its shelves on a small volume of its own, a gateway
behind a line that can fail; and the modalities that fill the folders."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from folder_agent import settings
from folder_agent.core.errors import AgentError
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord
from folder_agent.edges.ledger import PeeweeLedger, open_ledger
from folder_agent.simulator import Simulator
from tests.crash.storm.soak.exams import Exam
from tests.crash.storm.soak.pen import Account, Pen, tell
from tests.crash.storm.soak.stories import STORIES, Scene, with_sequel
from tests.site import Site

LAYOUTS = {"ct": "auto", "mr": "folder", "dx": "flat", "far": "auto"}
NOTES = ("receipt", "WHY")  # and those of an earlier round, "WHY (earlier).txt"
FLAT = frozenset({"dx"})
_UNDER_WAY = ("COMPLETE", "SENDING", "WAITING", "HELD", "COMMITTED")
_SEQUEL_S = 60.0  # for so long a sequel is waited for at most; then there is none


@dataclass
class Hospital(Site):
    """A site whose drop folders differ. `far` is where one of them has its shelves."""

    far: Path | None = None
    workers: int = 8
    quiet_s: float = 6.0

    def config(self) -> Path:
        q = json.dumps
        lines = ["[gateway]", f"url = {q(self.url or self.gateway.url)}", 'app_id = "1251"', f"token = {q(self.token)}"]
        lines += [f"ca_file = {q(str(self.gateway.ca_file))}", f"timeout_s = {self.timeout_s}"]
        lines += ["[sync]", f"workers = {self.workers}", "retry_first_s = 0.2", "retry_max_s = 2"]
        lines += ["[log]", 'level = "DEBUG"']
        for name, folder in self.drops.items():
            lines += ["[[drops]]", f"name = {q(name)}", f"path = {q(str(folder))}", f'layout = "{LAYOUTS[name]}"']
            lines += ["settle_s = 0.5", f"quiet_s = {self.quiet_s}", "scan_s = 5"]
            if name == "far" and self.far is not None:
                lines += [f"{shelf} = {q(str(self.far / shelf))}" for shelf in ("done", "failed")]
        file = self.root / "folder-agent.toml"
        text = "\n".join(lines) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
        return file

    def shelves(self, drop: str) -> dict[str, Path]:
        """done/ and failed/ of a drop folder."""
        top = self.far if drop == "far" and self.far is not None else self.drops[drop]
        return {shelf: top / shelf for shelf in ("done", "failed")}

    def dropped(self, drop: str) -> Iterator[Path]:
        """Every file in a drop folder that lies on none of its shelves; other hands may move them meanwhile."""
        shelves = self.shelves(drop).values()
        for path in files_below(self.drops[drop]):
            if not any(shelf in path.parents for shelf in shelves):
                yield path

    @contextmanager
    def reading(self) -> Iterator[PeeweeLedger | None]:
        """The ledger, for reading beside a running agent; None while it cannot be read."""
        url = settings.load(self.config(), {}).ledger.url or ""
        try:
            ledger = open_ledger(url, readonly=True)
        except AgentError:
            yield None
            return
        try:
            yield ledger
        finally:
            ledger.close()


def files_below(folder: Path) -> Iterator[Path]:
    """Every file but our notes. A folder that goes away meanwhile has none."""
    for top, _, names in os.walk(folder):
        for name in names:
            if not name.startswith(NOTES):
                yield Path(top) / name


def make_hospital(root: Path, gateway: Simulator, far: Path | None = None, quiet_s: float = 6.0) -> Hospital:
    drops = {name: root / name for name in LAYOUTS}
    return Hospital(root, gateway, drops=drops, far=far, timeout_s=5, quiet_s=quiet_s)


@dataclass
class Stage:
    """All that a soak has beside the agent."""

    site: Hospital
    seed: int
    account: Account = field(default_factory=Account)
    exams: dict[int, Exam] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)  # of the modalities: a file that was not where it had to be
    most_under_way: int = 120
    hurry: float = 1.0
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 4_000_000)))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: tuple[float, int] = (0.0, 0)

    def new_exam(self, kind: str, drop: str) -> Exam:
        with self._lock:
            exam = Exam(next(self._numbers), kind, drop, drop in FLAT, drop == "far")
            self.exams[exam.number] = exam
        return exam

    def scene(self, exam: Exam, pen: Pen) -> Scene:
        return Scene(exam, pen, self.site.drops[exam.drop], self._retry)

    def play(self, kind: str, drop: str, pen: Pen) -> Scene:
        """Play a story up to its sequel."""
        scene = self.scene(self.new_exam(kind, drop), pen)
        STORIES[kind][0](scene)
        tell(scene.exam, "all is written")
        return scene

    def play_sequel(self, scene: Scene) -> bool:
        """Play it, if the agent is through with what came before; whether it was."""
        closed = self.closed(scene.exam)
        if closed is None or str(closed.state) != scene.sequel_after or scene.sequel is None:
            return False
        tell(scene.exam, f"the sequel, after #{closed.id} {closed.state}")
        with_sequel(scene, scene.sequel, None if closed.target is None else Path(closed.target))
        return True

    def closed(self, exam: Exam) -> BundleRecord | None:
        """The exam's newest bundle, if none of them is open any more."""
        with self.site.reading() as ledger:
            try:
                found = [] if ledger is None else ledger.find_bundles(exam.accession)
            except AgentError:
                return None
        return found[0] if found and not any(bundle.is_open for bundle in found) else None

    def under_way(self) -> int:
        """How many bundles wait for the gateway or their shelf; asked once in a while."""
        with self._lock:
            at, known = self._asked
            if time.monotonic() - at < 1.5:
                return known
            self._asked = (time.monotonic(), known)
        with self.site.reading() as ledger:
            if ledger is not None:
                try:
                    tallies = ledger.tallies().bundles
                except AgentError:
                    return known
                known = sum(tallies.get(state, 0) for state in _UNDER_WAY)
        self._asked = (time.monotonic(), known)
        return known

    def unrest(self) -> list[str]:
        """What still moves, or has to: open bundles but those that wait for files for good."""
        with self.site.reading() as ledger:
            try:
                open_now = None if ledger is None else ledger.open_bundles()
            except AgentError:
                open_now = None
        if open_now is None:
            return ["the ledger cannot be read"]
        found = []
        for bundle in open_now:
            exam = self.exams.get(number_in(bundle.name))
            if bundle.state is not BundleState.GATHERING or exam is None or exam.ending != "drop":
                found.append(f"{bundle.drop} #{bundle.id} {bundle.name}: {bundle.state} {bundle.reasons}")
        for name, drop in self.site.drops.items():
            for path in self.site.dropped(name):
                exam = self.exams.get(number_in(path.relative_to(drop).parts[0]))
                if exam is None or exam.ending != "drop":
                    found.append(f"{path} still lies there")
        return found

    def _retry(self, name: str) -> subprocess.CompletedProcess[str]:
        return self.site.command("retry", name, "--lang", "en")


def number_in(name: str) -> int:
    """The exam's number in a name of one of its files or folders: E0000012_IM1.dcm, XIM3-12-again; else 0."""
    digits = name[1:8] if name.startswith("E") else name.partition("-")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else 0


class Modality(threading.Thread):
    """Plays one story after the other, and sequels when their time has come, until it is told to stop."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(name=f"modality-{number}", daemon=True)
        self._stage = stage
        self._pen = Pen(stage.account, random.Random(f"{stage.seed}/{number}"), stage.hurry)
        self._ended = threading.Event()
        self._sequels: list[tuple[float, Scene]] = []

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        names, weights = list(STORIES), [weight for _, weight in STORIES.values()]
        rng = self._pen.rng
        while not self._ended.is_set():
            self._play_sequels()
            if self._stage.under_way() >= self._stage.most_under_way:
                self._ended.wait(0.5)
                continue
            kind, drop = rng.choices(names, weights)[0], rng.choice(list(LAYOUTS))
            try:
                scene = self._stage.play(kind, drop, self._pen)
            except OSError as error:
                self._stage.errors.append(f"{kind} in {drop}: {error!r}")
                continue
            if scene.sequel is not None:
                self._sequels.append((time.monotonic(), scene))

    def _play_sequels(self) -> None:
        now = time.monotonic()
        waiting, self._sequels = self._sequels, []
        for since, scene in waiting:
            if now - since < 2.0:
                self._sequels.append((since, scene))
                continue
            try:
                played = self._stage.play_sequel(scene)
            except (OSError, subprocess.TimeoutExpired) as error:
                self._stage.errors.append(f"sequel of {scene.exam.name}: {error!r}")
                continue
            if not played and now - since < _SEQUEL_S:
                self._sequels.append((since, scene))
