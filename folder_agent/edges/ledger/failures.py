"""What the databases' exceptions mean to the agent: the one place that maps them. Touches nothing.

The databases' own words are left out (PostgreSQL quotes values); their codes say enough.
"""

from __future__ import annotations

import errno
import sqlite3

from peewee import PeeweeException
from pg8000.exceptions import Error as PostgresError
from pg8000.exceptions import InterfaceError as PostgresInterfaceError

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, StaleState, problem

FOREIGN = (PeeweeException, sqlite3.Error, PostgresError, OSError)  # whatever a database call may raise

_RETRY, _FATAL = Disposition.RETRY, Disposition.FATAL

# SQLite's primary result codes (sqlite.org/rescode.html)
SQLITE: dict[int, tuple[str, Disposition]] = {
    sqlite3.SQLITE_BUSY: ("locked", _RETRY),
    sqlite3.SQLITE_LOCKED: ("locked", _RETRY),
    sqlite3.SQLITE_NOMEM: ("out of memory", _RETRY),
    sqlite3.SQLITE_READONLY: ("read-only", _FATAL),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", _FATAL),
    sqlite3.SQLITE_IOERR: ("input/output error", _FATAL),
}
SQLITE_DAMAGE: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: "damaged pages",
    sqlite3.SQLITE_NOTADB: "not a database",
}
POSTGRES_DAMAGE = frozenset({"XX001", "XX002"})  # data_corrupted, index_corrupted
# PostgreSQL's SQLSTATE, whole or by class (PostgreSQL manual, appendix A)
POSTGRES: dict[str, tuple[str, Disposition]] = {
    "08": ("connection lost", _RETRY),
    "57P": ("connection lost", _RETRY),  # shut down, crashed, starting
    "57014": ("interrupted", _RETRY),
    "40": ("locked", _RETRY),  # deadlock, serialisation
    "55P03": ("locked", _RETRY),
    "53": ("server overloaded", _RETRY),
    "25006": ("read-only", _FATAL),
    "28": ("login refused", _FATAL),
    "3D": ("no such database", _FATAL),
    "42501": ("permission denied", _FATAL),
    "XX": ("the server's internal error", _FATAL),
}


def translate(error: BaseException) -> AgentError | StaleState:
    """The agent's own exception for one of FOREIGN. A broken uniqueness is StaleState: somebody else was first."""
    origin = _origin(error)
    if isinstance(origin, sqlite3.Error):
        return _sqlite(origin)
    if isinstance(origin, PostgresInterfaceError):
        return _ledger("the server refuses TLS", _FATAL) if "SSL" in str(origin) else _ledger("connection lost", _RETRY)
    if isinstance(origin, PostgresError):
        return _postgres(origin)
    if isinstance(origin, OSError):
        return _system(origin)
    return _ledger(type(origin).__name__, _FATAL)


def damaged(detail: str) -> AgentError:
    """The ledger is there, and is not what we wrote."""
    return failure(problem("FA-LEDGER-CORRUPT", detail=detail))


def _origin(error: BaseException) -> BaseException:
    """The driver's own exception, which peewee wraps: twice, where connecting fails within a statement."""
    while isinstance(inner := getattr(error, "orig", None), BaseException):
        error = inner
    return error


def _sqlite(error: sqlite3.Error) -> AgentError | StaleState:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_CONSTRAINT:
        return StaleState("the ledger has such a row already")
    if code == sqlite3.SQLITE_FULL:
        return failure(problem("FA-DISK-FULL", where="ledger"))
    if code in SQLITE_DAMAGE:
        return damaged(SQLITE_DAMAGE[code])
    if not code and "UTF-8" in str(error):  # Python's own complaint of a text that cannot be one
        return damaged("a row cannot be read")
    return _ledger(*SQLITE.get(code, (getattr(error, "sqlite_errorname", type(error).__name__), _FATAL)))


def _postgres(error: PostgresError) -> AgentError | StaleState:
    told = error.args[0] if error.args else None
    state = str(told.get("C", "")) if isinstance(told, dict) else ""
    if state.startswith("23"):
        return StaleState("the ledger has such a row already")
    if state == "53100":
        return failure(problem("FA-DISK-FULL", where="ledger"))
    if state in POSTGRES_DAMAGE:
        return damaged("damaged pages")
    known = POSTGRES.get(state) or POSTGRES.get(state[:3]) or POSTGRES.get(state[:2])
    return _ledger(*(known or (f"SQLSTATE {state}", _FATAL)))


def _system(error: OSError) -> AgentError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return failure(problem("FA-DISK-FULL", where="ledger"))
    if isinstance(error, PermissionError):
        return _ledger("permission denied", _FATAL)
    if isinstance(error, ConnectionError | TimeoutError):
        return _ledger("connection lost", _RETRY)
    return _ledger(type(error).__name__, _FATAL)


def _ledger(detail: str, disposition: Disposition) -> AgentError:
    return failure(problem("FA-LEDGER", detail=detail), disposition)
