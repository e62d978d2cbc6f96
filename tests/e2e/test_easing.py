"""A gateway that has too much to do, with the real agent: it gets less at once, and more again when it can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import generate_uid

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.core import easing
from folder_agent.edges.logs import LogPublisher
from tests.site import Site, dicom, sidecar

WORKERS, STOW = 8, "/dicom-web/studies"


def drop(site: Site, name: str, count: int) -> set[str]:
    uids = set()
    for number in range(count):
        folder, accession = site.drop / f"{name}{number}", f"{name}{number}"
        uids.add(dicom(folder / "1.dcm", study=generate_uid(), instance=generate_uid(), accession=accession))
        sidecar(folder / "exam.json", imageCnt=1, accessNumber=accession)
    return uids


def until(happens: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


@pytest.mark.parametrize("how", [{"do": "status", "status": 503}, {"do": "delay", "seconds": 2.0}])
def test_a_gateway_that_slows_down_beyond_two_requests_gets_two_and_then_all_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: dict[str, object]
) -> None:
    widths = [WORKERS]

    def after_trouble(*given: Any) -> easing.Width:
        width = halved(*given)
        widths.append(width.now)
        return width

    halved = easing.after_trouble
    monkeypatch.setattr(easing, "after_trouble", after_trouble)
    monkeypatch.setattr(easing, "GROW_S", 0.1)
    site.lines = f"workers = {WORKERS}\nretry_first_s = 0.2\nretry_max_s = 1\n"
    site.timeout_s = 30
    with Assembly(settings.load(site.config(), {}), LogPublisher()) as assembly:
        lanes = assembly.meters.under_way
        assert lanes is not None

        def delivered(count: int) -> Callable[[], bool]:
            return lambda: len(site.received().posts) >= count

        thread = threading.Thread(target=assembly.work, daemon=True)
        thread.start()
        try:
            uids = drop(site, "EASY", 12)  # how long its answers take while it is at ease
            until(delivered(12))
            site.gateway.misbehave(match=STOW, most=2, times=-1, **how)
            uids |= drop(site, "BUSY", 60)
            until(delivered(72))
            assert min(widths) <= 2
            site.gateway.rules.clear()
            count = 72
            while lanes()[0] < WORKERS:
                uids |= drop(site, f"AGAIN{count}-", 20)
                count += 20
                until(delivered(count))
                assert count < 400, "it did not recover"
        finally:
            assembly.agent.stop()
            thread.join(20)
    got = site.received()
    assert set(got.instances) == uids
    assert len(got.posts) == len(uids)
    assert {str(state) for state in site.states().values()} == {"DONE"}
    assert not list((site.drop / "failed").glob("*/*"))
