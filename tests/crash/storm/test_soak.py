"""The long soak: the real process under load for minutes, while everything around it fails and it is killed again and
again; in the end, the promise. `pytest -m soak -s`; FOLDER_AGENT_SOAK_MIN (10) and FOLDER_AGENT_SOAK_SEED set it up."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from folder_agent.simulator import Simulator
from tests.crash.storm.soak.checker import Complaint, complaints
from tests.crash.storm.soak.havoc import Diary, Havoc, Keeper
from tests.crash.storm.soak.outcome import gather
from tests.crash.storm.soak.stage import Modality, Stage, make_hospital
from tests.crash.storm.soak.tale import tale_of
from tests.servers.line import Line
from tests.volumes import mounted

MINUTES = float(os.environ.get("FOLDER_AGENT_SOAK_MIN", "10"))
SEED = int(os.environ.get("FOLDER_AGENT_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
MODALITIES = 8
REST_S = 300.0  # within which everything comes to rest once nothing fails any more
_TALES, _EACH, _MOST = 3, 5, 100  # told on failure: exams, complaints of a sort, lines of complaints


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + REST_S + 1800)
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, SIGSTOP; Windows has its own suite")
def test_nothing_is_lost_half_sent_or_mixed_up_in_a_long_storm() -> None:
    """In a folder of its own, which is left behind if anything was wrong."""
    print(f"\nsoak: seed {SEED}, {MINUTES} min", flush=True)
    root = Path(tempfile.mkdtemp(prefix=f"folder-agent-soak-{SEED}-"))
    with small_volume(root / "far") as far, Simulator(root / "gateway") as gateway, Line(gateway.port) as line:
        site = make_hospital(root / "site", gateway, far)
        site.url = line.url
        stage, diary = Stage(site, SEED, hurry=2), Diary()
        breaches = survive(stage, diary, line, is_small=far is not None)
        if breaches and far is not None:
            shutil.copytree(far, root / "far as it was")  # the volume itself goes away
    if breaches:
        pytest.fail(f"seed {SEED}, everything is left in {root}\n" + "\n".join(breaches), pytrace=False)
    shutil.rmtree(root, ignore_errors=True)


def survive(stage: Stage, diary: Diary, line: Line, *, is_small: bool) -> list[str]:
    """Play it all; what is to be said of it if it was not survived."""
    havoc = Havoc(stage.site, line, diary, stage.seed, small_volume=is_small)
    keeper = Keeper(stage.site, diary, stage.seed)
    modalities = [Modality(stage, number) for number in range(MODALITIES)]
    try:
        for thread in (keeper, havoc, *modalities):
            thread.start()
        time.sleep(MINUTES * 60)
        for modality in modalities:
            modality.stop()
        for modality in modalities:
            modality.join(120)
        havoc.stop()
        keeper.stop()
        rested = keeper.rest(lambda: not stage.unrest(), REST_S)
        unrest = [] if rested else stage.unrest()
        keeper.end()
    finally:
        keeper.abandon()
    errors = [*keeper.errors, *([repr(havoc.error)] if havoc.error else []), *(f"never rests: {one}" for one in unrest)]
    outcome = gather(stage, errors, keeper.peaks)
    found = complaints(outcome)
    counts = ", ".join(f"{diary.counts[what]} {what}s" for what in ("kill", "stop", "freeze", "fault"))
    delivered = sum(exam.ending == "done" for exam in stage.exams.values())
    print(
        f"soak: {MINUTES} min, {len(stage.exams)} exams ({delivered} to deliver), {stage.account.files} files, "
        f"{counts}, "
        f"{keeper.peaks.lives} lives, at most {keeper.peaks.rss / 1e6:.0f} MB and {keeper.peaks.fds} descriptors, "
        f"{'survived' if not found else f'{len(found)} complaints'}",
        flush=True,
    )
    offending = list(dict.fromkeys(one.exam for one in found if one.exam))[:_TALES]
    tales = [tale_of(stage.exams[number], stage, diary) for number in offending]
    return [*told(found), *tales]


def told(found: list[Complaint]) -> list[str]:
    """Some of each sort: one breach may be complained of a thousand times."""
    sorts: dict[str, list[str]] = defaultdict(list)
    for one in found:
        sorts[" ".join(one.text.split()[:2])].append(str(one))
    return [line for lines in sorts.values() for line in [*lines[:_EACH], f"({len(lines)} such)"]][:_MOST]


@contextmanager
def small_volume(place: Path) -> Iterator[Path | None]:
    """A volume for the shelves of one drop folder; None where none may be mounted: they are in the drop folder then."""
    with tempfile.TemporaryDirectory() as probe:
        try:
            with mounted(Path(probe) / "volume"):
                pass
        except pytest.skip.Exception:
            yield None
            return
    with mounted(place, size=f"{round(100 + 10 * MINUTES)}m"):
        yield place
