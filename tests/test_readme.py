"""The README is under test: whatever the code offers must be in it, and what is in its tables must be in the code."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel
from typer.testing import CliRunner

from folder_agent.agent.concerns import written
from folder_agent.checkup.reports import Report, show_report, status_report
from folder_agent.cli.app import app
from folder_agent.cli.init import template
from folder_agent.core import gate as gates
from folder_agent.core.bandwidth import parse_limit
from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import problem
from folder_agent.core.gate import Gate
from folder_agent.core.lifecycle import BundleEvent, BundleState, FileState, bundle_step
from folder_agent.core.mapping import SiteMapping
from folder_agent.core.ports import Ledger
from folder_agent.edges.ledger import open_ledger
from folder_agent.settings import DropSettings, Settings
from folder_agent.simulator.rules import DEEDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by its words, those of groups as well."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        words = f"{prefix}{name}"
        found.update(commands(command, f"{words} ") if hasattr(command, "commands") else {words: command})
    return found


COMMANDS = commands(typer.main.get_command(app))
SECTIONS: dict[str, type[BaseModel]] = {
    name: DropSettings if name == "drops" else field.annotation  # type: ignore[misc]
    for name, field in Settings.model_fields.items()
}


def prose(text: str) -> str:
    """The text without its fenced code, whose lines are not Markdown."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def part(heading: str) -> str:
    """What stands below a heading, up to the next one of its rank or higher."""
    rank = len(heading) - len(heading.lstrip("#"))
    below = README.split(f"\n{heading}\n", 1)
    assert len(below) == 2, f"README.md has no heading {heading!r}"
    return re.split(rf"\n#{{1,{rank}}} ", below[1], maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in the text, without their heads; `|` inside of code does not occur."""
    lines = [line for line in prose(text).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    rules = {number for number, row in enumerate(cells) if set("".join(row)) <= set("-| ")}
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


def names(text: str) -> set[str]:
    """Everything that is shown as code in the first column of the text's tables."""
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


# --- the two commands, version, links ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pip install . && folder-agent demo", 'pip install ".[test]" && pytest'])
def test_the_two_commands_stand_on_lines_of_their_own(command: str) -> None:
    assert f"\n```\n{command}\n```\n" in README


def test_the_gate_runs_the_readmes_test_command() -> None:
    pattern = re.search(r"sed -n 's/(.+)/\\1/p' README\.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern is not None
    basic = pattern[1].replace(r"\(", "").replace(r"\)", "")  # sed's groups are backslashed
    assert re.findall(basic, README, re.MULTILINE) == ['pip install ".[test]" && pytest']


def test_the_newest_change_is_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = re.findall(r"^### (\S+) \((\S+)\)$", part("## Changes"), re.MULTILINE)
    assert entries[0][0] == project["version"]
    dates = [date.fromisoformat(day) for _, day in entries]
    assert dates == sorted(dates, reverse=True)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", prose(README)))))
def test_links_lead_somewhere(link: str) -> None:
    if link.startswith(("http://", "https://")):
        return
    path, _, anchor = link.partition("#")
    page = ROOT / path if path else ROOT / "README.md"
    assert page.exists()
    assert not anchor or anchor in anchors(page.read_text(encoding="utf-8"))


def test_headings_have_anchors_of_their_own() -> None:
    headings = re.findall(r"^#+ (.+)$", prose(README), re.MULTILINE)
    assert len(anchors(README)) == len(headings)


def test_chinese_comes_first() -> None:
    first = part("## 中文摘要")
    assert README.index("## 中文摘要") < README.index("## What it is")
    assert 15 <= len([line for line in first.splitlines() if line.strip()]) <= 25
    assert "pip install . && folder-agent demo" in first
    assert 'pip install ".[test]" && pytest' in first


# --- settings ---------------------------------------------------------------------------------------------------------


def table_of(section: str) -> str:
    """How the section is written in the file."""
    return f"[[{section}]]" if section == "drops" else f"[{section}]"


def settings() -> Iterator[tuple[str, str, str]]:
    """Every section and key, with the default as the README writes it."""
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            if field.is_required():
                yield section, key, "required"
            elif field.default is None:
                yield section, key, "none"
            else:
                default = list(field.default) if isinstance(field.default, tuple) else field.default
                yield section, key, f"`{json.dumps(default)}`"


@pytest.mark.parametrize(("section", "key", "default"), list(settings()))
def test_every_setting_is_told_with_its_default(section: str, key: str, default: str) -> None:
    told = {row[0]: row[1:] for row in rows(part(f"### `{table_of(section)}`"))}
    assert f"`{key}`" in told
    assert told[f"`{key}`"][0] == default
    assert told[f"`{key}`"][1]


@pytest.mark.parametrize("section", SECTIONS)
def test_no_setting_is_told_that_is_not_there(section: str) -> None:
    assert names(part(f"### `{table_of(section)}`")) == set(SECTIONS[section].model_fields)


def test_no_section_is_told_that_is_not_there() -> None:
    told = re.findall(r"^### `(.+)`$", part("## Settings"), re.MULTILINE)
    assert sorted(told) == sorted(map(table_of, SECTIONS))


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, key, _ in settings()])
def test_the_template_has_every_setting(section: str, key: str) -> None:
    inside = template().split(f"\n{table_of(section)}\n", 1)[1].split("\n[", 1)[0]
    assert re.search(rf"^(# )?({key} = |\[{section}\.{key}\]$)", inside, re.MULTILINE)


