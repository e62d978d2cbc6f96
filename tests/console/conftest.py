"""What the console's tests share: one hospital for those that only look, and one browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.house import House, fill, house

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_QUIET = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""


@pytest.fixture(scope="package")  # not longer: its agent would live on beside tests of something else
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The samples went through it; nothing more happens there but what a test that looks does."""
    with house(tmp_path_factory.mktemp("filled")) as made:
        fill(made)
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """An empty one, for a test that acts."""
    with house(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # here, because Windows' suite has none

    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=_QUIET.split())
        yield running
        running.close()
