"""How the demo shows what happens: live on a terminal, line by line elsewhere, or one JSON object at the end."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from folder_agent.core.catalogue import Language, explain
from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord
from folder_agent.core.status import reason_text

_COLOURS = {
    BundleState.DONE: "green",
    BundleState.COMMITTED: "green",
    BundleState.SENDING: "cyan",
    BundleState.REFUSED: "red",
    BundleState.FAILED: "red",
    BundleState.HELD: "yellow",
    BundleState.WAITING: "yellow",
}


class Display:
    """The silent display (`--json`), and the base of the others. A Publisher, and a context while the demo runs."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""

    def copying(self, path: str) -> None:
        """The PACS begins to write a file."""

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """A bundle moved on."""

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """What a bundle waits for has changed."""

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Bytes left."""

    def fault(self, error: Exception) -> None:
        """A fault of our own: the log has it."""

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Something about the agent as a whole."""

    def summary(self, outcome: dict[str, Any], config: Path) -> None:
        """The outcome as one JSON object."""
        sys.stdout.write(json.dumps(outcome, ensure_ascii=False, indent=2) + "\n")


class PlainDisplay(Display):
    """A line for each transition, without colours: for pipes and old consoles."""

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """One line."""
        reasons = reason_text(bundle.reasons, self.language)
        sys.stdout.write(f"{bundle.name:<20} {bundle.state:<10} {reasons}".rstrip() + "\n")
        sys.stdout.flush()

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """One line, like a transition."""
        self.transition(bundle, "", "", personal)

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """One line."""
        sys.stdout.write(f"{'recovered: ' if is_over else ''}{explain(problem, self.language)}\n")

    def summary(self, outcome: dict[str, Any], config: Path) -> None:
        """The outcome in words; the folder on the last line."""
        sys.stdout.write("\n".join(summary_lines(outcome, config)) + "\n")


class LiveDisplay(PlainDisplay):
    """A table of bundles that changes as they do, and a bar for each one that is being sent."""

    def __init__(self, language: Language) -> None:
        super().__init__(language)
        self._lock = threading.Lock()
        self._bundles: dict[int, BundleRecord] = {}
        self._copying = ""
        self._progress = Progress(TextColumn("{task.description:<20}"), BarColumn(), DownloadColumn())
        self._tasks: dict[int, TaskID] = {}
        self._live = Live(get_renderable=self._picture, console=Console(), refresh_per_second=8)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._copying = ""
        self._live.stop()

    def copying(self, path: str) -> None:
        """Shown below the table."""
        self._copying = path

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """Changes the bundle's line."""
        with self._lock:
            self._bundles[bundle.id] = bundle
            if bundle.state is not BundleState.SENDING and bundle.id in self._tasks:
                self._progress.remove_task(self._tasks.pop(bundle.id))

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Moves the bundle's bar."""
        with self._lock:
            if bundle.id not in self._tasks:
                self._tasks[bundle.id] = self._progress.add_task(bundle.name, total=total)
            self._progress.update(self._tasks[bundle.id], completed=sent, total=total)

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Above the table."""
        self._live.console.print(Text(explain(problem, self.language)))

    def _picture(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for heading in ("bundle", "state", ""):
            table.add_column(heading, overflow="fold")
        with self._lock:
            for bundle in self._bundles.values():
                if bundle.state is BundleState.WITHDRAWN:
                    continue
                colour = _COLOURS.get(bundle.state, "")
                reasons = Text(reason_text(bundle.reasons, self.language))
                table.add_row(Text(bundle.name), Text(str(bundle.state), style=colour), reasons)
        copying = Text(f"PACS writes {self._copying}", style="dim") if self._copying else Text("")
        return Group(table, self._progress, copying)


def display_for(*, as_json: bool, plain: bool, language: Language) -> Display:
    """The display that fits: live only on a terminal."""
    if as_json:
        return Display(language)
    return PlainDisplay(language) if plain or not sys.stdout.isatty() else LiveDisplay(language)


def summary_lines(outcome: dict[str, Any], config: Path) -> list[str]:
    """The outcome in words."""
    lines = ["", f"Delivered, in done/ ({len(outcome['done'])}):"]
    lines += [f"  {one['bundle']}" for one in outcome["done"]]
    lines += [f"Refused, in failed/ with WHY.txt ({len(outcome['failed'])}):"]
    lines += [f"  {one['bundle']}: {one['why']}" for one in outcome["failed"]]
    lines += [f"Waiting in the drop folder ({len(outcome['waiting'])}):"]
    lines += [f"  {one['bundle']}: {one['for']}" for one in outcome["waiting"]]
    lines += ["", f"Look closer: folder-agent status --config {config}", f"Everything is left in {outcome['folder']}"]
    return lines
