"""The gateway and the line to it fail while the agent runs: it says why, loses nothing, fails nothing, and goes on by
itself when it is mended. Every fault is a real one: a relay that misbehaves, or the simulator behind it."""

from __future__ import annotations

import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from folder_agent.simulator import Simulator
from tests.faults.running import FAST, Running, assert_delivered_once, exam
from tests.servers.certificates import make_certificate
from tests.servers.line import Fault, Line
from tests.servers.scripted import ScriptedServer, answer
from tests.site import Site

STUDY, STOW = "/ris/study/add", "/dicom-web/studies"


@dataclass
class Ends:
    """What a fault may be injected into."""

    line: Line
    gateway: Simulator


@pytest.fixture
def ends(site: Site) -> Iterator[Ends]:
    """A line in front of the simulated gateway; the site's agent sends through it, and tries again at once."""
    with Line(site.gateway.port) as line:
        site.url, site.lines, site.timeout_s = line.url, FAST, 1
        yield Ends(line, site.gateway)


def misbehaving(**rule: Any) -> Callable[[Ends], None]:
    return lambda ends: ends.gateway.misbehave(times=-1, **rule)


def troubled(fault: Fault, after: int = 0) -> Callable[[Ends], None]:
    return lambda ends: ends.line.trouble(fault, after)


def behaving(**changes: Any) -> Callable[[Ends], None]:
    """The simulator set up otherwise; `mend` puts it back."""

    def change(ends: Ends) -> None:
        for name, value in changes.items():
            setattr(ends.gateway.behaviour, name, value)

    return change


def mend(ends: Ends, site: Site) -> None:
    ends.gateway.rules.clear()
    behaving(token=site.token, clock_offset_s=0.0)(ends)
    ends.line.mend()


