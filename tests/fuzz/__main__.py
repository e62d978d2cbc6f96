"""`python -m tests.fuzz TARGET [--seconds N] [--corpus FOLDER]`: fuzz one target for long, and keep what it finds.

What broke is put into tests/fuzz/regressions/TARGET/, where the ordinary tests try it from then on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.running import keep, missing, run
from tests.fuzz.targets import TARGETS


def main() -> int:
    """0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was learnt, for the next run")
    given = parser.parse_args()
    if (reason := missing()) is not None:
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="folder-agent-found-") as found:
        ran = run(given.target, given.seconds, Path(found), given.corpus)
        print(ran.log[-4000:] if ran.code else "\n".join(ran.log.splitlines()[-8:]))
        for path in keep(given.target, ran):
            print(f"found: {path}")
    return 1 if ran.code else 0


if __name__ == "__main__":
    sys.exit(main())
