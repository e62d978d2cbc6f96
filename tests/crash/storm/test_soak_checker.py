"""The soak's own judgement: it finds nothing wrong with a day on which nothing goes wrong, and every breach that is put
into the outcome of such a day."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from folder_agent.simulator import Simulator
from tests.crash.storm.soak.checker import MOST_FDS, MOST_RSS, complaints
from tests.crash.storm.soak.havoc import Diary, Peaks
from tests.crash.storm.soak.outcome import Asked, Lying, Outcome, gather
from tests.crash.storm.soak.pen import Pen
from tests.crash.storm.soak.stage import Stage, make_hospital
from tests.crash.storm.soak.stories import STORIES
from tests.crash.storm.soak.tale import tale_of
from tests.faults.running import Running

PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Every kind of story was played in a folder of its own and in a flat one, and the agent was left in peace."""
    root = tmp_path_factory.mktemp("calm")
    with Simulator(root / "gateway") as gateway:
        stage = Stage(make_hospital(root / "site", gateway, quiet_s=1.5), seed=1, hurry=50)
        pen = Pen(stage.account, random.Random(1), stage.hurry)
        with Running(stage.site) as agent:
            scenes = [stage.play(kind, drop, pen) for kind in STORIES for drop in ("ct", "dx")]
            waiting = [scene for scene in scenes if scene.sequel is not None]

            def all_is_played() -> bool:
                waiting[:] = [scene for scene in waiting if not stage.play_sequel(scene)]
                return not waiting

            end = time.monotonic() + PATIENCE_S
            while not (all_is_played() and not stage.unrest()) and time.monotonic() < end:
                time.sleep(0.2)
            assert stage.unrest() == [], agent.codes()
    return stage


@pytest.fixture(scope="module")
def calm(stage: Stage) -> Outcome:
    return gather(stage, [], Peaks())


def test_a_calm_day_has_nothing_to_complain_of(calm: Outcome) -> None:
    assert complaints(calm) == []
    assert {exam.ending for exam in calm.exams.values()} == {"done", "failed", "drop", "gone"}
    assert sum(len(exam.words) > 1 for exam in calm.exams.values()) >= 4


def test_the_story_of_an_exam_tells_what_everybody_did(stage: Stage, calm: Outcome) -> None:
    exam = next(exam for exam in calm.exams.values() if exam.kind == "update")
    tale = tale_of(exam, stage, Diary())
    assert all(word in tale for word in ("pacs     all is written", "COMMITTED shelve DONE", "gateway  ", "the sequel"))


def a_file_is_missing(outcome: Outcome) -> str:
    outcome.lying.remove(_done(outcome))
    return "lost"


def a_file_is_there_twice(outcome: Outcome) -> str:
    outcome.lying.append(replace(_done(outcome), path="copy.dcm"))
    return "there too often"


def a_file_has_other_bytes(outcome: Outcome) -> str:
    one = _done(outcome)
    outcome.lying[outcome.lying.index(one)] = replace(one, digest="f" * 64)
    return "nobody ever dropped"


def a_file_was_left_in_the_drop_folder(outcome: Outcome) -> str:
    one = _done(outcome)
    outcome.lying[outcome.lying.index(one)] = replace(one, shelf="drop", folder="ct")
    return "lies in drop, and not in done"


def a_folder_in_failed_does_not_say_why(outcome: Outcome) -> str:
    outcome.why = frozenset()
    return "does not say why"


def an_exam_was_refused_that_had_to_be_delivered(outcome: Outcome) -> str:
    newest = {one.accession: index for index, one in enumerate(outcome.bundles)}
    last = next(index for index in newest.values() if outcome.bundles[index].state == "DONE")
    outcome.bundles[last] = replace(outcome.bundles[last], state="REFUSED")
    return "and not DONE"


def two_exams_share_a_folder(outcome: Outcome) -> str:
    one = _done(outcome)
    other = next(each for each in outcome.lying if each.shelf == "done" and each.folder != one.folder)
    outcome.lying[outcome.lying.index(other)] = replace(other, folder=one.folder)
    return "holds files of several exams"


