"""The ledger's PostgreSQL, through pg8000 (BSD licence; psycopg's LGPL does not go with ours).

Touches the server that the url names.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pg8000.dbapi
from peewee import Model, PostgresqlDatabase, fn

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.ledger.codec import Values
from folder_agent.edges.ledger.engine import Change, Engine, names

_MIGRATION_LOCK = 0x464F4C44  # any number that no other program on the same database uses: "FOLD"
_STATEMENT_S = 60  # a silent server counts as lost after this long
# An administrator may have made commits lazy for other programs' sake; ours are promises.
_ON_CONNECT = """SET lock_timeout = '10s'; SET client_min_messages = 'warning';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
_TYPES = {"BIGAUTO": "bigint", "BIGINT": "bigint", "BOOL": "boolean", "DOUBLE": "double precision", "TEXT": "text"}


class _Connection(pg8000.dbapi.Connection):  # type: ignore[misc]  # pg8000 is untyped
    """pg8000's connection, but one that has been cut off gives its socket back at once, and quietly."""

    def close(self) -> None:
        buffer: Any = self._sock
        try:
            super().close()
        finally:
            if buffer is not None:
                with suppress(OSError, ValueError):
                    buffer.close()


class PostgresEngine(Engine, PostgresqlDatabase):
    """One PostgreSQL database. Rows travel as one JSON value a statement: pg8000 needs three round trips for each."""

    read_mode: ClassVar[str] = "REPEATABLE READ"
    write_mode: ClassVar[str] = "READ COMMITTED"  # a row that another agent has just moved is looked at again
    one_writer: ClassVar[bool] = False
    ddl: ClassVar[Mapping[str, str]] = {
        "id": "BIGSERIAL PRIMARY KEY",
        "double": "DOUBLE PRECISION",
        "bool": "BOOLEAN",
        "ordered": 'TEXT COLLATE "C"',  # by code point, as everywhere else, whatever the server's language
        "exact": ' COLLATE "C"',
        "hash": "USING hash",  # takes values of any length, which a sidecar may well hold
    }

    def __init__(self, url: str, readonly: bool = False) -> None:
        self._options = options_of(url)
        self._on_connect = _ON_CONNECT + ("; SET default_transaction_read_only = on" if readonly else "")
        super().__init__(self._options["database"])

    def whole(self, number: Any) -> Any:
        return fn.FLOOR(number)  # a cast would round

    def lock_schema(self) -> None:
        self.run(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")

    def lock_words(self, words: Iterable[str]) -> None:
        numbers = {int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big", signed=True) for word in words}
        for number in sorted(numbers):  # always in this order: two that want the same two never wait for each other
            self.run(f"SELECT pg_advisory_xact_lock({number:d})")

    def next_ids(self, model: type[Model], count: int) -> list[int]:
        table = model._meta.table_name
        sql = f"SELECT nextval('{table}_id_seq') FROM generate_series(1, {count})"  # noqa: S608 - our names
        return sorted(row[0] for row in self.run(sql).fetchall())

    def insert_rows(self, model: type[Model], columns: tuple[str, ...], rows: Sequence[Values]) -> None:
        source = _source(model, columns)
        sql = f'INSERT INTO "{model._meta.table_name}" ({names(columns)}) SELECT {names(columns)} FROM {source}'  # noqa: S608
        self.run(sql, (json.dumps([dict(zip(columns, row, strict=True)) for row in rows]),))

    def update_rows(self, model: type[Model], columns: tuple[str, ...], changes: Sequence[Change]) -> int:
        marks = ", ".join(f'"{column}" = v."{column}"' for column in columns)
        table, source = model._meta.table_name, _source(model, columns, '"row" bigint, "was" text, ')
        sql = f'UPDATE "{table}" AS t SET {marks} FROM {source} WHERE t."id" = v."row" AND t."state" = v."was"'  # noqa: S608
        return sum(self._update(sql, columns, part) for part in _without_repetition(changes))

    def _update(self, sql: str, columns: Sequence[str], changes: Sequence[Change]) -> int:
        rows = [{"row": row, "was": was, **dict(zip(columns, values, strict=True))} for row, was, values in changes]
        return int(self.run(sql, (json.dumps(rows),)).rowcount)

    def _connect(self) -> Any:
        connection = _Connection(**self._options, timeout=_STATEMENT_S, application_name="folder-agent")
        self.connections.keep(connection)
        connection.autocommit = True  # peewee says BEGIN and COMMIT itself
        connection.cursor().execute(self._on_connect)
        return connection

    def _set_server_version(self, conn: Any) -> None:
        self.server_version = int(conn.parameter_statuses["server_version"].split(".")[0].split()[0]) * 10000


def _source(model: type[Model], columns: Sequence[str], more: str = "") -> str:
    types = ", ".join(f'"{column}" {_TYPES[model._meta.fields[column].field_type]}' for column in columns)
    return f"jsonb_to_recordset(%s::jsonb) AS v({more}{types})"


def _without_repetition(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes in as few parts as let no row come twice in one: UPDATE … FROM changes a row only once."""
    part: dict[int, Change] = {}
    for change in changes:
        if change[0] in part:
            yield list(part.values())
            part = {}
        part[change[0]] = change
    yield list(part.values())


def options_of(url: str) -> dict[str, Any]:
    """What pg8000 needs, from `postgresql://user:password@host:port/database?sslmode=…&sslrootcert=…`.

    The modes are libpq's: disable, allow, prefer (the default), require, verify-ca, verify-full.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise failure(problem("FA-LEDGER", detail="the url is malformed")) from None
    asked = dict(parse_qsl(parts.query))
    mode, roots = asked.pop("sslmode", "prefer"), asked.pop("sslrootcert", None)
    if asked:
        raise failure(problem("FA-LEDGER", detail=f"the url has an unknown option: {min(asked)}"))
    return {
        "user": unquote(parts.username) if parts.username else getpass.getuser(),
        "password": unquote(parts.password) if parts.password else None,
        "host": parts.hostname or "localhost",
        "port": port,
        "database": unquote(parts.path.lstrip("/")) or "folder_agent",
        "ssl_context": _ssl(mode, roots),
    }


def _ssl(mode: str, roots: str | None) -> Any:
    if mode in {"verify-ca", "verify-full"}:
        try:
            context = ssl.create_default_context(cafile=roots)
        except OSError:
            raise failure(problem("FA-LEDGER", detail="sslrootcert cannot be read")) from None
        context.check_hostname = mode == "verify-full"
        return context
    try:  # pg8000: False is never, None is if the server can, True is always
        return {"disable": False, "allow": None, "prefer": None, "require": True}[mode]
    except KeyError:
        raise failure(problem("FA-LEDGER", detail=f"the url has an unknown sslmode: {mode}")) from None
