"""`folder-agent simulate-gateway`: the simulator in the foreground, in a folder that stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from folder_agent.cli.printing import say
from folder_agent.simulator.serving import DEMO_APP_ID, DEMO_TOKEN, TOKEN_VARIABLE, read_rules, run_simulator


def simulate(
    state: Path | None,
    host: str,
    port: int,
    app_id: str | None,
    *,
    tls: bool,
    misbehave: Sequence[str],
    clock_offset_s: float,
) -> int:
    """Serve until told to end. Returns 0, or 1 if it cannot listen. Raises typer.BadParameter for a bad rule."""
    try:
        rules = read_rules(misbehave)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--misbehave: {error}") from None
    try:
        run_simulator(
            state or Path(tempfile.mkdtemp(prefix="folder-agent-gateway-")),
            host,
            port,
            app_id or DEMO_APP_ID,
            os.environ.get(TOKEN_VARIABLE) or DEMO_TOKEN,
            tls,
            rules=rules,
            clock_offset_s=clock_offset_s,
        )
    except OSError as error:
        say(f"{host}:{port}: {error.strerror or type(error).__name__}", to_stderr=True)
        return 1
    return 0
