"""`folder-agent secret`: stores the token for a settings file, tells where it comes from, removes it.

The token comes from a prompt that does not show it, from what is piped in, or from a file; never from an argument,
which every process of the machine could read. It is never printed.
"""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from folder_agent import settings
from folder_agent.cli.printing import pick, say, say_json
from folder_agent.core.catalogue import Language, explain
from folder_agent.core.errors import AgentError
from folder_agent.edges import secrets
from folder_agent.edges.credentials import TOKEN_FILE_LIMIT, decoded, find_token, in_file
from folder_agent.settings import SettingsError


def keep(config: Path, source: Path | None, account: str | None, language: Language) -> int:
    """Store the token. Returns 0, 1 if it cannot be stored, 2 without settings file or token.

    Raises AgentError for what is no token."""
    zh = language == "zh"
    if not config.is_file():
        lacking = (
            "没有这个设置文件;先运行 folder-agent init" if zh else "there is no such file; first: folder-agent init"
        )
        say(f"{config}: {lacking}", to_stderr=True)
        return 2
    token = _given(source, language)
    if token is None:
        return 2
    store = secrets.store_of(config)
    try:
        secrets.keep(store, token, () if account is None else (account,))
    except LookupError:
        say(f"没有账户 {account}" if zh else f"there is no account {account}", to_stderr=True)
        return 2
    except OSError as error:
        why = f"{'无法写入' if zh else 'cannot be written'} ({error.strerror})"
        say(f"{store}: {why}", to_stderr=True)
        return 1
    length = len(token)
    say(f"token 已保存({length} 个字符):{store}" if zh else f"the token is stored ({length} characters): {store}")
    say("重新启动程序后生效" if zh else "it is used from the agent's next start on")
    _warn_if_unused(config, language)
    return 0


def tell(config: Path, *, as_json: bool, language: Language) -> int:
    """Say where the token comes from. Returns 0, or 1 if there is none that can be used. Raises SettingsError."""
    loaded = settings.load(config)
    store = secrets.store_of(config)
    try:
        source, trouble = find_token(loaded).source, None
    except AgentError as error:
        source, trouble = None, error.problem
    if as_json:
        say_json(
            {
                "usable": trouble is None,
                "source": None if source is None else source.en,
                "source_zh": None if source is None else source.zh,
                "reason": None if trouble is None else explain(trouble, "en"),
                "reason_zh": None if trouble is None else explain(trouble, "zh"),
                "store": str(store),
                "stored": store.exists(),
            }
        )
    elif source is not None:
        told = pick(source, language)
        say(f"token 可读取,来自{told}" if language == "zh" else f"the token can be read, from {told}")
    elif trouble is not None:
        say(explain(trouble, language), to_stderr=True)
    return 0 if trouble is None else 1


def forget(config: Path, language: Language) -> int:
    """Remove the stored token. Returns 0, also if there is none; 1 if it cannot be removed."""
    zh = language == "zh"
    store = secrets.store_of(config)
    try:
        was_there = secrets.forget(store)
    except OSError as error:
        say(f"{store}: {'无法删除' if zh else 'cannot be removed'} ({error.strerror})", to_stderr=True)
        return 1
    if was_there:
        say(f"已删除:{store}" if zh else f"removed: {store}")
    else:
        say("没有保存的 token" if zh else "no token is stored")
    return 0


def _given(source: Path | None, language: Language) -> str | None:
    """The token from the file, the pipe or the prompt; None if there is nobody to ask. Raises AgentError."""
    zh = language == "zh"
    if source is not None:
        return in_file(source, str(source))
    if sys.stdin is None:
        say("没有输入;请用 --file" if zh else "there is no input to read; use --file", to_stderr=True)
        return None
    if not sys.stdin.isatty():
        return decoded(sys.stdin.buffer.read(TOKEN_FILE_LIMIT + 1), "the input")
    try:
        typed = getpass("token(输入时不显示):" if zh else "token (is not shown): ")
    except EOFError:
        return None
    return decoded(typed.encode(), "the input")


def _warn_if_unused(config: Path, language: Language) -> None:
    """Say so if the settings name another token, which goes first. That they are not whole yet is no matter here."""
    try:
        gateway = settings.load(config).gateway
    except SettingsError:
        return
    if gateway.token is not None or gateway.token_file is not None:
        name = "token" if gateway.token is not None else "token_file"
        say(
            f"注意:设置中(或环境变量)的 {name} 优先;请删去它,所存的才会使用"
            if language == "zh"
            else f"note: {name} in the settings (or the environment) goes first; remove it to use the stored one",
            to_stderr=True,
        )
