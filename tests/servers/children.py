"""Python processes that end as badly as a process can."""

from __future__ import annotations

import subprocess
import sys


def child_that_dies(script: str) -> None:
    """Run the script in a process of its own, which then ends at once: nothing is closed or flushed."""
    ended = subprocess.run([sys.executable, "-c", script + "\nimport os\nos._exit(9)\n"], check=False, timeout=60)
    assert ended.returncode == 9
