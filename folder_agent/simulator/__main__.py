"""`python -m folder_agent.simulator`: the simulated gateway in its own process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from folder_agent.simulator.serving import DEMO_APP_ID, DEMO_TOKEN, TOKEN_VARIABLE, read_rules, run_simulator


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments and serves; exit code 2 for a bad rule or argument."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        rules = read_rules(given.misbehave)
    except (OSError, ValueError) as error:
        parser.error(f"--misbehave: {error}")
    run_simulator(
        given.state,
        given.host,
        given.port,
        given.app_id,
        given.token or os.environ.get(TOKEN_VARIABLE) or DEMO_TOKEN,
        not given.no_tls,
        given.discard,
        rules,
        strict_counts=given.strict_counts,
        duplicate_code=given.duplicate_code,
        clock_offset_s=given.clock_offset,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m folder_agent.simulator", description=__doc__)
    add = parser.add_argument
    add("--state", type=Path, required=True, help="folder for everything received, made if it is not there")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--app-id", default=DEMO_APP_ID)
    add("--token", default=None, help=f"else {TOKEN_VARIABLE}, else a fixed one for demonstrations")
    add("--no-tls", action="store_true")
    add("--discard", action="store_true", help="keep no bytes of images (benchmarks)")
    add("--strict-counts", action=argparse.BooleanOptionalAction, default=True, help="an exam's files must come first")
    add("--duplicate-code", action="store_true", help="an exam that repeats itself exactly is answered with 10004")
    add("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far the gateway's clock is off")
    add(
        "--misbehave", action="append", default=[], metavar="JSON", help="a rule, a list of rules, or @file; repeatable"
    )
    return parser


if __name__ == "__main__":
    main()