def a_strangers_image_was_sent(outcome: Outcome) -> str:
    digest = min(outcome.strays)
    index, asked = _asked(outcome, lambda one: bool(one.items))
    item = replace(asked.items[0], digest=digest)
    outcome.asked[index] = replace(asked, items=(item, *asked.items[1:]))
    return "another patient's image"


def an_image_went_under_another_exam(outcome: Outcome) -> str:
    index, asked = _asked(outcome, lambda one: bool(one.items))
    outcome.asked[index] = replace(asked, items=(replace(asked.items[0], accession="A9999999"), *asked.items[1:]))
    return "or under another"


def the_gateway_lacks_an_instance(outcome: Outcome) -> str:
    held = dict(outcome.held)
    del held[min(held)]
    outcome.held = held
    return "the gateway has None for"


def the_gateway_holds_other_bytes(outcome: Outcome) -> str:
    outcome.held = {**outcome.held, min(outcome.held): "0" * 64}
    return "the gateway has 000"


def the_gateway_lacks_a_report(outcome: Outcome) -> str:
    index, asked = _asked(outcome, lambda one: any(item.sop is None for item in one.items))
    outcome.asked[index] = replace(asked, items=())
    return "the gateway has no report"


def an_incomplete_exam_was_sent(outcome: Outcome) -> str:
    digest = next(one.digest for one in outcome.lying if one.shelf == "drop" and one.path.endswith(".dcm"))
    index, asked = _asked(outcome, lambda one: bool(one.items))
    outcome.asked[index] = replace(asked, items=(replace(asked.items[0], digest=digest), *asked.items[1:]))
    return "was sent, and never had to be"


def a_count_was_posted_wrong(outcome: Outcome) -> str:
    return _posted(outcome, imageCnt=99)


def a_field_was_posted_wrong(outcome: Outcome) -> str:
    return _posted(outcome, patientName="somebody else")


def an_exam_was_posted_before_its_files(outcome: Outcome) -> str:
    index, _ = _asked(outcome, lambda one: one.post is not None)
    outcome.asked.insert(0, outcome.asked.pop(index))
    return "was posted before"


def an_exam_was_never_posted(outcome: Outcome) -> str:
    index, _ = _asked(outcome, lambda one: one.post is not None)
    del outcome.asked[index]
    return "the gateway's last word is"


def an_older_word_came_last(outcome: Outcome) -> str:
    exam = next(exam for exam in outcome.exams.values() if exam.kind == "update")
    first, _ = _asked(outcome, lambda one: (one.post or {}).get("accessNumber") == exam.accession)
    outcome.asked.append(outcome.asked[first])
    return "an older word came after a newer one"


def an_unfinished_exam_was_posted(outcome: Outcome) -> str:
    exam = next(exam for exam in outcome.exams.values() if exam.words)
    exam.ending = "drop"
    return "was told to the gateway, and ends in drop"


def an_image_was_sent_again_though_it_was_known(outcome: Outcome) -> str:
    _, asked = _asked(outcome, lambda one: bool(one.items))
    outcome.asked.append(replace(asked, signed_at=time.time(), at=time.time()))
    return "though it was known at"


def an_exam_was_posted_again_though_it_was_committed(outcome: Outcome) -> str:
    last = max(index for index, one in enumerate(outcome.asked) if one.post is not None)
    outcome.asked.append(replace(outcome.asked[last], signed_at=time.time(), at=time.time()))
    return "though it had been committed"


def a_receipt_is_missing(outcome: Outcome) -> str:
    outcome.receipts[0] = replace(outcome.receipts[0], text=None)
    return "has no receipt"


def a_receipt_tells_of_other_bytes(outcome: Outcome) -> str:
    text = copy.deepcopy(dict(outcome.receipts[0].text or {}))
    text["files"][0]["sha256"] = "0" * 64
    outcome.receipts[0] = replace(outcome.receipts[0], text=text)
    return "the receipt in"


def a_receipt_tells_of_another_exam(outcome: Outcome) -> str:
    text = copy.deepcopy(dict(outcome.receipts[0].text or {}))
    text["exam"]["imageCnt"] = 99
    outcome.receipts[0] = replace(outcome.receipts[0], text=text)
    return "of an exam that nobody wrote"


def reconcile_found_something(outcome: Outcome) -> str:
    outcome.reconciled = 4
    return "reconcile ended with 4"


