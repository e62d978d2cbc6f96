"""What the service's account must be able to write to, from the settings. Touches nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from folder_agent.edges import holds
from folder_agent.settings import Settings


def written(settings: Settings) -> list[Path]:
    """The folders, each once: drop folders and shelves, the ledger's, the logs', and the locks'."""
    places = [place for drop in settings.drops for place in (drop.path, drop.done_dir, drop.failed_dir)]
    if (ledger := ledger_file(settings)) is not None:
        places.append(ledger.parent)
    if settings.log.dir is not None:
        places.append(settings.log.dir)
    places += [folder if sys.platform == "win32" else folder.parent for folder in holds.machine_folders()]
    kept: list[Path] = []
    for place in dict.fromkeys(places):
        if not any(place != other and place.is_relative_to(other) for other in places):
            kept.append(place)
    return kept


def ledger_file(settings: Settings) -> Path | None:
    """The ledger's file, if it is one."""
    scheme, _, path = (settings.ledger.url or "").partition(":///")
    return Path(path) if scheme == "sqlite" and path else None
