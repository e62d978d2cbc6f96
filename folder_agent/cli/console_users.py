"""`folder-agent console add-user`: an account for a console that others reach. Writes the accounts' file."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from folder_agent import settings
from folder_agent.cli.printing import say
from folder_agent.console.accounts import LEAST_LENGTH, NAME, Accounts, Role
from folder_agent.core.catalogue import Language


def add_user(config: Path, name: str, role: Role, language: Language) -> int:
    """Make the account, or give it another password and role. Returns 0, or 1 if that is not to be. Raises
    SettingsError. The password is asked for at a terminal, else read from the first line of stdin."""
    loaded = settings.load(config)
    zh = language == "zh"
    if not NAME.fullmatch(name):
        say("用户名只能含字母、数字和 . _ @ -" if zh else "a name has letters, digits and . _ @ -", to_stderr=True)
        return 1
    password = _password(zh=zh)
    if password is None or len(password) < LEAST_LENGTH:
        short = f"密码至少 {LEAST_LENGTH} 个字符" if zh else f"a password has at least {LEAST_LENGTH} characters"
        different = "两次输入不一致" if zh else "the two are not the same"
        say(different if password is None else short, to_stderr=True)
        return 1
    assert loaded.console.users_file is not None
    try:
        Accounts(loaded.console.users_file).add(name, password, role)
    except OSError as error:
        say(f"{loaded.console.users_file}: {error.strerror}", to_stderr=True)
        return 1
    say(f"账户 {name}({role})已保存" if zh else f"the account {name} ({role}) is kept")
    return 0


def _password(*, zh: bool) -> str | None:
    if sys.stdin is None or not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
    first = getpass.getpass("密码: " if zh else "Password: ")
    return first if getpass.getpass("再次输入: " if zh else "Again: ") == first else None
