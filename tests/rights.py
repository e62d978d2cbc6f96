"""Being somebody without rights, on POSIX, also where the tests run as root, who may do anything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that another account can reach: pytest's own are closed to others."""
    root = Path(tempfile.mkdtemp(prefix="folder-agent-", dir="/tmp"))
    root.chmod(0o755)
    try:
        yield root
    finally:
        for folder in (root, *root.rglob("*")):
            if folder.is_dir():
                folder.chmod(0o755)
        shutil.rmtree(root)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to do everything; whoever is not root stays who he is."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
