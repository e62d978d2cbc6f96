"""A ledger that is damaged or lost is rebuilt from what lies on the disk; nothing delivered is sent again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from folder_agent import settings
from folder_agent.cli.rebuilding import rebuild
from folder_agent.core.errors import AgentError
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.edges import durable
from folder_agent.edges.ledger import open_ledger
from tests.e2e.test_reconcile import look
from tests.e2e.test_run_once import make_ct
from tests.edges.test_ledger_soundness import DAMAGES, refusal
from tests.servers.children import child_that_dies
from tests.site import PDF, Site, dicom, sidecar

WAIT_S = 30.0


@pytest.fixture
def busy(site: Site) -> Site:
    """One exam delivered from a folder and one flat, one refused, one failed after its files were accepted, one
    waiting."""
    make_ct(site.drop / "CT1", accessNumber="ACC1")
    (site.drop / "CT1/Thumbs.db").write_bytes(b"x")
    sidecar(site.drop / "A2.json", accessNumber="ACC2", pdfCnt=1, imageCnt=0, studyCategory="emergency")
    (site.drop / "A2.pdf").write_bytes(PDF + b"%2")
    assert site.once() == 0
    make_ct(site.drop / "BAD", patientId=None)
    make_ct(site.drop / "NAK", images=2)
    site.gateway.misbehave(match="/ris/study/add", do="code", code=100001, times=1)
    make_ct(site.drop / "HALF", images=2, imageCnt=9)
    assert site.once() == 4
    assert site.states() == {"CT1": "DONE", "A2": "DONE", "BAD": "REFUSED", "NAK": "FAILED", "HALF": "GATHERING"}
    return site


def ledger_of(site: Site) -> Path:
    return site.root / "ledger.db"


def known(site: Site) -> dict[str, tuple[BundleRecord, list[FileRecord]]]:
    """The bundles by name, with their files, as the ledger has them."""
    ledger = open_ledger(settings.load(site.config(), {}).ledger.url or "", readonly=True)
    try:
        return {one.name: (one, ledger.files_of(one.id)) for one in ledger.latest_bundles(1000)}
    finally:
        ledger.close()


def essence(found: tuple[BundleRecord, list[FileRecord]]) -> tuple[object, ...]:
    """What of a bundle must survive."""
    bundle, files = found
    what = (bundle.drop, bundle.state, bundle.study_uid, bundle.access_number, bundle.study_id, bundle.counts)
    when = (int(bundle.created_at), int(bundle.committed_at or 0), bundle.answer, bundle.target, bundle.emergency)
    kept = sorted(
        (f.path, f.stamp.size, f.state, f.kind, f.sha256 or "", f.sop_instance or "", f.destination or "")
        for f in files
    )
    times = sorted(int(f.accepted_at or 0) for f in files)
    return (bundle.key, bundle.is_open, *what, *when, kept, times)


def again(site: Site) -> int:
    """Run once; how many requests it made."""
    before = len(site.received().requests)
    site.once()
    return len(site.received().requests) - before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_ledger_stops_the_agent_and_is_rebuilt(busy: Site, damage: Callable[[Path], None]) -> None:
    before = known(busy)
    path = ledger_of(busy)
    damage(path)
    damaged = path.read_bytes()
    assert refusal(busy.once).problem.code == "FA-LEDGER-CORRUPT"
    told = busy.command("run", "--once")
    assert told.returncode == 1
    assert "folder-agent ledger rebuild" in told.stderr
    assert path.read_bytes() == damaged
    told = busy.command("ledger", "rebuild", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["delivered"], report["not_delivered"], report["skipped"]) == (2, 2, [])
    assert Path(report["kept"]).read_bytes() == damaged
    after = known(busy)
    for name in ("CT1", "A2"):
        assert essence(after[name]) == essence(before[name])
    assert {name: str(found[0].state) for name, found in after.items()} == {
        "CT1": "DONE",
        "A2": "DONE",
        "BAD": "REFUSED",
        "NAK": "FAILED",
    }
    assert again(busy) == 0, "nothing is sent again"
    assert busy.states()["HALF"] == "GATHERING", "what lies in the drop folder is seen anew"
    days, differences, code = look(busy, verify=True)
    assert (differences, code) == ([], 3)
    exams = days[-1].rows["ct"].exams
    assert (exams.accepted, exams.refused, exams.failed, exams.waiting) == (2, 1, 1, 1)


def test_an_empty_file_beside_delivered_bundles_is_a_damaged_ledger(busy: Site) -> None:
    ledger_of(busy).write_bytes(b"")
    assert refusal(busy.once).problem.code == "FA-LEDGER-CORRUPT"
    assert ledger_of(busy).read_bytes() == b""
    assert busy.command("ledger", "rebuild").returncode == 0
    assert again(busy) == 0


def test_a_lost_ledger_is_rebuilt(busy: Site) -> None:
    ledger_of(busy).unlink()
    told = busy.command("ledger", "rebuild", "--lang", "zh")
    assert told.returncode == 0
    assert "账本已重建:已送达 2 个检查,未送达 2 个" in told.stdout
    assert not list(busy.root.glob("ledger.db.*"))
    assert again(busy) == 0
    assert look(busy)[1:] == ([], 3)


def test_what_was_delivered_is_recognised_after_a_rebuild(busy: Site) -> None:
    ledger_of(busy).unlink()
    assert busy.command("ledger", "rebuild").returncode == 0
    done = busy.shelf()["CT1"]
    shutil.copytree(done, busy.drop / "CT1 again", ignore=shutil.ignore_patterns("receipt.json"))
    assert again(busy) == 0, "the very same was delivered, exam information and all"
    assert busy.received().repeats == 0
    update = json.loads((done / "exam.json").read_text(encoding="utf-8")) | {"phoneNum": "13800000000"}
    (busy.drop / "update.json").write_text(json.dumps(update), encoding="utf-8")
    assert again(busy) == 1, "the exam information alone"
    assert busy.received().repeats == 0


def test_what_failed_can_be_retried_after_a_rebuild_without_sending_its_files_again(busy: Site) -> None:
    ledger_of(busy).unlink()
    assert busy.command("ledger", "rebuild").returncode == 0
    assert "WHY.txt" in busy.command("status", "--lang", "en").stdout
    assert busy.command("retry", "NAK").returncode == 0
    assert again(busy) == 1, "the exam information alone"
    assert busy.states()["NAK"] == "DONE"
    assert look(busy)[1] == []
    assert busy.command("retry", "BAD").returncode == 0
    busy.once()
    assert busy.states()["BAD"] == "REFUSED"
    assert busy.shelf("failed").keys() == {"BAD (2)"}, "the ledger knows where it lay before"


def test_an_interrupted_move_is_finished_after_a_rebuild(site: Site) -> None:
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    done = site.shelf()["CT1"]
    (site.drop / "CT1/images").mkdir(parents=True)
    for name in ("images/IM0002", "exam.json"):  # as if a crash had come in the middle of the move
        (done / name).rename(site.drop / "CT1" / name)
    ledger_of(site).unlink()
    report = json.loads(site.command("ledger", "rebuild", "--json").stdout)
    assert (report["delivered"], report["unfinished"]) == (1, 1)
    assert again(site) == 0
    assert site.states() == {"CT1": "DONE"}
    assert not (site.drop / "CT1").exists()
    assert (done / "images/IM0002").is_file()
    assert look(site, verify=True)[1:] == ([], 0)


def test_a_newcomer_in_the_place_of_a_delivered_file_is_not_part_of_it(site: Site) -> None:
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    (site.shelf()["CT1"] / "report.pdf").unlink()
    (site.drop / "CT1").mkdir()
    (site.drop / "CT1/report.pdf").write_bytes(PDF + b"% another report\n%%EOF\n")
    ledger_of(site).unlink()
    assert json.loads(site.command("ledger", "rebuild", "--json").stdout)["unfinished"] == 0
    assert [one.problem.code for one in look(site)[1]] == ["FA-REC-FILES", "FA-REC-NEW"]


def test_a_folder_that_proves_nothing_is_left_out_and_named(busy: Site) -> None:
    (busy.shelf()["CT1"] / "receipt.json").write_text("{}", encoding="utf-8")
    ledger_of(busy).unlink()
    report = json.loads(busy.command("ledger", "rebuild", "--json").stdout)
    assert report["skipped"] == [str(busy.shelf()["CT1"])]
    assert report["delivered"] == 1
    assert [one.problem.code for one in look(busy)[1] if one.is_missing] == ["FA-REC-STRAY"]


def test_a_sound_ledger_is_not_rebuilt_unless_it_is_forced(busy: Site) -> None:
    before = ledger_of(busy).read_bytes()
    told = busy.command("ledger", "rebuild")
    assert told.returncode == 1
    assert "FA-LEDGER-SOUND" in told.stderr
    assert ledger_of(busy).read_bytes() == before
    assert busy.command("ledger", "rebuild", "--force").returncode == 0
    assert [path.read_bytes() for path in busy.root.glob("ledger.db.corrupt-*[0-9]")] == [before]
    assert again(busy) == 0


def test_the_wal_of_a_killed_agent_is_kept_with_its_file(busy: Site) -> None:
    path = ledger_of(busy)
    child_that_dies(
        "from folder_agent.edges.ledger import open_ledger\n"
        f"open_ledger('sqlite:///{path.as_posix()}').remember('left', 'in the wal')\n"
    )
    assert busy.command("ledger", "rebuild", "--force").returncode == 0
    (kept,) = busy.root.glob("ledger.db.corrupt-*[0-9]")
    with closing(sqlite3.connect(kept)) as raw:
        assert raw.execute("SELECT content FROM notes WHERE name = 'left'").fetchone() == ("in the wal",)


def test_a_ledger_in_use_is_not_touched(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=9)
    agent = site.start("run")
    try:
        end = time.monotonic() + WAIT_S
        while not (ledger_of(site).exists() and site.states().get("CT1") == "GATHERING"):
            assert time.monotonic() < end
            time.sleep(0.1)
        told = site.command("ledger", "rebuild", "--force")
        assert told.returncode == 1
        assert "FA-IN-USE" in told.stderr
        assert not list(site.root.glob("ledger.db.corrupt*"))
        assert agent.poll() is None
    finally:
        agent.terminate()
        agent.wait(WAIT_S)
    assert site.command("ledger", "rebuild", "--force").returncode == 0


def test_a_ledger_that_any_other_program_has_open_is_not_touched(busy: Site) -> None:
    script = (
        "import sys\n"
        "from folder_agent.edges.ledger import open_ledger\n"
        f"ledger = open_ledger('sqlite:///{ledger_of(busy).as_posix()}')\n"
        "print(ledger.tallies().files, flush=True)\n"
        "sys.stdin.read()\n"
    )
    before = ledger_of(busy).read_bytes()
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline()
        told = busy.command("ledger", "rebuild", "--force")
        assert told.returncode == 1
        assert "FA-LEDGER-OPEN" in told.stderr
        assert ledger_of(busy).read_bytes() == before
    finally:
        other.communicate()
    assert busy.command("ledger", "rebuild", "--force").returncode == 0


def test_an_empty_folder_in_the_place_of_a_volume_is_no_reason_to_forget_it_all(busy: Site) -> None:
    busy.drop.rename(busy.root / "unmounted")
    busy.drop.mkdir()
    ledger_of(busy).unlink()
    told = busy.command("ledger", "rebuild")
    assert told.returncode == 1
    assert "FA-DROP-GONE" in told.stderr
    assert not ledger_of(busy).exists()


def test_a_shelf_out_of_reach_stops_the_rebuild(busy: Site) -> None:
    before = ledger_of(busy).read_bytes()
    busy.drop.rename(busy.root / "unplugged")
    told = busy.command("ledger", "rebuild", "--force")
    assert told.returncode == 1
    assert "FA-DROP-GONE" in told.stderr
    assert ledger_of(busy).read_bytes() == before
    assert not list(busy.root.glob("ledger.db.*"))


# --- killed anywhere --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing of ours runs after it, but for what the test keeps from running."""


