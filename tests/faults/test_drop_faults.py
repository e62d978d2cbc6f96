"""The drop folder goes away, or its files change under our hands, while the agent runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.running import FAST, Running, assert_delivered_once, everything, exam
from tests.site import Site, dicom
from tests.volumes import bind, mounted, remount, unmount


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """The share's own disk; it is mounted as the drop folder, and unmounted from there."""
    with mounted(tmp_path / "store", "8m") as place:
        yield place


@pytest.fixture
def share(site: Site, store: Path) -> Iterator[Site]:
    """A site whose drop folder is a mounted share."""
    site.lines = FAST
    site.drop_lines = "quiet_s = 0.5\nscan_s = 0.5\n"
    bind(store, site.drop)
    try:
        yield site
    finally:
        while site.drop.is_mount():
            unmount(site.drop, lazily=True)


def events(agent: Running, name: str) -> list[str]:
    """What happened to a bundle and its files, in order."""
    bundle = next(one for one in agent.ledger.latest_bundles() if one.name == name)
    return [entry.event for entry in agent.ledger.history(bundle.id)]


@pytest.mark.parametrize("restarts", [False, True])
def test_an_unmounted_share_is_an_outage_and_nothing_is_withdrawn_or_sent_again(
    share: Site, store: Path, restarts: bool
) -> None:
    with Running(share) as agent:
        exams = {"CT1": exam(share, 1)}
        agent.until_done("CT1")
        exam(share, 2, images=2, imageCnt=3)
        agent.until_told("FA-WAIT-FILES")
        unmount(share.drop, lazily=True)
        agent.until_told("FA-DROP-GONE")
    if not restarts:
        bind(store, share.drop)
    with Running(share) as agent:
        if restarts:
            agent.until_told("FA-DROP-GONE")
            assert list(share.drop.iterdir()) == []  # no shelf was made in the empty mount point
            bind(store, share.drop)
        agent.until(lambda: "FA-DROP-GONE" not in agent.codes(), "the share is back")
        dicom(share.drop / "CT2/IM2", study="1.2.840.2", series="1.2.840.2.1", accession="ACC2")
        agent.until_done("CT1", "CT2")
        assert "vanish" not in events(agent, "CT2")
        exams["CT2"] = everything(share.shelf()["CT2"])
    assert_delivered_once(share, exams)


def test_a_committed_exam_whose_share_went_away_before_its_move_is_moved_when_it_is_back(
    share: Site, store: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "shelf", "8m") as shelf:
        share.drop_lines += f"done = {json.dumps(str(shelf / 'done'))}\n"
        (shelf / "done").mkdir()
        remount(shelf, "ro")
        with Running(share) as agent:
            dropped = exam(share, 1)
            agent.until_told("FA-SHELF")
            unmount(share.drop, lazily=True)
            agent.until_told("FA-DROP-GONE")
            remount(shelf, "rw")
            tries = agent.ledger.open_bundles()[0].attempts
            agent.until(lambda: agent.status()["drop_troubles"], "it is still an outage")
            assert agent.states() == {"CT1": "COMMITTED"}
            assert agent.ledger.open_bundles()[0].attempts <= tries + 1
            bind(store, share.drop)
            agent.until_done("CT1")
            assert "vanish" not in events(agent, "CT1")
        assert {path.name: everything(path) for path in (shelf / "done").glob("*/*")} == {"CT1": dropped}
    assert (len(share.received().posts), share.received().repeats) == (1, 0)


def test_another_volume_mounted_over_the_drop_folder_is_an_outage(site: Site) -> None:
    site.lines, site.drop_lines = FAST, "quiet_s = 0.5\nscan_s = 0.5\n"
    with Running(site) as agent:
        exam(site, 1, imageCnt=3)
        agent.until_told("FA-WAIT-FILES")
        with mounted(site.drop):
            agent.until_told("FA-DROP-GONE")
        agent.until(lambda: "FA-DROP-GONE" not in agent.codes(), "it is back")
        dicom(site.drop / "CT1/IM2", study="1.2.840.1", series="1.2.840.1.1")
        agent.until_done("CT1")
        assert "vanish" not in events(agent, "CT1")


def test_a_root_that_is_renamed_away_and_back_is_an_outage(site: Site) -> None:
    site.lines, site.drop_lines = FAST, "quiet_s = 0.5\nscan_s = 0.5\n"
    away = site.root / "away"
    with Running(site) as agent:
        exam(site, 1, imageCnt=3)
        agent.until_told("FA-WAIT-FILES")
        site.drop.rename(away)
        agent.until_told("FA-DROP-GONE")
        away.rename(site.drop)
        dicom(site.drop / "CT1/IM2", study="1.2.840.1", series="1.2.840.1.1")
        agent.until_done("CT1")
        assert "vanish" not in events(agent, "CT1")
        exams = {"CT1": everything(site.shelf()["CT1"])}
    assert_delivered_once(site, exams)


def test_a_root_that_goes_away_while_an_exam_is_sent_fails_nothing(site: Site) -> None:
    site.lines, site.drop_lines = FAST, "quiet_s = 0.5\nscan_s = 0.5\n"
    away = site.root / "away"
    site.gateway.misbehave(do="delay", match="/dicom-web/studies", seconds=0.5)
    with Running(site) as agent:
        exams = {"CT1": exam(site, 1)}
        agent.until_states(CT1="SENDING")
        site.drop.rename(away)
        agent.until_told("FA-DROP-GONE")
        assert site.received().posts == []
        away.rename(site.drop)
        agent.until_done("CT1")
    assert_delivered_once(site, exams)


def test_a_file_that_is_replaced_after_it_was_sent_travels_anew_before_the_exam_information(site: Site) -> None:
    site.lines = FAST
    site.gateway.misbehave(do="delay", match="/ris/file/add", seconds=1.0)
    with Running(site) as agent:
        exam(site, 1)
        agent.until(lambda: site.received().instances, "the images have arrived")
        dicom(site.drop / "CT1/IM0", study="1.2.840.1", series="1.2.840.1.1", pixels=bytes([7]) * 2048)
        newer = everything(site.drop / "CT1")
        agent.until_done("CT1")
    assert everything(site.shelf()["CT1"]) == newer
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    got = site.received()
    assert {one["sopInstanceUid"] for one in receipt["files"] if one["kind"] == "DICOM"} <= set(got.instances)
    assert newer["IM0"] in {path.read_bytes() for path in got.instances.values()}
    assert len(got.posts) == 1


def test_a_file_that_is_replaced_after_the_commit_stays_as_the_newcomer_it_is(site: Site, tmp_path: Path) -> None:
    site.lines = FAST
    with mounted(tmp_path / "shelf", "8m") as shelf:
        site.drop_lines = f"quiet_s = 0.5\nscan_s = 0.5\ndone = {json.dumps(str(shelf / 'done'))}\n"
        (shelf / "done").mkdir()
        remount(shelf, "ro")
        with Running(site) as agent:
            dropped = exam(site, 1)
            agent.until_told("FA-SHELF")
            dicom(site.drop / "CT1/IM0", study="1.2.840.1", series="1.2.840.1.1", pixels=bytes([7]) * 2048)
            newer = (site.drop / "CT1/IM0").read_bytes()
            remount(shelf, "rw")
            agent.until(lambda: len(list((shelf / "done").glob("*/CT1 (2)/IM0"))) == 1, "it came late")
            (moved,) = (shelf / "done").glob("*/CT1")
            assert everything(moved) == {name: content for name, content in dropped.items() if name != "IM0"}
            shutil.rmtree(moved)
    assert newer in {path.read_bytes() for path in site.received().instances.values()}
