"""A Windows for these tests: put together once, and started once for each test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.windows.lab import Lab, Session, assemble, missing_tools


@pytest.fixture(scope="session")
def lab() -> Lab:
    if missing := missing_tools():
        pytest.skip(f"no Windows here: {', '.join(missing)}")
    return assemble()


@pytest.fixture(scope="module")
def windows(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A running Windows, shared by a module's tests."""
    with Session(lab, tmp_path_factory.mktemp("windows")) as session:
        yield session
