"""The power may go at any moment: what the real agent does to the disk is recorded, and every moment of it tried on a
model of a disk that keeps only what was synced (powercut.py)."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.crash.conftest import Matrix
from tests.crash.plan import SEED, moments, some, subject_of
from tests.crash.powercut import Disk, whole
from tests.crash.recorder import Operation
from tests.crash.scenarios import BY_NAME
from tests.crash.yard import NOTES

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="what is synced is overheard by /proc"),
]
PLAYED = (
    "delivered",
    "delivered to another volume",
    "refused",
    "refused with a link to another volume",
    "failed and put back",
    "failed and put back from another volume",
    "delivered and dropped again",
)
INTERRUPTED = [("delivered", 0), ("delivered to another volume", 0), ("failed and put back from another volume", 1)]
KILLS = 30


@dataclass(frozen=True)
class Recording:
    """One life: what was there before, and what was done."""

    before: dict[str, list[str]]
    operations: list[Operation]

    def without(self, is_left_out: Callable[[Operation], bool]) -> Recording:
        return Recording(self.before, [one for one in self.operations if not is_left_out(one)])

    def dropped(self) -> Counter[str]:
        """What must never be lost: every file but our notes."""
        files = {path: what for path, what in self.before.items() if what[0] != "folder"}
        return Counter(_content(what) for path, what in files.items() if not _is_note(path))

    def steps(self) -> Iterator[tuple[int, Operation, Disk]]:
        """Every operation with the disk as it is after it."""
        disk = Disk.of(self.before)
        for number, operation in enumerate(self.operations):
            disk.do(operation)
            yield number, operation, disk


@pytest.fixture(scope="module")
def recordings(matrix: Matrix) -> dict[str, list[Recording]]:
    found = {}
    for name in PLAYED:
        (outcome,) = matrix.record(BY_NAME[name], [None])
        assert not outcome.wrong, outcome.wrong
        found[name] = [_recording(text) for text in outcome.disk]
    return found


def _recording(text: str) -> Recording:
    """Of one life, or of several in a row: what the later ones found is what the earlier ones left."""
    lines = [json.loads(line) for line in text.splitlines()]
    return Recording(lines[0], [line for line in lines if isinstance(line, list)])


def _content(what: Sequence[str]) -> str:
    return what[1] if what[0] == "file" else f"link to {what[1]}"


def _is_note(path: str) -> bool:
    return PurePosixPath(path).name.startswith(NOTES)


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


# --- the rules of order ----------------------------------------------------------------------------------------------


def content_is_synced_before_the_rename_that_publishes_it(life: Recording) -> Iterator[str]:
    disk = Disk.of(life.before)
    for operation in life.operations:
        node = disk.find(operation[1])
        is_file = operation[0] == "rename" and node in disk.made_here and operation[1] not in _new_folders(life)
        if node is not None and is_file and disk.content[node] is None:
            yield f"{operation[2]} got its name before its bytes were synced"
        disk.do(operation)


def a_copy_is_sure_before_its_original_goes(life: Recording) -> Iterator[str]:
    disk = Disk.of(life.before)
    for operation in life.operations:
        node = disk.find(operation[1]) if operation[0] == "unlink" else None
        content = disk.content.get(node) if node is not None and node not in disk.made_here else None
        others = Counter(disk._files(disk.sure).values())
        if content is not None and others[content] < 2 and not _is_ours(operation[1]):
            yield f"{operation[1]} was removed before a copy of it was sure"
        disk.do(operation)


def a_new_folder_is_synced_into_its_parent_before_anything_relies_on_it(life: Recording) -> Iterator[str]:
    unsure: set[str] = set()
    for name, path, *_ in life.operations:
        if name == "mkdir":
            unsure.add(path)
        elif name == "fsync":
            unsure = {folder for folder in unsure if _folder(folder) != path}
        elif (name == "unlink" and path.endswith(".moved.part")) or (name == "ledger" and path == "shelve"):
            yield from (f"{folder} was not synced into its parent" for folder in unsure)


def both_ends_of_every_move_are_synced_before_the_ledger_says_shelve(life: Recording) -> Iterator[str]:
    unsure: list[str] = []
    gone: set[str] = set()
    for name, path, *more in life.operations:
        if name == "rename":
            unsure += [_folder(path), _folder(more[0])]
        elif name == "rmdir":
            gone.add(path)
        elif name == "fsync":
            unsure = [folder for folder in unsure if folder != path]
        elif name == "ledger" and path == "shelve":
            yield from (f"{folder} was not synced before SHELVE" for folder in unsure if folder not in gone)


def the_note_is_sure_before_the_first_move(life: Recording) -> Iterator[str]:
    for _, operation, disk in life.steps():
        is_move = operation[0] == "rename" and _on_a_shelf(operation[2])
        if not is_move or _is_note(operation[2]) or _is_ours(operation[2]):
            continue
        target = _folder(operation[2])
        if not any(_is_note(path) and _folder(path) == target for path in disk._files(disk.sure)):
            yield f"{operation[2]} was moved before the note was sure"


RULES = (
    content_is_synced_before_the_rename_that_publishes_it,
    a_copy_is_sure_before_its_original_goes,
    a_new_folder_is_synced_into_its_parent_before_anything_relies_on_it,
    both_ends_of_every_move_are_synced_before_the_ledger_says_shelve,
    the_note_is_sure_before_the_first_move,
)


def _new_folders(life: Recording) -> set[str]:
    return {path for name, path, *_ in life.operations if name == "mkdir"}


def _on_a_shelf(path: str) -> bool:
    return "/done/" in path or "/failed/" in path


def _is_ours(path: str) -> bool:
    return _is_note(path) or path.endswith("/.put-back.part")


# --- the model -------------------------------------------------------------------------------------------------------


def every_byte_outlives_a_power_cut(life: Recording) -> Iterator[str]:
    """At every moment, whatever was not synced: each dropped file is there whole, and where the ledger says."""
    dropped, shelved = life.dropped(), ""
    for number, operation, disk in life.steps():
        if operation[0] == "ledger" and operation[1] == "shelve":
            shelved = operation[2]
        for files in disk.after_a_cut():
            files = {path: content for path, content in files.items() if not _is_note(path)}
            if lost := dropped - whole(files):
                yield f"after {number} {operation}: {lost.total()} files are lost"
            if shelved and any(not path.startswith(f"{shelved}/") and not _on_a_shelf(path) for path in files):
                yield f"after {number} {operation}: something is in the drop folder though the ledger says SHELVE"


# --- the tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_must_be_synced_first_is_synced_first(
    rule: Callable[[Recording], Iterator[str]], recordings: dict[str, list[Recording]]
) -> None:
    broken = [f"{name}: {one}" for name, lives in recordings.items() for life in lives for one in rule(life)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", PLAYED)
def test_every_byte_outlives_a_power_cut_at_any_moment(name: str, recordings: dict[str, list[Recording]]) -> None:
    lost = [one for life in recordings[name] for one in every_byte_outlives_a_power_cut(life)]
    assert not lost, "\n".join(lost[:20])


@pytest.mark.parametrize(("name", "stage"), INTERRUPTED)
def test_what_a_killed_life_left_unsynced_is_sure_before_the_next_relies_on_it(
    name: str, stage: int, matrix: Matrix
) -> None:
    """Killed at a seeded sample of moments, then started again; then the power goes, at any moment."""
    draw = random.Random(f"{SEED} power {name}")
    groups = [[step for step in group if is_of_the_disk(step)] for group in moments(matrix.recordings[name][stage])]
    points = [(stage, draw.choice(group)) for group in some([one for one in groups if one], KILLS, draw)]
    outcomes = matrix.record(BY_NAME[name], points)
    wrong = [
        f"{point}: {one}"
        for point, outcome in zip(points, outcomes, strict=True)
        for one in [*outcome.wrong, *every_byte_outlives_a_power_cut(_recording(outcome.disk[stage]))]
    ]
    assert not wrong, "\n".join(wrong[:20])
    assert sum(outcome.died for outcome in outcomes) > 0.8 * len(points)


def is_of_the_disk(step: str) -> bool:
    """Whether a worker is at the disk then: no other thread is, so that the recording has all that was done."""
    return subject_of(step).partition(".")[0] in {"os", "durable", "moving", "returning"}


@pytest.mark.parametrize("name", ["failed and put back", "failed and put back from another volume"])
def test_what_a_retry_has_put_back_is_in_the_drop_folder_after_a_power_cut(
    name: str, recordings: dict[str, list[Recording]]
) -> None:
    put_back = recordings[name][1]
    *_, (_, _, disk) = put_back.steps()
    for files in disk.after_a_cut():
        found = {path for path in files if not _is_note(path)}
        assert {PurePosixPath(path).parent.name for path in found} == {"CT1"}
        assert not any(_on_a_shelf(path) for path in found)
        assert whole({path: content for path, content in files.items() if path in found}) == put_back.dropped()


def test_the_model_notices_a_sync_that_is_missing(recordings: dict[str, list[Recording]]) -> None:
    """Without each kind of sync something is lost: else these tests would prove nothing."""
    (across,) = recordings["delivered to another volume"]
    (within,) = recordings["delivered"]

    def of_files(operation: Operation) -> bool:
        return operation[0] == "fsync" and len(operation) == 3

    def of_folders(operation: Operation) -> bool:
        return operation[0] == "fsync" and len(operation) == 2

    def of_the_shelf(operation: Operation) -> bool:
        return of_folders(operation) and operation[1].endswith(("/done", "/CT1"))

    for life, left_out in ((across, of_files), (across, of_folders), (across, of_the_shelf), (within, of_folders)):
        assert [*every_byte_outlives_a_power_cut(life.without(left_out))]
    assert [*content_is_synced_before_the_rename_that_publishes_it(across.without(of_files))]
    for rule in RULES[1:]:
        assert [*rule(across.without(of_folders))], rule.__name__
