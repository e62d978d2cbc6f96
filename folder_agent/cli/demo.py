"""`folder-agent demo`: a simulated gateway in its own process, a slow PACS that copies the samples, and the agent.

Everything happens in a temporary folder that is left behind, to be looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.cli.demo_display import display_for
from folder_agent.cli.demo_pacs import SlowPacs, samples
from folder_agent.core.catalogue import Language
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.status import reason_text
from folder_agent.edges import logs

LONGEST_S = 50.0  # the demo ends within a minute, whatever happens
_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105  the simulator's own, valid nowhere else

_SETTINGS = """\
# Written by `folder-agent demo`.
[gateway]
url = {url}
app_id = "1251"
token = "{token}"
ca_file = {ca_file}

[[drops]]
name = "demo"
path = {drop}
settle_s = 0.5
quiet_s = 3
scan_s = 5

[sync]
workers = 2
retry_first_s = 1
"""


def demo(as_json: bool = False, plain: bool = False, keep: Path | None = None, language: Language = "en") -> int:
    """Run the demonstration in `keep` or a new temporary folder. Returns 0, or 1 if it did not end as it should."""
    folder = keep or Path(tempfile.mkdtemp(prefix="folder-agent-demo-"))
    drop = folder / "drop"
    drop.mkdir(parents=True, exist_ok=True)
    display = display_for(as_json=as_json, plain=plain, language=language)
    with simulator(folder / "gateway") as ready:
        config = write_settings(folder, drop, ready)
        loaded = settings.load(config, {})
        logs.set_up(loaded.log.dir, "INFO", 1, console=False)
        with display, Assembly(loaded, logs.Publishers(logs.LogPublisher(), display)) as assembly:
            finished = _play(assembly, SlowPacs(samples(), drop, display.copying))
            outcome = summary(assembly, folder, language)
    display.summary(outcome, config)
    return 0 if finished and outcome["done"] else 1


def write_settings(folder: Path, drop: Path, ready: dict[str, str]) -> Path:
    """A real settings file, so that every other command can be tried on the demo's folder."""
    config = folder / "folder-agent.toml"
    text = _SETTINGS.format(
        url=json.dumps(ready["url"]),  # a JSON string is a TOML basic string
        token=_TOKEN,
        ca_file=json.dumps(ready["ca_file"]),
        drop=json.dumps(str(drop)),
    )
    config.write_text(text, encoding="utf-8")
    return config


@contextmanager
def simulator(state: Path) -> Iterator[dict[str, str]]:
    """The simulated gateway as its own process; what it printed when it was ready."""
    command = [sys.executable, "-m", "folder_agent.simulator", "--state", str(state), "--port", "0", "--token", _TOKEN]
    process = subprocess.Popen(  # noqa: S603  our own module, no shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    try:
        assert process.stdout is not None  # a pipe was asked for
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the simulated gateway did not start")
        ready: dict[str, str] = json.loads(line)
        yield ready
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def summary(assembly: Assembly, folder: Path, language: Language) -> dict[str, Any]:
    """What became of each bundle, from the ledger."""
    outcome: dict[str, Any] = {"done": [], "failed": [], "waiting": [], "folder": str(folder)}
    for bundle in sorted(assembly.ledger.latest_bundles(1000), key=lambda b: b.name):
        why = reason_text(bundle.reasons, language)
        if bundle.state is BundleState.DONE:
            outcome["done"].append({"bundle": bundle.name})
        elif bundle.state in (BundleState.REFUSED, BundleState.FAILED):
            outcome["failed"].append({"bundle": bundle.name, "why": why})
        elif bundle.is_open:
            outcome["waiting"].append({"bundle": bundle.name, "for": why or str(bundle.state)})
    return outcome


def _play(assembly: Assembly, pacs: SlowPacs) -> bool:
    """Let the PACS copy and the agent work until nothing moves any more; whether that came about in time."""
    timer = threading.Timer(LONGEST_S, assembly.agent.stop)
    timer.daemon = True
    timer.start()
    pacs.start()
    try:
        assembly.agent.run(until_idle=lambda: not pacs.is_alive())
    except KeyboardInterrupt:
        return False
    finally:
        pacs.stop()
        in_time = timer.is_alive()
        timer.cancel()
    return in_time
