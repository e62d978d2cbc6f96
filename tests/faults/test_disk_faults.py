"""Our own side fails while the agent runs: full and read-only disks, a locked ledger. Real volumes, small ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.edges.ledger import sqlite
from tests.faults.running import FAST, Running, assert_delivered_once, everything, exam
from tests.site import Site
from tests.volumes import fill, mounted, remount


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real volume of 4 MiB."""
    with mounted(tmp_path / "disk", "4m") as place:
        yield place


@pytest.fixture
def fast(site: Site) -> Site:
    site.lines = FAST
    return site


def shelve_on(site: Site, disk: Path) -> None:
    """done/ on another volume than the drop folder."""
    site.drop_lines = f"quiet_s = 0.5\ndone = {json.dumps(str(disk / 'done'))}\n"


def done_on(disk: Path) -> dict[str, dict[str, bytes]]:
    return {path.name: everything(path) for path in (disk / "done").glob("*/*")}


def test_a_ledger_whose_disk_is_full_is_waited_for(fast: Site, disk: Path) -> None:
    fast.ledger = f"sqlite:///{disk / 'ledger.db'}"
    with Running(fast) as agent:
        exams = {"CT1": exam(fast, 1)}
        agent.until_done("CT1")
        ballast = fill(disk)
        exams["CT2"] = exam(fast, 2)
        agent.until(lambda: "FA-DISK-FULL" in fast.logs(), "the full disk is told")
        assert set(fast.received().exams) == {"ACC1"}
        assert everything(fast.drop / "CT2") == exams["CT2"]
        ballast.unlink()
        agent.until_done("CT1", "CT2")
        assert fast.logs().count("FA-DISK-FULL the disk is full (ledger)") <= 4  # said, not shouted
    assert_delivered_once(fast, exams)


@pytest.mark.parametrize("where", ["/dicom-web/studies", "/ris/study/add"])
def test_a_ledger_whose_disk_fills_up_while_an_exam_is_sent_loses_and_mixes_nothing(
    fast: Site, disk: Path, where: str
) -> None:
    """The gateway has accepted what the ledger could not note: it is asked again, which does no harm there."""
    fast.ledger = f"sqlite:///{disk / 'ledger.db'}"
    fast.gateway.misbehave(do="delay", match=where, seconds=1.0)
    with Running(fast) as agent:
        exams = {"CT1": exam(fast, 1)}
        agent.until_states(CT1="SENDING")
        ballast = fill(disk)
        agent.until(lambda: "FA-DISK-FULL" in fast.logs(), "the full disk is told")
        assert everything(fast.drop / "CT1") == exams["CT1"]
        ballast.unlink()
        agent.until_done("CT1")
    assert_delivered_once(fast, exams, resent=True)


def test_a_receipt_for_which_there_is_no_space_is_written_later_and_nothing_is_sent_again(
    fast: Site, disk: Path
) -> None:
    fast.drops = {"ct": disk / "drop"}
    fast.drop.mkdir()
    fast.gateway.misbehave(do="delay", match="/ris/study/add", seconds=0.5)
    with Running(fast) as agent:
        exams = {"CT1": exam(fast, 1)}
        agent.until_states(CT1="SENDING")
        ballast = fill(disk)
        agent.until_told("FA-DISK-FULL")
        agent.until_states(CT1="COMMITTED")
        assert sorted({**everything(fast.drop), "ballast": b""}) == sorted({**exams["CT1"], "ballast": b""})
        ballast.unlink()
        agent.until_done("CT1")
    assert len(fast.received().posts) == 1
    assert_delivered_once(fast, exams)


def test_a_copy_to_a_full_volume_waits_and_the_original_stays(fast: Site, disk: Path) -> None:
    shelve_on(fast, disk)
    ballast = fill(disk, leave=64 * 1024)
    report = b"%PDF-1.4\n" + b"%" * 200_000 + b"\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
    with Running(fast) as agent:
        exams = {"CT1": exam(fast, 1, report=report)}
        agent.until_told("FA-DISK-FULL")
        agent.until_states(CT1="COMMITTED")
        assert (fast.drop / "CT1" / "report.pdf").read_bytes() == report
        ballast.unlink()
        agent.until_done("CT1")
        assert agent.codes() == set()
    assert done_on(disk) == exams
    assert everything(fast.drop) == {}
    assert (len(fast.received().posts), fast.received().repeats) == (1, 0)


def test_a_read_only_shelf_keeps_the_committed_exam_waiting_and_it_is_not_sent_again(fast: Site, disk: Path) -> None:
    shelve_on(fast, disk)
    (disk / "done").mkdir()
    remount(disk, "ro")
    with Running(fast) as agent:
        exams = {f"CT{number}": exam(fast, number) for number in (1, 2)}
        agent.until_told("FA-SHELF")
        agent.until_states(CT1="COMMITTED", CT2="COMMITTED")
        agent.until(lambda: all(one.attempts >= 3 for one in agent.ledger.open_bundles()), "three tries each")
        assert {name: everything(fast.drop / name) for name in exams} == exams
        remount(disk, "rw")
        agent.until_done("CT1", "CT2")
    assert done_on(disk) == exams
    assert everything(fast.drop) == {}
    assert (len(fast.received().posts), fast.received().repeats) == (2, 0)


def test_a_committed_exam_outlives_a_restart_on_a_read_only_shelf(fast: Site, disk: Path) -> None:
    shelve_on(fast, disk)
    (disk / "done").mkdir()
    remount(disk, "ro")
    exams = {}
    for _ in range(2):
        with Running(fast) as agent:
            exams = exams or {"CT1": exam(fast, 1)}
            agent.until_told("FA-SHELF")
    remount(disk, "rw")
    with Running(fast) as agent:
        agent.until_done("CT1")
    assert done_on(disk) == exams
    assert (len(fast.received().posts), fast.received().repeats) == (1, 0)


LOCK = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
other.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
other.execute("ROLLBACK")
other.close()
"""


def test_a_ledger_that_another_process_locks_for_longer_than_we_wait_is_waited_for(
    fast: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.3)
    with Running(fast) as agent:
        exams = {"CT1": exam(fast, 1)}
        agent.until_done("CT1")
        line = [sys.executable, "-c", LOCK, str(fast.root / "ledger.db")]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            exams["CT2"] = exam(fast, 2)
            agent.until(lambda: "FA-LEDGER" in fast.logs(), "the locked ledger is told")
            assert set(fast.received().exams) == {"ACC1"}
            other.communicate("go\n", timeout=30)
        agent.until_done("CT1", "CT2")
    assert_delivered_once(fast, exams)
