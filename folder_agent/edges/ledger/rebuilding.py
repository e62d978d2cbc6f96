"""Writes a rebuilt ledger beside the old one, and at the very end puts it in its place. Nothing of the old one is lost.

Touches ledger.db.new, and in the end renames: ledger.db (with -wal and -shm) to ledger.db.corrupt-YYYYMMDD-HHMMSS, and
ledger.db.new to ledger.db. A note beside them tells an interrupted swap: nobody opens the ledger before it is mended.
On PostgreSQL everything is one transaction, into an empty database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.rebuilding import Rebuilt
from folder_agent.edges import durable
from folder_agent.edges.ledger import codec, soundness, tables
from folder_agent.edges.ledger.engine import Engine
from folder_agent.edges.ledger.failures import FOREIGN, translate
from folder_agent.edges.ledger.locking import held_alone
from folder_agent.edges.ledger.migrations import migrate
from folder_agent.edges.ledger.session import Session
from folder_agent.edges.ledger.sqlite import SqliteEngine, path_of
from folder_agent.edges.volumes import is_remote

_MOST_ROWS = 5_000  # files in memory and in one statement, but never less than one bundle's
_PARTS = ("-wal", "-shm", "")  # the file itself goes last and comes back first: with its -wal it is whole


def rebuild(url: str, bundles: Iterable[Rebuilt], stamp: str, *, force: bool = False) -> Path | None:
    """Write a ledger of those bundles and put it in the place of the one of the `url`; where the old one is kept, if
    there was one. `stamp` ends its name. `force`: also if the old one is sound.

    Raises AgentError: FA-LEDGER-OPEN, FA-LEDGER-SOUND, FA-LEDGER-FILLED and those of `open_ledger`; then, as after a
    kill, the old ledger is as it was, and the rebuild can be repeated.
    """
    with _translated():
        if url.startswith("sqlite:"):
            return _rebuild_file(path_of(url), bundles, stamp, force)
        from folder_agent.edges.ledger.postgres import PostgresEngine

        _fill(PostgresEngine(url), bundles, _in_one_transaction)
        return None


def _rebuild_file(path: Path, bundles: Iterable[Rebuilt], stamp: str, force: bool) -> Path | None:
    if is_remote(path):
        raise failure(problem("FA-LEDGER-REMOTE"))
    _mend_swap(path)
    if not force:
        _require_damage(path)
    new = path.with_name(path.name + ".new")
    with held_alone(path) as let_go:
        _remove(new)
        try:
            engine = SqliteEngine(new)
            engine.create()
            _fill(engine, bundles, _in_chunks)
            _require_whole(new)
        except BaseException:
            _remove(new)
            raise
        let_go()  # Windows renames nothing that is open
        return _swap(path, new, stamp)


def _require_whole(new: Path) -> None:
    if _part(new, "-wal").exists():  # closing the last connection moves it into the file
        raise failure(problem("FA-LEDGER", detail="the new file is not whole"))
    soundness.check(new)
    _remove(new, _PARTS[:2])  # the check's connection left empty ones


def _require_damage(path: Path) -> None:
    """FA-LEDGER-SOUND if there is a ledger, and nothing is known to be wrong with it."""
    try:
        soundness.check(path, lambda: True)
    except AgentError:
        return
    if path.exists():
        raise failure(problem("FA-LEDGER-SOUND"))


def _fill(engine: Engine, bundles: Iterable[Rebuilt], transacting: Callable[[Session, Writer], None]) -> None:
    session = Session(engine)
    try:
        with session.call():
            migrate(engine)
        transacting(session, Writer(engine, bundles))
        if isinstance(engine, SqliteEngine):
            with session.call():
                engine.run("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        session.close()


class Writer:
    """Writes the bundles in chunks."""

    def __init__(self, engine: Engine, bundles: Iterable[Rebuilt]) -> None:
        self._engine, self._tables = engine, tables.bind(engine)
        self.chunks = _chunks(bundles)

    def is_empty(self) -> bool:
        """Whether the database holds nothing that a rebuild could mix with."""
        models = (self._tables.bundle, self._tables.file, self._tables.tally)
        return not any(model.select().limit(1).exists() for model in models)

    def insert(self, chunk: list[Rebuilt]) -> None:
        """Write the bundles with their files, numbered; for use in a transaction."""
        engine, bundle, file = self._engine, self._tables.bundle, self._tables.file
        numbers = engine.next_ids(bundle, len(chunk))
        numbered = list(zip(numbers, chunk, strict=True))
        rows = [(number, *codec.bundle_values(record)) for number, (record, _) in numbered]
        engine.insert_rows(bundle, ("id", *tables.BUNDLE_COLUMNS), rows)
        files = [(number, one) for number, (_, records) in numbered for one in records]
        place = tables.FILE_COLUMNS.index("bundle_id")
        for start in range(0, len(files), _MOST_ROWS):
            part = files[start : start + _MOST_ROWS]
            ids = engine.next_ids(file, len(part))
            values = [codec.file_values(one) for _, one in part]
            owned = [(*v[:place], number, *v[place + 1 :]) for v, (number, _) in zip(values, part, strict=True)]
            columns = ("id", *tables.FILE_COLUMNS)
            engine.insert_rows(file, columns, [(n, *v) for n, v in zip(ids, owned, strict=True)])
        told = [(r.changed_at, "bundle", n, "", "rebuild", str(r.state), None) for n, (r, _) in numbered]
        engine.insert_rows(self._tables.history, tables.HISTORY_COLUMNS, told)


def _in_chunks(session: Session, writer: Writer) -> None:
    for chunk in writer.chunks:
        with session.writing():
            writer.insert(chunk)


def _in_one_transaction(session: Session, writer: Writer) -> None:
    with session.writing():
        if not writer.is_empty():
            raise failure(problem("FA-LEDGER-FILLED"))
        for chunk in writer.chunks:
            writer.insert(chunk)


def _chunks(bundles: Iterable[Rebuilt]) -> Iterator[list[Rebuilt]]:
    chunk: list[Rebuilt] = []
    rows = 0
    for bundle, files in bundles:
        if chunk and rows + len(files) > _MOST_ROWS:
            yield chunk
            chunk, rows = [], 0
        chunk.append((bundle, files))
        rows += 1 + len(files)
    if chunk:
        yield chunk


# --- the swap ---------------------------------------------------------------------------------------------------------


def _swap(path: Path, new: Path, stamp: str) -> Path | None:
    """Put the new file in the old one's place. Interrupted anywhere, `_mend_swap` undoes or finishes it."""
    stamps = (stamp if number == 1 else f"{stamp}-{number}" for number in count(1))
    kept = next(one for one in (_kept(path, stamp) for stamp in stamps) if not any(_there(one)))
    note = soundness.swap_note(path)
    durable.write_whole(note, kept.name.encode())
    there = _there(path)
    for part in there:
        durable.rename_new(_part(path, part), _part(kept, part))
    durable.sync_folder(path.parent)
    durable.rename_new(new, path)
    durable.sync_folder(path.parent)
    durable.remove(note)
    durable.sync_folder(path.parent)
    return kept if there else None


def _mend_swap(path: Path) -> None:
    """After a swap that was interrupted: the old ledger is back where it was, unless the new one had come there."""
    note = soundness.swap_note(path)
    try:
        kept = path.with_name(note.read_bytes().decode("utf-8", "replace"))
    except FileNotFoundError:
        return
    new = path.with_name(path.name + ".new")
    if new.exists():
        for part in reversed(_PARTS):
            if _part(kept, part).exists() and not _part(path, part).exists():
                durable.rename_new(_part(kept, part), _part(path, part))
        durable.sync_folder(path.parent)
    durable.remove(note)
    durable.sync_folder(path.parent)


def _kept(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.corrupt-{stamp}")


def _there(path: Path) -> list[str]:
    return [part for part in _PARTS if _part(path, part).exists()]


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _remove(new: Path, parts: tuple[str, ...] = _PARTS) -> None:
    """What a killed rebuild left, or this one: never anything but our own half ledger."""
    for part in parts:
        with suppress(FileNotFoundError):
            durable.remove(_part(new, part))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FOREIGN as error:
        raise translate(error) from None
