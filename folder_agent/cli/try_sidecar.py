"""`folder-agent try-sidecar`: what would be sent of a sidecar, where each value comes from, and what is wrong with it.

Reads the settings, that one file and the images that lie with it. Shows the patient's values to whoever asks; nothing
is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from folder_agent import settings
from folder_agent.checkup.sidecars import content_of
from folder_agent.cli import trying
from folder_agent.cli.printing import columns, pick, say, say_json
from folder_agent.core import delivered
from folder_agent.core.bundling import Complete, Refused, Waiting, content
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT
from folder_agent.core.groups import Group
from folder_agent.core.mapping import NO_MAPPING
from folder_agent.core.records import Origin, SidecarReading, Source
from folder_agent.core.sidecar import read_sidecar
from folder_agent.core.status import Phrase
from folder_agent.edges.drop_folder.opening import why_not

Report = dict[str, object]
WAITS, REFUSED = 3, 4
_ABSENT = "FA-FIELD-ABSENT"
_ORIGINS = {
    Origin.KEY: Phrase("", ""),  # the key says it
    Origin.DEFAULT: Phrase("默认值(defaults)", "default"),
    Origin.CONSTANT: Phrase("常量(constants)", "constant"),
    Origin.HEADER: Phrase("影像 DICOM 头", "image header"),
    Origin.EARLIER: Phrase("此前的送达", "earlier delivery"),
}


def try_sidecar(
    config: Path, file: Path, drop_name: str | None, images: Path | None = None, *, as_json: bool, language: Language
) -> int:
    """Show it, or all exams of a folder. Returns 0 if it would be sent, 3 if it would wait for something, 4 if it would
    be refused, 2 for an unknown drop folder, 1 if the file cannot be read. Raises SettingsError, AgentError."""
    loaded = settings.load(config)
    drop = _drop(loaded.drops, drop_name)
    if drop is None:
        _say_which(loaded.drops, language)
        return 2
    permit = loaded.gateway.permit_field
    if file.is_dir():
        return _try_folder(file, drop, permit, as_json=as_json, language=language)
    try:
        content = content_of(file.resolve())
    except OSError as error:
        _say_problem(why_not(error, str(file)), "fault", language, to_stderr=True)
        return 1
    shown = _Shown(read_sidecar(content, drop.mapping or NO_MAPPING), permit)
    tried, outcome = trying.try_file(file.resolve(), drop, images.resolve() if images is not None else None)
    if tried is not None and tried.reading is not None:
        shown = _Shown(tried.reading, permit, tried)
    if as_json:
        say_json({"file": str(file), "drop": drop.name, **shown.report()})
    else:
        say(f"{file} ({drop.name}): {'编码' if language == 'zh' else 'encoding'} {shown.reading.encoding}")
        shown.tell(language)
        _tell_bound(outcome, language)
    return shown.code


def _try_folder(
    folder: Path, drop: settings.DropSettings, permit_field: str, *, as_json: bool, language: Language
) -> int:
    outcome = trying.try_folder(folder.resolve(), drop)
    exams = [(one, _Shown(one.reading, permit_field, one)) for one in outcome.exams]
    if as_json:
        told = [{"bundle": one.group.name, **shown.report()} for one, shown in exams]
        ignored = [
            {"path": one.problem.path, **_value(one.problem), "files": list(one.files)} for one in outcome.ignored
        ]
        say_json({"folder": str(folder), "drop": drop.name, "exams": told, "ignored": ignored})
    else:
        if not exams:
            say("没有检查" if language == "zh" else "there is no exam in it")
        for one, shown in exams:
            say(f"{one.group.name} ({drop.name})", style="bold")
            shown.tell(language)
        for left in outcome.ignored:
            _say_problem(left.problem, "ignored", language)
        _tell_bound(outcome, language)
    return max((shown.code for _, shown in exams), default=1)


def _tell_bound(outcome: trying.Outcome, language: Language) -> None:
    if outcome.there > trying.MOST:
        zh, en = f"只查看了前 {trying.MOST} 个文件", f"only the first {trying.MOST} files were looked into"
        say(f"  ({zh})" if language == "zh" else f"  ({en})")


def _drop(drops: Sequence[settings.DropSettings], name: str | None) -> settings.DropSettings | None:
    """The one of that name; without a name the only one that there is."""
    named = [drop for drop in drops if name in (None, drop.name)]
    return named[0] if len(named) == 1 else None


def _say_which(drops: Sequence[settings.DropSettings], language: Language) -> None:
    names = ", ".join(drop.name for drop in drops)
    say(f"请用 --drop 指定投放目录:{names}" if language == "zh" else f"--drop must be one of: {names}", to_stderr=True)


Row = tuple[str, str, str | int, Source]  # the field as it is called on the wire, its class, its value, and where from


class _Shown:
    """What one exam comes to: of a sidecar alone, or `tried` with what lies there."""

    def __init__(self, reading: SidecarReading | None, permit_field: str, tried: trying.Tried | None = None) -> None:
        self.reading = reading or SidecarReading(encoding=None)
        self._rows = list(_rows(self.reading, permit_field))
        self._group = tried.group if tried is not None else None
        verdict = tried.verdict if tried is not None else None
        self._problems: tuple[Problem, ...] = self.reading.problems if verdict is None else ()
        self._warnings: tuple[Problem, ...] = self.reading.warnings
        self._waits: tuple[Problem, ...] = ()
        if isinstance(verdict, Refused):
            self._problems = verdict.problems
        elif isinstance(verdict, Waiting):
            self._waits = verdict.reasons
        elif isinstance(verdict, Complete):
            self._warnings = verdict.warnings

    @property
    def code(self) -> int:
        """The exit code that says so."""
        return REFUSED if self._problems else WAITS if self._waits else 0

    def report(self) -> Report:
        """As JSON."""
        listed = self.reading.listed
        return {
            "encoding": self.reading.encoding,
            "would_be_sent": self.code == 0,
            "fields": [
                {
                    "field": name,
                    "class": class_,
                    "value": value,
                    "from": str(source.origin),
                    "key": source.key,
                    "written": source.written,
                }
                for name, class_, value, source in self._rows
            ],
            "files": None if listed is None else [one.path for one in listed],
            "counted": None if self._group is None else self._counted(self._group),
            "waits_for": [_value(one) for one in self._waits],
            "problems": [_value(one) for one in self._problems],
            "warnings": [_value(one) for one in self._warnings],
        }

    def tell(self, language: Language) -> None:
        """For people."""
        zh = language == "zh"
        table = [[class_, name, str(value), _origin(source, language)] for name, class_, value, source in self._rows]
        for line in columns(table):
            say(line)
        if any(name in COUNT_FIELDS for name, *_ in self._rows):
            say(
                "  (数量用于判断是否到齐;发送的是实际清点的数量)"
                if zh
                else "  (declared counts say what is waited for; what is sent is what is counted)"
            )
        if self.reading.listed is not None:
            say(f"  files: {len(self.reading.listed)}")
        if self._group is not None:
            counted = ", ".join(f"{name} {number}" for name, number in self._counted(self._group).items())
            say(f"  {'清点' if zh else 'counted'}: {counted}")
        for one in self._problems:
            _say_problem(one, "fault", language)
        for one in self._waits:
            _say_problem(one, "waits", language)
        for one in _joined(self._warnings):
            _say_problem(one, "warning", language)
        self._tell_end(zh=zh)

    def _tell_end(self, *, zh: bool) -> None:
        if self._problems:
            say("不会发送:将移入 failed/" if zh else "it would be refused: to failed/", style="bold red")
        elif self._waits:
            say("会等待" if zh else "it would wait", style="yellow")
        else:
            say("会发送" if zh else "it would be sent", style="green")

    @staticmethod
    def _counted(group: Group) -> dict[str, int]:
        counts = delivered.total(None, content(group))
        return {name: getattr(counts, attribute) or 0 for name, attribute in COUNT_FIELDS.items()}


def _rows(reading: SidecarReading, permit_field: str) -> Iterator[Row]:
    """Every field that is given, in the gateway's order."""
    values: dict[str, str | int | None] = dict(reading.fields)
    values |= {name: getattr(reading.declared, count) for name, count in COUNT_FIELDS.items()}
    for source in reading.sources:
        name = source.field
        value = values[name]
        if value is not None:
            yield permit_field if name == PERMIT else name, str(FIELD_CLASSES[name]), value, source


