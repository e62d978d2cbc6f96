"""`folder-agent reconcile`: what was dropped, sent, accepted and is missing, by day; for people, as JSON or as CSV.

Reads ledger, folders and receipts, beside a running agent.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from folder_agent import settings
from folder_agent.checkup.accounts import Accounts, NoLedger
from folder_agent.cli.printing import columns, say, say_json
from folder_agent.cli.reading import reading
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.naming import visible
from folder_agent.core.reconciling import Difference, Row, exit_code
from folder_agent.edges import durable

DAYS = 31  # looked at unless asked otherwise
STDOUT = "-"
_MOST_LINES = 200  # differences shown to people; JSON has them all
_HEADS: dict[Language, tuple[str, ...]] = {
    "zh": ("日期", "投放目录", "检查", "已接收", "等待", "被拒", "失败", "文件", "已发送", "等待", "差异"),
    "en": ("day", "drop", "exams", "accepted", "waiting", "refused", "failed", "files", "sent", "waiting", "missing"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the account is wanted, and how it is shown. `csv` is a file's path, or "-"."""

    first: date | None = None
    last: date | None = None
    everything: bool = False
    verify: bool = False
    as_json: bool = False
    csv: str | None = None
    language: Language = "en"


def reconcile(config: Path, asked: Asked) -> int:
    """Print the account. Returns 0 all is there, 3 something still waits, 4 something is missing, 1 something could
    not be looked at, or the CSV not be written. Raises SettingsError, AgentError."""
    loaded = settings.load(config)
    account = _gather(loaded, asked)
    if account.differences and not account.had_ledger:
        account = _gather(loaded, asked)  # an agent that has just started may have made one meanwhile
    first, last, rows, differences = account.first, account.last, account.rows, account.differences
    if asked.csv is not None:
        try:
            _write_csv(asked.csv, rows, differences)
        except OSError as error:
            say(f"{asked.csv}: {error.strerror}", to_stderr=True)
            return 1
    code = exit_code(rows, differences)
    if asked.as_json:
        say_json(_report(first, last, rows, differences, code))
    elif asked.csv != STDOUT:
        _say(first, last, rows, differences, asked.language)
    return code


@dataclass(slots=True)
class _Account:
    first: date
    last: date
    had_ledger: bool
    rows: list[Row] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def _gather(loaded: settings.Settings, asked: Asked) -> _Account:
    with reading(loaded) as ledger:
        accounts = Accounts(loaded, ledger or NoLedger(), verify=asked.verify)
        account = _Account(*_range(asked, accounts), ledger is not None)
        for day in accounts.days(account.first, account.last):
            account.rows += day.rows.values()
            account.differences += day.differences
    return account


def _range(asked: Asked, accounts: Accounts) -> tuple[date, date]:
    last = asked.last or datetime.now().astimezone().date()
    if asked.everything:
        return min(accounts.first_day() or last, last), last
    return asked.first or last - timedelta(days=DAYS - 1), last


def _report(
    first: date, last: date, rows: Sequence[Row], differences: Sequence[Difference], code: int
) -> dict[str, object]:
    return {
        "from": first.isoformat(),
        "to": last.isoformat(),
        "outcome": code,
        "days": [_row(row) for row in rows],
        "differences": [_difference(one) for one in differences],
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "day": row.day,
        "drop": row.drop,
        "exams": {"dropped": row.exams.dropped, **asdict(row.exams)},
        "files": {"dropped": row.files.dropped, **asdict(row.files)},
        "not_looked_at": row.not_looked_at,
        "missing": row.missing,
    }


def _difference(one: Difference) -> dict[str, object]:
    masked = one.problem.masked()
    return {
        "day": one.day,
        "drop": one.drop,
        "id": one.bundle_id,
        "bundle": one.name,
        "where": one.where,
        "code": masked.code,
        "missing": one.is_missing,
        "reason": explain(masked, "en"),
        "reason_zh": explain(masked, "zh"),
        "todo": what_to_do(masked, "en"),
        "todo_zh": what_to_do(masked, "zh"),
    }


def _say(first: date, last: date, rows: Sequence[Row], differences: Sequence[Difference], language: Language) -> None:
    zh = language == "zh"
    shown = [row for row in rows if not row.is_empty]
    _say_table([_HEADS[language], *map(_cells, shown), _total(shown, language)] if shown else [])
    if not shown:
        say(f"{first} … {last}: {'没有任何文件' if zh else 'nothing was dropped'}")
    for one in differences[:_MOST_LINES]:
        masked = one.problem.masked()
        number = f"#{one.bundle_id} " if one.bundle_id is not None else ""
        style = "red" if one.is_missing else "yellow"
        say(f"{one.day} {one.drop} {number}{one.name}: {explain(masked, language)} [{masked.code}]", style=style)
        say(f"    {what_to_do(masked, language)}")
        if one.where:
            say(f"    {one.where}")
    if (more := len(differences) - _MOST_LINES) > 0:
        say(f"… 另有 {more} 项(--json 可见全部)" if zh else f"… and {more} more (--json lists all)")
    if not differences:
        say("账本、文件夹与回执一致" if zh else "ledger, folders and receipts agree")


def _cells(row: Row) -> tuple[str, ...]:
    exams, files = row.exams, row.files
    numbers = [exams.dropped, exams.accepted, exams.waiting, exams.refused, exams.failed]
    numbers += [files.dropped, files.sent, files.waiting + row.not_looked_at, row.missing]
    return (row.day, row.drop, *map(str, numbers))


def _total(rows: Sequence[Row], language: Language) -> tuple[str, ...]:
    columns_ = list(zip(*map(_cells, rows), strict=True))[2:]
    return ("合计" if language == "zh" else "total", "", *(str(sum(map(int, column))) for column in columns_))


def _say_table(rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    if sys.stdout is not None and sys.stdout.isatty():
        table = Table(box=None, pad_edge=False)
        for number, head in enumerate(rows[0]):
            table.add_column(visible(head), justify="left" if number < 2 else "right", no_wrap=True)
        for row in rows[1:]:
            table.add_row(*map(visible, row))
        Console(highlight=False).print(table)
        return
    for line in columns(rows, ""):
        say(line)


def _write_csv(where: str, rows: Iterable[Row], differences: Iterable[Difference]) -> None:
    """A line for each day and drop folder; with a byte order mark in a file, so that Excel reads Chinese."""
    codes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in differences:
        codes[one.day, one.drop].add(one.problem.code)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*_flat(_row(Row("", ""))), "differences"])
    for row in rows:
        writer.writerow([*_flat(_row(row)).values(), " ".join(sorted(codes[row.day, row.drop]))])
    if where == STDOUT:
        for line in text.getvalue().splitlines():
            say(line)
    else:
        durable.write_whole(Path(where).absolute(), b"\xef\xbb\xbf" + text.getvalue().encode())


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    """The table without inner ones: `exams_dropped` for what was `dropped` within `exams`."""
    found: dict[str, object] = {}
    for key, value in table.items():
        inner = value if isinstance(value, dict) else None
        found.update({key: value} if inner is None else {f"{key}_{name}": number for name, number in inner.items()})
    return found
