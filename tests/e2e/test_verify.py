"""The proof at the far end, with the real agent: against the simulated gateway, and a real Orthanc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.servers.committing import CommittingScp
from tests.servers.orthanc import Orthanc, free_port, missing, running_orthanc
from tests.servers.storescp import ScriptedScp
from tests.site import Site, dicom, sidecar

STORED = "C-STORE 0x0000, storage committed"
QIDO = "[images]\nverify = 'qido'\n"


def exam(site: Site, images: int) -> list[str]:
    study = generate_uid()
    uids = [dicom(site.drop / "CT1" / f"{n}.dcm", study=study, instance=generate_uid()) for n in range(images)]
    sidecar(site.drop / "CT1" / "exam.json", imageCnt=images)
    return uids


def why(site: Site) -> str:
    """What to look at when it did not end well."""
    return f"{[(bundle.name, bundle.state, bundle.reasons) for bundle in site.bundles()]}\n{site.logs()[-3000:]}"


def answers(site: Site) -> list[str]:
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    return [file["answer"] for file in receipt["files"] if file["kind"] == "DICOM"]


def test_an_image_that_the_gateway_takes_and_loses_is_there_in_the_end(site: Site) -> None:
    site.top = QIDO
    site.gateway.misbehave(do="forget", match="/dicom-web/studies", times=2)
    uids = exam(site, 5)
    assert site.once() == 0, why(site)
    assert sorted(site.received().instances) == sorted(uids)
    assert len(site.received().posts) == 1
    assert answers(site) == ["HTTP 200, found by QIDO-RS"] * 5
    journal = site.received().requests
    asked = [entry for entry in journal if "found" in entry]
    assert [entry["found"] for entry in asked][-1] == 5
    assert journal.index(asked[-1]) < next(n for n, entry in enumerate(journal) if entry.get("accepted"))


def test_a_gateway_that_loses_all_it_takes_is_told_of_no_exam(site: Site) -> None:
    site.top = QIDO
    site.gateway.misbehave(do="forget", match="/dicom-web/studies", times=-1)
    exam(site, 1)
    assert site.once() == 3
    assert site.states() == {"CT1": "WAITING"}
    assert not site.received().posts
    told = json.loads(site.command("status", "--json").stdout)["waiting"][0]
    assert (told["code"], told["for"]) == (
        "FA-GW-MISSING",
        "CT1/0.dcm: the gateway does not have 1 of the 1 files that it accepted",
    )


def test_the_doctor_asks_for_a_study_that_nobody_has(site: Site) -> None:
    site.top = QIDO
    checks = {one["name"]: one for one in json.loads(site.command("doctor", "--json").stdout)["checks"]}
    assert checks["verify"]["outcome"] == "ok"
    site.gateway.misbehave(do="status", match="/dicom-web/studies", status=500, times=-1)
    checks = {one["name"]: one for one in json.loads(site.command("doctor", "--json").stdout)["checks"]}
    assert checks["verify"]["outcome"] != "ok"
    assert "HTTP 500" in checks["verify"]["text"]


def stgcmt(port: int, commitment_port: int | None = None) -> str:
    """Images go to that DICOM node, which is asked to commit itself."""
    calls = "" if commitment_port is None else f"commitment_port = {commitment_port}\n"
    return f"[images]\ntransport = 'dimse'\nverify = 'stgcmt'\n[dimse]\nhost = '127.0.0.1'\nport = {port}\n{calls}"


@pytest.fixture
def uncounting(site: Site) -> Site:
    """A site whose gateway does not count the images: they go to the DICOM node beside it."""
    site.gateway.behaviour.stow_path = None
    return site


@pytest.mark.parametrize("is_called", [False, True])
def test_an_image_that_the_node_takes_and_does_not_keep_is_sent_again(uncounting: Site, is_called: bool) -> None:
    site, port = uncounting, free_port() if is_called else None
    with CommittingScp(calls=port) as scp:
        site.top = stgcmt(scp.port, port)
        uids = exam(site, 3)
        scp.lose(uids[1])
        assert site.once() == 0, why(site)
        assert sorted(one.SOPInstanceUID for one in scp.stored) == sorted([*uids, uids[1]])
        assert scp.answers == [0, 0]
    assert answers(site) == [STORED] * 3
    assert len(site.received().posts) == 1


def test_a_node_that_does_not_report_keeps_the_exam_waiting_and_says_why(uncounting: Site) -> None:
    site, port = uncounting, free_port()
    with CommittingScp(is_silent=True) as scp:
        site.top = stgcmt(scp.port, port) + "commitment_wait_s = 0.3\n"
        exam(site, 1)
        assert site.once() == 3
        told = json.loads(site.command("status", "--json").stdout)["waiting"][0]
        assert (told["state"], told["code"]) == ("WAITING", "FA-GW-NO-REPORT")
        assert not site.received().posts
        scp.is_silent, scp.calls = False, port
        site.command("retry", "--all")
        assert site.once() == 0, why(site)
        assert len(scp.stored) == 1  # it was asked again, and not sent again


def test_the_doctor_asks_whether_the_node_would_commit_itself(uncounting: Site) -> None:
    site = uncounting

    def check() -> tuple[str, str]:
        checks = {one["name"]: one for one in json.loads(site.command("doctor", "--json").stdout)["checks"]}
        return checks["verify"]["outcome"], checks["verify"]["text"]

    with CommittingScp() as scp:
        site.top = stgcmt(scp.port)
        assert check()[0] == "warning"
        port = free_port()
        site.top = stgcmt(scp.port, port)
        outcome, text = check()
        assert (outcome, f"FOLDERAGENT, {port}" in text) == ("ok", True)
    with ScriptedScp() as scp:
        site.top = stgcmt(scp.port, port)
        outcome, text = check()
        assert (outcome, "does not offer storage commitment" in text) == ("fault", True)


COMMITMENT_PORT = free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := missing():
        pytest.skip(reason)
    ours = {"AET": "FOLDERAGENT", "Host": "127.0.0.1", "Port": COMMITMENT_PORT}
    folder = tmp_path_factory.mktemp("orthanc")
    with running_orthanc(folder, DicomAet="GATEWAY", DicomModalities={"agent": ours}) as server:
        yield server


@pytest.mark.slow
def test_orthanc_commits_itself_to_what_it_has(uncounting: Site, orthanc: Orthanc) -> None:
    site = uncounting
    site.top = stgcmt(orthanc.dicom_port, COMMITMENT_PORT)
    site.timeout_s = 30
    before = set(orthanc.get_json("/instances"))
    exam(site, 3)
    assert site.once() == 0, why(site)
    assert answers(site) == [STORED] * 3
    # What is deleted there after the delivery is lacking when the exam is dropped again, and is sent again.
    after = set(orthanc.get_json("/instances"))
    orthanc.delete(f"/instances/{min(after - before)}")
    site.shelf()["CT1"].rename(site.drop / "CT1")
    assert site.once() == 0, why(site)
    assert set(orthanc.get_json("/instances")) == after
    checks = {one["name"]: one for one in json.loads(site.command("doctor", "--json").stdout)["checks"]}
    assert checks["verify"]["outcome"] == "ok"


@pytest.mark.slow
def test_orthanc_tells_what_it_has(tmp_path: Path, site: Site, orthanc: Orthanc) -> None:
    site.gateway.behaviour.stow_path = None  # the images go elsewhere: it counts none
    site.timeout_s = 30
    trusted = tmp_path / "both.pem"
    trusted.write_bytes(orthanc.ca_file.read_bytes() + (site.gateway.ca_file or Path()).read_bytes())
    site.trust = f"ca_file = {json.dumps(str(trusted))}"
    site.top = f"{QIDO}[stow]\nurl = {json.dumps(orthanc.stow_url)}\n"
    before = set(orthanc.get_json("/instances"))
    exam(site, 3)
    assert site.once() == 0, why(site)
    assert answers(site) == ["HTTP 200, found by QIDO-RS"] * 3
    # What is deleted there after the delivery is noticed when the exam is dropped again.
    orthanc.delete(f"/instances/{min(set(orthanc.get_json('/instances')) - before)}")
    (site.shelf()["CT1"]).rename(site.drop / "CT1")
    assert site.once() == 0, why(site)
    assert len(orthanc.get_json("/instances")) == len(before) + 3
