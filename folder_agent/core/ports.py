"""What the agent needs of the world, said by the agent. Every real edge and every fake passes the same contract tests.

All errors that cross a port are AgentError (with a disposition) or StaleState; nothing else is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import Transition
from folder_agent.core.records import (
    Acceptance,
    Answer,
    BundleRecord,
    Claim,
    Deed,
    FileKind,
    FileRecord,
    Finding,
    HistoryEntry,
    Outgoing,
    Sighting,
    Stamp,
)


class Clock(Protocol):
    """Time. Nothing else in the agent asks the machine what time it is."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC; may jump when somebody sets the clock."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that only moves forward; meaningless in another process."""
        ...


class DropFolder(Protocol):
    """One watched root. Looking changes nothing in it."""

    name: str
    root: Path

    def look(self) -> Sequence[Sighting]:
        """Every file below the root but those in done/ and failed/; links are told, never followed.

        Raises AgentError (RETRY) when the root cannot be listed: that is an outage, never a deletion.
        """
        ...

    def unlisted(self) -> frozenset[str]:
        """The folders that the last look could not list: nothing is known of what lies below them, so files there
        count as unchanged."""
        ...

    def kind(self, path: str) -> FileKind:
        """What the file's name says of it; UNKNOWN where only its content can tell."""
        ...

    def inspect(self, path: str, stamp: Stamp) -> Finding | None:
        """What the file is, from its content. None: it is not the file of that stamp any more, look again.

        Opens with writers denied where the platform can. Never raises for what the file contains; a file that cannot
        be opened comes back as a Finding of kind UNKNOWN with a WAIT problem.
        """
        ...

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of one file now; None when it is not there (or is no regular file). AgentError on an outage."""
        ...

    def below(self, folder: str) -> Sequence[Sighting]:
        """As `look`, for one folder below the root ("" is the root itself); empty when it is not there."""
        ...

    def digest(self, path: str) -> str:
        """SHA-256 of the file's bytes, lower-case hex, streamed."""
        ...

    def locate(self, path: str) -> Path:
        """Where the file is, as an absolute path that the platform can open (long paths included)."""
        ...


