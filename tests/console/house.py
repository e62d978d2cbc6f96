"""A hospital with a console: the real agent in a thread, a simulated gateway, and what comes of the samples."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.cli.app import app
from folder_agent.console import Live, pulse
from folder_agent.console.server import Console
from folder_agent.core.records import BundleRecord
from folder_agent.edges import logs
from folder_agent.simulator import Simulator
from tests.site import Site, dicom, sidecar

SAMPLES = Path(__file__).resolve().parents[2] / "sample_drop"
_NOT_DROPPED = shutil.ignore_patterns("__pycache__", "*.py", "README.md")
PATIENT = "张三丰"
AT_REST = {"GATHERING", "DONE", "REFUSED", "WITHDRAWN"}


@dataclass
class House:
    """A running agent with its console."""

    site: Site
    console: Console
    assembly: Assembly
    live: Live
    secured: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.secured else 'http'}://127.0.0.1:{self.console.port}"

    def client(self, **more: Any) -> httpx.Client:
        """A browser without a screen."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20, verify=False, **more)

    def bundle(self, name: str) -> BundleRecord | None:
        """The newest bundle of that name."""
        found = self.assembly.ledger.find_bundles(name)
        return found[0] if found else None

    def until(self, name: str, *states: str, within_s: float = 30.0) -> BundleRecord:
        """Wait for a bundle's state."""
        return wait_for(lambda: (one := self.bundle(name)) and str(one.state) in states and one, within_s)

    def drop(
        self, name: str, *, images: int = 1, declared: int | None = None, folder: str = "ct", **fields: Any
    ) -> None:
        """Put an exam into a drop folder."""
        place = self.site.drops[folder] / name
        number = fields.setdefault("accessNumber", f"ACC-{name}"[:16])
        for count in range(images):
            dicom(place / f"IM{count}.dcm", study=f"1.2.840.{abs(hash(name)) % 10**9}", accession=number)
        sidecar(place / "exam.json", imageCnt=images if declared is None else declared, **fields)


def wait_for(ask: Callable[[], Any], within_s: float = 30.0) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + within_s
    while not (found := ask()):
        if time.monotonic() > end:
            raise TimeoutError("it did not come to that")
        time.sleep(0.05)
    return found


def invoke(site: Site, *arguments: str, **more: Any) -> Result:
    """The command in this process, which spares loading it anew each time."""
    return CliRunner().invoke(app, [*arguments, "--config", str(site.config())], **more)


@contextmanager
def running(site: Site, *, secured: bool = False) -> Iterator[House]:
    """The agent and its console, until this ends."""
    loaded, live = settings.load(site.config(), {}), Live()
    pulse.EVERY_S = 0.3  # nobody here minds a look more, and some wait for what comes of it
    logs.set_up(site.root / "logs", "INFO", 1, console=False)
    with Assembly(loaded, logs.Publishers(logs.LogPublisher(), live)) as assembly:
        console = Console(loaded, assembly, live)
        console.start()
        thread = threading.Thread(target=assembly.work, daemon=True)
        thread.start()
        try:
            yield House(site, console, assembly, live, secured)
        finally:
            live.close()
            console.stop()
            assembly.agent.stop()
            thread.join(20)
            logs.set_up(None, "INFO", 1, console=False)


@contextmanager
def house(root: Path, lines: str = "", top: str = "") -> Iterator[House]:
    """One with two empty drop folders, watched by an agent that is quick to look again."""
    with Simulator(root / "gateway") as simulator:
        drops = {"ct": root / "site" / "ct", "mr": root / "site" / "mr"}
        console = top or '[console]\nlisten = "127.0.0.1:0"\n'
        quick = "retry_first_s = 3000\nretry_max_s = 3600\n"
        site = Site(root / "site", simulator, "quiet_s = 0.3\n" + lines, quick, top=console, drops=drops)
        with running(site) as made:
            yield made


def fill(made: House) -> None:
    """The samples, an exam that waits for images, and one that is refused."""
    shutil.copytree(SAMPLES, made.site.drops["ct"], dirs_exist_ok=True, ignore=_NOT_DROPPED)
    made.drop("waits-for-images", declared=3, folder="mr", patientName=PATIENT)
    made.drop("too-many", images=3, declared=1, folder="mr")
    made.until("waits-for-images", "GATHERING")
    made.until("too-many", "REFUSED")
    tallies = made.assembly.ledger.tallies
    wait_for(lambda: (found := tallies().bundles).get("DONE", 0) >= 4 and found.keys() <= AT_REST, 60)
