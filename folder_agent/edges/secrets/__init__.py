"""The token where nobody reads it by chance: a file of its own beside each settings file, sealed by the system.

Touches that file. On Windows it is encrypted by DPAPI for this machine, and only administrators, SYSTEM and the
service's account may open it; elsewhere it is plain text that only its owner may read (0600). The token is in no error
and no log.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges import durable
from folder_agent.edges.paths import openable, retrying

if sys.platform == "win32":
    from folder_agent.edges.secrets import dpapi as system
else:
    from folder_agent.edges.secrets import owned as system

LIMIT = 65536  # bytes of a store; a larger file is something else
_MAGIC = b"folder-agent secret 1 "
AGAIN = "set it again: folder-agent secret set"


def store_of(settings_file: Path) -> Path:
    """Where the token for these settings is kept. Each settings file has its own, so that installations do not mix."""
    return settings_file.absolute().with_name(f"{settings_file.name}.secret")


def keep(store: Path, token: str, accounts: Sequence[str] = ()) -> None:
    """Store the token in place of an earlier one, whole or not at all. `accounts` may read it, too (on POSIX the one
    account that is to own it). Raises OSError; LookupError for an account that there is not."""
    content = _MAGIC + system.KIND + b"\n" + system.seal(token.encode()) + b"\n"
    durable.write_whole(openable(store), content, system.opener(accounts))


def recall(store: Path) -> str | None:
    """The stored token as it was given; None if there is none. AgentError (FA-CREDENTIALS, HOLD) if it is unusable."""
    try:
        content = retrying(lambda: _content(openable(store)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(f"the stored token cannot be read, {type(error).__name__}; {store}") from None
    head, _, sealed = content.partition(b"\n")
    if len(content) > LIMIT or not head.startswith(_MAGIC):
        raise unusable(f"{store.name} is not what secret set writes; {AGAIN}")
    if head.removeprefix(_MAGIC) != system.KIND:
        raise unusable(f"the token was stored on another kind of system; {AGAIN}")
    try:
        return system.unseal(sealed.strip()).decode()
    except (OSError, ValueError):
        raise unusable(f"the token was stored on another machine, or its file is damaged; {AGAIN}") from None


def forget(store: Path) -> bool:
    """Remove the stored token; whether there was one. Raises OSError."""
    try:
        durable.remove(openable(store))
    except FileNotFoundError:
        return False
    return True


def unusable(detail: str) -> AgentError:
    """FA-CREDENTIALS with that detail."""
    return failure(problem("FA-CREDENTIALS", detail=detail))


def _content(store: Path) -> bytes:
    with store.open("rb") as reader:
        return reader.read(LIMIT + 1)