def test_every_part_of_a_mapping_is_told_and_the_example_gives_what_is_shown(tmp_path: Path) -> None:
    text = part("## A site's own names")
    parts = {field.name for field in dataclasses.fields(SiteMapping)} - {"paths"}
    assert names(text) == {'"PATH" = "FIELD"'} | {f"{name}.FIELD" for name in parts}
    toml, sidecar, shown = re.findall(r"```\w*\n(.+?)```", text, re.DOTALL)
    settings_file = tmp_path / "folder-agent.toml"
    settings_file.write_text(f'[gateway]\nurl = "https://10.0.0.5"\napp_id = "1"\n{toml}', encoding="utf-8")
    (tmp_path / "exam.json").write_bytes(sidecar.encode("gbk"))
    arguments = ["try-sidecar", str(tmp_path / "exam.json"), "--lang", "en", "--config", str(settings_file)]
    told = CliRunner().invoke(app, arguments).stdout.replace(str(tmp_path / "exam.json"), "exam.json")
    assert told.startswith(shown)


def test_every_environment_variable_is_told() -> None:
    told = names(part("## Settings"))
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "folder_agent").rglob("*.py"))
    read = set(re.findall(r"[\"'](FOLDER_AGENT_[A-Z][A-Z_]*)[\"']", source))
    assert {"FOLDER_AGENT_CONFIG", "FOLDER_AGENT_LANG"} <= read
    assert read <= told
    assert "FOLDER_AGENT__SECTION__KEY" in told


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told_with_options_and_exit_codes(command: str) -> None:
    text = part(f"### {command}")
    told = {word.split()[0] for word in names(text)}
    options = [parameter for parameter in COMMANDS[command].params if parameter.param_type_name == "option"]
    offered = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    assert told == offered
    for parameter in COMMANDS[command].params:
        if parameter.param_type_name == "argument":
            assert f"`folder-agent {command} {parameter.name.upper()}`" in text
    assert f"\n{COMMANDS[command].epilog}\n" in text


def test_no_command_is_told_that_is_not_there() -> None:
    assert set(re.findall(r"^### (.+)$", part("## Commands"), re.MULTILINE)) == set(COMMANDS)


def test_options_of_the_whole_are_told() -> None:
    whole: Any = typer.main.get_command(app)
    for option in (name for parameter in whole.params for name in parameter.opts):
        assert f"`folder-agent {option}`" in part("## Commands")


# --- states, reasons --------------------------------------------------------------------------------------------------


def test_every_state_is_told() -> None:
    bundles, files = part("## States").split("A **file** is", 1)
    assert names(bundles) == {str(state) for state in BundleState}
    assert names(files) == {str(state) for state in FileState}