def _value(one: Problem) -> Report:
    return {
        "code": one.code,
        "text": explain(one, "en"),
        "text_zh": explain(one, "zh"),
        "todo": what_to_do(one, "en"),
        "todo_zh": what_to_do(one, "zh"),
    }


def _origin(source: Source, language: Language) -> str:
    words = " ".join(word for word in (pick(_ORIGINS[source.origin], language), source.key) if word)
    return words if source.written is None else f"{words}: {source.written}"


def _joined(warnings: Sequence[Problem]) -> Iterator[Problem]:
    """As they are, but all fields that are merely absent in one line at the end: there may be thirty of them."""
    yield from (one for one in warnings if one.code != _ABSENT)
    if absent := [str(dict(one.values)["field"]) for one in warnings if one.code == _ABSENT]:
        yield problem(_ABSENT, field=", ".join(absent))


_MARKS = {
    "fault": ("bold red", "故障", "fault"),
    "waits": ("yellow", "等待", "waits"),
    "warning": ("yellow", "警告", "warning"),
    "ignored": ("yellow", "不发送", "not sent"),
}


def _say_problem(one: Problem, kind: str, language: Language, *, to_stderr: bool = False) -> None:
    style, zh, en = _MARKS[kind]
    say(f"{zh if language == 'zh' else en:<7} {one.code}: {explain(one, language)}", style=style, to_stderr=to_stderr)
    say(f"        -> {what_to_do(one, language)}", to_stderr=to_stderr)
