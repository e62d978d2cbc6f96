"""The measurements: each workload with each receiver and client that makes sense, and what files that wait cost.

Every rate is one run. Each case makes what it needs, starts its own receiver, and cleans up.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench import materials, receivers, rivals
from tests.bench.materials import Exam
from tests.bench.processes import SETTLE_S, Ran, configure, run_agent, run_module, sync_disks
from tests.bench.receivers import GATEWAY, ORTHANC, PROMPT_ORTHANC, PROMPT_STORESCP, STORESCP, Receiver
from tests.bench.table import MEGABYTE, Row, with_ratios

RSS_LIMIT_MB = 150.0
STOW, DIMSE = "agent, stow", "agent, dimse"
HTTPX, CURL, RCLONE = "httpx loop", "curl --parallel", "rclone copy"
STORESCU, NO_DELAY = "storescu", "storescu, TCP_NODELAY=1"
REFERENCES = (HTTPX, STORESCU, NO_DELAY)  # of which a block's first is 1.0; Orthanc has two, each for its own way
_WATCHED = "tests.bench.watched"
_NAGLED = 500  # images that storescu as installed is given of a workload: each costs it 40 ms
_KEPT = 2000  # images of a workload that Orthanc, which keeps and indexes each, is given


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    slices: int = 500
    studies: int = 200
    images: int = 50  # in each study
    large: int = 4_000_000_000  # bytes
    exams: int = 1000
    eager: tuple[int, ...] = (100, 500, 1000)  # slices of exams that arrive slowly
    folders: int = 100
    files: int = 1000  # in each folder
    idle_s: float = 31.0  # so that the periodic scan (scan_s = 30) is in it

    @classmethod
    def quick(cls) -> Sizes:
        """Enough to see that everything works."""
        small = {"slices": 20, "studies": 4, "images": 10, "large": 200_000_000, "exams": 20, "eager": (20,)}
        return cls(**small, folders=10, files=50, idle_s=1.0)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Workload:
    """Exams that lie somewhere, and what is said of them."""

    name: str
    folder: Path
    exams: Sequence[Exam]

    @property
    def size(self) -> int:
        return sum(exam.size for exam in self.exams)

    @property
    def objects(self) -> int:
        return sum(len(exam.images) for exam in self.exams)


Make = Callable[[Sizes, Path], Workload]


def ct(sizes: Sizes, place: Path) -> Workload:
    exam = materials.ct_study(place / "CT1", sizes.slices)
    return Workload(f"CT study: {sizes.slices} slices, {exam.size / MEGABYTE:.0f} MB", place, [exam])


def many(sizes: Sizes, place: Path) -> Workload:
    found = materials.studies(place, sizes.studies, sizes.images)
    return Workload(f"{sizes.studies * sizes.images} instances in {sizes.studies} studies", place, found)


def large(sizes: Sizes, place: Path) -> Workload:
    exam = materials.large_image(place / "XA1", sizes.large)
    return Workload(f"one multi-frame of {sizes.large / 1e9:g} GB", place, [exam])


def singles(sizes: Sizes, place: Path) -> Workload:
    return Workload(
        f"{sizes.exams} one-image exams, in folders", place, materials.small_exams(place, sizes.exams, flat=False)
    )


def singles_flat(sizes: Sizes, place: Path) -> Workload:
    return Workload(
        f"{sizes.exams} one-image exams, in one folder", place, materials.small_exams(place, sizes.exams, flat=True)
    )


@dataclass(frozen=True, slots=True)
class Case:
    """One row to be: its workload, by how it is made and called, its receiver and its client."""

    make: Make
    receiver: str
    client: str

    @property
    def name(self) -> str:
        return f"{self.make.__name__} / {self.receiver} / {self.client}"


_TO_GATEWAY, _TO_STORESCP, _TO_PROMPT = (STOW, HTTPX), (DIMSE, STORESCU), (DIMSE, NO_DELAY)
CASES = (
    *(Case(ct, GATEWAY, client) for client in (*_TO_GATEWAY, CURL)),
    *(Case(ct, STORESCP, client) for client in _TO_STORESCP),
    *(Case(ct, PROMPT_STORESCP, client) for client in _TO_PROMPT),
    *(Case(ct, ORTHANC, client) for client in (STOW, DIMSE, HTTPX, CURL, STORESCU)),
    *(Case(ct, PROMPT_ORTHANC, client) for client in _TO_PROMPT),
    Case(ct, "WebDAV (rclone serve)", RCLONE),
    *(Case(many, GATEWAY, client) for client in _TO_GATEWAY),
    *(Case(many, STORESCP, client) for client in _TO_STORESCP),
    *(Case(many, PROMPT_STORESCP, client) for client in _TO_PROMPT),
    *(Case(many, ORTHANC, client) for client in (STOW, DIMSE, HTTPX)),
    *(Case(large, GATEWAY, client) for client in _TO_GATEWAY),
    *(Case(large, STORESCP, client) for client in _TO_STORESCP),
    *(Case(singles, GATEWAY, client) for client in _TO_GATEWAY),
    *(Case(singles, PROMPT_STORESCP, client) for client in _TO_PROMPT),
    *(Case(singles, ORTHANC, client) for client in (STOW, HTTPX)),
    *(Case(singles_flat, GATEWAY, client) for client in _TO_GATEWAY),
)
EAGER, WAITING = "eager", "waiting"


def names(sizes: Sizes) -> list[str]:
    """What can be chosen."""
    slow = [f"{EAGER} / {GATEWAY} / {mode}, {slices} slices" for slices in sizes.eager for mode in ("off", "on")]
    return [*(case.name for case in CASES), *slow, WAITING]


def measure(
    sizes: Sizes, tell: Callable[[str], None] = lambda _: None, wanted: Callable[[str], bool] = lambda _: True
) -> list[Row]:
    """The rows that are wanted by name, one measurement after the other; `tell` hears what is being done, and what is
    missing here."""
    rows: list[Row] = []
    for make in dict.fromkeys(case.make for case in CASES):
        cases = [case for case in CASES if case.make is make and wanted(case.name)]
        if cases:
            with _place() as place:
                rows += _block(cases, make(sizes, place / "made"), place, tell)
    for slices in sizes.eager:
        for is_eager in (False, True):
            name = f"{EAGER} / {GATEWAY} / {'on' if is_eager else 'off'}, {slices} slices"
            if wanted(name):
                tell(name)
                with _place() as place:
                    rows.append(slow_pacs(slices, place, is_eager=is_eager))
    if wanted(WAITING):
        tell(WAITING)
        with _place() as place:
            rows += waiting(sizes, place)
    return with_ratios(rows, REFERENCES)


def _block(cases: Sequence[Case], work: Workload, place: Path, tell: Callable[[str], None]) -> Iterator[Row]:
    for number, case in enumerate(cases):
        if why := receivers.missing(case.receiver):
            tell(f"{case.name}: {why}")
            continue
        tell(case.name)
        here = place / str(number)
        sync_disks()
        part = _part(work, here, _most(case))
        row = _agent(case, part, here) if case.client in (STOW, DIMSE) else _rival(case, part, here)
        if row is not None and part is not work:
            note = f"the first {part.objects} only"
            row = replace(row, workload=work.name, note=f"{note}; {row.note}" if row.note else note)
        if row is None:
            tell(f"{case.name}: {case.client.partition(' ')[0]} is not installed")
        else:
            yield row
        shutil.rmtree(here, ignore_errors=True)


def _agent(case: Case, work: Workload, place: Path) -> Row:
    with receivers.running(case.receiver, place / "receiver") as receiver:
        return agent_row(work, case.receiver, case.client, receiver, place, drop_all)


def agent_row(
    work: Workload,
    receiver_name: str,
    client: str,
    receiver: Receiver,
    place: Path,
    drop: Callable[[Path, Path], float],
    *,
    drop_lines: str = "",
) -> Row:
    """The agent's row: from the first file's arrival to the last commit. `drop` moves what is staged into the drop
    folder, and says when (monotonic) the last file was there."""
    staged, folder = place / "staged", place / "drop"
    materials.linked(work.folder, staged)
    sections = _dimse(receiver) if client == DIMSE else _stow(receiver)
    config = configure(
        place / "agent", folder, receiver.url, receiver.ca_file, sections=sections, drop_lines=drop_lines
    )
    times: list[float] = []

    def drop_files() -> None:
        times.append(time.monotonic())
        times.append(drop(staged, folder))

    ran = run_agent(config, len(work.exams), drop_files)
    if not ran.said or ran.said["done"] != len(work.exams):
        raise RuntimeError(f"{client}: {len(work.exams)} to deliver, but {ran.said or ran.complaint}")
    first, last = times
    row = _row(work, receiver_name, client, ran.said["committed"] - first, ran.said["cpu_s"], ran.peak_rss)
    peak = ran.peak_rss / MEGABYTE
    note = "" if peak < RSS_LIMIT_MB else f"OVER {RSS_LIMIT_MB:.0f} MB"
    return replace(row, last_to_commit_s=ran.said["committed"] - last, note=note)


def drop_all(staged: Path, folder: Path) -> float:
    """Everything at once."""
    for entry in sorted(staged.iterdir()):
        entry.rename(folder / entry.name)
    return time.monotonic()


def _rival(case: Case, work: Workload, place: Path) -> Row | None:
    if case.client == RCLONE:
        ran = rivals.rclone(work.folder, place)
        return None if ran is None else _rival_row(case, work, ran)
    with receivers.running(case.receiver, place / "receiver") as receiver:
        if case.client == HTTPX:
            return _rival_row(case, work, rivals.httpx_loop(receiver, work.exams, place / "httpx"))
        if case.client == CURL:
            ran = rivals.curl(receiver, work.exams, place / "curl")
            return None if ran is None else _rival_row(case, work, ran)
        ran = rivals.storescu(receiver, work.folder, no_delay=case.client == NO_DELAY)
    return _rival_row(case, work, ran)


def _most(case: Case) -> int | None:
    """The images that are enough to see how it goes, where all of them would take minutes."""
    if case.client == STORESCU:
        return _NAGLED
    return _KEPT if case.receiver == ORTHANC else None


def _part(work: Workload, place: Path, most: int | None) -> Workload:
    """The first exams of the workload, with at most so many images."""
    if most is None or work.objects <= most:
        return work
    exams = work.exams[: max(1, most // (work.objects // len(work.exams)))]
    for exam in exams:
        materials.linked(exam.sidecar.parent, place / "part" / exam.sidecar.parent.name)
    return Workload(work.name, place / "part", exams)


def _rival_row(case: Case, work: Workload, ran: Ran) -> Row:
    if ran.code != 0:
        raise RuntimeError(f"{case.name} ended with {ran.code}: {ran.complaint}")
    seconds = ran.said["seconds"] if isinstance(ran.said, dict) else ran.seconds
    cpu_s = ran.said["cpu_s"] if isinstance(ran.said, dict) else ran.cpu_s
    return _row(work, case.receiver, case.client, seconds, cpu_s, ran.peak_rss)


def _row(work: Workload, receiver: str, client: str, seconds: float, cpu_s: float, peak_rss: int) -> Row:
    weighs = work.size >= 100_000_000  # else the bytes are not what takes the time
    return Row(
        work.name,
        receiver,
        client,
        seconds,
        mb_s=work.size / seconds / MEGABYTE if weighs else None,
        objects_s=work.objects / seconds if work.objects > 1 else None,
        cpu_s=cpu_s,
        cpu_s_per_gb=cpu_s / (work.size / 1e9) if weighs else None,
        peak_rss_mb=peak_rss / MEGABYTE,
    )


def slow_pacs(slices: int, place: Path, *, is_eager: bool) -> Row:
    """An exam whose images arrive one after the other, the sidecar first: what is left to do when the last is there."""
    exam = materials.ct_study(place / "made" / "CT1", slices)
    work = Workload(f"{slices} slices, {exam.size / MEGABYTE:.0f} MB, arriving at 40 MB/s", place / "made", [exam])
    client = f"{STOW}, eager = {'true' if is_eager else 'false'}"
    lines = f"eager = {'true' if is_eager else 'false'}"
    with receivers.running(GATEWAY, place / "receiver") as receiver:
        row = agent_row(work, GATEWAY, client, receiver, place, partial(_drop_slowly, 40e6), drop_lines=lines)
    return replace(row, mb_s=None, objects_s=None, note=f"{SETTLE_S:g} s of the last column are settle_s")


def _drop_slowly(rate: float, staged: Path, folder: Path) -> float:
    """At so many bytes a second."""
    began, sent = time.monotonic(), 0
    files = sorted((path for path in staged.rglob("*") if path.is_file()), key=lambda path: path.suffix != ".json")
    for file in files:
        place = folder / file.relative_to(staged)
        place.parent.mkdir(parents=True, exist_ok=True)
        sent += file.stat().st_size
        file.rename(place)
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    return time.monotonic()


def waiting(sizes: Sizes, place: Path) -> list[Row]:
    """Files that wait for their sidecars."""
    drop, count = place / "drop", sizes.folders * sizes.files
    materials.waiting_files(drop, sizes.folders, sizes.files)
    with receivers.running(GATEWAY, place / "gateway") as receiver:
        certificate = receiver.ca_file.read_text(encoding="ascii")
    ca_file = place / "ca.pem"
    ca_file.write_text(certificate, encoding="ascii")
    nowhere = "https://127.0.0.1:9"
    looked = run_module(_WATCHED, "looks", str(configure(place / "one", drop, nowhere, ca_file)))
    idle_config = configure(place / "two", drop, nowhere, ca_file)
    idled = run_module(_WATCHED, "idle", str(idle_config), str(count), str(sizes.idle_s))
    if not looked.said or looked.said["files"] != count:
        raise RuntimeError(looked.complaint or "not every file was seen")
    if not idled.said or "cpu_s" not in idled.said:
        raise RuntimeError(idled.complaint or "not every file settled")
    first, again, settling = looked.said["first_s"], looked.said["again_s"], idled.said["settling_s"]
    share = f"{100 * idled.said['cpu_s'] / sizes.idle_s:.1f} % of a core"
    what = f"{count} files that wait for their sidecars"
    return [
        Row(what, "", "first look, into the ledger", first, objects_s=count / first),
        Row(what, "", "a look that finds nothing new", again, objects_s=count / again),
        Row(what, "", "until all are looked into and judged", settling, objects_s=count / settling),
        Row(
            *(what, "", "idle beside them", sizes.idle_s),
            cpu_s=idled.said["cpu_s"],
            peak_rss_mb=idled.peak_rss / MEGABYTE,
            note=share,
        ),
    ]


def _stow(receiver: Receiver) -> str:
    return f"[stow]\nurl = {json.dumps(receiver.stow_url)}" if receiver.stow_url else ""


def _dimse(receiver: Receiver) -> str:
    return f'[images]\ntransport = "dimse"\n[dimse]\nhost = "127.0.0.1"\nport = {receiver.dicom_port}'


@contextmanager
def _place() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="folder-agent-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
