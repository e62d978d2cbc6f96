"""`folder-agent doctor`: shows what `checkup` finds, a line for each check as it comes."""

from __future__ import annotations

from pathlib import Path

from folder_agent import checkup, settings
from folder_agent.checkup import Check, Outcome
from folder_agent.cli.printing import pick, say, say_json
from folder_agent.core.catalogue import Language

_MARKS = {
    Outcome.OK: ("green", "正常", "ok"),
    Outcome.WARNING: ("yellow", "警告", "warning"),
    Outcome.FAULT: ("bold red", "故障", "fault"),
}


def doctor(config: Path, *, as_json: bool, language: Language) -> int:
    """Check everything. Returns 0 without faults, 1 with, 2 if the settings cannot be used."""
    try:
        loaded = settings.load(config)
    except settings.SettingsError as error:
        _tell_all([checkup.bad_settings(line) for line in error.problems], as_json=as_json, language=language)
        return 2
    found = []
    for check in checkup.examine(config, loaded):
        found.append(check)
        if not as_json:
            _tell(check, language)
    if as_json:
        _tell_all(found, as_json=True, language=language)
    return 1 if any(check.outcome is Outcome.FAULT for check in found) else 0


def _tell_all(found: list[Check], *, as_json: bool, language: Language) -> None:
    if as_json:
        is_ok = all(check.outcome is not Outcome.FAULT for check in found)
        say_json({"ok": is_ok, "checks": [_value(check) for check in found]})
        return
    for check in found:
        _tell(check, language)


def _tell(check: Check, language: Language) -> None:
    style, zh, en = _MARKS[check.outcome]
    say(f"{zh if language == 'zh' else en:<8}{check.name}: {pick(check.text, language)}", style=style)
    if check.todo is not None:
        say(f"        -> {pick(check.todo, language)}")


def _value(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "outcome": str(check.outcome),
        "text": check.text.en,
        "text_zh": check.text.zh,
        "todo": None if check.todo is None else check.todo.en,
        "todo_zh": None if check.todo is None else check.todo.zh,
    }
