"""The proof at the far end, with the real agent: against the simulated gateway, and a real Orthanc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.servers.orthanc import Orthanc, missing, running_orthanc
from tests.site import Site, dicom, sidecar

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


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := missing():
        pytest.skip(reason)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.mark.slow
def test_orthanc_tells_what_it_has(tmp_path: Path, site: Site, orthanc: Orthanc) -> None:
    site.gateway.behaviour.stow_path = None  # the images go elsewhere: it counts none
    site.timeout_s = 30
    trusted = tmp_path / "both.pem"
    trusted.write_bytes(orthanc.ca_file.read_bytes() + (site.gateway.ca_file or Path()).read_bytes())
    site.trust = f"ca_file = {json.dumps(str(trusted))}"
    site.top = f"{QIDO}[stow]\nurl = {json.dumps(orthanc.stow_url)}\n"
    exam(site, 3)
    assert site.once() == 0, why(site)
    assert answers(site) == ["HTTP 200, found by QIDO-RS"] * 3
    # What is deleted there after the delivery is noticed when the exam is dropped again.
    orthanc.delete(f"/instances/{orthanc.get_json('/instances')[0]}")
    (site.shelf()["CT1"]).rename(site.drop / "CT1")
    assert site.once() == 0, why(site)
    assert len(orthanc.get_json("/instances")) == 3
