"""`reconcile` on a real site: all is accounted for, and each kind of difference is named, once, in its place."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from folder_agent import settings
from folder_agent.checkup.accounts import Accounts, Day, NoLedger, local_day
from folder_agent.cli.reading import reading
from folder_agent.core.ports import DayTally
from folder_agent.core.reconciling import Difference, exit_code
from tests.e2e.test_run_once import make_ct
from tests.marks import wine_lacks
from tests.site import Site, dicom, sidecar


def today() -> date:
    return datetime.now().astimezone().date()


@contextmanager
def accounts(site: Site, *, verify: bool = False) -> Iterator[Accounts]:
    loaded = settings.load(site.config(), {})
    with reading(loaded) as ledger:
        yield Accounts(loaded, ledger or NoLedger(), verify=verify, pause=lambda _seconds: None)


def look(site: Site, *, verify: bool = False, days: int = 31) -> tuple[list[Day], list[Difference], int]:
    """The account of the last days, every difference of it, and the exit code."""
    with accounts(site, verify=verify) as made:
        found = list(made.days(today() - timedelta(days=days - 1), today()))
    differences = [one for day in found for one in day.differences]
    return found, differences, exit_code([row for day in found for row in day.rows.values()], differences)


def codes(site: Site, *, verify: bool = False) -> list[str]:
    _, differences, _ = look(site, verify=verify)
    return sorted(one.problem.code for one in differences)


def in_ledger(site: Site, statement: str) -> None:
    with closing(sqlite3.connect(site.root / "ledger.db")) as raw, raw:
        raw.execute(statement)


@pytest.fixture
def delivered(site: Site) -> Site:
    """One exam in done/, one in failed/."""
    make_ct(site.drop / "CT1")
    make_ct(site.drop / "BAD", patientId=None, accessNumber="ACC9")
    assert site.once() == 4
    return site


def test_what_was_delivered_and_refused_is_accounted_for(delivered: Site) -> None:
    days, differences, code = look(delivered, verify=True)
    assert (differences, code) == ([], 0)
    row = days[-1].rows["ct"]
    exams, files = row.exams, row.files
    assert (exams.dropped, exams.accepted, exams.refused, exams.failed, exams.waiting) == (2, 1, 1, 0, 0)
    assert (files.dropped, files.sent, files.not_sent, files.waiting) == (10, 5, 5, 0)
    assert all(row.is_empty for day in days[:-1] for row in day.rows.values())


def test_what_waits_is_no_difference_but_is_not_done_either(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=14)
    assert site.once() == 3
    days, differences, code = look(site)
    assert (differences, code) == ([], 3)
    assert (days[-1].rows["ct"].exams.waiting, days[-1].rows["ct"].files.waiting) == (1, 4)


def test_what_the_system_leaves_in_a_drop_folder_waits_for_nothing(site: Site) -> None:
    (site.drop / "Thumbs.db").write_bytes(b"x")
    (site.drop / "new.dcm.part").write_bytes(b"x")
    assert look(site)[2] == 0
    assert site.once() == 0
    (site.drop / "new.dcm.part").unlink()
    days, differences, code = look(site)
    assert (differences, code) == ([], 0)
    assert days[-1].rows["ct"].files.dropped == 2


def test_files_that_came_after_the_last_look_are_not_called_lost(delivered: Site) -> None:
    make_ct(delivered.drop / "CT2")
    days, differences, code = look(delivered)
    assert [(one.problem.code, one.name, one.count, one.is_missing) for one in differences] == [
        ("FA-REC-NEW", "CT2", 5, False)
    ]
    assert (code, days[-1].rows["ct"].not_looked_at) == (3, 5)


def done(site: Site) -> Path:
    return site.shelf()["CT1"]


def rewrite(site: Site, change: Callable[[dict[str, Any]], None]) -> None:
    file = done(site) / "receipt.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def grow(site: Site) -> None:
    with (done(site) / "report.pdf").open("ab") as file:
        file.write(b"more")


def move_out(site: Site, name: str) -> None:
    shutil.move(site.shelf("failed")[name], site.root / "elsewhere")


def stray(site: Site) -> None:
    (done(site).parent / "CT7").mkdir()
    (done(site).parent / "CT7" / "1.dcm").write_bytes(b"x")


def copy_of_failed(site: Site) -> None:
    shutil.copytree(site.shelf("failed")["BAD"], site.shelf("failed")["BAD"].with_name("BAD (7)"))


DIFFERENCES: dict[str, tuple[Callable[[Site], object], list[str]]] = {
    "folder gone": (lambda site: shutil.rmtree(done(site)), ["FA-REC-FOLDER"]),
    "folder renamed": (
        lambda site: done(site).rename(done(site).with_name("other")),
        ["FA-REC-FOLDER", "FA-REC-UNKNOWN"],
    ),
    "file gone": (lambda site: (done(site) / "images/IM0001").unlink(), ["FA-REC-FILES"]),
    "marker gone": (lambda site: (done(site) / "exam.json").unlink(), ["FA-REC-FILES"]),
    "file grew": (grow, ["FA-REC-SIZE"]),
    "receipt gone": (lambda site: (done(site) / "receipt.json").unlink(), ["FA-REC-NO-RECEIPT"]),
    "receipt cut short": (lambda site: os.truncate(done(site) / "receipt.json", 99), ["FA-REC-BAD-RECEIPT"]),
    "receipt without a file": (
        lambda site: rewrite(site, lambda it: it["files"].pop()),
        ["FA-REC-COUNTS", "FA-REC-NOT-RECEIPTED"],
    ),
    "receipt with one more": (
        lambda site: rewrite(site, lambda it: it["files"].append({**it["files"][0], "sha256": "0" * 64})),
        ["FA-REC-NOT-LEDGERED"],
    ),
    "other counts posted": (lambda site: rewrite(site, lambda it: it["exam"].update(imageCnt=9)), ["FA-REC-COUNTS"]),
    "ledger forgot an acceptance": (
        lambda site: in_ledger(site, "UPDATE files SET accepted_at = NULL WHERE path LIKE '%IM0001'"),
        ["FA-REC-NOT-LEDGERED"],
    ),
    "ledger forgot the bundle": (
        lambda site: [
            in_ledger(site, f"DELETE FROM {table} WHERE {key} = (SELECT id FROM bundles WHERE name = 'CT1')")
            for table, key in (("files", "bundle_id"), ("bundles", "id"))
        ],
        ["FA-REC-UNKNOWN"],
    ),
    "stray folder": (stray, ["FA-REC-STRAY"]),
    "failed folder gone": (lambda site: move_out(site, "BAD"), ["FA-REC-FAILED"]),
    "unknown failed folder": (copy_of_failed, ["FA-REC-UNKNOWN"]),
}


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_a_difference_is_named_and_counts_as_missing(delivered: Site, kind: str) -> None:
    change, wanted = DIFFERENCES[kind]
    change(delivered)
    days, differences, code = look(delivered)
    assert sorted(one.problem.code for one in differences) == wanted
    assert all(one.is_missing and one.drop == "ct" for one in differences)
    assert code == 4
    assert days[-1].rows["ct"].missing == len(wanted)


def test_a_changed_byte_is_found_only_by_verifying(delivered: Site) -> None:
    file = done(delivered) / "images/IM0001"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert codes(delivered) == []
    assert codes(delivered, verify=True) == ["FA-REC-DIGEST"]


def test_a_purged_bundle_is_not_missing(delivered: Site) -> None:
    in_ledger(delivered, f"UPDATE bundles SET purged_at = {time.time()} WHERE name = 'CT1'")
    for path in done(delivered).rglob("*"):
        if path.is_file() and path.name != "receipt.json":
            path.unlink()
    assert codes(delivered) == []
    shutil.rmtree(done(delivered))
    assert codes(delivered) == []


def test_a_bundle_that_the_ledger_only_tallies_is_no_difference_and_is_counted(delivered: Site) -> None:
    in_ledger(delivered, "DELETE FROM files WHERE bundle_id = (SELECT id FROM bundles WHERE name = 'CT1')")
    in_ledger(delivered, "DELETE FROM bundles WHERE name = 'CT1'")
    day = today().isoformat()
    for subject, state, total in (("bundle", "DONE", 1), ("file", "SENT", 5)):
        tally = DayTally(day, "ct", subject, state, total)
        values = ", ".join(repr(getattr(tally, name)) for name in DayTally.__slots__)
        in_ledger(delivered, f"INSERT INTO tallies (day, drop_name, subject, state, total) VALUES ({values})")
    days, differences, code = look(delivered)
    assert (differences, code) == ([], 0)
    assert (days[-1].rows["ct"].exams.accepted, days[-1].rows["ct"].files.sent) == (1, 5)
    copy = done(delivered).with_name("one more")
    shutil.copytree(done(delivered), copy)  # only so many are explained as were tallied
    assert codes(delivered) == ["FA-REC-UNKNOWN"]


def test_what_was_put_back_or_dropped_again_is_not_missing_from_failed(delivered: Site) -> None:
    assert delivered.command("retry", "BAD").returncode == 0
    assert codes(delivered) == ["FA-REC-NEW"]
    sidecar(delivered.drop / "BAD/exam.json", accessNumber="ACC9", imageCnt=3, pdfCnt=1, studyUid="1.2.840.1")
    for image in (delivered.drop / "BAD/images").iterdir():
        dicom(image, accession="ACC9")
    assert delivered.once() == 0
    assert look(delivered)[1:] == ([], 0)


def test_a_file_that_somebody_took_away_from_the_drop_folder_is_missing(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=14)
    assert site.once() == 3
    (site.drop / "CT1/images/IM0001").unlink()
    days, differences, code = look(site)
    assert [(one.problem.code, one.name, one.count) for one in differences] == [("FA-REC-GONE", "CT1", 1)]
    assert (code, days[-1].rows["ct"].missing) == (4, 1)


def test_a_file_that_the_agent_passed_over_is_not_called_new(site: Site) -> None:
    make_ct(site.drop / "CT1", images=2, imageCnt=14)
    assert site.once() == 3
    in_ledger(site, "DELETE FROM files WHERE path LIKE '%IM0001'")
    assert codes(site) == ["FA-REC-NEW"]  # it may have come right after the look
    in_ledger(site, f"UPDATE files SET seen_at = {time.time() + 100}")
    assert codes(site) == ["FA-REC-UNSEEN"]


def test_a_drop_folder_or_shelf_that_is_away_proves_nothing(delivered: Site) -> None:
    delivered.drop.rename(delivered.root / "unplugged")
    _, differences, code = look(delivered)
    assert {one.problem.code for one in differences} == {"FA-DROP-GONE", "FA-SHELF"}
    assert code == 1


def test_without_a_ledger_nothing_on_the_shelves_is_known(delivered: Site) -> None:
    for file in delivered.root.glob("ledger.db*"):
        file.unlink()
    assert codes(delivered) == ["FA-REC-UNKNOWN", "FA-REC-UNKNOWN"]


def test_days_are_those_of_the_first_sight(delivered: Site) -> None:
    old = time.time() - 40 * 86400
    in_ledger(delivered, f"UPDATE bundles SET created_at = {old} WHERE name = 'CT1'")
    in_ledger(delivered, f"UPDATE files SET seen_at = {old} WHERE path LIKE 'CT1/%'")
    days, differences, code = look(delivered)
    assert (differences, code) == ([], 0), "what was dropped earlier and shelved today is known all the same"
    assert days[-1].rows["ct"].exams.accepted == 0
    with accounts(delivered) as made:
        assert made.first_day() == date.fromisoformat(local_day(old))
        (first,) = made.days(date.fromisoformat(local_day(old)), date.fromisoformat(local_day(old)))
    assert (first.rows["ct"].exams.accepted, first.rows["ct"].files.sent) == (1, 5)


def test_only_the_days_asked_for_are_walked(delivered: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 40):
        (done(delivered).parents[1] / f"2020-01-{number:02d}" / "X").mkdir(parents=True)
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": [listed.append(str(path)), scandir(path)][1])
    look(delivered)
    assert listed
    assert not [path for path in listed if "2020-01" in path]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_people_programs_and_spreadsheets(delivered: Site) -> None:
    (done(delivered) / "images/IM0001").unlink()
    day = today().isoformat()
    told = delivered.command("reconcile", "--lang", "en")
    assert told.returncode == 4
    assert told.stdout.splitlines()[0].split() == (
        ["day", "drop", "exams", "accepted", "waiting", "refused", "failed", "files", "sent", "waiting", "missing"]
    )
    assert told.stdout.splitlines()[1].split() == [day, "ct", *["2", "1", "0", "1", "0", "10", "5", "0", "1"]]
    assert "1 of 5 files are not in its folder, such as images/IM0001 [FA-REC-FILES]" in told.stdout
    zh = delivered.command("reconcile", "--lang", "zh").stdout
    assert "文件夹中缺少 1/5 个文件,例如 images/IM0001" in zh
    report = json.loads(delivered.command("reconcile", "--json").stdout)
    assert (report["to"], report["outcome"], len(report["days"])) == (day, 4, 31)
    assert report["days"][-1]["exams"]["accepted"] == 1
    assert [(one["code"], one["bundle"], one["missing"]) for one in report["differences"]] == [
        ("FA-REC-FILES", "CT1", True)
    ]
    table = list(csv.DictReader(io.StringIO(delivered.command("reconcile", "--csv", "-").stdout)))
    assert len(table) == 31
    assert (table[-1]["day"], table[-1]["files_sent"], table[-1]["differences"]) == (day, "5", "FA-REC-FILES")
    file = delivered.root / "proof.csv"
    told = delivered.command("reconcile", "--csv", str(file), "--from", day, "--to", day)
    assert "FA-REC-FILES" in told.stdout
    assert file.read_bytes().startswith(b"\xef\xbb\xbfday,drop,exams_dropped,")
    assert len(file.read_text(encoding="utf-8-sig").splitlines()) == 2


def test_nothing_of_the_patient_is_told(delivered: Site) -> None:
    for arguments in (["--json"], ["--csv", "-"], ["--lang", "zh"]):
        said = delivered.command("reconcile", *arguments)
        assert "测试甲" not in said.stdout + said.stderr
        assert "P7001" not in said.stdout + said.stderr


@pytest.mark.parametrize(
    "arguments", [["--all", "--from", "2026-01-01"], ["--from", "2026-01-02", "--to", "2026-01-01"], ["--to", "x"]]
)
def test_a_range_that_makes_no_sense_is_a_usage_error(site: Site, arguments: list[str]) -> None:
    assert site.command("reconcile", *arguments).returncode == 2


def test_a_csv_that_cannot_be_written_is_told(site: Site) -> None:
    told = site.command("reconcile", "--csv", str(site.root / "no" / "such" / "place.csv"))
    assert told.returncode == 1
    assert "Traceback" not in told.stderr


def test_all_days_begin_with_the_first_that_is_known(delivered: Site) -> None:
    in_ledger(delivered, "INSERT INTO tallies VALUES ('2026-01-31', 'mr', 'bundle', 'DONE', 7)")
    report = json.loads(delivered.command("reconcile", "--all", "--json").stdout)
    assert report["from"] == "2026-01-31"
    gone = [row for row in report["days"] if row["drop"] == "mr"]
    assert [(row["day"], row["exams"]["accepted"]) for row in gone] == [("2026-01-31", 7)]
    assert datetime.now(UTC).year - 2026 <= len(report["days"]) / 300


@wine_lacks("looks that are as fast as a move")
def test_beside_a_running_agent_nothing_is_called_missing_that_merely_moves(site: Site) -> None:
    agent = site.start("run")
    outcomes: list[int] = []
    try:
        end = time.monotonic() + 60.0
        while not (site.root / "ledger.db").exists() or site.command("status").returncode:
            assert time.monotonic() < end
        for number in range(1, 7):
            make_ct(site.drop / f"CT{number}", accessNumber="ACC1")
            with accounts_that_wait(site) as made:
                found = list(made.days(today(), today()))
            told = [one for day in found for one in day.differences if one.is_missing or one.is_outage]
            assert told == []
            outcomes.append(exit_code([row for day in found for row in day.rows.values()], []))
        end = time.monotonic() + 60.0
        while len(site.shelf()) < 6 or look(site)[2] != 0:
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        agent.terminate()
        agent.wait(30.0)
    assert 3 in outcomes, "it was looked at while something moved"
    days, differences, code = look(site, verify=True)
    assert (differences, code, days[-1].rows["ct"].exams.accepted) == ([], 0, 6)


@contextmanager
def accounts_that_wait(site: Site) -> Iterator[Accounts]:
    """As `accounts`, with the real pause before the second look."""
    loaded = settings.load(site.config(), {})
    with reading(loaded) as ledger:
        yield Accounts(loaded, ledger or NoLedger())


def test_an_empty_folder_in_the_place_of_a_volume_proves_nothing(delivered: Site) -> None:
    make_ct(delivered.drop / "CT2", images=2, imageCnt=14)
    assert delivered.once() == 4
    elsewhere = json.dumps({"root": str(delivered.drop.absolute()), "mount": "/mnt/elsewhere"})
    in_ledger(delivered, f"INSERT OR REPLACE INTO notes (name, content) VALUES ('volume:ct', '{elsewhere}')")
    delivered.drop.rename(delivered.root / "unmounted")
    delivered.drop.mkdir()
    _, differences, code = look(delivered)
    assert {one.problem.code for one in differences} == {"FA-DROP-GONE", "FA-SHELF"}
    assert code == 1


def age(site: Site, name: str, days: int) -> Path:
    """Let a delivered bundle be so many days older; its folder."""
    old = today() - timedelta(days=days)
    place = site.drop / "done" / old.isoformat()
    place.mkdir()
    (site.drop / "done" / today().isoformat() / name).rename(place / name)
    seconds, target = days * 86_400, str(place / name)
    in_ledger(
        site,
        f"UPDATE bundles SET created_at = created_at - {seconds}, changed_at = changed_at - {seconds}, "
        f"target = '{target}' WHERE name = '{name}'",
    )
    in_ledger(
        site,
        f"UPDATE files SET seen_at = seen_at - {seconds} "
        f"WHERE bundle_id = (SELECT id FROM bundles WHERE name = '{name}')",
    )
    return place / name


def test_what_was_purged_and_compacted_is_accounted_for(delivered: Site) -> None:
    make_ct(delivered.drop / "CT2", accessNumber="ACC2")
    for image in (delivered.drop / "CT2/images").iterdir():
        dicom(image, accession="ACC2")
    assert delivered.once() == 4
    purged = age(delivered, "CT1", 40)
    assert codes(delivered) == []
    before = look(delivered, days=60)[0]
    delivered.drop_lines, delivered.top = "quiet_s = 0.5\nkeep_done_days = 30\n", "[ledger]\nkeep_days = 35\n"
    assert delivered.once() == 4
    assert not purged.parent.exists()
    with accounts(delivered) as made:
        assert made.first_day() == today() - timedelta(days=40)
    after, differences, _ = look(delivered, days=60)
    assert differences == []
    assert [day.rows for day in after] == [day.rows for day in before]
    make_ct(delivered.drop / "CT1")
    assert delivered.once() == 4, "what was forgotten is delivered again"
    assert look(delivered, days=60)[1] == []
    assert json.loads(delivered.command("status", "--json").stdout)["bundles"]["DONE"] == 3
