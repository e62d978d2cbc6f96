"""`eager`, with everything real: the agent in a process of its own, files on disk, SQLite, HTTP over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_run_once import make_ct
from tests.site import Site, dicom, sidecar

WITHIN_S = 60.0
STOW, ADD = "/dicom-web/studies", "/ris/study/add"


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def running(site: Site) -> Iterator[None]:
    """`folder-agent run`."""
    process = site.start("run")
    try:
        yield
        assert process.poll() is None, site.logs()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def eager(site: Site) -> Site:
    site.drop_lines = "quiet_s = 0.5\nscan_s = 1\neager = true\n"
    return site


def paths(site: Site, after: int = 0) -> list[str]:
    """Where each request went, in order."""
    return [str(entry["path"]) for entry in site.received().requests[after:]]


def slowly(site: Site, images: int, first: int) -> None:
    """The sidecar, and all images but the last; wait until the gateway has them."""
    sidecar(site.drop / "CT1/exam.json", imageCnt=images, studyUid="1.2.840.1")
    for number in range(first, images):
        dicom(site.drop / f"CT1/IM{number:04d}")
    until(lambda: len(site.received().instances) == images - 1, "the images do not go ahead")


@pytest.mark.parametrize("images", [3, 60])
def test_what_is_left_when_the_last_image_comes_is_that_image_and_the_commit(eager: Site, images: int) -> None:
    """However large the study: what the exam's last file costs does not grow with it."""
    with running(eager):
        slowly(eager, images, 1)
        assert ADD not in paths(eager)
        before = len(paths(eager))
        dicom(eager.drop / "CT1/IM0000")
        until(lambda: ADD in paths(eager), "it is not committed")
        until(lambda: any(eager.drop.glob("done/*/CT1/receipt.json")), "it is not shelved")
    assert paths(eager, before) == [STOW, ADD]
    assert len(eager.received().instances) == images
    assert eager.received().exams["ACC1"]["imageCnt"] == images
    told = json.loads((eager.shelf()["CT1"] / "receipt.json").read_bytes())
    assert len([one for one in told["files"] if one["sopInstanceUid"]]) == images


def test_what_went_ahead_of_an_exam_that_is_refused_is_told_beside_it_and_does_not_go_twice(eager: Site) -> None:
    with running(eager):
        slowly(eager, 4, 1)
        dicom(eager.drop / "CT1/IM0000", accession="OTHER")
        until(lambda: "CT1" in eager.shelf("failed") and _is_whole(eager.shelf("failed")["CT1"]), "it is not refused")
        failed = eager.shelf("failed")["CT1"]
        told = json.loads((failed / "receipt.json").read_bytes())
        why = (failed / "WHY.txt").read_text(encoding="utf-8-sig")
        assert paths(eager).count(ADD) == 0
        assert told["outcome"] == "not delivered"
        assert {one["path"] for one in told["files"]} == {"IM0001", "IM0002", "IM0003"}
        assert {one["sopInstanceUid"] for one in told["files"]} == set(eager.received().instances)
        assert {one["path"] for one in told["notSent"]} == {"IM0000", "exam.json"}
        assert "already holds 3 of its 5 files, listed in receipt.json" in why
        assert "accessNumber" in why

        before = len(paths(eager))
        (failed / "IM0000").unlink()  # it was the other exam's
        dicom(failed / "IM0000")
        failed.rename(eager.drop / "CT1 again")
        until(lambda: ADD in paths(eager), "it is not delivered when it comes again")
    assert paths(eager, before) == [STOW, ADD]
    assert len(eager.received().instances) == 4


def test_nothing_goes_ahead_without_being_asked_for(site: Site) -> None:
    make_ct(site.drop / "CT1", images=3, imageCnt=4)
    assert site.once() == 3
    assert paths(site) == []


def _is_whole(folder: Path) -> bool:
    """Everything that was dropped has been moved, and what is to be said of it lies there."""
    return {path.name for path in folder.iterdir()} >= {"exam.json", "IM0000", "IM0003", "WHY.txt", "receipt.json"}
