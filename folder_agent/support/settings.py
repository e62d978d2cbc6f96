"""The settings as they may be told: without secrets, and without what a site writes into exams.

Reads the settings file's values only; environment variables are told by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from folder_agent.core.mapping import SiteMapping
from folder_agent.settings import Settings
from folder_agent.support.telling import HIDDEN


def told_settings(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Every setting in force; secrets are three stars."""
    dumped = settings.model_dump(mode="json", exclude={"drops": {"__all__": {"mapping"}}})  # secrets are stars in it
    values: dict[str, Any] = _told(dumped)
    for told, drop in zip(values["drops"], settings.drops, strict=True):
        told["mapping"] = None if drop.mapping is None else _told_mapping(drop.mapping)
    return {**values, "environment": sorted(name for name in environment if name.upper().startswith("FOLDER_AGENT_"))}


def _told(value: Any) -> Any:
    """The value without users and passwords in addresses, and without anybody's mail address."""
    if isinstance(value, dict):
        return {key: _told(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_told(inner) for inner in value]
    if not isinstance(value, str) or "@" not in value:
        return value
    return without_password(value) if "://" in value else HIDDEN


def _told_mapping(mapping: SiteMapping) -> dict[str, Any]:
    """The site's names for the fields; of values, only which fields have some."""
    fields = {name: sorted(getattr(mapping, name)) for name in ("values", "constants", "dates", "defaults")}
    return {"paths": [list(path) for path in mapping.paths], **fields}


def without_password(url: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}", query=""))
