"""The promise, as what can be looked up after every step of a storm. Each function raises AssertionError by name."""

from __future__ import annotations

from collections import Counter

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.notes import is_our_note
from folder_agent.core.shelving import RECEIPT, WHY
from tests.fakes import World

STRANGER = "P-OTHER"  # the patient of images that no sidecar of a storm names
_MOVING = frozenset({BundleState.COMPLETE, BundleState.SENDING, BundleState.COMMITTED})


def nothing_is_lost(world: World, owed: Counter[bytes]) -> None:
    """Every content that was dropped, and that no person took away, is in exactly one place, whole."""
    found: Counter[bytes] = Counter()
    for drop in world.drops.values():
        found.update(held.content for path, held in drop.files.items() if not _is_note(path, held.content))
    for shelves in world.shelves.values():
        for files in shelves.shelved.values():
            found.update(held.content for path, held in files.items() if not _is_note(path, held.content))
    missing, doubled = owed - found, found - owed
    assert not missing, f"lost: {_short(missing)}"
    assert not doubled, f"there twice, or never dropped: {_short(doubled)}"


def the_ledger_can_say_where(world: World) -> None:
    """Of every bundle that is closed on a shelf, every file that counts is there."""
    for bundle in world.ledger.latest_bundles(10_000):
        if bundle.is_open or bundle.target is None or bundle.state is BundleState.WITHDRAWN:
            continue
        there = Counter(
            len(held.content)
            for shelves in world.shelves.values()
            for held in shelves.shelved.get(bundle.target, {}).values()
        )
        known = Counter(
            file.stamp.size for file in world.ledger.files_of(bundle.id) if file.state is not FileState.VANISHED
        )
        # What somebody had put back is the ledger's no longer; what it says to be on the shelf must be there.
        assert bundle.target not in _all_targets(world) or not known - there, f"not on the shelf: {bundle.name}"


def nothing_is_half_sent(world: World, exams_before: int) -> None:
    """What the gateway was told of has arrived before: as many images and different reports as were posted."""
    images = Counter(name.split(".")[2] for name in set(world.gateway.image_line.names))
    reports = Counter(exam for exam, _ in {(_exam_of(path), sha) for path, sha in world.gateway.report_line.received})
    for exam in world.gateway.exams[exams_before:]:
        number = str(exam["accessNumber"]).removeprefix("ACC")
        assert int(exam["imageCnt"]) <= images[number], f"exam {number} was posted before its images had arrived"
        assert int(exam["pdfCnt"]) <= reports[number], f"exam {number} was posted before its report had arrived"


def nobody_is_mixed_up(world: World) -> None:
    """No image of another patient has ever left, and none lies on the shelf with another exam's sidecar."""
    for bundle in world.ledger.latest_bundles(10_000):
        if bundle.state is BundleState.DONE and bundle.access_number is not None:
            exam = bundle.access_number.removeprefix("ACC")
            for file in world.ledger.files_of(bundle.id):
                number = (file.sop_instance or f"1.2.{exam}.").split(".")[2]
                is_its_own = number == exam or file.state is FileState.VANISHED
                assert is_its_own, f"{file.path} of exam {number} was shelved with exam {exam}"
    assert not [name for name in world.gateway.image_line.names if name.endswith(".666")], "a stranger's image was sent"


def everyone_can_see_why(world: World) -> None:
    """Whatever is open says why in words of the catalogue, unless it is moving."""
    for bundle in world.ledger.open_bundles():
        codes = [reason.code for reason in bundle.reasons]
        assert all(code in CATALOGUE for code in codes), codes
        fresh = bundle.state is BundleState.GATHERING and bundle.changed_at == bundle.created_at
        silent = not codes and bundle.state not in _MOVING and not fresh
        assert not silent, f"{bundle.name} is {bundle.state} and does not say why"


def known_accepted(world: World) -> set[tuple[str, str, str]]:
    """What the ledger knows that the gateway has: exam, instance, digest."""
    return {
        (bundle.access_number, file.sop_instance or file.path, file.sha256)
        for bundle in world.ledger.latest_bundles(10_000)
        if bundle.access_number is not None
        for file in world.ledger.files_of(bundle.id)
        if file.sha256 is not None and file.accepted_at is not None and file.sop_instance is not None
    }


def nothing_known_is_sent_again(world: World, known: set[tuple[str, str, str]], received_before: int) -> None:
    """No image that the ledger knew to be accepted for its exam has travelled again."""
    for name, digest in world.gateway.image_line.received[received_before:]:
        exam = f"ACC{name.split('.')[2]}"
        assert (exam, name, digest) not in known, f"{name} was sent again"


def all_that_can_go_has_gone(world: World) -> None:
    """With every trouble mended and enough time, only what lacks something is still there, and says so."""
    for bundle in world.ledger.open_bundles():
        assert bundle.state in (BundleState.GATHERING,), f"{bundle.name} is stuck in {bundle.state}: {bundle.reasons}"
    for name, drop in world.drops.items():
        known = {file.path for file in world.ledger.open_files(name)}
        assert known == set(drop.files), f"the ledger does not agree with the folder: {known ^ set(drop.files)}"


def _all_targets(world: World) -> set[str]:
    return {target for shelves in world.shelves.values() for target in shelves.shelved}


def _exam_of(path: str) -> str:
    """The number in `CT2/report.pdf` and in `A2_report.pdf`."""
    return path.removeprefix("CT").removeprefix("A")[0]


def _is_note(path: str, content: bytes) -> bool:
    name = path.rpartition("/")[2].replace(" (earlier)", "")  # what came back from failed/ made room for a newer note
    return name in (RECEIPT, WHY) and (is_our_note(name, content) or b"of" in content)


def _short(contents: Counter[bytes]) -> list[str]:
    return [f"{count} x {content[:40]!r} … {content[-60:]!r}" for content, count in contents.items()]
