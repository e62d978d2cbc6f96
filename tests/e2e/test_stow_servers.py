"""STOW-RS servers as they are: other answers, bounds and ways, with the real agent against the simulated gateway."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydicom.uid import generate_uid

from folder_agent.edges.gateway import wire
from tests.site import Site, dicom, sidecar

STOW = "/dicom-web/studies"
TRUST = "[stow]\ntrust_status = true\n"


def exam(site: Site, images: int, size: int = 2048) -> list[str]:
    folder = site.drop / "CT1"
    uids = [dicom(folder / f"{n}.dcm", instance=generate_uid(), pixels=bytes([n]) * size) for n in range(images)]
    sidecar(folder / "exam.json", imageCnt=images)
    return uids


def assert_delivered(site: Site, uids: list[str]) -> None:
    assert site.once() == 0, [(bundle.state, bundle.reasons) for bundle in site.bundles()]
    got = site.received()
    assert sorted(got.instances) == sorted(uids)
    assert (len(got.posts), got.conflicts) == (1, 0)


def requests(site: Site, path: str = STOW) -> list[dict[str, Any]]:
    return [entry for entry in site.received().requests if entry["path"].startswith(path)]


@pytest.mark.parametrize("style", ["xml", "other-failures", "unreferenced", "text", "empty"])
def test_every_style_of_answer_is_understood_or_trusted_as_set(site: Site, style: str) -> None:
    site.top = TRUST if style in ("unreferenced", "text", "empty") else ""
    site.gateway.misbehave(do="stow-answer", match=STOW, times=-1, style=style)
    assert_delivered(site, exam(site, 3))
    assert len(requests(site)) == 1


def test_a_silent_server_without_trust_keeps_the_exam_waiting_and_says_why(site: Site) -> None:
    site.gateway.misbehave(do="stow-answer", match=STOW, times=-1, style="empty")
    exam(site, 1)
    assert site.once() == 3
    waiting = json.loads(site.command("status", "--json").stdout)["waiting"][0]
    assert (waiting["state"], waiting["code"]) == ("WAITING", "FA-GW-UNSAID")
    assert not site.received().posts


def test_a_silent_server_that_can_be_asked_needs_no_trust(site: Site) -> None:
    site.top = "[images]\nverify = 'qido'\n"
    site.gateway.misbehave(do="stow-answer", match=STOW, times=1, style="empty")
    site.gateway.misbehave(do="forget", match=STOW, times=1)
    assert_delivered(site, exam(site, 3))
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    answers = sorted(file["answer"] for file in receipt["files"] if file["kind"] == "DICOM")
    assert answers == ["HTTP 200, found by QIDO-RS"] + ["HTTP 200, not itemised, found by QIDO-RS"] * 2


@pytest.mark.parametrize("style", ["xml", "other-failures", "unreferenced"])
def test_what_fails_for_the_moment_goes_again_alone(site: Site, style: str) -> None:
    site.top = TRUST if style == "unreferenced" else ""
    site.gateway.misbehave(do="stow-fail", match=STOW, reason=0xA700)
    site.gateway.misbehave(do="stow-answer", match=STOW, times=1, style=style)
    assert_delivered(site, exam(site, 4))
    assert [len(entry["instances"]) for entry in requests(site)] == [4, 1]
    assert site.received().repeats == 0


def test_a_bound_on_bodies_halves_the_requests_and_is_kept_afterwards(site: Site) -> None:
    site.gateway.misbehave(do="too-large", match=STOW, bytes=30_000, times=-1)
    assert_delivered(site, exam(site, 16, 8192))
    refused = [entry for entry in requests(site) if entry["status"] == 413]
    taken = [len(entry["instances"]) for entry in requests(site) if entry["status"] == 200]
    assert len(refused) == 7  # 16, 8, 4, 4, 8, 4, 4
    assert taken == [2] * 8


def test_an_image_that_is_too_large_by_itself_fails_the_exam_by_name(site: Site) -> None:
    site.gateway.misbehave(do="too-large", match=STOW, bytes=30_000, times=-1)
    dicom(site.drop / "CT1" / "large.dcm", instance=generate_uid(), pixels=b"x" * 60_000)
    exam(site, 2)
    sidecar(site.drop / "CT1" / "exam.json", imageCnt=3)
    assert site.once() == 4
    why = (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig")
    assert "FA-GW-TOO-LARGE" in why
    assert "CT1/large.dcm" in why
    assert "client_max_body_size" in why


@pytest.mark.parametrize("status", [401, 503])
def test_a_server_that_refuses_at_once_gets_no_large_body(site: Site, status: int) -> None:
    site.gateway.misbehave(do="status", status=status, match=STOW, times=-1, early=True)
    exam(site, 1, 3 * wire.EXPECT_FROM)
    began = time.monotonic()
    assert site.once() == 3
    assert time.monotonic() - began < 20
    assert {entry["status"] for entry in requests(site)} == {status}
    site.gateway.rules.clear()


def test_a_server_that_never_says_continue_gets_the_body_all_the_same(site: Site) -> None:
    site.gateway.misbehave(do="no-continue", match=STOW, times=-1)
    assert_delivered(site, exam(site, 2, 3 * wire.EXPECT_FROM))


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_server_is_followed(site: Site, status: int) -> None:
    site.top = f"[stow]\nurl = '{site.gateway.url}/old/studies'\n"
    site.gateway.misbehave(do="redirect", match="/old", status=status, times=-1, headers={"Location": STOW})
    assert_delivered(site, exam(site, 2, wire.EXPECT_FROM))


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_of_another_kind_holds_and_names_the_place(site: Site, status: int) -> None:
    site.gateway.misbehave(do="redirect", match=STOW, status=status, times=-1, headers={"Location": "/login/here?x=1"})
    exam(site, 1)
    assert site.once() == 3
    held = json.loads(site.command("status", "--json").stdout)["held"]
    assert held["code"] == "FA-GW-REDIRECT"
    assert f"{site.gateway.url}/login/…" in held["reason"]


def test_another_sign_in_holds_and_is_named(site: Site) -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="Hospital proxy"'}
    site.gateway.misbehave(do="status", status=401, match=STOW, times=-1, headers=challenge)
    exam(site, 1)
    assert site.once() == 3
    held = json.loads(site.command("status", "--json").stdout)["held"]
    assert held["code"] == "FA-GW-SIGN-IN"
    assert "Hospital proxy" in held["reason"]
