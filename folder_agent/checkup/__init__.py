"""Checks of an installation: settings, folders, ledger, clock, certificate, signature. For `doctor`, the installer and
the console. Touches what it checks, and leaves nothing there but done/ and failed/."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from folder_agent.checkup import drops, gateway, own_side
from folder_agent.checkup.findings import Check, Outcome, fault, ok
from folder_agent.settings import Settings

__all__ = ["Check", "Outcome", "bad_settings", "examine"]


def examine(file: Path, settings: Settings) -> Iterator[Check]:
    """Every check, one after the other, as they are done; none stops those that follow."""
    yield ok("settings", f"{file} 可用", f"{file} can be used")
    user = _user()
    yield ok(
        "account",
        f"以账户 {user} 的权限检查;若服务使用其他账户,权限可能不同",
        f"checked with the rights of {user}; a service that runs as somebody else may have others",
    )
    for drop in settings.drops:
        yield from drops.examine(drop)
    yield from own_side.ledger(settings)
    yield from own_side.log(settings)
    yield from gateway.examine(settings)


def bad_settings(line: str) -> Check:
    """One problem of a settings file that cannot be used."""
    return fault("settings", line, line, "请更正设置文件中的这一项", "Correct this in the settings file.")


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "?"
