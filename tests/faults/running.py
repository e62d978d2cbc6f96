"""The whole agent, running in a thread of this process, with real files, a real ledger and a real gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.checkup.reports import status_report
from folder_agent.edges.logs import LogPublisher
from tests.site import PDF, Site, dicom, sidecar

FAST = "retry_first_s = 0.1\nretry_max_s = 0.5\n"
PATIENCE_S = 60.0  # only a test that fails ever waits so long


class Running:
    """`with Running(site) as agent:`; stopped at the end, with `grace_s` for what is in hand. What the agent raised is
    raised again there."""

    def __init__(self, site: Site, grace_s: float = 9.0) -> None:
        self.site, self._grace_s = site, grace_s
        self.error: BaseException | None = None

    def __enter__(self) -> Running:
        self._assembly = Assembly(settings.load(self.site.config(), {}), LogPublisher()).__enter__()
        self.agent, self.ledger = self._assembly.agent, self._assembly.ledger
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.agent.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._assembly.__exit__(None, None, None)
        if kind is None and self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self.agent.run(grace_s=self._grace_s)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it again
            self.error = error

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait until it is true; its value."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self.error is None:
            if found := condition():
                return found
            time.sleep(0.02)
        raise AssertionError(
            f"{what or condition}: {self.states()} {self.codes()} {self.error!r}\n{self.site.logs()[-3000:]}"
        )

    def states(self) -> dict[str, str]:
        """The latest state of each bundle, by name."""
        found = sorted(self.ledger.latest_bundles(1000), key=lambda one: one.id)
        return {bundle.name: str(bundle.state) for bundle in found}

    def status(self) -> dict[str, Any]:
        """What `status --json` says now."""
        return status_report(self.ledger, time.time(), list(self.site.drops))

    def codes(self) -> set[str]:
        """Every reason that `status` gives now for what waits, for the gate and for the drop folders."""
        told = self.status()
        whole = [one["code"] for one in (told["held"], told["outage"], *told["drop_troubles"]) if one]
        return {*whole, *(one["code"] for one in told["waiting"] if one["code"])}

    def until_told(self, code: str) -> None:
        """Wait until `status` says so."""
        self.until(lambda: code in self.codes(), code)

    def until_shut(self, kind: str, code: str) -> dict[str, Any]:
        """Wait until the gate is shut for that reason, as "held" or as "outage"; what `status` says of it."""

        def told() -> dict[str, Any] | None:
            found = self.status()[kind]
            return found if found is not None and found["code"] == code else None

        found: dict[str, Any] = self.until(told, f"{kind}: {code}")
        return found

    def until_states(self, **states: str) -> None:
        """Wait until each bundle is in its state."""
        self.until(lambda: self.states() == states, str(states))

    def until_done(self, *names: str) -> None:
        self.until_states(**dict.fromkeys(names, "DONE"))


def exam(site: Site, number: int, images: int = 2, report: bytes = PDF, **fields: object) -> dict[str, bytes]:
    """Drop a whole exam of its own, CT<number>; its files' contents by name."""
    folder, study = site.drop / f"CT{number}", f"1.2.840.{number}"
    for one in range(images):
        dicom(folder / f"IM{one}", study=study, series=f"{study}.1", accession=f"ACC{number}")
    (folder / "report.pdf").write_bytes(report)
    known = {
        "studyId": f"S{number}",
        "accessNumber": f"ACC{number}",
        "studyUid": study,
        "imageCnt": images,
        "pdfCnt": 1,
    }
    sidecar(folder / "exam.json", **{**known, **fields})
    return everything(folder)


def everything(folder: Path) -> dict[str, bytes]:
    """The files below a folder by name, but for the notes."""
    notes = {"receipt.json", "WHY.txt"}
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in notes}


def assert_delivered_once(site: Site, exams: dict[str, dict[str, bytes]], *, resent: bool = False) -> None:
    """Each exam lies in done/ as it was dropped, with its receipt; the gateway has it whole; failed/ is empty."""
    done = site.shelf("done")
    assert {name: everything(done[name]) for name in exams} == exams
    assert all((done[name] / "receipt.json").is_file() for name in exams)
    assert site.shelf("failed") == {}
    got = site.received()
    images = {content for one in exams.values() for name, content in one.items() if name.startswith("IM")}
    assert {path.read_bytes() for path in got.instances.values()} == images
    assert sorted(got.exams) == sorted(f"ACC{name.removeprefix('CT')}" for name in exams)
    assert {one.path.read_bytes() for one in got.files if one.path} == {one["report.pdf"] for one in exams.values()}
    if not resent:
        assert got.repeats == 0
