"""The command line. `main` is the console script; what a command does lies in the module of its name."""

from __future__ import annotations


def main() -> None:
    """Run `folder-agent` with this process's arguments, and exit with its code."""
    from folder_agent.cli.app import app
    from folder_agent.cli.printing import flush, prepare_streams

    prepare_streams()
    try:
        app()
    finally:
        flush()
