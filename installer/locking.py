"""The lock: every package that the installer carries, pinned, with the digests of the wheels that may be taken.

`python installer/build.py --lock` writes it anew from pyproject.toml. Asks pip, which asks the package index; writes
the lock file. The digests are of wheels for each of `PYTHONS`, so that one lock serves them all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(__file__).with_name("requirements.lock")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORM = ("--only-binary=:all:", "--platform", "win_amd64")
# pip evaluates markers for the machine that it runs on: what Windows needs besides is named here.
ON_WINDOWS = ("colorama", "win32-setctime", "tzdata")
_HEAD = """\
# What folder-agent-setup.exe carries for Windows, 64-bit. Made by: python installer/build.py --lock
"""


def requirements(project: Path = ROOT / "pyproject.toml") -> list[str]:
    """Our own requirements, as pyproject.toml has them, without markers."""
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [*(requirement.partition(";")[0].strip() for requirement in listed), *ON_WINDOWS]


def lock(target: Path = LOCK) -> None:
    """Resolve, and write the lock. Raises RuntimeError with pip's words."""
    pins: dict[str, str] = {}
    digests: dict[str, set[str]] = {}
    for python in PYTHONS:
        # The first one decides on the versions, the others take the same.
        wanted = [f"{name}=={version}" for name, version in pins.items()] or requirements()
        for name, version, digest in _resolved(python, wanted):
            if pins.setdefault(name, version) != version:
                raise RuntimeError(f"{name}: {pins[name]} and {version}")
            digests.setdefault(name, set()).add(digest)
    target.write_text(_HEAD + "".join(_lines(name, pins[name], digests[name]) for name in sorted(pins)), "utf-8")


def _lines(name: str, version: str, digests: set[str]) -> str:
    return f"{name}=={version}" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests)) + "\n"


def _resolved(python: str, wanted: Sequence[str]) -> list[tuple[str, str, str]]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += [*PLATFORM, "--python-version", python, "--target", "unused", *wanted]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [_entry(one) for one in json.loads(done.stdout)["install"]]


def _entry(one: dict[str, Any]) -> tuple[str, str, str]:
    name = one["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
    return name, one["metadata"]["version"], one["download_info"]["archive_info"]["hashes"]["sha256"]
