"""Uploads that break off, with the real agent against the simulated gateway: they go on where the gateway has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from folder_agent.edges.gateway.resuming import RESUME_FROM
from tests.faults.running import FAST, Running
from tests.site import PDF, Site, sidecar

FORM = "/ris/file/add"
SIZE = 2 * RESUME_FROM
CUT = RESUME_FROM + 100_000


def large_report(site: Site) -> bytes:
    content = PDF.replace(b"%%EOF", b"%" + b"x" * SIZE + b"\n%%EOF")
    (site.drop / "CT1").mkdir()
    (site.drop / "CT1" / "report.pdf").write_bytes(content)
    sidecar(site.drop / "CT1" / "exam.json", pdfCnt=1)
    return content


def break_off(site: Site) -> None:
    """The question whether it can be gone on with is answered; the body that follows breaks off."""
    site.gateway.misbehave(do="delay", match=FORM, seconds=0)
    site.gateway.misbehave(do="cut-body", match=FORM, bytes=CUT)


def assert_whole(site: Site, content: bytes) -> None:
    (file,) = site.received().files
    assert file.path is not None
    assert file.path.read_bytes() == content
    assert len(site.received().posts) == 1
    assert partials(site) == []


def partials(site: Site) -> list[Path]:
    return [path for path in (site.gateway.state_dir / "partial").iterdir() if path.suffix != ".total"]


def held(site: Site) -> list[int]:
    return [entry["held"] for entry in site.received().requests if "held" in entry]


def test_a_large_report_goes_on_where_it_broke_off(site: Site) -> None:
    site.lines = FAST
    content = large_report(site)
    break_off(site)
    with Running(site) as agent:
        agent.until_done("CT1")
    assert_whole(site, content)
    assert held(site)[0] == 0
    assert CUT - 2000 < held(site)[-1] <= CUT


def test_it_goes_on_in_another_process_too(site: Site) -> None:
    content = large_report(site)
    break_off(site)
    assert site.once() == 3
    assert site.command("retry", "CT1").returncode == 0
    assert site.once() == 0
    assert_whole(site, content)
    assert held(site)[-1] > CUT - 2000


def test_a_gateway_that_knows_nothing_of_it_gets_the_whole_again(site: Site) -> None:
    content = large_report(site)
    site.gateway.misbehave(do="no-resume", match=FORM, times=1)
    site.gateway.misbehave(do="cut-body", match=FORM, bytes=CUT)
    assert site.once() == 3
    site.gateway.misbehave(do="no-resume", match=FORM, times=1)
    assert site.command("retry", "CT1").returncode == 0
    assert site.once() == 0
    assert_whole(site, content)
    assert held(site) == []


def test_what_was_kept_wrongly_is_sent_whole(site: Site) -> None:
    content = large_report(site)
    break_off(site)
    assert site.once() == 3
    (partial,) = partials(site)
    kept = partial.read_bytes()
    partial.write_bytes(b"X" + kept[1:])
    assert site.command("retry", "CT1").returncode == 0
    assert site.once() == 0
    assert_whole(site, content)


@pytest.mark.parametrize("times", [1, 3])
def test_a_small_report_is_simply_sent_again(site: Site, times: int) -> None:
    site.lines = FAST
    site.gateway.misbehave(do="cut-body", match=FORM, bytes=300, times=times)
    (site.drop / "CT1").mkdir()
    (site.drop / "CT1" / "report.pdf").write_bytes(PDF)
    sidecar(site.drop / "CT1" / "exam.json", pdfCnt=1)
    with Running(site) as agent:
        agent.until_done("CT1")
    (file,) = site.received().files
    assert json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))["outcome"] == "delivered"
    assert file.size == len(PDF)
    assert held(site) == []
