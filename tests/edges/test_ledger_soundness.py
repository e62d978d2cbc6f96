"""A ledger that is damaged is known as such before anything is written to it, and stays as it is, byte for byte."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.records import Sighting, Stamp
from folder_agent.edges.ledger import open_ledger, soundness
from tests.servers.children import child_that_dies

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of some hundred pages."""
    made = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{made}")
    ledger.sight("ct", [Sighting(f"CT{number}/图像.dcm", Stamp(1, 2, 3)) for number in range(3_000)], {}, 1.0)
    ledger.close()
    assert made.stat().st_size > 100 * PAGE
    return made


def flip_pages(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // PAGE, 7):
            file.seek(page * PAGE)
            file.write(b"\xa5" * 64)


def flip_one_page(path: Path) -> None:
    """The header of one inner page, of whichever table: 8 bytes in a megabyte."""
    with path.open("r+b") as file:
        file.seek(20 * PAGE)
        before = file.read(8)
        file.seek(20 * PAGE)
        file.write(bytes(byte ^ 0xFF for byte in before))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def truncate_within_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def garbage_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"this is a letter")


def another_file(path: Path) -> None:
    path.write_bytes(b"this is a letter, not a ledger. " * 1000)


def empty_beside_its_wal(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name("ledger.db-wal").write_bytes(b"\x37\x7f\x06\x82" + b"committed" * 1000)


DAMAGES = [
    flip_pages,
    flip_one_page,
    truncate,
    truncate_within_a_page,
    garbage_header,
    another_file,
    empty_beside_its_wal,
]


def refusal(check: Callable[[], object]) -> AgentError:
    with pytest.raises(AgentError) as caught:
        check()
    assert caught.value.disposition is Disposition.FATAL
    return caught.value


def contents(path: Path) -> dict[str, bytes]:
    """The ledger's files, but the -shm, which holds nothing that is not in the others."""
    return {one.name: one.read_bytes() for one in path.parent.iterdir() if one.name in {path.name, path.name + "-wal"}}


def test_a_sound_ledger_passes(path: Path) -> None:
    before = path.read_bytes()
    soundness.check(path, lambda: True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_ledger_is_refused_and_left_as_it_is(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    before = contents(path)
    for _ in range(2):
        assert refusal(lambda: soundness.check(path)).problem.code == "FA-LEDGER-CORRUPT"
        after = contents(path)
        assert {"ledger.db-wal": b""} | before == {"ledger.db-wal": b""} | after


def test_an_empty_file_is_a_new_ledger_unless_it_was_used(path: Path) -> None:
    path.write_bytes(b"")
    soundness.check(path, lambda: False)
    assert refusal(lambda: soundness.check(path, lambda: True)).problem.values == (("detail", "the file is empty"),)
    assert path.read_bytes() == b""


def test_no_ledger_is_not_a_damaged_one(tmp_path: Path) -> None:
    soundness.check(tmp_path / "ledger.db", lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_a_wal_without_its_file_is_refused_before_sqlite_deletes_it(path: Path) -> None:
    empty_beside_its_wal(path)
    before = contents(path)
    for readonly in (True, False):
        found = refusal(lambda readonly=readonly: open_ledger(f"sqlite:///{path}", readonly=readonly))  # type: ignore[misc]
        assert found.problem.code == "FA-LEDGER-CORRUPT"
        assert contents(path) == before
    path.unlink()
    assert refusal(lambda: open_ledger(f"sqlite:///{path}")).problem.code == "FA-LEDGER-CORRUPT"
    assert not path.exists()


def test_an_interrupted_rebuild_is_told_to_whoever_opens_it(path: Path) -> None:
    soundness.swap_note(path).write_text("20260131-101500", encoding="ascii")
    told = refusal(lambda: open_ledger(f"sqlite:///{path}", readonly=True))
    assert told.problem == problem("FA-LEDGER-CORRUPT", detail="a rebuild was interrupted")


def test_what_a_kill_left_in_the_wal_is_sound_and_not_lost(path: Path) -> None:
    child_that_dies(
        "from folder_agent.edges.ledger import open_ledger\n"
        f"open_ledger('sqlite:///{path.as_posix()}').remember('left', 'in the wal')\n"
    )
    assert path.with_name("ledger.db-wal").stat().st_size > 0
    soundness.check(path)
    ledger = open_ledger(f"sqlite:///{path}")
    assert ledger.recall("left") == "in the wal"
    ledger.close()


def test_a_check_that_takes_too_long_ends_without_a_verdict(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_one_page(path)
    monkeypatch.setattr(soundness, "_STEPS", 1)
    soundness.check(path, within_s=-1.0)


def test_a_ledger_in_use_can_be_checked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO notes VALUES ('a', 'b')")
        soundness.check(path, within_s=1.0)


@pytest.fixture
def used(path: Path) -> Iterator[Path]:
    """The ledger with its checks off, so that a test may write into it what nobody else would."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = on")
        raw.execute("UPDATE files SET state = 'SEEM' WHERE id = 7")
        raw.execute("UPDATE files SET kind = CAST(x'ff' AS TEXT) WHERE id = 8")
        raw.execute("UPDATE files SET mtime_ns = 'soon' WHERE id = 9")
    yield path
    shutil.rmtree(path.parent)


def test_damage_in_a_row_is_told_as_damage(used: Path) -> None:
    soundness.check(used)  # no checksum tells
    ledger = open_ledger(f"sqlite:///{used}")
    try:
        assert refusal(lambda: ledger.open_files("ct")).problem.code == "FA-LEDGER-CORRUPT"
    finally:
        ledger.close()
