"""Accounts by their names, and the command line that the service manager is given."""

from __future__ import annotations

from pathlib import PureWindowsPath

import pytest

from folder_agent.service.accounts import VIRTUAL, account
from folder_agent.service.naming import command_line


@pytest.mark.parametrize(
    ("given", "name", "password", "right", "itself"),
    [
        (None, VIRTUAL, False, False, False),
        ("", VIRTUAL, False, False, False),
        ("localsystem", "LocalSystem", False, False, False),
        ("NetworkService", "NT AUTHORITY\\NetworkService", False, False, False),
        ("NT AUTHORITY\\LocalService", "NT AUTHORITY\\LocalService", False, False, False),
        ("HOSPITAL\\svc-pacs", "HOSPITAL\\svc-pacs", True, True, True),
        ("svc-pacs@hospital.local", "svc-pacs@hospital.local", True, True, True),
        (".\\svc", ".\\svc", True, True, True),
        ("HOSPITAL\\gmsa-pacs$", "HOSPITAL\\gmsa-pacs$", False, True, True),
    ],
)
def test_who_it_is_and_what_that_takes(given: str | None, name: str, password: bool, right: bool, itself: bool) -> None:
    found = account(given)
    assert found.name == name
    assert found.needs_password is password
    assert found.needs_the_right_to_log_on is right
    assert found.reaches_shares_as_itself is itself


@pytest.mark.parametrize("given", ["svc", "\\svc", "HOSPITAL\\", "@", "a\\"])
def test_a_name_without_its_domain_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        account(given)


def test_the_command_line_is_quoted_throughout() -> None:
    made = command_line(
        PureWindowsPath(r"C:\Program Files\folder-agent\FolderAgent.exe"), PureWindowsPath("C:\\数据\\")
    )
    assert made == (
        '"C:\\Program Files\\folder-agent\\FolderAgent.exe" -X utf8 -m folder_agent.service --config "C:\\数据"'
    )
    assert command_line(PureWindowsPath("p"), PureWindowsPath("C:\\")).endswith('"C:\\\\"')