def reconcile_named_a_difference(outcome: Outcome) -> str:
    outcome.differences.append("ct E1: a file is missing")
    return "reconcile: ct E1"


def a_bundle_is_stuck(outcome: Outcome) -> str:
    outcome.bundles[0] = replace(outcome.bundles[0], state="SENDING", is_open=True)
    return "still open"


def the_agent_ended_by_itself(outcome: Outcome) -> str:
    outcome.errors.append("the agent ended by itself with 1")
    return "the agent ended by itself"


def the_agent_had_a_fault_of_its_own(outcome: Outcome) -> str:
    outcome.said.append("internal error KeyError")
    return "it said: internal error"


def the_agent_grew(outcome: Outcome) -> str:
    outcome.peaks = Peaks(rss=MOST_RSS + 1)
    return "of memory"


def the_agent_left_files_open(outcome: Outcome) -> str:
    outcome.peaks = Peaks(fds=MOST_FDS + 1)
    return "sockets open"


BREACHES: list[Callable[[Outcome], str]] = [
    a_file_is_missing,
    a_file_is_there_twice,
    a_file_has_other_bytes,
    a_file_was_left_in_the_drop_folder,
    a_folder_in_failed_does_not_say_why,
    an_exam_was_refused_that_had_to_be_delivered,
    two_exams_share_a_folder,
    a_strangers_image_was_sent,
    an_image_went_under_another_exam,
    the_gateway_lacks_an_instance,
    the_gateway_holds_other_bytes,
    the_gateway_lacks_a_report,
    an_incomplete_exam_was_sent,
    a_count_was_posted_wrong,
    a_field_was_posted_wrong,
    an_exam_was_posted_before_its_files,
    an_exam_was_never_posted,
    an_older_word_came_last,
    an_unfinished_exam_was_posted,
    an_image_was_sent_again_though_it_was_known,
    an_exam_was_posted_again_though_it_was_committed,
    a_receipt_is_missing,
    a_receipt_tells_of_other_bytes,
    a_receipt_tells_of_another_exam,
    reconcile_found_something,
    reconcile_named_a_difference,
    a_bundle_is_stuck,
    the_agent_ended_by_itself,
    the_agent_had_a_fault_of_its_own,
    the_agent_grew,
    the_agent_left_files_open,
]


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_a_breach_is_complained_of(calm: Outcome, breach: Callable[[Outcome], str]) -> None:
    doctored = copy.deepcopy(calm)
    wanted = breach(doctored)
    told = [str(one) for one in complaints(doctored)]
    assert any(wanted in one for one in told), told


def test_what_a_person_takes_out_of_done_is_missed_on_the_disk_itself(stage: Stage, tmp_path: Path) -> None:
    folder = next(one for one in sorted(stage.site.drops["ct"].glob("done/*/*")) if len(list(one.iterdir())) > 2)
    image = next(folder.glob("IM*.dcm"))
    kept = tmp_path / image.name
    image.rename(kept)
    try:
        told = [str(one) for one in complaints(gather(stage, [], Peaks()))]
    finally:
        kept.rename(image)
    assert any("lost" in one for one in told)
    assert any("reconcile ended with 4" in one for one in told)
    assert any("the receipt in" in one for one in told)


@pytest.mark.parametrize("line", ["internal error KeyError at x.py:1", "patient P0000012", "patient 测试患者乙"])
def test_what_a_log_must_not_say_is_found_in_it(stage: Stage, line: str) -> None:
    stderr = stage.site.root / "agent.stderr"
    stderr.write_text(line + "\n", encoding="utf-8")
    try:
        assert any(line in str(one) for one in complaints(gather(stage, [], Peaks())))
    finally:
        stderr.unlink()


def _done(outcome: Outcome) -> Lying:
    return next(one for one in outcome.lying if one.shelf == "done" and one.path.endswith(".dcm"))


def _asked(outcome: Outcome, fits: Callable[[Asked], bool]) -> tuple[int, Asked]:
    return next((index, one) for index, one in enumerate(outcome.asked) if fits(one))


def _posted(outcome: Outcome, **wrong: object) -> str:
    index, asked = _asked(outcome, lambda one: one.post is not None)
    outcome.asked[index] = replace(asked, post={**(asked.post or {}), **wrong})
    return "the gateway was told what nobody wrote"
