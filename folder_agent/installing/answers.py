"""What the installer was told, in its pages or on its command line, and how it hands that on: a file of `key=value`.

Touches that file, which may hold a token or a password: it is gone as soon as it has been read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from folder_agent.core.catalogue import Language


@dataclass(frozen=True, slots=True)
class Answers:
    """Empty is None: not given."""

    data: Path  # the folder of settings, ledger and logs
    language: Language = "en"
    config: Path | None = None  # a settings file that was made beforehand
    drop: str | None = None
    url: str | None = None
    app_id: str | None = None
    fingerprint: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    previous: str | None = None  # the version that is installed
    program: Path | None = None  # the folder of the program's files
    purge: bool = False  # at the removal: settings, ledger and logs go, too

    @property
    def settings_file(self) -> Path:
        """Where the installed agent has its settings."""
        return self.data / "folder-agent.toml"


def read(file: Path) -> Answers:
    """The answers in the file (UTF-16 with a mark, or UTF-8), which is removed. Raises OSError, ValueError."""
    try:
        content = file.read_bytes()
    finally:
        _erase(file)
    text = content.decode("utf-16" if content.startswith(b"\xff\xfe") else "utf-8-sig")
    given = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    told = {key: value for key, value in given.items() if value.strip()}

    def words(key: str) -> str | None:
        found = told.get(key)
        return None if found is None else found.strip()

    def path(key: str) -> Path | None:
        found = words(key)
        return None if found is None else Path(found)

    return Answers(
        data=Path(told["data"].strip()),
        language="zh" if told.get("language") == "zh" else "en",
        config=path("config"),
        drop=words("drop"),
        url=words("url"),
        app_id=words("app_id"),
        fingerprint=words("fingerprint"),
        token=words("token"),
        token_file=path("token_file"),
        account=words("account"),
        password=told.get("password"),  # to the character
        password_file=path("password_file"),
        previous=words("previous"),
        program=path("program"),
        purge=told.get("purge") == "1",
    )


def _erase(file: Path) -> None:
    with suppress(OSError):
        size = file.stat().st_size
        with file.open("r+b") as writer:
            writer.write(bytes(size))
    with suppress(OSError):
        file.unlink()