def kept_by_a_kill(new: Path, parts: tuple[str, ...] = ()) -> None:
    """A kill clears up nothing; what is done on the way is."""
    for part in parts:
        new.with_name(new.name + part).unlink(missing_ok=True)


STEPS = ("write_whole", "rename_new", "remove", "sync_folder")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(12))
def test_a_swap_that_is_interrupted_anywhere_loses_nothing_and_can_be_repeated(
    busy: Site, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    ledger = ledger_of(busy)
    child_that_dies(  # so that there is a -wal to be kept with its file
        "from folder_agent.edges.ledger import open_ledger\n"
        f"open_ledger('sqlite:///{ledger.as_posix()}').remember('left', 'in the wal')\n"
    )
    whole = {path.name: path.read_bytes() for path in busy.root.glob("ledger.db*") if not path.name.endswith("-shm")}
    calls = 0

    def dying(step: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            nonlocal calls
            if any(".new" in str(argument) for argument in arguments) and step.__name__ == "remove":
                return step(*arguments)  # clearing up is not part of the swap
            calls += 1
            if calls - 1 == number and not after:
                raise Killed
            step(*arguments)
            if calls - 1 == number:
                raise Killed
            return None

        return call

    with monkeypatch.context() as patched:
        for step in STEPS:
            patched.setattr(durable, step, dying(getattr(durable, step)))
        patched.setattr("folder_agent.edges.ledger.rebuilding._remove", kept_by_a_kill)  # a kill clears up nothing
        try:
            rebuild(busy.config(), force=True, as_json=True, language="en")
            is_killed = False
        except Killed:
            is_killed = True
    if is_killed:
        left = {path.name: path.read_bytes() for path in busy.root.glob("ledger.db*")}
        assert whole["ledger.db"] in left.values()
        assert whole["ledger.db-wal"] in left.values()
        if (busy.root / "ledger.db.swap").exists():
            assert refusal(busy.once).problem.code == "FA-LEDGER-CORRUPT"
        rebuild(busy.config(), force=True, as_json=True, language="en")
    assert again(busy) == 0
    assert look(busy)[1:] == ([], 3)
    assert not list(busy.root.glob("ledger.db.new*"))
    assert not (busy.root / "ledger.db.swap").exists()
    kept = [path.read_bytes() for path in busy.root.glob("ledger.db.corrupt-*")]
    assert whole["ledger.db"] in kept


def test_a_rebuild_killed_while_it_writes_leaves_the_old_ledger_alone(busy: Site) -> None:
    path = ledger_of(busy)
    with path.open("r+b") as file:
        file.write(b"garbage")
    before = path.read_bytes()
    script = (
        "import os, sys\n"
        "from folder_agent.edges.ledger import rebuilding\n"
        "whole = rebuilding.Writer.insert\n"
        "def insert(self, chunk):\n"
        "    whole(self, chunk)\n"
        "    os._exit(9)\n"
        "rebuilding.Writer.insert = insert\n"
        "from folder_agent.cli import main\n"
        f"sys.argv = ['folder-agent', 'ledger', 'rebuild', '--config', {str(busy.config())!r}]\n"
        "main()\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 9
    assert path.read_bytes() == before
    assert (busy.root / "ledger.db.new").exists()
    assert refusal(busy.once).problem.code == "FA-LEDGER-CORRUPT"
    assert busy.command("ledger", "rebuild").returncode == 0
    assert again(busy) == 0
    assert look(busy)[1:] == ([], 3)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_on_postgres_it_goes_into_an_empty_database_only(busy: Site, postgres_url: str) -> None:
    before = known(busy)
    busy.ledger = postgres_url
    assert busy.command("ledger", "rebuild").returncode == 0
    after = known(busy)
    for name in ("CT1", "A2"):
        assert essence(after[name]) == essence(before[name])
    told = busy.command("ledger", "rebuild", "--force")
    assert told.returncode == 1
    assert "FA-LEDGER-FILLED" in told.stderr
    assert known(busy) == after
    assert again(busy) == 0
    assert look(busy)[1:] == ([], 3)


def test_on_postgres_a_rebuild_that_fails_leaves_the_database_empty(
    busy: Site, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.ledger = postgres_url
    os.truncate(busy.shelf("failed")["NAK"] / "receipt.json", 5)
    with monkeypatch.context() as patched:
        patched.setattr("folder_agent.checkup.remains._Finder._with_left", _raise)
        with pytest.raises(AgentError):
            rebuild(busy.config(), force=False, as_json=True, language="en")
    assert known(busy) == {}
    assert busy.command("ledger", "rebuild").returncode == 0


def _raise(_finder: object, _one: object) -> None:
    raise OSError(5, "input/output error")


def test_dicom_is_not_needed_to_rebuild(busy: Site) -> None:
    """The receipt is enough: files that were purged, or lie on tape, need not be read."""
    dicom(busy.shelf()["CT1"] / "images/IM0000")
    for path in (busy.shelf()["CT1"] / "images").iterdir():
        path.unlink()
    ledger_of(busy).unlink()
    assert busy.command("ledger", "rebuild").returncode == 0
    _, files = known(busy)["CT1"]
    assert sum(one.sha256 is not None for one in files) == 5