FAULTS: dict[str, tuple[Callable[[Ends], None], str]] = {
    "refused": (lambda ends: ends.line.cut(), "FA-GW-UNREACHABLE"),
    "black hole": (troubled(Fault.BLACK_HOLE), "FA-GW-UNREACHABLE"),
    "no answer": (troubled(Fault.BLACK_HOLE, 4000), "FA-GW-TIMEOUT"),
    "an answer in drips": (troubled(Fault.DRIP, 4000), "FA-GW-TIMEOUT"),
    "reset in the body": (troubled(Fault.RESET, 4000), "FA-GW-BROKEN"),
    "the answer lost": (troubled(Fault.LOSE_ANSWER, 4000), "FA-GW-BROKEN"),
    "html": (misbehaving(do="garbage"), "FA-GW-UNSAID"),
    "an endless answer": (misbehaving(do="huge", bytes=18 * 1024 * 1024), "FA-GW-ANSWER"),
    "half an answer": (misbehaving(do="truncate", match=STUDY), "FA-GW-BROKEN"),
    "HTTP 500": (misbehaving(do="status", status=500), "FA-GW-HTTP"),
    "HTTP 429": (misbehaving(do="status", status=429), "FA-GW-HTTP"),
    "HTTP 404": (misbehaving(do="status", status=404), "FA-GW-ADDRESS"),
    "code 100002": (misbehaving(do="code", code=100002), "FA-GW-AGAIN"),
    "credentials revoked": (behaving(token="another"), "FA-GW-AUTH"),
    "clock off by 10 minutes": (behaving(clock_offset_s=600.0), "FA-GW-CLOCK"),
}
SHUT = {"FA-GW-UNREACHABLE", "FA-GW-TIMEOUT", "FA-GW-BROKEN", "FA-GW-ADDRESS", "FA-GW-AUTH", "FA-GW-CLOCK"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_fails_nothing_and_everything_goes_when_it_is_mended(site: Site, ends: Ends, name: str) -> None:
    inject, code = FAULTS[name]
    inject(ends)
    with Running(site) as agent:
        exams = {f"CT{number}": exam(site, number) for number in (1, 2)}
        agent.until_told(code)
        agent.until(lambda: attempts(agent) >= 4, "four attempts")
        assert site.shelf("failed") == {}
        assert site.shelf("done") == {}
        shut = agent.status()["held"] or agent.status()["outage"]
        assert (shut is not None) == (code in SHUT)
        mend(ends, site)
        agent.until_done("CT1", "CT2")
        assert agent.codes() == set()
    assert_delivered_once(site, exams, resent=True)


def attempts(agent: Running) -> int:
    found = [agent.ledger.history(bundle.id) for bundle in agent.ledger.latest_bundles()]
    return sum((entry.subject, entry.event) == ("bundle", "send") for history in found for entry in history)


def test_the_gateway_is_never_told_of_an_exam_of_which_a_file_did_not_arrive(site: Site, ends: Ends) -> None:
    ends.line.trouble(Fault.RESET, 4000)
    with Running(site) as agent:
        exam(site, 1, images=5)
        agent.until_told("FA-GW-BROKEN")
    assert site.received().posts == []


def test_an_upload_that_stalls_is_left_and_goes_when_the_line_is_mended(site: Site, ends: Ends) -> None:
    """More than any socket buffers: the agent has to notice that nothing is taken any more."""
    report = b"%PDF-1.4\n" + b"%" * (40 * 1024 * 1024) + b"\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
    ends.line.trouble(Fault.STALL, 100_000)
    with Running(site) as agent:
        exams = {"CT1": exam(site, 1, report=report)}
        agent.until_told("FA-GW-TIMEOUT")
        ends.line.mend()
        agent.until_done("CT1")
    assert_delivered_once(site, exams, resent=True)


def test_what_arrived_before_the_line_broke_is_not_sent_again(site: Site, ends: Ends) -> None:
    ends.gateway.misbehave(do="reset", match=STUDY, times=3)
    with Running(site) as agent:
        exams = {"CT1": exam(site, 1)}
        agent.until_done("CT1")
    assert_delivered_once(site, exams)


def test_a_commit_whose_answer_was_lost_is_repeated_and_counted_once(site: Site, ends: Ends) -> None:
    ends.gateway.misbehave(do="reset", match=STUDY, times=2, after=True)
    with Running(site) as agent:
        exams = {"CT1": exam(site, 1)}
        agent.until_done("CT1")
    assert len(site.received().posts) == 3
    assert_delivered_once(site, exams)


def test_a_stop_while_the_gateway_hangs_leaves_its_connection_alone_and_the_next_start_goes_on(
    site: Site, ends: Ends
) -> None:
    site.timeout_s = 3
    ends.line.trouble(Fault.BLACK_HOLE, 4000)
    before = threading.enumerate()  # what earlier tests of this process have left
    with Running(site, grace_s=0.1) as agent:
        exams = {"CT1": exam(site, 1)}
        agent.until_states(CT1="SENDING")
        agent.until(lambda: ends.line.connections, "it is being sent")
    left = [one for one in threading.enumerate() if one.name.startswith("worker-") and one not in before]
    for thread in left:  # past the assembly's end, until its own time is over: nothing is closed under its hands
        thread.join(30)
        assert not thread.is_alive()
    ends.line.mend()
    with Running(site) as agent:
        agent.until_done("CT1")
    assert_delivered_once(site, exams, resent=True)


def test_a_redirect_is_never_followed_to_another_host(site: Site, ends: Ends) -> None:
    with ScriptedServer(None, [answer(200, {"code": 0, "message": "ok"})]) as other, Running(site) as agent:
        ends.gateway.misbehave(do="redirect", times=-1, status=307, headers={"Location": f"{other.url}/ris/study/add"})
        exams = {"CT1": exam(site, 1)}
        agent.until_shut("held", "FA-GW-REDIRECT")
        mend(ends, site)
        agent.until_done("CT1")
        assert (other.connections, other.requests) == (0, [])
    assert_delivered_once(site, exams)


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_the_gateways_own_wish_when_to_come_back_is_heeded(site: Site, ends: Ends, status: int, form: str) -> None:
    site.lines = "retry_first_s = 0.1\nretry_max_s = 3600\n"
    until = "900" if form == "seconds" else email.utils.formatdate(time.time() + 900, usegmt=True)
    ends.gateway.misbehave(do="status", status=status, headers={"Retry-After": until}, match=STUDY)
    with Running(site) as agent:
        exams = {"CT1": exam(site, 1)}
        agent.until_states(CT1="WAITING")
        (bundle,) = agent.ledger.latest_bundles()
        assert bundle.due_at is not None
        assert 800 < bundle.due_at - bundle.changed_at < 1000
        assert agent.codes() == {"FA-GW-HTTP"}
        site.command("retry", "CT1")  # an operator need not wait
        agent.until_done("CT1")
    assert_delivered_once(site, exams)


def test_a_file_that_is_too_large_for_the_gateway_fails_with_its_reason_and_the_others_go_on(
    site: Site, ends: Ends
) -> None:
    ends.gateway.misbehave(do="status", status=413, match="/ris/file/add", times=1)
    with Running(site) as agent:
        dropped = exam(site, 1)
        agent.until_states(CT1="FAILED")
        exams = {"CT2": exam(site, 2)}
        agent.until_states(CT1="FAILED", CT2="DONE")
    failed = site.shelf("failed")["CT1"]
    notes = {"WHY.txt", "receipt.json"}
    assert {path.name: path.read_bytes() for path in failed.iterdir() if path.name not in notes} == dropped
    told = json.loads((failed / "receipt.json").read_bytes())
    assert {file["kind"] for file in told["files"]} == {"DICOM"}
    assert {file["why"] for file in told["notSent"]} == {"the gateway has not accepted it"}
    assert "FA-GW-TOO-LARGE" in (failed / "WHY.txt").read_text(encoding="utf-8-sig")
    assert set(site.received().exams) == {"ACC2"}
    assert set(exams) == set(site.shelf("done"))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Simulator]:
    """A gateway whose certificate is shown by the line in front of it, and can be changed there."""
    with Simulator(tmp_path / "plain", tls=False) as running:
        yield running


