"""The parts of a support bundle, each with its name in the ZIP. A part that cannot be made tells why instead.

Reads settings, ledger, logs and disks; runs `doctor`'s checks.
"""

from __future__ import annotations

import json
import locale
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from folder_agent import __version__, checkup, settings
from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError
from folder_agent.core.ports import Ledger
from folder_agent.core.records import BundleRecord
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.settings import Settings, SettingsError
from folder_agent.support.logs import told_logs
from folder_agent.support.settings import told_settings
from folder_agent.support.telling import HIDDEN, told_problem

MOST_BUNDLES = 500  # of those that wait, and of those that changed last
_DAYS = 400
READ_ME = """\
folder-agent 支持信息包 support bundle

内容:程序与系统版本(about.json)、不含密钥的设置(settings.json)、doctor 的结果(doctor.json)、
账本的统计(ledger.json)、日志(logs/)。不含患者信息:检查与文件的名称已去掉,以编号代替;
在现场用 folder-agent show 编号 可以查到是哪个检查。发送之前可以自行打开查看。

In it: versions of program and system (about.json), the settings without secrets (settings.json), what doctor finds
(doctor.json), tallies of the ledger (ledger.json), the log (logs/). Nothing personal: names of exams and files are
left out and stand as numbers; folder-agent show NUMBER tells on the spot which exam it is. Look into it before you
send it, if you like: it is all text.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle."""

    name: str
    content: str


def collect(config: Path) -> Iterator[Part]:
    """Everything, one part after the other. What is wrong with the installation is told in its part, never raised."""
    yield Part("README.txt", READ_ME)
    try:
        loaded = settings.load(config)
    except SettingsError as error:
        problems = error.problems  # they name keys, never values
        yield _json("about.json", lambda: _about(config, None))
        yield _json("settings.json", lambda: {"cannot_be_used": problems})
        return
    yield _json("about.json", lambda: _about(config, loaded))
    yield _json("settings.json", lambda: told_settings(loaded))
    yield _json("doctor.json", lambda: [_check(check) for check in checkup.examine(config, loaded)])
    yield _json("ledger.json", lambda: _ledger(loaded))
    if loaded.log.dir is not None:
        yield from (Part(f"logs/{name}", text) for name, text in told_logs(loaded.log.dir))


def _json(name: str, make: Callable[[], object]) -> Part:
    try:
        value = make()
    except AgentError as error:
        value = {"cannot_be_told": told_problem(error.problem), "why": explain(error.problem.masked(), "en")}
    except Exception as error:  # noqa: BLE001 - what is broken must not keep the rest from being sent
        value = {"cannot_be_told": type(error).__name__}
    return Part(name, _at_home(json.dumps(value, ensure_ascii=False, indent=1)))


def _at_home(text: str) -> str:
    """The text without the name of whoever is logged in."""
    home = str(Path.home())
    for form in (home, json.dumps(home)[1:-1]):
        text = text.replace(form, "~") if len(home) > 3 else text
    return text


def _about(config: Path, loaded: Settings | None) -> dict[str, Any]:
    return {
        "folder_agent": __version__,
        "made_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "settings_file": str(config),
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "encoding": locale.getpreferredencoding(do_setlocale=False),
        "time_zone": time.strftime("%Z %z"),
        "packages": dict(sorted((one.metadata["Name"], one.version) for one in distributions())),
        "disks": [] if loaded is None else _disks(config, loaded),
    }


def _disks(config: Path, loaded: Settings) -> list[dict[str, Any]]:
    places = {"settings": config.parent, "log": loaded.log.dir} | {
        f"drop {drop.name}": drop.path for drop in loaded.drops
    }
    return [{"of": what, **_space(place)} for what, place in places.items() if place is not None]


def _space(place: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(next(one for one in (place, *place.parents) if one.exists()))
    except (OSError, StopIteration) as error:
        return {"trouble": type(error).__name__}
    return {"total_bytes": usage.total, "free_bytes": usage.free}


def _check(check: checkup.Check) -> dict[str, Any]:
    return {"name": check.name, "outcome": str(check.outcome), "text": check.text.en}


def _ledger(loaded: Settings) -> dict[str, Any]:
    url = loaded.ledger.url or ""
    ledger = open_ledger(url, readonly=True)
    try:
        return {**_sizes(url), **_rows(ledger)}
    finally:
        ledger.close()


def _sizes(url: str) -> dict[str, Any]:
    if not url.startswith("sqlite:"):
        return {"kind": "PostgreSQL"}
    file = path_of(url)
    parts = [Path(f"{file}{end}") for end in ("", "-wal", "-shm")]
    return {"kind": "SQLite", "bytes": {part.name: part.stat().st_size for part in parts if part.exists()}}


def _rows(ledger: Ledger) -> dict[str, Any]:
    tallies = ledger.tallies()
    today = datetime.now().astimezone().date()
    first = datetime.fromtimestamp(time.time() - _DAYS * 86400).astimezone().date()
    waiting, latest = ledger.open_bundles(), ledger.latest_bundles(MOST_BUNDLES)
    return {
        "bundles": {str(state): count for state, count in tallies.bundles.items()},
        "files": {str(state): count for state, count in tallies.files.items()},
        "unassigned": tallies.unassigned,
        "waiting_count": len(waiting),
        "waiting": [_bundle(bundle) for bundle in waiting[:MOST_BUNDLES]],
        "latest": [_bundle(bundle) for bundle in latest],
        "compacted_days": len(ledger.day_tallies(first.isoformat(), today.isoformat())),
    }


def _bundle(bundle: BundleRecord) -> dict[str, Any]:
    """By number; its counts, times and reasons."""
    counts = bundle.counts
    return {
        "id": bundle.id,
        "drop": bundle.drop,
        "state": str(bundle.state),
        "created": _iso(bundle.created_at),
        "changed": _iso(bundle.changed_at),
        "due": _iso(bundle.due_at),
        "attempts": bundle.attempts,
        "overdue": bundle.overdue,
        "emergency": bundle.emergency,
        "counts": [counts.images, counts.reports, counts.pdfs, counts.series],
        "reasons": [told_problem(one) for one in bundle.reasons],
        "answered": None if bundle.answer is None else HIDDEN,
        "open": bundle.is_open,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")
