"""`folder-agent ledger rebuild`: a new ledger from what lies in done/, failed/ and the drop folders.

Reads those; writes a file beside the ledger, and puts it in its place at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from folder_agent import settings
from folder_agent.checkup.remains import remains
from folder_agent.cli.printing import say, say_json
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import ON_THE_WAY_TO_A_SHELF, BundleState
from folder_agent.core.rebuilding import Rebuilt
from folder_agent.core.rebuilding import rebuild as rebuilt_from
from folder_agent.edges.ledger.rebuilding import rebuild as write
from folder_agent.edges.logs import LogPublisher
from folder_agent.edges.tenancy import Tenancy

_MOST_LINES = 50  # folders that prove nothing; JSON has them all
_STRAY = problem("FA-REC-STRAY")


@dataclass(slots=True)
class Count:
    """What was found."""

    delivered: int = 0
    not_delivered: int = 0
    unfinished: int = 0  # of both: their move to the shelf is still to be finished
    files: int = 0
    skipped: list[str] = field(default_factory=list)  # places of folders that prove nothing


def rebuild(config: Path, *, force: bool, as_json: bool, language: Language) -> int:
    """Rebuild. Returns 0. Raises SettingsError, and AgentError where it cannot be done: then nothing has changed."""
    loaded = settings.load(config)
    count = Count()
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    tenancy = Tenancy(loaded, LogPublisher())  # as an agent would: so that none runs on it, on whichever machine
    try:
        kept = write(loaded.ledger.url or "", _found(loaded, count), stamp, force=force)
    finally:
        tenancy.release()
    if as_json:
        say_json(_report(count, kept))
    else:
        _say(count, kept, language)
    return 0


def _found(loaded: settings.Settings, count: Count) -> Iterator[Rebuilt]:
    for one in remains(loaded):
        found = rebuilt_from(one)
        if found is None:
            count.skipped.append(one.target)
            continue
        bundle, files = found
        count.files += len(files)
        count.unfinished += bundle.is_open and bundle.state in ON_THE_WAY_TO_A_SHELF
        if bundle.state in (BundleState.DONE, BundleState.COMMITTED):
            count.delivered += 1
        else:
            count.not_delivered += 1
        yield found


def _report(count: Count, kept: Path | None) -> dict[str, object]:
    return {
        "delivered": count.delivered,
        "not_delivered": count.not_delivered,
        "unfinished": count.unfinished,
        "files": count.files,
        "skipped": count.skipped,
        "kept": None if kept is None else str(kept),
    }


def _say(count: Count, kept: Path | None, language: Language) -> None:
    zh = language == "zh"
    if zh:
        say(f"账本已重建:已送达 {count.delivered} 个检查,未送达 {count.not_delivered} 个,共 {count.files} 个文件")
    else:
        say(f"rebuilt: {count.delivered} exams delivered, {count.not_delivered} not delivered, {count.files} files")
    if count.unfinished:
        say(
            f"其中 {count.unfinished} 个的移动尚未完成,程序启动后会自动完成"
            if zh
            else f"the move of {count.unfinished} of them is finished by the agent"
        )
    for place in count.skipped[:_MOST_LINES]:
        say(f"{place}: {explain(_STRAY, language)}", style="yellow")
    if count.skipped:
        say(f"    {what_to_do(_STRAY, language)}")
    if (more := len(count.skipped) - _MOST_LINES) > 0:
        say(f"… 另有 {more} 项(--json 可见全部)" if zh else f"… and {more} more (--json lists all)")
    if kept is not None:
        say(f"旧账本保留为 {kept}" if zh else f"the old ledger is kept as {kept}")
