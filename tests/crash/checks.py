"""What must be true whenever no agent runs, and at the end of it all; every breach is told in words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.receipts import parse
from folder_agent.core.records import BundleRecord, FileRecord
from folder_agent.core.shelving import RECEIPT, WHY, places
from folder_agent.simulator.state import items_of
from tests.crash.scenarios import Scenario
from tests.crash.yard import Yard

_NOTE_OF = {BundleState.DONE: RECEIPT, BundleState.REFUSED: WHY, BundleState.FAILED: WHY}


@dataclass(frozen=True)
class Known:
    """What the ledger knew at the moment of death of what the gateway has, and how much had been asked by then."""

    sums: frozenset[str]  # of accepted files
    exams: frozenset[str]  # accession numbers, all of whose bundles are committed
    requests: int
    instances: frozenset[str]  # that were accepted
    stored: int  # by the DICOM node


def closed(yard: Yard) -> frozenset[int]:
    """The bundles that are over: another drop of their exam is another matter."""
    with closing(yard.ledger()) as ledger:
        return frozenset(bundle.id for bundle in ledger.latest_bundles(1000) if not bundle.is_open)


def known(yard: Yard, over: frozenset[int]) -> Known:
    """To be asked when a life has ended; `over` are the bundles that were closed before that life's stage."""
    with closing(yard.ledger()) as ledger:
        every = ledger.latest_bundles(1000)
        files = [file for bundle in every for file in ledger.files_of(bundle.id)]
    bundles = [bundle for bundle in every if bundle.id not in over]
    got = yard.site.received()
    lost = {item["sha256"]: item.get("forgotten") for request in got.requests for item in items_of(request)}
    accepted = [file for file in files if file.accepted_at is not None and file.sha256 and not lost.get(file.sha256)]
    told = {bundle.access_number for bundle in bundles if bundle.committed_at is not None and bundle.access_number}
    untold = {bundle.access_number for bundle in bundles if bundle.committed_at is None}
    return Known(
        frozenset(file.sha256 or "" for file in accepted),
        frozenset(told - untold),
        len(got.requests),
        frozenset(file.sop_instance for file in accepted if file.sop_instance),
        len(yard.stored()),
    )


def sent_again(yard: Yard, before: Known) -> Iterator[str]:
    """Whatever was asked of the gateway though the ledger knew that it had it."""
    for request in yard.site.received().requests[before.requests :]:
        for item in items_of(request):
            if item.get("sha256") in before.sums:
                yield f"{item.get('sop') or item.get('name')} was known to be accepted and was sent again"
        if request.get("accepted") and request["body"]["accessNumber"] in before.exams:
            yield "an exam was known to be accepted and was posted again"
    for instance in yard.stored()[before.stored :]:
        if instance in before.instances:
            yield f"{instance} was known to be accepted and was stored again"


def at_rest(yard: Yard) -> Iterator[str]:
    """After every stage: each byte in one place, no leftovers of ours, and a ledger that says what is so."""
    there, dropped = yard.sums(), Counter({one: n for one, n in yard.dropped.items() if n})
    if there != dropped:
        yield f"{(dropped - there).total()} files are lost, {(there - dropped).total()} are doubled"
    for path in [path for top in yard.roots() for path in top.rglob(".*.part")]:
        yield f"{path.name} was left behind"
    with closing(yard.ledger()) as ledger:
        bundles = sorted(ledger.latest_bundles(1000), key=lambda bundle: bundle.id)
        for bundle in bundles:
            yield from _of_bundle(yard, bundle, ledger.files_of(bundle.id))


def agrees_on_the_drop(yard: Yard) -> Iterator[str]:
    """After the agent has looked: the open files of the ledger are those in the drop folder."""
    with closing(yard.ledger()) as ledger:
        known_paths = {file.path for file in ledger.open_files("ct")}
    shelves = (yard.shelf_of("done"), yard.shelf_of("failed"), yard.drop / "_STATUS")
    there = {path for path in yard.drop.rglob("*") if path.is_file() and not any(s in path.parents for s in shelves)}
    if known_paths != {path.relative_to(yard.drop).as_posix() for path in there}:
        yield f"the ledger knows of {sorted(known_paths)} in the drop folder"


def _of_bundle(yard: Yard, bundle: BundleRecord, files: list[FileRecord]) -> Iterator[str]:
    note = _NOTE_OF.get(bundle.state)
    if bundle.is_open:
        if note is not None or bundle.state is BundleState.COMMITTED:
            yield f"{bundle.name} is still on its way to a shelf"
        return
    if note is None or bundle.target is None:
        if bundle.state is not BundleState.WITHDRAWN:
            yield f"{bundle.name} is closed as {bundle.state} and lies nowhere"
        return
    target = Path(bundle.target)
    if bundle.state is not BundleState.DONE and not target.exists():
        return  # put back
    shelved = [file for file in files if file.state is not FileState.VANISHED]
    notes = {note} | ({RECEIPT} if any(file.state is FileState.SENT for file in shelved) else set())
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    if notes - there:
        yield f"{bundle.name} has no {' and no '.join(sorted(notes - there))}"
    told = parse((target / RECEIPT).read_bytes()) if RECEIPT in there and bundle.state is BundleState.DONE else None
    if told is not None and (told.counts, told.access_number) != (bundle.counts, bundle.access_number):
        yield f"the receipt of {bundle.name} tells of {told.counts}, and the ledger of {bundle.counts}"
    there -= notes
    inside = places([file.path for file in shelved])
    if there != set(inside.values()):
        yield f"{bundle.name} holds {sorted(there)}, and the ledger says {sorted(inside.values())}"
    for file in shelved:
        path = target / inside[file.path]
        if (
            file.state is FileState.SENT
            and file.sha256
            and path.exists()
            and file.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()
        ):
            yield f"{file.path} has other bytes than were sent"


def at_the_end(yard: Yard, scenario: Scenario) -> Iterator[str]:
    """Everything ended as it had to, and the gateway's last word is right."""
    states = yard.site.states()
    if states != dict(scenario.ends):
        yield f"the ledger says {states}"
    got = yard.site.received()
    instances, reports = yard.received()
    if len(instances) != scenario.instances or got.conflicts:
        yield f"the gateway holds {len(instances)} instances"
    if len(reports) != scenario.reports:
        yield f"the gateway holds {len(reports)} reports"
    if got.exams.keys() != scenario.exams.keys():
        yield f"the gateway was told of {sorted(got.exams)}"
    for number, fields in scenario.exams.items():
        said: dict[str, Any] = got.exams.get(number, {})
        wrong = {name: said.get(name) for name, value in fields.items() if said.get(name) != value}
        if wrong:
            yield f"the gateway's last word on {number} has {wrong}"
