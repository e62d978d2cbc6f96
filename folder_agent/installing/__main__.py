"""`python -m folder_agent.installing STEP ANSWERS REPORT`: a step of the installer. Nothing for a person."""

from __future__ import annotations

import sys
from pathlib import Path

from folder_agent.installing.steps import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
