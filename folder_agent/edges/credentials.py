"""The gateway's token: from the settings, a file of its own, systemd, or the store that `secret set` fills.

Touches those, and only by reading them. The token never appears in an error or a log.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from folder_agent.core.status import Phrase
from folder_agent.edges import secrets
from folder_agent.edges.secrets import unusable
from folder_agent.settings import PREFIX, Settings

TOKEN_FILE_LIMIT = 4096  # bytes; a larger file is not a token but something else
CREDENTIAL = "folder-agent-token"  # its name in a unit: LoadCredential= or SetCredentialEncrypted= (systemd.exec(5))
_VARIABLE = f"{PREFIX}GATEWAY__TOKEN"
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",  # Notepad
    codecs.BOM_UTF16_LE: "utf-16",  # `echo … > token.txt` in Windows PowerShell
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and in words where it comes from; the file, if it lies in one."""

    value: str = field(repr=False)
    source: Phrase
    file: Path | None = None


def read_token(settings: Settings) -> str:
    """The token to sign with. AgentError (FA-CREDENTIALS, HOLD) if there is none that could be used."""
    return find_token(settings).value


def find_token(settings: Settings, environment: Mapping[str, str] = os.environ) -> Token:
    """The token with its source: what the settings say goes first, then systemd's credential, then the store.
    AgentError (FA-CREDENTIALS, HOLD) if there is none that could be used."""
    gateway = settings.gateway
    if gateway.token is not None:
        return Token(checked(gateway.token.get_secret_value(), "token"), _setting(environment))
    if gateway.token_file is not None:
        return _in_file(gateway.token_file, "token_file", Phrase("token_file", "token_file"))
    if (credential := _credential(environment)) is not None:
        return _in_file(credential, "the credential", Phrase("systemd 凭据", "the credential of systemd"))
    store = None if settings.file is None else secrets.store_of(settings.file)
    if store is None or (stored := secrets.recall(store)) is None:
        raise unusable("neither token nor token_file is set, and none is stored")
    kept = Phrase(" secret set 的存储", "what folder-agent secret set stored")
    return Token(checked(stored, "the stored token"), kept, store)


def reach_warning(token: Token) -> str | None:
    """What `doctor` should say of the permissions of the token's file (POSIX); None if there is nothing to say."""
    if token.file is None or sys.platform == "win32":
        return None
    try:
        mode = token.file.stat().st_mode
    except OSError:
        return None  # find_token says it
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{token.file}: others can reach it (mode {stat.S_IMODE(mode):04o}); chmod 600 would do"
    return None


def decoded(content: bytes, source: str) -> str:
    """The token in what an editor wrote or a shell piped. AgentError if there is none in it."""
    if len(content) > TOKEN_FILE_LIMIT:
        raise unusable(f"{source} is too large for a token")
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        return checked(content.decode(encoding), source)
    except UnicodeDecodeError:
        raise unusable(f"{source} is not text") from None


def checked(text: str, source: str) -> str:
    """The token without what editors put around it. AgentError if there is none, or not one alone."""
    token = text.strip("\ufeff\0 \t\r\n")
    if not token:
        raise unusable(f"{source} is empty")
    if not token.isprintable():
        raise unusable(f"{source} has more than one line, or control characters")
    return token


def in_file(file: Path, source: str) -> str:
    """The token in a file. AgentError if there is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(TOKEN_FILE_LIMIT + 1)
    except FileNotFoundError:
        raise unusable(f"{source} is not there") from None
    except OSError as error:
        raise unusable(f"{source} cannot be read, {type(error).__name__}") from None
    return decoded(content, source)


def _in_file(file: Path, name: str, source: Phrase) -> Token:
    return Token(in_file(file, name), Phrase(f"{source.zh}({file})", f"{source.en} ({file})"), file)


def _setting(environment: Mapping[str, str]) -> Phrase:
    """Where a `token` among the settings was written."""
    if any(name.upper() == _VARIABLE for name in environment):
        return Phrase(f"环境变量 {_VARIABLE}", f"the environment variable {_VARIABLE}")
    return Phrase("设置文件", "the settings file")


def _credential(environment: Mapping[str, str]) -> Path | None:
    """The file of the credential that systemd gives to this unit; None outside of one, or where it gives none."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / CREDENTIAL if folder else None
    return file if file is not None and file.is_file() else None
