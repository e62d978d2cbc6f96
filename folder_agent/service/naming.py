"""What the service is called, and how its command line is made. Pure."""

from __future__ import annotations

from pathlib import PurePath

NAME = "folder-agent"
TITLE = "folder-agent"
DESCRIPTION = (
    "把 PACS 导出的完整检查送达医院前置机。"
    "Delivers each complete exam that the PACS exports to the hospital's front-end machine."
)


def quoted(part: str) -> str:
    """One path as an argument of a Windows command line (CommandLineToArgvW's rules); always in quotation marks."""
    doubled = part + "\\" * (len(part) - len(part.rstrip("\\")))  # those before the closing mark
    return f'"{doubled}"'  # names of files hold no quotation marks


def command_line(executable: PurePath, config: PurePath) -> str:
    """The service's command line: quoted throughout, so that `C:\\Program.exe` is never tried."""
    return f"{quoted(str(executable))} -X utf8 -m folder_agent.service --config {quoted(str(config))}"
