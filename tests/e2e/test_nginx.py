"""A real nginx before the gateway, which ends TLS and has a bound on bodies: all arrives, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from folder_agent.edges import logs
from folder_agent.edges.gateway import wire
from folder_agent.simulator import Simulator
from tests.servers.kit import certificate
from tests.servers.nginx import Nginx, running_nginx
from tests.site import PDF, Site, dicom, sidecar

pytestmark = pytest.mark.slow
STOW, FORM = "/dicom-web/studies", "/ris/file/add"


@dataclass
class Behind:
    """A site whose gateway is behind nginx."""

    site: Site
    nginx: Nginx

    def statuses(self, path: str = STOW) -> list[int]:
        return [one.status for one in self.nginx.requests(path)]


class Proxied:
    """Makes them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def __call__(self, most: str) -> Behind:
        gateway = self._stack.enter_context(Simulator(self._folder / "gateway", tls=False))
        nginx = self._stack.enter_context(running_nginx(self._folder / "nginx", gateway.port, certificate(), most))
        trust = f"ca_file = '{certificate().public}'"
        site = Site(self._folder / "site", gateway, url=nginx.url, trust=trust, timeout_s=20)
        logs.set_up(site.root / "logs", "DEBUG", 1, console=False)
        self._stack.callback(lambda: logs.set_up(None, "INFO", 1, console=False))
        return Behind(site, nginx)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Proxied]:
    with ExitStack() as stack:
        yield Proxied(tmp_path, stack)


def exam(site: Site, images: int, size: int, pdf: bytes | None = None) -> set[str]:
    folder = site.drop / "CT1"
    uids = {dicom(folder / f"{n}.dcm", instance=generate_uid(), pixels=bytes([n]) * size) for n in range(images)}
    if pdf is not None:
        (folder / "report.pdf").write_bytes(pdf)
    sidecar(folder / "exam.json", imageCnt=images, pdfCnt=int(pdf is not None))
    return uids


def why_failed(site: Site) -> str:
    return (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")


def assert_all_arrived(site: Site, uids: set[str]) -> None:
    """To the byte, and once."""
    received = site.received()
    assert received.instances.keys() == uids
    assert (len(received.posts), received.repeats, received.conflicts) == (1, 0, 0)
    dropped = {path.read_bytes() for path in site.shelf()["CT1"].glob("*.dcm")}
    assert {path.read_bytes() for path in received.instances.values()} == dropped


def test_its_bound_halves_the_requests_until_all_has_arrived(behind: Proxied) -> None:
    made = behind("30k")
    uids = exam(made.site, 16, 8192, PDF)
    assert made.site.once() == 0, made.site.logs()[-3000:]
    assert_all_arrived(made.site, uids)
    assert len(made.site.received().files) == 1
    statuses = made.statuses()
    assert set(statuses) == {200, 413}
    assert statuses.count(200) == 8  # two at a time
    assert statuses[-1] == 200  # what was too large once is not tried again and again
    assert statuses.count(413) <= 7


def test_a_large_request_that_is_refused_is_refused_before_it_is_sent(behind: Proxied) -> None:
    made = behind("3m")
    uids = exam(made.site, 4, wire.EXPECT_FROM)
    assert made.site.once() == 0, made.site.logs()[-3000:]
    assert_all_arrived(made.site, uids)
    refused = [one.length for one in made.nginx.requests(STOW) if one.status == 413]
    assert refused
    assert max(refused) < 64 * 1024


@pytest.mark.parametrize("size", [100_000, 3 * wire.EXPECT_FROM])
def test_an_image_that_is_too_large_by_itself_fails_the_exam_and_says_why(behind: Proxied, size: int) -> None:
    made = behind("50k")
    exam(made.site, 2, 2048)
    dicom(made.site.drop / "CT1" / "large.dcm", instance=generate_uid(), pixels=b"x" * size)
    sidecar(made.site.drop / "CT1" / "exam.json", imageCnt=3)
    assert made.site.once() == 4, made.site.logs()[-3000:]
    why = why_failed(made.site)
    assert "FA-GW-TOO-LARGE" in why
    assert "CT1/large.dcm" in why
    assert not made.site.received().posts


@pytest.mark.parametrize("size", [100_000, 3 * wire.EXPECT_FROM])
def test_so_does_a_report(behind: Proxied, size: int) -> None:
    made = behind("50k")
    exam(made.site, 1, 2048, PDF.replace(b"trailer", b"%" + b"x" * size + b"\ntrailer"))
    assert made.site.once() == 4, made.site.logs()[-3000:]
    why = why_failed(made.site)
    assert "FA-GW-TOO-LARGE" in why
    assert "CT1/report.pdf" in why
    assert not made.site.received().posts


def test_a_gateway_that_is_away_behind_it_is_waited_for(behind: Proxied) -> None:
    made = behind("1m")
    port = made.site.gateway.port
    made.site.gateway.stop()
    uids = exam(made.site, 2, 2048)
    assert made.site.once() == 3
    assert made.site.states() == {"CT1": "WAITING"}
    assert 502 in made.statuses()
    with Simulator(made.site.root.parent / "gateway", tls=False, port=port) as again:
        made.site.gateway = again
        made.site.command("retry", "--all")
        assert made.site.once() == 0, made.site.logs()[-3000:]
        assert_all_arrived(made.site, uids)
