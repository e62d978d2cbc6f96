"""`folder-agent try-sidecar`: what would be sent of a sidecar, where each value comes from, and what is wrong with it.

Reads the settings and that one file, and nothing else. Shows the patient's values to whoever asks; nothing is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from folder_agent import settings
from folder_agent.checkup.sidecars import content_of
from folder_agent.cli.printing import columns, pick, say, say_json
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT
from folder_agent.core.mapping import NO_MAPPING
from folder_agent.core.records import Origin, SidecarReading, Source
from folder_agent.core.sidecar import read_sidecar
from folder_agent.core.status import Phrase
from folder_agent.edges.drop_folder.opening import why_not

Report = dict[str, object]
REFUSED = 4
_ABSENT = "FA-FIELD-ABSENT"
_ORIGINS = {
    Origin.KEY: Phrase("", ""),  # the key says it
    Origin.DEFAULT: Phrase("默认值(defaults)", "default"),
    Origin.CONSTANT: Phrase("常量(constants)", "constant"),
    Origin.HEADER: Phrase("影像 DICOM 头", "image header"),
    Origin.EARLIER: Phrase("此前的送达", "earlier delivery"),
}


def try_sidecar(config: Path, file: Path, drop_name: str | None, *, as_json: bool, language: Language) -> int:
    """Show it. Returns 0 if it would be sent, 4 if it would be refused, 2 for an unknown drop folder, 1 if the file
    cannot be read. Raises SettingsError."""
    loaded = settings.load(config)
    drop = _drop(loaded.drops, drop_name)
    if drop is None:
        _say_which(loaded.drops, language)
        return 2
    try:
        content = content_of(file.resolve())
    except OSError as error:
        _say_problem(why_not(error, str(file)), "fault", language, to_stderr=True)
        return 1
    reading = read_sidecar(content, drop.mapping or NO_MAPPING)
    rows = list(_rows(reading, loaded.gateway.permit_field))
    if as_json:
        say_json(_report(file, drop.name, reading, rows))
    else:
        _tell(file, drop.name, reading, rows, language)
    return REFUSED if reading.problems else 0


def _drop(drops: Sequence[settings.DropSettings], name: str | None) -> settings.DropSettings | None:
    """The one of that name; without a name the only one that there is."""
    named = [drop for drop in drops if name in (None, drop.name)]
    return named[0] if len(named) == 1 else None


def _say_which(drops: Sequence[settings.DropSettings], language: Language) -> None:
    names = ", ".join(drop.name for drop in drops)
    say(f"请用 --drop 指定投放目录:{names}" if language == "zh" else f"--drop must be one of: {names}", to_stderr=True)


Row = tuple[str, str, str | int, Source]  # the field as it is called on the wire, its class, its value, and where from


def _rows(reading: SidecarReading, permit_field: str) -> Iterator[Row]:
    """Every field that is given, in the gateway's order."""
    values: dict[str, str | int | None] = dict(reading.fields)
    values |= {name: getattr(reading.declared, count) for name, count in COUNT_FIELDS.items()}
    for source in reading.sources:
        name = source.field
        value = values[name]
        if value is not None:
            yield permit_field if name == PERMIT else name, str(FIELD_CLASSES[name]), value, source


def _report(file: Path, drop: str, reading: SidecarReading, rows: Sequence[Row]) -> Report:
    return {
        "file": str(file),
        "drop": drop,
        "encoding": reading.encoding,
        "would_be_sent": not reading.problems,
        "fields": [
            {
                "field": name,
                "class": class_,
                "value": value,
                "from": str(source.origin),
                "key": source.key,
                "written": source.written,
            }
            for name, class_, value, source in rows
        ],
        "files": None if reading.listed is None else [listed.path for listed in reading.listed],
        "problems": [_value(one) for one in reading.problems],
        "warnings": [_value(one) for one in reading.warnings],
    }


def _value(one: Problem) -> Report:
    return {
        "code": one.code,
        "text": explain(one, "en"),
        "text_zh": explain(one, "zh"),
        "todo": what_to_do(one, "en"),
        "todo_zh": what_to_do(one, "zh"),
    }


def _tell(file: Path, drop: str, reading: SidecarReading, rows: Sequence[Row], language: Language) -> None:
    zh = language == "zh"
    say(f"{file} ({drop}): {'编码' if zh else 'encoding'} {reading.encoding}")
    table = [[class_, name, str(value), _origin(source, language)] for name, class_, value, source in rows]
    for line in columns(table):
        say(line)
    if any(name in COUNT_FIELDS for name, *_ in rows):
        say(
            "  (数量用于判断是否到齐;发送的是实际清点的数量)"
            if zh
            else "  (declared counts say what is waited for; what is sent is what is counted)"
        )
    if reading.listed is not None:
        say(f"  files: {len(reading.listed)}")
    for one in reading.problems:
        _say_problem(one, "fault", language)
    for one in _joined(reading.warnings):
        _say_problem(one, "warning", language)
    if reading.problems:
        say("不会发送:将移入 failed/" if zh else "it would be refused: to failed/", style="bold red")
    else:
        say("会发送" if zh else "it would be sent", style="green")


def _origin(source: Source, language: Language) -> str:
    words = " ".join(word for word in (pick(_ORIGINS[source.origin], language), source.key) if word)
    return words if source.written is None else f"{words}: {source.written}"


def _joined(warnings: Sequence[Problem]) -> Iterator[Problem]:
    """As they are, but all fields that are merely absent in one line at the end: there may be thirty of them."""
    yield from (one for one in warnings if one.code != _ABSENT)
    if absent := [str(dict(one.values)["field"]) for one in warnings if one.code == _ABSENT]:
        yield problem(_ABSENT, field=", ".join(absent))


_MARKS = {"fault": ("bold red", "故障", "fault"), "warning": ("yellow", "警告", "warning")}


def _say_problem(one: Problem, kind: str, language: Language, *, to_stderr: bool = False) -> None:
    style, zh, en = _MARKS[kind]
    say(f"{zh if language == 'zh' else en:<8}{one.code}: {explain(one, language)}", style=style, to_stderr=to_stderr)
    say(f"        -> {what_to_do(one, language)}", to_stderr=to_stderr)
