"""What came of a soak, gathered once it is at rest: the disk, the gateway's journal, the ledger. Plain values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord
from folder_agent.simulator.state import items_of
from tests.crash.storm.soak.exams import NAMES, Exam, digest_of
from tests.crash.storm.soak.havoc import Peaks
from tests.crash.storm.soak.stage import Hospital, Stage, files_below

# A patient's number and no more: in the ledger, a digest may follow on a byte that happens to be a P.
_PERSONAL = re.compile(rb"P\d{7}(?![0-9A-Za-z])|" + "|".join(NAMES).encode())
_NEVER_SAID = re.compile(_PERSONAL.pattern + rb"|internal error|Traceback|FA-INTERNAL")


@dataclass(frozen=True, slots=True)
class Lying:
    """One file on the disk. `shelf` is "done", "failed" or "drop"; `folder` is the bundle's, on a shelf."""

    shelf: str
    folder: str
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt in a folder of done/; `text` is None if there is none that can be read."""

    folder: str
    text: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Item:
    """An image or report in one request to the gateway."""

    study: str
    accession: str
    digest: str
    sop: str | None
    is_taken: bool  # stored, or stored before with the same bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to the gateway. `signed_at` and `at` are epoch seconds: when the agent began it, when it was over."""

    at: float
    signed_at: float
    path: str
    items: tuple[Item, ...] = ()
    post: Mapping[str, Any] | None = None  # an exam that was accepted


@dataclass(frozen=True, slots=True)
class Ended:
    """What the ledger says of one bundle."""

    id: int
    name: str
    drop: str
    state: str
    is_open: bool
    accession: str | None
    committed_at: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """One acceptance that the ledger noted: of which bytes of which exam, and when."""

    accession: str
    digest: str
    at: float


@dataclass
class Outcome:
    """All that is to be judged."""

    exams: Mapping[int, Exam]
    owed: Counter[str]
    owner: Mapping[str, int]  # exam by SHA-256
    strays: frozenset[str]
    lying: list[Lying]
    receipts: list[Receipt]
    why: frozenset[str]  # folders of failed/ that say why
    asked: list[Asked]
    held: Mapping[str, str]  # SHA-256 of what lies at the gateway, by SOPInstanceUID
    bundles: list[Ended]
    known: list[Known]
    reconciled: int = 0
    differences: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # what already went wrong on the way
    said: list[str] = field(default_factory=list)  # of its logs: faults of its own, and what is nobody's business
    peaks: Peaks = field(default_factory=Peaks)


def gather(stage: Stage, errors: list[str], peaks: Peaks) -> Outcome:
    """Look at everything. No agent runs, and nobody writes any more."""
    site = stage.site
    outcome = Outcome(
        exams=stage.exams,
        owed=+stage.account.owed,
        owner=stage.account.owner,
        strays=frozenset(stage.account.strays),
        lying=list(_lying(site)),
        receipts=list(_receipts(site)),
        why=frozenset(str(folder) for folder in _folders(site, "failed") if (folder / "WHY.txt").is_file()),
        asked=[_asked(entry) for entry in site.received().requests],
        held={sop: digest_of(path.read_bytes()) for sop, path in site.received().instances.items() if path.exists()},
        bundles=[],
        known=[],
        errors=[*stage.errors, *errors],
        peaks=peaks,
    )
    with site.reading() as ledger:
        assert ledger is not None
        for bundle in sorted(ledger.latest_bundles(10**6), key=lambda one: one.id):
            outcome.bundles.append(_ended(bundle))
            outcome.known += [
                Known(bundle.access_number or "", file.sha256, file.accepted_at)
                for file in ledger.files_of(bundle.id)
                if file.sha256 is not None and file.accepted_at is not None
            ]
    _reconcile(site, outcome)
    outcome.said = list(_said(site))
    return outcome


def _lying(site: Hospital) -> Iterator[Lying]:
    for shelf in ("done", "failed"):
        for folder in _folders(site, shelf):
            for path in files_below(folder):
                inside = path.relative_to(folder).as_posix()
                yield Lying(shelf, str(folder), inside, digest_of(path.read_bytes()))
    for name, drop in site.drops.items():
        for path in site.dropped(name):
            yield Lying("drop", name, path.relative_to(drop).as_posix(), digest_of(path.read_bytes()))


def _receipts(site: Hospital) -> Iterator[Receipt]:
    for folder in _folders(site, "done"):
        try:
            text = json.loads((folder / "receipt.json").read_bytes())
        except (OSError, ValueError):
            text = None
        yield Receipt(str(folder), text)


def _folders(site: Hospital, shelf: str) -> list[Path]:
    tops = dict.fromkeys(site.shelves(drop)[shelf] for drop in site.drops)
    return [folder for top in tops for folder in sorted(top.glob("*/*"))]


def _asked(entry: dict[str, Any]) -> Asked:
    items = tuple(
        Item(
            item["study"],
            item["accession"],
            item["sha256"],
            item.get("sop"),
            bool(item.get("stored") or item.get("repeat")),
        )
        for item in items_of(entry)
    )
    signed_at = int(entry["timestamp"]) / 1000 if entry.get("timestamp") else entry["time"]
    return Asked(entry["time"], signed_at, entry["path"], items, entry["body"] if entry.get("accepted") else None)


def _ended(bundle: BundleRecord) -> Ended:
    committed_at = bundle.committed_at if bundle.state in (BundleState.DONE, BundleState.COMMITTED) else None
    return Ended(
        bundle.id,
        bundle.name,
        bundle.drop,
        str(bundle.state),
        bundle.is_open,
        bundle.access_number,
        committed_at,
    )


def _said(site: Hospital) -> Iterator[str]:
    """Lines of the log that no log should have, and whatever of a patient is in the ledger."""
    for path in [*sorted((site.root / "logs").glob("*")), site.root / "agent.stderr"]:
        if path.exists():
            with path.open("rb") as lines:
                yield from (f"{path.name}: {line.decode()}" for line in lines if _NEVER_SAID.search(line))
    for path in sorted(site.root.glob("ledger.db*")):
        if found := _PERSONAL.search(path.read_bytes()):
            yield f"{path.name} holds {found[0].decode()}"


def _reconcile(site: Hospital, outcome: Outcome) -> None:
    ended = site.command("reconcile", "--json", "--all", "--verify", timeout=600)
    outcome.reconciled = ended.returncode
    if ended.returncode in (0, 3, 4):
        told = json.loads(ended.stdout)
        outcome.differences = [f"{one['drop']} {one['bundle']}: {one['reason']}" for one in told["differences"]]
    else:
        outcome.errors.append(f"reconcile: {ended.stderr}")