class Ledger(Protocol):
    """The durable memory. Every method is one transaction: all of it is true afterwards (after fsync), or none."""

    def together(self, action: Callable[[], None]) -> None:
        """Make all that `action` has this ledger do, in this thread, one transaction: true when this ends, or, if it
        raises, none of it. A call within it that raises is undone alone; what it reads is what it has written."""
        ...

    def open_bundles(self) -> list[BundleRecord]:
        """Every bundle that is not shelved or withdrawn, oldest first."""
        ...

    def open_files(self, drop: str) -> list[FileRecord]:
        """Every file of a drop folder that is not shelved and not vanished."""
        ...

    def bundle(self, bundle_id: int) -> BundleRecord | None:
        """One bundle, open or closed."""
        ...

    def files_of(self, bundle_id: int) -> list[FileRecord]:
        """The files of one bundle, by path."""
        ...

    def sight(
        self, drop: str, sightings: Iterable[Sighting], kinds: Mapping[str, FileKind], at: float
    ) -> list[FileRecord]:
        """New files: one SEEN row and one history row each. A VANISHED open path is not reused: it gets a new row."""
        ...

    def open_bundle(self, drop: str, key: str, name: str, at: float) -> BundleRecord:
        """A new GATHERING bundle. Raises StaleState if the drop has an open bundle of that key."""
        ...

    def apply(self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]]) -> None:
        """THE door: persist transitions, each only if its row is still in the state that it starts from, else
        StaleState and none of them; one history row each, with the record's masked reasons. A bundle that closes
        closes its files with it."""
        ...

    def amend(self, records: Sequence[FileRecord | BundleRecord]) -> None:
        """Persist what changed beside the state (reasons, assignment, stamp). StaleState if a state moved."""
        ...

    def claim(self, bundle_id: int, owner: str, now: float, lease_s: float) -> bool:
        """Take or renew the work on a bundle by compare-and-set: true if it is free, expired or already ours."""
        ...

    def release(self, bundle_id: int, owner: str) -> None:
        """Give the work on a bundle back; nothing happens if it is not ours."""
        ...

    def accepted(
        self, access_number: str | None, study_uid: str | None, destination: str, instances: Collection[str] = ()
    ) -> list[FileRecord]:
        """Every file, of whatever bundle of that exam (same accession number or study), that `destination` accepted; of
        these SOPInstanceUIDs only, if any are named."""
        ...

    def delivered(self, access_number: str | None, study_uid: str | None) -> list[BundleRecord]:
        """The bundles by which that study was committed (delivered.is_of_study), the last one last."""
        ...

    def commit(
        self, transitions: Sequence[Transition[FileRecord] | Transition[BundleRecord]], known: Sequence[int]
    ) -> bool:
        """As `apply`, for a bundle's COMMIT or REPEAT (the last of the transitions): only if the bundles by which its
        study was delivered are those of the numbers `known`, else nothing changes and it is false. Of several that
        commit one study at the same time, each but the first learns of the others."""
        ...

    def target_is_taken(self, target: str) -> bool:
        """Whether some bundle has recorded this place on a shelf."""
        ...

    def bundle_at(self, target: str) -> BundleRecord | None:
        """The bundle that has recorded this place on a shelf."""
        ...

    def keep_deed(self, deed: Deed) -> None:
        """Add to what operators did."""
        ...

    def deeds_of(self, bundle_id: int) -> list[Deed]:
        """What operators did with one bundle, oldest first."""
        ...

    def orders(self) -> list[Deed]:
        """The operators' orders for open bundles, and those to accept what was refused and is closed, oldest first."""
        ...

    def history(self, bundle_id: int) -> list[HistoryEntry]:
        """The transitions of one bundle and of its files, oldest first."""
        ...

    def find_bundles(self, name: str, limit: int = 50) -> list[BundleRecord]:
        """Bundles by id, name, accession number or study id, newest first."""
        ...

    def latest_bundles(self, limit: int = 50) -> list[BundleRecord]:
        """The bundles that changed last, newest first, open or closed."""
        ...

    def tallies(self) -> Tallies:
        """How many bundles and files there are in each state, those included that are no rows any more."""
        ...

    def bundles_between(self, since: float, until: float, after: int = 0, limit: int = 1000) -> list[BundleRecord]:
        """Bundles that were created in [since, until), by number: those above `after`, at most `limit`."""
        ...

    def files_between(self, since: float, until: float) -> list[FileCount]:
        """How many files were first seen in [since, until), for each quarter of an hour, drop folder, state,
        kind, and whether they are open."""
        ...

    def compact(self, drop: str, before: float, day_of: Callable[[float], str]) -> int:
        """Turn a few rows of what ended before that time (epoch seconds) into day tallies: delivered and withdrawn
        bundles with their files and history, and files that vanished alone. How many bundles and such files that were;
        0: there is nothing more to do. Neither totals nor numbers to come change by it. `day_of` says to which day
        (YYYY-MM-DD) a time belongs."""
        ...

    def day_tallies(self, first_day: str, last_day: str) -> list[DayTally]:
        """What is no row any more, for the days from the first to the last (YYYY-MM-DD), by day."""
        ...

    def remember(self, name: str, value: str | None) -> None:
        """Keep one small named text (the gate's state, an outage); None forgets it."""
        ...

    def recall(self, name: str) -> str | None:
        """The text kept under that name."""
        ...

    def close(self) -> None:
        """Give back every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Tallies:
    """Counts by state (names as in the lifecycle), and the age anchor of the oldest open bundle."""

    bundles: Mapping[str, int]
    files: Mapping[str, int]
    oldest_open_at: float | None
    unassigned: int  # open files that wait for a sidecar


QUARTER_S = 900  # every zone's days begin at a multiple of it


@dataclass(frozen=True, slots=True)
class FileCount:
    """How many files of one drop folder were first seen within a quarter of an hour, and what they are now."""

    quarter_at: float  # epoch seconds: when it began
    drop: str
    state: str
    kind: str
    is_open: bool
    total: int


@dataclass(frozen=True, slots=True)
class DayTally:
    """How many bundles or files of one day and drop folder ended in a state and are no rows any more."""

    day: str  # YYYY-MM-DD, the wall time of the place
    drop: str
    subject: str  # "bundle" or "file"
    state: str
    total: int


Accepted = Callable[[Sequence[Acceptance]], None]
Progress = Callable[[int], None]  # bytes that have just left


class Transport(Protocol):
    """One way for files to travel (stow, form, …)."""

    destination: str  # the address that accepts: the same text for the same receiver, for ever

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """Send the files, and say of each (in batches) that it was accepted, as soon as the receiver has said so.

        Raises AgentError for the first problem that stops the rest; what was reported accepted stays so. A file whose
        stamp is not the given one any more raises FA-CHANGED (WAIT). Sending a file twice does no harm at the receiver.
        """
        ...


class Proof(Protocol):
    """Asks the receiver itself what it has of an exam, before the exam information is posted."""

    words: str  # what is kept with the answer of a file that it has

    def held(self, claims: Sequence[Claim]) -> Mapping[int, bool]:
        """Whether the receiver has each of these files that it accepted, by their ids. What cannot be asked for is
        left out. Raises AgentError, FA-GW-UNPROVEN or FA-GW-NO-REPORT (RETRY) where the receiver does not say."""
        ...


class Gateway(Protocol):
    """The front-end machine: the exam interface and the transports of images and reports (None: travels otherwise)."""

    address: str  # where the exam information is posted
    images: Transport | None
    reports: Transport | None
    proof: Proof | None  # None: what was accepted counts as being there

    def for_exam(self, exam: Mapping[str, str | int], image: Outgoing | None = None) -> Gateway:
        """The same gateway, with the exam's identity, and one of its images if it has any, at hand for transports that
        send along with each file whose it is."""
        ...

    def commit(self, exam: Mapping[str, str | int]) -> Answer:
        """Post the exam information (study/add). Idempotent at the gateway. AgentError for any answer but success."""
        ...


class Shelves(Protocol):
    """done/ and failed/ of one drop folder. Nothing is ever overwritten, nothing is ever deleted unread."""

    def choose(self, shelf: str, day: str, name: str, attempt: int) -> str:
        """The absolute path for a bundle called `name` on the shelf ("done" or "failed"), made safe for any file
        system; attempt 1 is the name itself, n adds ` (n)`."""
        ...

    def is_free(self, target: str) -> bool:
        """Whether nothing is there yet."""
        ...

    def prepare(self, target: str) -> None:
        """Make the folder, and the shelf above it; nothing happens if it is there."""
        ...

    def write_note(self, target: str, name: str, content: bytes) -> None:
        """Write receipt.json or WHY.txt: whole or not at all, durable, replacing only a note of that name that this
        bundle wrote."""
        ...

    def move(self, drop_path: str, target: str, inside: str, stamp: Stamp) -> bool:
        """Move one file from the drop folder to `target`/`inside`; durable; by rename, else copy, compare, remove.

        Repeating a finished or interrupted move finishes it. False: the file is neither here nor there. A file at the
        source that is not the one of the stamp, while the target holds ours, is a newcomer and stays.
        """
        ...

    def sync(self, target: str, folders: Sequence[str]) -> None:
        """Make every move so far durable: the target's folders and those of the drop that files were moved out of (""
        is the drop itself). After `prepare`."""
        ...

    def tidy(self, folders: Sequence[str]) -> None:
        """Remove those folders of the drop that are empty, deepest first, never the drop itself."""
        ...

    def read(self, target: str, inside: str) -> bytes | None:
        """A small file of a shelved bundle, or None."""
        ...

    def has_failed(self) -> bool:
        """Whether anything lies in failed/."""
        ...

    def days(self) -> Sequence[str]:
        """The names of the folders in done/, in order: days, and whatever else somebody has made there."""
        ...

    def on_day(self, day: str) -> Sequence[str]:
        """The bundles' folders of one of `days`, as targets."""
        ...

    def free_bytes(self) -> int:
        """Bytes that may still be written where done/ lies."""
        ...

    def purge(self, target: str, files: Mapping[str, int]) -> int:
        """Delete these files (by path inside, with their sizes in bytes) from a bundle in done/; how many bytes that
        freed. One that is of another size is another file, and stays. If nothing but the receipt is left, that and
        the folder go, too. Repeating an interrupted one finishes it."""
        ...

    def put_back(self, target: str, name: str, into: str = "") -> str:
        """Move a bundle from failed/ back into the drop folder, or a folder of it, under its name (or ` (n)`); its new
        relative path. Repeating an interrupted one finishes it."""
        ...

    def correct(self, target: str, drop_path: str, stamp: Stamp) -> bool:
        """Take a corrected sidecar from the drop folder into a bundle in failed/, in the old one's place; that is kept
        beside it and is no sidecar any more. False: it is neither here nor there, and nothing has changed. Repeating
        an interrupted or finished one finishes it; FA-CHANGED if it is another file than the one of the stamp."""
        ...