def test_every_reason_is_told_in_the_catalogues_words() -> None:
    """After a change of the catalogue, paste what this shows into the README."""
    wanted = [f"| `{code}` | {reason.disposition} | {reason.en.what} |" for code, reason in CATALOGUE.items()]
    told = [line for line in part("## Reason codes").splitlines() if line.startswith("| `")]
    assert told == wanted, "\n".join(wanted)


def test_only_known_codes_are_named() -> None:
    assert set(re.findall(r"FA-[A-Z][A-Z-]*[A-Z]", README)) <= set(CATALOGUE)


# --- status --json ----------------------------------------------------------------------------------------------------


def keys_of(value: object) -> Iterator[str]:
    """Every key of a JSON value, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def busy_ledger(folder: Path) -> Ledger:
    """A ledger with a bundle in each of the lists that `status` tells, and a trouble."""
    ledger = open_ledger(f"sqlite:///{(folder / 'ledger.db').as_posix()}")
    sent = (BundleEvent.COMPLETE, BundleEvent.SEND)
    for name, events in (
        ("waits", (*sent, BundleEvent.PUT_OFF)),
        ("done", (*sent, BundleEvent.COMMIT, BundleEvent.AIM, BundleEvent.SHELVE)),
        ("failed", (BundleEvent.REFUSE, BundleEvent.AIM, BundleEvent.SHELVE)),
    ):
        bundle = ledger.open_bundle("ct", f"{name}/", name, time.time())
        for event in events:
            step = bundle_step(bundle, event, time.time(), is_open=event is not BundleEvent.SHELVE)
            ledger.apply([step])
            bundle = step.after
    ledger.remember("outage:ct", written(problem("FA-DROP-GONE", detail="ENOENT")))
    return ledger


@pytest.fixture
def reports(tmp_path: Path) -> list[Report]:
    """What `status --json` says with the gate shut in each way."""
    ledger = busy_ledger(tmp_path)
    found = []
    try:
        for held in (True, False):
            reason = problem("FA-GW-UNREACHABLE", detail="connection refused")
            ledger.remember("gate", gates.written(Gate(reason, held, time.time())))
            found.append(status_report(ledger, time.time(), ["ct"], limits=[parse_limit("20Mbit/s")]))
    finally:
        ledger.close()
    return found


def test_every_key_of_the_status_is_told(reports: list[Report]) -> None:
    for filled in ("waiting", "failed", "done", "drop_troubles"):
        assert reports[0][filled], filled
    assert reports[0]["held"]
    assert reports[1]["outage"]
    told = set(re.findall(r"`([^`]+)`", "\n".join(" ".join(row) for row in rows(part("## status --json")))))
    states = {str(state) for state in (*BundleState, *FileState)}
    assert {key for report in reports for key in keys_of(report)} - states <= told


def test_the_example_of_the_status_has_its_very_form(reports: list[Report]) -> None:
    example = re.search(r"```json\n(.+?)```", part("## status --json"), re.DOTALL)
    assert example is not None
    shown, real = json.loads(example[1]), reports[0]
    assert list(shown) == list(real)
    for entries in ("bundles", "files"):
        assert list(shown[entries]) == list(real[entries])
    for entries in ("waiting", "failed", "done"):
        assert list(shown[entries][0]) == list(real[entries][0])


def test_what_show_tells_is_told(tmp_path: Path) -> None:
    ledger = busy_ledger(tmp_path)
    try:
        report = show_report(ledger, ledger.find_bundles("waits")[0], [])
    finally:
        ledger.close()
    for key in report:
        assert f"`{key}`" in part("### show")


# --- what is promised -------------------------------------------------------------------------------------------------

PROMISED = part("## What is promised, and how it is tested")


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`((?:tests|folder_agent)/[^`]+)`", PROMISED))))
def test_what_the_table_of_promises_names_is_there(place: str) -> None:
    assert (ROOT / place).exists()


def test_every_misbehaviour_of_the_simulator_is_told() -> None:
    assert {f"`{deed}`" for deed in DEEDS} <= set(re.findall(r"`[^`]+`", part("### simulate-gateway")))
