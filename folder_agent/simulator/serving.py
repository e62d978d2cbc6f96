"""The simulated gateway as a process of its own: says in one JSON line where it listens, then serves until told to end.

Both `python -m folder_agent.simulator` and `folder-agent simulate-gateway` come here.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from folder_agent.simulator.gateway import Behaviour
from folder_agent.simulator.rules import Rule, parse_rules
from folder_agent.simulator.server import Simulator

TOKEN_VARIABLE = "FOLDER_AGENT_SIMULATOR_TOKEN"  # noqa: S105 - a variable's name
DEMO_APP_ID, DEMO_TOKEN = Behaviour.app_id, Behaviour.token
_ENDS = ("SIGINT", "SIGTERM", "SIGBREAK")


def run_simulator(
    state: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    app_id: str = DEMO_APP_ID,
    token: str = DEMO_TOKEN,
    tls: bool = True,
    discard: bool = False,
    rules: Iterable[Rule] = (),
    *,
    strict_counts: bool = True,
    duplicate_code: bool = False,
    clock_offset_s: float = 0.0,
) -> None:
    """Serves until SIGTERM, SIGINT or (Windows) SIGBREAK. Raises OSError if the port is taken."""
    simulator = Simulator(
        state,
        host=host,
        port=port,
        app_id=app_id,
        token=token,
        tls=tls,
        discard=discard,
        rules=rules,
        strict_counts=strict_counts,
        duplicate_code=duplicate_code,
        clock_offset_s=clock_offset_s,
    )
    ended = threading.Event()
    for name in _ENDS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: ended.set())
    with simulator:
        sys.stdout.write(json.dumps(_whereabouts(simulator)) + "\n")
        sys.stdout.flush()
        # In slices: on Windows a wait without an end cannot be interrupted by Ctrl+C.
        while not ended.wait(0.5):
            pass


def read_rules(given: Iterable[str]) -> list[Rule]:
    """Rules from JSON texts, or from files named `@path`. Raises ValueError, OSError."""
    rules: list[Rule] = []
    for text in given:
        found = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        rules += parse_rules(json.loads(found))
    return rules


def _whereabouts(simulator: Simulator) -> dict[str, str | None]:
    return {
        "url": simulator.url,
        "ca_file": str(simulator.ca_file.resolve()) if simulator.ca_file else None,
        "fingerprint": simulator.fingerprint,
        "state": str(simulator.state_dir.resolve()),
    }
