"""What an operator can do, by clicks in a real browser, and what becomes of it at the gateway and on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from folder_agent import settings
from folder_agent.agent.loop import Agent
from folder_agent.assembly import Assembly
from folder_agent.core.records import Act, Deed
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.logs import LogPublisher
from tests.console.house import PATIENT, House, wait_for
from tests.console.test_pages import looking
from tests.site import Site, dicom, sidecar


def act(page: Page, own: House, number: int, name: str, reason: str = "") -> str:
    """Click through an act; what the last page says."""
    page.goto(f"{own.url}/bundles/{number}")
    page.click(f"#act-{name}")
    if reason:
        page.fill("#reason", reason)
    page.click("#yes")
    page.wait_for_selector("h1 >> text=What came of it")
    return page.locator("main").inner_text()


def test_a_bundle_that_waits_is_accepted_as_it_is(browser: Browser, own: House) -> None:
    own.drop("short", images=2, declared=5)
    number = own.until("short", "GATHERING").id
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles/{number}")
        page.click("#act-accept")
        page.evaluate("document.querySelector('#reason').required = false")  # a browser that does not mind
        page.click("#yes")
        assert "A reason is needed" in page.locator("main").inner_text()
        page.fill("#reason", "the other three were never taken")
        page.click("#yes")
        page.wait_for_selector("h1 >> text=What came of it")
        done = own.until("short", "DONE")
        page.goto(f"{own.url}/bundles/{number}")
        assert "the other three were never taken" in page.locator("main").inner_text()
    assert done.counts.images == 2
    [exam] = own.site.received().exams.values()
    assert exam["imageCnt"] == 2
    receipt = json.loads((Path(done.target or "") / "receipt.json").read_text(encoding="utf-8"))
    assert "FA-OPERATOR-ACCEPTED" in [one["code"] for one in receipt["warnings"]]


def test_more_files_than_declared_are_accepted_out_of_failed(browser: Browser, own: House) -> None:
    own.drop("plenty", images=3, declared=1)
    number = own.until("plenty", "REFUSED").id
    shelved(own, "plenty")
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles/{number}")
        page.click("#act-accept")
        assert "imageCnt says 1, but 3 are there" in page.locator("main").inner_text()
        page.fill("#reason", "the PACS counted wrong")
        page.click("#yes")
        page.wait_for_selector("h1 >> text=What came of it")
        assert "brought back from failed/" in page.locator("main").inner_text()
        done = own.until("plenty", "DONE")
        page.goto(f"{own.url}/bundles/{done.id}")
        assert "the PACS counted wrong" in page.locator("main").inner_text()
    with own.client() as client:
        assert "does not lie in failed/ any more" in insist(client, number, 409)
    assert done.id > number
    assert [exam["imageCnt"] for exam in own.site.received().exams.values()] == [3]
    receipt = json.loads((Path(done.target or "") / "receipt.json").read_text(encoding="utf-8"))
    assert "FA-OPERATOR-ACCEPTED" in [one["code"] for one in receipt["warnings"]]
    assert "counted wrong" not in own.site.logs()


def test_what_is_refused_for_anything_else_can_never_be_accepted(browser: Browser, own: House) -> None:
    dicom(own.site.drops["ct"] / "mixed" / "IM9.dcm", patient="SOMEBODY-ELSE")
    own.drop("mixed", images=2, declared=1)
    number = own.until("mixed", "REFUSED").id
    shelved(own, "mixed")
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles/{number}")
        assert page.locator("#act-accept").count() == 0
        assert "cannot be accepted as it is" in page.locator("#never-accept").inner_text()
    with own.client() as client:
        assert "cannot be accepted as it is" in insist(client, number, 409)
    assert own.assembly.ledger.deeds_of(number) == []


def insist(client: httpx.Client, number: int, status: int) -> str:
    """Accept it without having been offered that; the answer."""
    token = re.search('name="csrf" value="([0-9a-f]+)"', client.get(f"/bundles/{number}").text)
    assert token is not None
    form = {"csrf": token[1], "sure": "yes", "reason": "I insist"}
    answer = client.post(f"/bundles/{number}/accept", data=form)
    assert answer.status_code == status
    return answer.text


def test_a_bundle_is_refused_with_the_reason_beside_it(browser: Browser, own: House) -> None:
    own.drop("unwanted", images=1, declared=2)
    number = own.until("unwanted", "GATHERING").id
    with looking(browser, own) as page:
        told = act(page, own, number, "refuse", "a phantom, not a patient")
        assert "failed/" in told
    refused = own.until("unwanted", "REFUSED")
    why = (shelved(own, "unwanted") / "WHY.txt").read_text(encoding="utf-8-sig")
    assert "a phantom, not a patient" in why
    assert "FA-OPERATOR-REFUSED" in why
    assert refused.reasons[0].code == "FA-OPERATOR-REFUSED"
    assert "phantom" not in own.site.logs()
    assert own.site.received().exams == {}


def shelved(own: House, name: str) -> Path:
    """Where a bundle lies that has arrived in failed/."""
    return Path(wait_for(lambda: (found := own.bundle(name)) and not found.is_open and found.target))


def test_what_failed_is_tried_again_after_mending(browser: Browser, own: House) -> None:
    own.drop("broken", images=2, declared=1)
    number = own.until("broken", "REFUSED").id
    (shelved(own, "broken") / "IM1.dcm").unlink()
    with looking(browser, own) as page:
        page.goto(own.url)
        page.wait_for_selector(".sentence.watch >> text=1 failed")
        assert "put back" in act(page, own, number, "again")
        assert own.until("broken", "DONE").id > number
        page.goto(own.url)
        page.wait_for_selector(".sentence.well")  # what was mended has not failed any more


def test_a_whole_cause_is_tried_again(browser: Browser, own: House) -> None:
    for name in ("one", "two", "three"):
        own.drop(name, images=2, declared=1)
    for name in ("one", "two", "three"):
        own.until(name, "REFUSED")
        (shelved(own, name) / "IM1.dcm").unlink()
    with looking(browser, own) as page:
        page.goto(f"{own.url}/attention")
        assert page.locator(".cause h2 small").inner_text() == "3"
        page.click("#again-FA-TOO-MANY-ended")
        page.click("#yes")
        page.wait_for_selector("h1 >> text=What came of it")
    for name in ("one", "two", "three"):
        own.until(name, "DONE")


def test_a_hold_is_shown_with_what_to_do_and_tried_now(browser: Browser, own: House) -> None:
    own.site.gateway.misbehave(do="status", status=401, match="/ris/study/add")
    own.drop("held")
    number = own.until("held", "HELD").id
    with looking(browser, own) as page:
        page.goto(own.url)
        page.wait_for_selector(".sentence.bad")
        assert "nothing is lost" in page.locator("h1").inner_text()
        assert "What to do" in page.locator(".banner").inner_text()
        act(page, own, number, "now")
        own.until("held", "DONE")
        page.goto(own.url)
        page.wait_for_selector(".sentence.well")


def test_a_name_is_shown_only_when_asked_for_and_that_is_recorded(browser: Browser, own: House) -> None:
    own.drop("private", images=1, declared=2, patientName=PATIENT)
    number = own.until("private", "GATHERING").id
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles/{number}")
        assert PATIENT not in page.content()
        page.click("#reveal")
        page.wait_for_selector(f"text={PATIENT}")
        page.goto(f"{own.url}/bundles/{number}")
        assert PATIENT not in page.content()
        page.goto(f"{own.url}/history")
        assert "looked at the patient's name" in page.locator("main").inner_text()
    own.drop("private", images=2, declared=2, patientName=PATIENT)
    own.until("private", "DONE")
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles/{number}")
        page.click("#reveal")
        page.wait_for_selector(f"text={PATIENT}")
    assert [deed.act for deed in own.assembly.ledger.deeds_of(number)] == [Act.REVEAL, Act.REVEAL]


def test_an_order_outlives_a_kill(site: Site) -> None:
    """Written by the console, and the agent is gone before it heard of it: the next one carries it out."""
    for name in ("accept", "refuse"):
        dicom(site.drop / name / "IM1.dcm", accession=name)
        sidecar(site.drop / name / "exam.json", imageCnt=4, accessNumber=name)
    assert site.once() == 3
    loaded = settings.load(site.config(), {})
    ledger = open_ledger(loaded.ledger.url or "")
    for bundle in ledger.open_bundles():
        ledger.keep_deed(Deed(1.0, "local", bundle.name, bundle.id, "because"))
    ledger.close()
    assert site.once() == 4
    assert site.states() == {"accept": "DONE", "refuse": "REFUSED"}
    assert "because" in next(site.drop.glob("failed/*/refuse/WHY.txt")).read_text(encoding="utf-8-sig")


def test_an_order_comes_too_late_for_what_is_delivered(site: Site) -> None:
    dicom(site.drop / "A" / "IM1.dcm")
    sidecar(site.drop / "A" / "exam.json", imageCnt=1)
    with Assembly(settings.load(site.config(), {}), LogPublisher()) as assembly:
        agent: Agent = assembly.agent
        while not (found := assembly.ledger.find_bundles("A")) or found[0].state != "DONE":
            agent.step()
        assembly.ledger.keep_deed(Deed(1.0, "local", Act.REFUSE, found[0].id, "too late"))
        assembly.ledger.remember("knock", "now")
        for _ in range(5):
            agent.step()
        assert assembly.ledger.find_bundles("A")[0].state == "DONE"
        assert assembly.ledger.orders() == []
