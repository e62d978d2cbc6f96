"""A Windows for these tests: put together once, and started once for each test module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.windows.lab import Lab, Session

# On Windows, only what belongs there; elsewhere, only what drives Windows from outside.
collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else ["inside/*"]


@pytest.fixture(scope="session")
def lab() -> Lab:
    from tests.windows.lab import assemble, missing_tools

    if missing := missing_tools():
        pytest.skip(f"no Windows here: {', '.join(missing)}")
    return assemble()


@pytest.fixture(scope="module")
def windows(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A running Windows, shared by a module's tests."""
    from tests.windows.lab import Session

    with Session(lab, tmp_path_factory.mktemp("windows")) as session:
        yield session
