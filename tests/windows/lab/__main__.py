"""`python -m tests.windows.lab [ARGUMENT...]`: assemble, say where; with arguments, run the Windows Python on them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.windows.lab import Session, assemble

if __name__ == "__main__":
    lab = assemble()
    if not sys.argv[1:]:
        print(lab.home)
        sys.exit(0)
    with tempfile.TemporaryDirectory() as folder, Session(lab, Path(folder)) as session:
        # Through pipes, because the Windows Python does not start on regular files.
        done = session.run(*sys.argv[1:], stderr=subprocess.STDOUT)
        print(done.stdout, end="")
        sys.exit(done.returncode)
