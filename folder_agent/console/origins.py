"""The settings as they are in force: every key with its value (secrets masked) and where that came from.

Reads the settings file again, for where things stand; touches nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from folder_agent.settings import PREFIX, Settings, SettingsError, read_toml

MASK = "******"


@dataclass(frozen=True, slots=True)
class Told:
    """One setting."""

    section: str
    key: str
    value: str
    origin: str  # "file", "environment", "default"
    variable: str | None = None


def told(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[Told]:
    """Every setting, in the order of the file's template."""
    try:
        table = read_toml(settings.file) if settings.file else {}
    except SettingsError:
        table = {}
    given = {name.upper() for name in environment}
    return list(_sections(settings, table, given))


def _sections(settings: Settings, table: Mapping[str, Any], given: set[str]) -> Iterator[Told]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _keys(f"[{name}]", (name,), value, table.get(name), given)
        else:
            for place, entry in enumerate(value):
                entries = table.get(name)
                inner = entries[place] if isinstance(entries, list) and place < len(entries) else None
                yield from _keys(f"[[{name}]] {entry.name}", (name, str(place)), entry, inner, given)


def _keys(section: str, path: Sequence[str], model: BaseModel, table: Any, given: set[str]) -> Iterator[Told]:
    written = table if isinstance(table, dict) else {}
    for key in type(model).model_fields:
        variable = PREFIX + "__".join((*path, key)).upper()
        if variable in given:
            origin = "environment"
        elif key in written:
            origin = "file"
        else:
            origin = "default"
        yield Told(
            section, key, _shown(key, getattr(model, key)), origin, variable if origin == "environment" else None
        )


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, SecretStr) or "password" in key or "secret" in key:
        return MASK
    if isinstance(value, Path):
        return str(value)
    if key == "url" and "@" in str(value):
        parts = urlsplit(str(value))
        return f"{parts.scheme}://{MASK}@{parts.netloc.rpartition('@')[2]}{parts.path}"
    if isinstance(value, tuple):
        return ", ".join(str(MASK if isinstance(one, SecretStr) else one) for one in value) or "—"
    if isinstance(value, bool | int | float | str):
        return value if isinstance(value, str) else json.dumps(value)
    return "…"  # a mapping: too large for a line, and try-sidecar shows what it does
