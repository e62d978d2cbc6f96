"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from folder_agent.edges import logs
from folder_agent.simulator import Simulator
from tests.crash.tally import pytest_terminal_summary
from tests.servers.postgres import shared_server
from tests.site import Site

__all__ = ["pytest_terminal_summary"]  # a hook, found here by every process of a session
if sys.platform == "win32":
    # Each file operation of Wine's takes its time, and on Linux the same properties are tried with many more examples.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    hypothesis_settings.register_profile("windows", deadline=None, max_examples=15, suppress_health_check=slow)
    hypothesis_settings.load_profile("windows")
ELSEWHERE = ("UNC paths are Windows'", "atheris is made for")  # what no tool can bring to this platform


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "gateway") as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator) -> Iterator[Site]:
    made = Site(tmp_path / "site", simulator)
    logs.set_up(made.root / "logs", "DEBUG", 1, console=False)
    yield made
    logs.set_up(None, "INFO", 1, console=False)


_LONGEST = ("tests/windows/", "tests/bench/", "tests/crash/", "tests/e2e/test_secret.py", "tests/fuzz/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Under FOLDER_AGENT_CI=1 nothing is skipped: a missing tool is a fault of the gate."""
    report: pytest.TestReport = yield  # type: ignore[misc,assignment]
    elsewhere = any(reason in str(report.longrepr) for reason in ELSEWHERE)
    if os.environ.get("FOLDER_AGENT_CI") == "1" and report.skipped and not elsewhere:
        report.outcome = "failed"
    return report  # type: ignore[return-value]


@pytest.fixture
def postgres_url() -> str:
    """An empty database of a private PostgreSQL server."""
    return shared_server().new_database()
