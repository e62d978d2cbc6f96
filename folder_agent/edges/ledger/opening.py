"""From the url in the settings to a ledger that is ready: created, migrated, or refused with the reason.

Touches the database that the url names.
"""

from __future__ import annotations

from collections.abc import Callable

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.ledger import soundness
from folder_agent.edges.ledger.engine import Engine
from folder_agent.edges.ledger.failures import FOREIGN, translate
from folder_agent.edges.ledger.migrations import check, migrate
from folder_agent.edges.ledger.repository import PeeweeLedger
from folder_agent.edges.ledger.session import Session


def open_ledger(url: str, *, readonly: bool = False) -> PeeweeLedger:
    """The ledger of `sqlite:///…` or `postgresql://…`; made and brought up to date unless `readonly`.

    Raises AgentError: FA-LEDGER-REMOTE, FA-LEDGER-NEWER, FA-LEDGER-CORRUPT, FA-DISK-FULL, or FA-LEDGER with the
    detail.
    """
    session = Session(_engine(url, readonly))
    try:
        with session.call():
            (check if readonly else migrate)(session.engine)
    except BaseException:
        session.close()
        raise
    return PeeweeLedger(session)


def require_sound(url: str, was_used: Callable[[], bool]) -> None:
    """Before an agent works on a ledger: AgentError FA-LEDGER-CORRUPT if it is damaged. `was_used` tells whether
    bundles were delivered with it, so that an empty file is no new one. A server looks after its own files."""
    if url.startswith("sqlite:"):
        from folder_agent.edges.ledger.sqlite import path_of
        from folder_agent.edges.volumes import is_remote

        path = path_of(url)
        if not is_remote(path):
            soundness.check(path, was_used)


def _engine(url: str, readonly: bool) -> Engine:
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        return _sqlite(url, readonly)
    if scheme in {"postgresql", "postgres"}:
        from folder_agent.edges.ledger.postgres import PostgresEngine

        return PostgresEngine(url, readonly)
    raise failure(problem("FA-LEDGER", detail="the url must begin with sqlite:// or postgresql://"))


def _sqlite(url: str, readonly: bool) -> Engine:
    from folder_agent.edges.ledger.sqlite import SqliteEngine, path_of
    from folder_agent.edges.volumes import is_remote

    path = path_of(url)
    if is_remote(path):  # SQLite's WAL needs shared memory, which no network drive gives
        raise failure(problem("FA-LEDGER-REMOTE"))
    soundness.check_files(path)
    engine = SqliteEngine(path, readonly)
    if readonly and not path.is_file():
        raise failure(problem("FA-LEDGER", detail="there is none yet"))
    if not readonly:
        try:
            engine.create()
        except FOREIGN as error:
            raise translate(error) from None
    return engine
