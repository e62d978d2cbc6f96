"""Copies before an upgrade; versions."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from folder_agent.installing import keeping
from folder_agent.installing.versions import is_older

NOW = datetime(2026, 11, 28, 12).astimezone()


def test_the_three_newest_copies_stay(tmp_path: Path) -> None:
    settings = tmp_path / "folder-agent.toml"
    settings.write_text("x", encoding="utf-8")
    made = [keeping.keep(tmp_path, f"0.{9 + n}.0", [settings], None, NOW + timedelta(hours=n)) for n in range(5)]
    assert [folder.exists() for folder in made] == [False, False, True, True, True]


def test_a_ledger_that_does_not_fit_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(bytes(5 * 1024 * 1024))
    monkeypatch.setattr(keeping, "free_bytes", lambda _: 100 * 1024 * 1024)
    with pytest.raises(keeping.NoSpace) as caught:
        keeping.keep(tmp_path, "0.1.0", [], ledger, NOW)
    assert (caught.value.need, caught.value.free) == (205, 100)
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("0.3.0", "0.3.1", True),
        ("0.3.0", "0.10.0", True),
        ("0.3", "0.3.0", False),
        ("0.3.0", "0.3", False),
        ("1.0.0", "0.9.9", False),
        ("0.3.0", "", False),
        ("0.3.0.dev1", "0.3.1", True),
    ],
)
def test_which_version_is_older(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older
