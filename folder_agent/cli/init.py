"""`folder-agent init`: writes the settings file with every setting and a comment. Never deletes one that is there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path

import typer

from folder_agent.cli.printing import say
from folder_agent.core.catalogue import Language
from folder_agent.edges import durable
from folder_agent.settings import checked_url


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known already; the rest stays a comment to be filled in."""

    drop: Path | None = None
    url: str | None = None
    app_id: str | None = None


def template() -> str:
    """The commented template, as it is installed with the package."""
    return (files("folder_agent.cli") / "template.toml").read_text(encoding="utf-8")


def filled(answers: Answers) -> str:
    """The template with the answers in place of their comments. Raises typer.BadParameter for a useless address."""
    text = template()
    for line, key, value in (
        ('# url = "https://10.0.0.5"', "url", _checked_url(answers.url)),
        ('# app_id = "1251"', "app_id", answers.app_id),
        (r"# path = 'D:\pacs-export'", "path", None if answers.drop is None else str(answers.drop.absolute())),
    ):
        if value is not None:
            text = text.replace(f"\n{line}\n", f"\n{key} = {toml_string(value)}\n")
    return text


def toml_string(value: str) -> str:
    """The value as TOML; a literal string where possible, so that a Windows path stays readable."""
    if "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value)  # every JSON string is a TOML basic string


def init(file: Path, answers: Answers, *, force: bool, language: Language) -> int:
    """Write the settings file. Returns 0, 1 if it cannot be written, 2 if there is one and not `force`."""
    zh = language == "zh"
    text = filled(answers)
    if os.path.lexists(file) and not force:
        say(
            f"{file}: 已存在;--force 会先把它保留为 .bak"
            if zh
            else f"{file}: is there already; --force keeps it as .bak"
        )
        return 2
    try:
        kept = _keep(file)
        _write(file, text)
    except OSError as error:
        say(f"{file}: {'无法写入' if zh else 'cannot be written'} ({error.strerror})", to_stderr=True)
        return 1
    if kept is not None:
        say(f"旧文件:{kept}" if zh else f"the old one: {kept}")
    say(f"已写入 {file}" if zh else f"written: {file}")
    say(
        "请填写其中的必填项,然后运行 folder-agent doctor"
        if zh
        else "fill in what is required, then: folder-agent doctor"
    )
    return 0


def _keep(file: Path) -> Path | None:
    """Put an existing file out of the way under the first free name; None if there is none."""
    if not os.path.lexists(file):
        return None
    for number in count(1):
        kept = file.with_name(f"{file.name}.bak{number if number > 1 else ''}")
        try:
            durable.rename_new(file, kept)
        except FileExistsError:
            continue
        return kept
    raise AssertionError("there are more numbers than files")


def _write(file: Path, text: str) -> None:
    """For its owner alone from the first moment on: a token will stand in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as writer:
        writer.write(text)
        writer.flush()
        os.fsync(writer.fileno())


def _checked_url(url: str | None) -> str | None:
    try:
        return None if url is None else checked_url(url)
    except ValueError as error:
        raise typer.BadParameter(f"--url {error}") from None
