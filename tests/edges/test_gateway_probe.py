"""Promises of doctor's questions to the gateway: each answer says what is wrong, and nothing is sent but `{}`."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

import pytest

from folder_agent.edges.gateway.probe import ProbeResult, certificate_of, check_signature
from folder_agent.settings import GatewaySettings
from tests.servers.kit import APP_ID, TOKEN, StillClock, certificate, serving
from tests.servers.scripted import answer


def probe(url: str, clock: StillClock | None = None, **trust: object) -> ProbeResult:
    settings = GatewaySettings(url=url, app_id=APP_ID, timeout_s=2, **(trust or {"ca_file": certificate().public}))
    return check_signature(settings, TOKEN, clock or StillClock())


def date(clock: StillClock, off_s: float) -> str:
    return f"Date: {formatdate(clock.time - off_s, usegmt=True)}"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", [100001, 1, 0, 777])
def test_a_refusal_of_the_content_means_that_the_signature_is_right(code: int, status: int) -> None:
    clock = StillClock()
    with serving(answer(status, {"code": code, "message": "参数错误"}, date(clock, 7))) as server:
        found = probe(server.url, clock)
    assert found.problem is None
    assert (found.is_reachable, found.is_trusted, found.status, found.code) == (True, True, status, code)
    assert found.clock_offset_s == 7
    seen = server.requests[-1]
    assert (seen.line, seen.body) == ("POST /ris/study/add HTTP/1.1", b"{}")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (answer(401), "FA-GW-AUTH"),
        (answer(403, {"code": 100001}), "FA-GW-AUTH"),
        (answer(200, {"code": 20008}), "FA-GW-PERMISSION"),
        (answer(404), "FA-GW-ADDRESS"),
        (answer(200, b"hello"), "FA-GW-ANSWER"),
        (answer(502), "FA-GW-HTTP"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, code: str) -> None:
    with serving(content) as server:
        found = probe(server.url)
    assert found.problem is not None
    assert found.problem.code == code


def test_a_clock_that_is_off_is_named() -> None:
    clock = StillClock()
    with serving(answer(401, b"", date(clock, -600))) as server:
        found = probe(server.url, clock)
    assert found.problem is not None
    assert (found.problem.code, found.clock_offset_s) == ("FA-GW-CLOCK", -600)


def test_an_untrusted_certificate_is_shown_for_pinning() -> None:
    with serving(answer(200)) as server:
        found = probe(server.url, fingerprint="0" * 64)
        assert found.certificate is not None
        pinned = probe(server.url, fingerprint=found.certificate.sha256)
    assert found.problem is not None
    assert (found.is_reachable, found.is_trusted, found.problem.code) == (True, False, "FA-GW-TLS")
    assert pinned.is_trusted


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = probe(f"https://127.0.0.1:{port}")
    assert found.problem is not None
    assert (found.is_reachable, found.is_trusted, found.certificate) == (False, None, None)
    assert found.problem.code == "FA-GW-UNREACHABLE"


def test_a_ca_file_that_is_missing_is_told_and_not_raised(tmp_path: Path) -> None:
    with serving(answer(200)) as server:
        found = probe(server.url, ca_file=tmp_path / "none")
    assert found.problem is not None
    assert found.problem.code == "FA-GW-TLS"


def test_the_certificate_says_who_and_until_when() -> None:
    with serving(answer(200)) as server:
        found = certificate_of("127.0.0.1", server.port)
    assert found.sha256 == certificate().sha256
    assert found.subject == "CN=test server"
    assert found.not_after > datetime.now(UTC)
    assert not server.requests
