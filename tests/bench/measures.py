"""The measurements, each from its material to its rows. Each cleans up what it made.

Every rate is one run; ratios compare with the bare client that ran right after, against the same server.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import materials, rivals
from tests.bench.processes import Ran, Server, configure, discarding_server, run_module, sync_disks
from tests.bench.table import MEGABYTE, Row

RSS_LIMIT_MB = 150.0
_WATCHED = "tests.bench.watched"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    slices: int = 500
    exams: int = 1000
    large: int = 2_000_000_000  # bytes
    folders: int = 100
    files: int = 1000  # in each folder
    idle_s: float = 31.0  # so that the periodic scan (scan_s = 30) is in it

    @classmethod
    def quick(cls) -> Sizes:
        """Enough to see that everything works."""
        return cls(slices=20, exams=50, large=200_000_000, folders=10, files=50, idle_s=1.0)


def measure(sizes: Sizes, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """All rows, one measurement after the other; `tell` hears what is being done."""
    rows: list[Row] = []
    for measured in (study, exams_flat, exams_in_folders, large_file, waiting):
        tell((measured.__doc__ or "").partition(".")[0])
        with _place() as place:
            rows += measured(sizes, place)
    return rows


def study(sizes: Sizes, place: Path) -> list[Row]:
    """One CT study, from complete to done."""
    drop = place / "drop"
    images = materials.ct_study(drop / "CT1", sizes.slices)
    total = sum(image.size for image in images)
    what = f"CT study, {sizes.slices} slices, {total / MEGABYTE:.0f} MB"
    with discarding_server(place / "gateway") as server:
        bare_s = rivals.httpx_study(server, images)
        curl_s = rivals.curl_study(server, images, place / "curl")
    sync_disks()
    with discarding_server(place / "gateway2") as server:
        ran = _deliver(place, drop, server, 1)
    seconds = ran.said["sending_s"]
    per_gb = ran.said["cpu_s"] / (total / 1e9)
    rows = [
        Row(
            f"{what}: agent, complete to in done/",
            seconds,
            total / seconds / MEGABYTE,
            "MB/s",
            bare_s / seconds,
            per_gb,
            ran.said["cpu_s"],
            ran.peak_rss / MEGABYTE,
        ),
        Row("  bare httpx, same batches, no hashing", bare_s, total / bare_s / MEGABYTE, "MB/s", 1.0),
    ]
    if curl_s is not None:
        name = f"  curl --parallel-max {rivals.CURL_LINES}, one STOW request a file, bodies made before"
        rows.append(Row(name, curl_s, total / curl_s / MEGABYTE, "MB/s", bare_s / curl_s))
    return rows


def exams_flat(sizes: Sizes, place: Path) -> list[Row]:
    """Many exams of one image, side by side."""
    return _exams(sizes, place, flat=True)


def exams_in_folders(sizes: Sizes, place: Path) -> list[Row]:
    """Many exams of one image, each in its folder."""
    return _exams(sizes, place, flat=False)


def large_file(sizes: Sizes, place: Path) -> list[Row]:
    """One large file through `run --once`."""
    drop = place / "drop"
    image = materials.large_image(drop / "XA1", sizes.large)
    with discarding_server(place / "gateway") as server:
        config = configure(place, drop, server)
        ran = run_module("folder_agent", "run", "--once", "--config", str(config))
    _check(ran.code == 0, f"run --once ended with {ran.code}: {ran.complaint}")
    peak = ran.peak_rss / MEGABYTE
    verdict = f"{'OK' if peak < RSS_LIMIT_MB else 'OVER'}: limit {RSS_LIMIT_MB:.0f} MB"
    per_gb = ran.cpu_s / (image.size / 1e9)
    rate = image.size / ran.seconds / MEGABYTE
    name = f"one file of {image.size / MEGABYTE:.0f} MB, whole `run --once`"
    return [Row(name, ran.seconds, rate, "MB/s", None, per_gb, ran.cpu_s, peak, verdict)]


def waiting(sizes: Sizes, place: Path) -> list[Row]:
    """Files that wait for their sidecars."""
    drop, count = place / "drop", sizes.folders * sizes.files
    materials.waiting_files(drop, sizes.folders, sizes.files)
    nowhere = Server("https://127.0.0.1:9", place / "ca.pem")
    nowhere.ca_file.write_text(_any_certificate(place), encoding="ascii")
    looked = run_module(_WATCHED, "looks", str(configure(place / "one", drop, nowhere)))
    idle_config = configure(place / "two", drop, nowhere)
    idled = run_module(_WATCHED, "idle", str(idle_config), str(count), str(sizes.idle_s))
    _check(bool(looked.said) and looked.said["files"] == count, looked.complaint or "not every file was seen")
    _check(bool(idled.said) and "cpu_s" in idled.said, idled.complaint or "not every file settled")
    first, again, settling = looked.said["first_s"], looked.said["again_s"], idled.said["settling_s"]
    share = f"{100 * idled.said['cpu_s'] / sizes.idle_s:.1f} % of a core"
    rss = idled.peak_rss / MEGABYTE
    return [
        Row(f"first look over {count} waiting files, into the ledger", first, count / first, "files/s"),
        Row("  a look that finds nothing new", again, count / again, "files/s"),
        Row("  until all are seen, looked into and judged", settling, count / settling, "files/s"),
        Row("  idle beside them", sizes.idle_s, cpu_s=idled.said["cpu_s"], peak_rss_mb=rss, note=share),
    ]


def _exams(sizes: Sizes, place: Path, *, flat: bool) -> list[Row]:
    drop = place / "drop"
    exams = materials.small_exams(drop, sizes.exams, flat=flat)
    with discarding_server(place / "gateway") as server:
        bare_s = rivals.httpx_exams(server, exams)
    sync_disks()
    with discarding_server(place / "gateway2") as server:
        ran = _deliver(place, drop, server, sizes.exams)
    seconds = ran.said["whole_s"]
    layout = "in one flat folder" if flat else "in folders"
    return [
        Row(
            f"{sizes.exams} exams of one image {layout}: agent, first look to last in done/",
            seconds,
            sizes.exams / seconds,
            "exams/s",
            bare_s / seconds,
            cpu_s=ran.said["cpu_s"],
            peak_rss_mb=ran.peak_rss / MEGABYTE,
        ),
        Row("  bare httpx, image and JSON, no ledger, no move", bare_s, sizes.exams / bare_s, "exams/s", 1.0),
    ]


def _deliver(place: Path, drop: Path, server: Server, count: int) -> Ran:
    ran = run_module(_WATCHED, "once", str(configure(place / "agent", drop, server)))
    _check(bool(ran.said) and ran.said["done"] == count, f"{count} to deliver, but {ran.said or ran.complaint}")
    return ran


def _any_certificate(place: Path) -> str:
    """The waiting files never reach a gateway, but the settings want a certificate that can be read."""
    with discarding_server(place / "gateway") as server:
        return server.ca_file.read_text(encoding="ascii")


def _check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RuntimeError(otherwise)


@contextmanager
def _place() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="folder-agent-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