class Unpacker(Protocol):
    """Makes a folder of an archive in one drop folder. Called from one thread at a time."""

    def unpack(self, path: str, stamp: Stamp) -> None:
        """Unpack the archive of that stamp beside it, into a folder `….unpacked` that appears whole, with the archive
        itself in it as `….unpacked.zip`. Raises AgentError, and has changed nothing: REFUSE for the archive's own
        fault (FA-ZIP-…), WAIT if it is not the one of the stamp; RETRY for the disk's (then `finish` is due)."""
        ...

    def finish(self) -> None:
        """Complete or undo what a crash or a failure left in the middle. AgentError (RETRY) where that must wait."""
        ...


class StatusArea(Protocol):
    """A folder beside a drop folder's exams for what the agent has to say; nothing in it is ever looked at as dropped.
    Called from one thread at a time. Both raise AgentError (RETRY) where it is out of reach or may not be written."""

    label: str  # how people are told where it is

    def write(self, name: str, content: bytes, ours: Collection[str]) -> bool:
        """Write the file, whole or not at all, unless one is there whose SHA-256 is not among `ours`: False then."""
        ...

    def remove(self, name: str, ours: Collection[str]) -> bool:
        """Remove the file if there is one; False if there is one whose SHA-256 is not among `ours`."""
        ...


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long something has kept bundles from being sent, and how many."""

    since: float  # epoch seconds
    until: float  # epoch seconds: now, or when it ended
    waiting: int  # bundles


class Publisher(Protocol):
    """Whoever wants to know: logs, the demo's display, later the console. Never blocks, never raises."""

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """A bundle's transition has been persisted. `personal` are the patient's values that must not be told on;
        None: they are not known yet, so that not even the bundle's name or a file's may be."""
        ...

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """What a gathering bundle waits for has changed."""
        ...

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Bytes of this bundle that have left, of so many in this attempt."""
        ...

    def fault(self, error: Exception) -> None:
        """A fault of our own, which should never happen; its traceback is worth keeping, its values are not."""
        ...

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Something about the agent as a whole began or ended (an outage, a hold); said once each. What keeps bundles
        waiting is told with how long and how many, and again from time to time."""
        ...
