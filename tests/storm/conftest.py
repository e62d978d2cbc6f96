"""Says at the end how many storms were survived, wherever their processes ran."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stories = steps = 0
    for report in terminalreporter.getreports("passed"):
        told = dict(getattr(report, "user_properties", ()))
        if report.when == "call" and "tests/storm/" in report.nodeid:
            stories += int(told.get("stories", 0))
            steps += int(told.get("steps", 0))
    if stories:
        terminalreporter.write_line(
            f"storms survived: {stories} stories, {steps} steps of the agent, the promise checked after each"
        )
