"""`folder-agent status` and `show`: what the ledger knows, for people or as JSON. Reads the ledger; `show` looks into
the bundle's sidecar, too, for its encoding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folder_agent import settings
from folder_agent.checkup import documents
from folder_agent.checkup.reports import MOST_DONE, Report
from folder_agent.cli.printing import columns, say, say_json
from folder_agent.core.catalogue import Language
from folder_agent.core.errors import AgentError
from folder_agent.edges.ledger import PeeweeLedger, open_ledger

_MOST_FILES = 40  # lines of `show`; the JSON has them all
_MOST_LINES = 200  # of `status`, for the same reason


def status(config: Path, *, as_json: bool, language: Language) -> int:
    """Print what waits and what failed. Returns 0. Raises SettingsError, AgentError."""
    loaded = settings.load(config)
    with reading(loaded) as ledger:
        report = documents.of_status(loaded, ledger, time.time())
        is_new = ledger is None
    if as_json:
        say_json(report)
    else:
        _say_status(report, language, is_new=is_new)
    return 0


def show(config: Path, name: str, *, as_json: bool, language: Language) -> int:
    """Print all about one bundle. Returns 0, or 1 if there is none. Raises SettingsError, AgentError."""
    loaded = settings.load(config)
    with reading(loaded) as ledger:
        found = [] if ledger is None else ledger.find_bundles(name)
        if ledger is None or not found:
            say(no_such(name, language), to_stderr=True)
            return 1
        report = documents.of_bundle(loaded, ledger, found)
    if as_json:
        say_json(report)
    else:
        _say_bundle(report, language)
    return 0


@contextmanager
def reading(loaded: settings.Settings) -> Iterator[PeeweeLedger | None]:
    """The ledger, to be read only; None where the agent has not made one yet. Raises AgentError."""
    try:
        ledger = open_ledger(loaded.ledger.url or "", readonly=True)
    except AgentError as error:
        if ("detail", "there is none yet") not in error.problem.values:
            raise
        yield None
        return
    try:
        yield ledger
    finally:
        ledger.close()


def no_such(name: str, language: Language) -> str:
    """What is said when nothing goes by that name."""
    if language == "zh":
        return f"找不到「{name}」:请给出编号、名称、检查号(accessNumber)或 studyId;见 folder-agent status"
    return f'nothing is known as "{name}": give a number, name, accession number or study id (see folder-agent status)'


def _say_status(report: Report, language: Language, *, is_new: bool) -> None:
    zh, suffix = language == "zh", "_zh" if language == "zh" else ""
    if is_new:
        say("尚未见到任何文件" if zh else "nothing has been seen yet")
    for kind, banner, style in (
        ("held", "已暂停" if zh else "HELD", "bold red"),
        ("outage", "中断" if zh else "OUTAGE", "bold yellow"),
    ):
        if (shut := report[kind]) is not None:
            since = f"({'自' if zh else 'since '}{shut['since']})" if shut["since"] else ""
            say(f"{banner} {since}: {shut['reason' + suffix]}. {shut['todo' + suffix]}", style=style)
    if (limit := report["limit"]) is not None:
        now = limit["now"] or ("不限" if zh else "none")
        say(f"{'当前限速' if zh else 'bandwidth limit now'}: {now} ({', '.join(limit['set'])})")
    for trouble in report["drop_troubles"]:
        say(f"{trouble['drop']}: {trouble['reason' + suffix]}. {trouble['todo' + suffix]}", style="yellow")
    waiting = report["waiting"]
    for line in columns([_waiting_row(one, language) for one in waiting[:_MOST_LINES]], ""):
        say(line)
    _say_more(len(waiting) - _MOST_LINES, language)
    for one in report["ignored"]:
        what = f"{one['drop']}: {one['path']}: {one['reason' + suffix]}. {one['todo' + suffix]}"
        say(f"{'不发送' if zh else 'not sent'}  {what}", style="yellow")
    failed = [one for one in report["failed"] if one["superseded_by"] is None][:MOST_DONE]
    for one in failed:
        say(f"{'失败' if zh else 'failed'} #{one['id']} {one['bundle']}: {one['why' + suffix]}", style="red")
        if one["where"]:
            say(f"    {one['where']}")
    say(_tally(report, language))


def _waiting_row(one: Report, language: Language) -> list[str]:
    zh = language == "zh"
    words = one["for_zh" if zh else "for"]
    if one["overdue"]:
        words = ("已逾期:" if zh else "OVERDUE: ") + words
    if one["due"]:
        words += f"({'下次重试' if zh else 'next try'} {one['due']})" if zh else f" (next try {one['due']})"
    since = f"{'自 ' if zh else 'since '}{one['since']}"
    return [f"#{one['id']}", one["drop"], one["bundle"], one["state"], since, words]


def _tally(report: Report, language: Language) -> str:
    zh = language == "zh"
    counts = [f"{state} {n}" for state, n in report["bundles"].items() if n]
    parts = [", ".join(counts) or ("没有检查" if zh else "no bundles")]
    parts.append(f"{'文件' if zh else 'files'} {sum(report['files'].values())}")
    if report["unassigned"]:
        parts.append(
            f"{report['unassigned']} 个文件尚无 JSON" if zh else f"{report['unassigned']} files without a sidecar"
        )
    return "; ".join(parts)


def _filled(fields: dict[str, str] | None) -> str:
    return ", ".join(f"{name} ({where})" for name, where in (fields or {}).items())


def _say_more(more: int, language: Language) -> None:
    if more > 0:
        say(f"… 另有 {more} 项(--json 可见全部)" if language == "zh" else f"… and {more} more (--json lists all)")


def _say_bundle(report: Report, language: Language) -> None:
    zh, suffix = language == "zh", "_zh" if language == "zh" else ""
    bundle = report["bundle"]
    say(f"#{bundle['id']} {bundle['bundle']} ({bundle['drop']}): {bundle['state']}, {bundle['for' + suffix]}")
    for reason in bundle["reasons"]:
        say(f"  {reason['code']}: {reason['reason' + suffix]}. {reason['todo' + suffix]}")
    named = [
        ("检查号" if zh else "accession number", bundle["access_number"]),
        ("studyId" if zh else "study id", bundle["study_id"]),
        ("StudyInstanceUID", bundle["study_uid"]),
        ("JSON 编码" if zh else "sidecar's encoding", bundle["encoding"]),
        ("来自别处的字段" if zh else "filled in", _filled(bundle["filled"])),
        ("首次见到" if zh else "first seen", bundle["since"]),
        ("失败次数" if zh else "failed tries", str(bundle["attempts"]) if bundle["attempts"] else None),
        ("下次重试" if zh else "next try", bundle["due"]),
        ("前置机的回答" if zh else "gateway's answer", bundle["answer"]),
        ("位置" if zh else "where", bundle["where"]),
    ]
    for line in columns([[name, value] for name, value in named if value]):
        say(line)
    # What is wrong first: it must not hide behind three thousand images that are well.
    files = sorted(report["files"], key=lambda file: (file["reason"] is None, file["path"]))
    rows = [[f["state"], f["kind"], f["path"], f["reason" + suffix] or ""] for f in files[:_MOST_FILES]]
    for line in columns(rows):
        say(line)
    _say_more(len(files) - _MOST_FILES, language)
    moved = [entry for entry in report["timeline"] if entry["subject"] == "bundle"]
    for line in columns([[e["at"], e["event"], e["to"], e["why" + suffix]] for e in moved]):
        say(line)
    for other in report["others"]:
        say(f"{'同名' if zh else 'also'}: #{other['id']} {other['bundle']} {other['state']} {other['since']}")