@pytest.mark.parametrize("wrong", ["expired", "another"])
def test_another_certificate_holds_everything_until_the_right_one_is_back(
    site: Site, plain: Simulator, tmp_path: Path, wrong: str
) -> None:
    right = make_certificate(tmp_path, "right")
    shown = make_certificate(tmp_path, "wrong", expired=wrong == "expired")
    with Line(plain.port, right.pem) as line:
        site.gateway, site.url, site.lines, site.timeout_s = plain, line.url, FAST, 1
        site.trust = f'fingerprint = "sha256:{right.sha256}"'
        if wrong == "expired":  # believed by its issuer, which is itself: only its date is wrong
            both = tmp_path / "both.crt"
            both.write_bytes(right.public.read_bytes() + shown.public.read_bytes())
            site.trust = f"ca_file = {json.dumps(str(both))}"
        with Running(site) as agent:
            exams = {"CT1": exam(site, 1)}
            agent.until_done("CT1")
            line.show(shown.pem)
            exams |= {f"CT{number}": exam(site, number) for number in (2, 3)}
            assert ("expired" in agent.until_shut("held", "FA-GW-TLS")["reason"]) == (wrong == "expired")
            agent.until(lambda: line.connections >= 6, "it keeps knocking")
            assert site.shelf("failed") == {}
            line.show(right.pem)
            agent.until_done("CT1", "CT2", "CT3")
    assert_delivered_once(site, exams)


def test_a_gateway_that_was_renewed_goes_on_with_mended_settings(site: Site, plain: Simulator, tmp_path: Path) -> None:
    right, renewed = make_certificate(tmp_path, "right"), make_certificate(tmp_path, "renewed")
    with Line(plain.port, renewed.pem) as line:
        site.gateway, site.url, site.lines = plain, line.url, FAST
        site.trust = f'fingerprint = "sha256:{right.sha256}"'
        with Running(site) as agent:
            exams = {"CT1": exam(site, 1)}
            agent.until_told("FA-GW-TLS")
        site.trust = f'fingerprint = "sha256:{renewed.sha256}"'
        with Running(site) as agent:
            agent.until_done("CT1")
    assert_delivered_once(site, exams)


def test_a_name_that_cannot_be_resolved_is_an_outage_until_it_can(
    site: Site, plain: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = make_certificate(tmp_path, "right")
    with Line(plain.port, right.pem) as line:
        site.gateway, site.lines = plain, FAST
        site.url, site.trust = f"https://gateway.invalid:{line.port}", f'fingerprint = "sha256:{right.sha256}"'
        with Running(site) as agent:
            exams = {"CT1": exam(site, 1)}
            assert "name not found" in agent.until_shut("outage", "FA-GW-UNREACHABLE")["reason"]
            real = socket.getaddrinfo

            def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
                known = host in ("gateway.invalid", b"gateway.invalid")
                return real("127.0.0.1" if known else host, *arguments, **more)

            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            agent.until_done("CT1")
    assert_delivered_once(site, exams)
