"""The gateway's token, from the settings or from a file of its own. Touches that file, and only by reading it.

The token never appears in an error or a log.
"""

from __future__ import annotations

import codecs
import stat
import sys
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.settings import GatewaySettings

TOKEN_FILE_LIMIT = 4096  # bytes; a larger file is not a token but something else
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",  # Notepad
    codecs.BOM_UTF16_LE: "utf-16",  # `echo … > token.txt` in Windows PowerShell
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_token(gateway: GatewaySettings) -> str:
    """The token to sign with. AgentError (FA-CREDENTIALS, HOLD) if there is none that could be used."""
    if gateway.token is not None:
        return _checked(gateway.token.get_secret_value(), "token")
    if gateway.token_file is not None:
        return _checked(_text_of(gateway.token_file), "token_file")
    raise _unusable("neither token nor token_file is set")


def token_file_warning(gateway: GatewaySettings) -> str | None:
    """What `doctor` should say of the token file's permissions (POSIX); None if there is nothing to say."""
    if gateway.token_file is None or sys.platform == "win32":
        return None
    try:
        mode = gateway.token_file.stat().st_mode
    except OSError:
        return None  # read_token says it
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{gateway.token_file}: others can reach it (mode {stat.S_IMODE(mode):04o}); chmod 600 would do"
    return None


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(TOKEN_FILE_LIMIT + 1)
    except FileNotFoundError:
        raise _unusable("token_file is not there") from None
    except OSError as error:
        raise _unusable(f"token_file cannot be read, {type(error).__name__}") from None
    if len(content) > TOKEN_FILE_LIMIT:
        raise _unusable("token_file is too large for a token")
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise _unusable("token_file is not text") from None


def _checked(text: str, source: str) -> str:
    token = text.strip("\ufeff\0 \t\r\n")
    if not token:
        raise _unusable(f"{source} is empty")
    if not token.isprintable():
        raise _unusable(f"{source} has more than one line, or control characters")
    return token


def _unusable(detail: str) -> AgentError:
    return failure(problem("FA-CREDENTIALS", detail=detail))
