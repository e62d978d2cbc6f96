"""Sidecars as vendors really write them, each with its site's mapping, through the real agent and `try-sidecar`.

A case of tests/gallery/ is a folder: `exam.json` (in whatever encoding), `mapping.toml` (what stands below the drop
folder's table; may be missing), `expected.json`. Two images go with it, and a PDF where that is expected.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.core.exam import COUNT_FIELDS
from tests.site import FIELDS, PDF, Site, dicom

GALLERY = Path(__file__).parent.parent / "gallery"
CASES = sorted(folder.name for folder in GALLERY.iterdir() if (folder / "exam.json").is_file())


def hung_up(site: Site, case: str) -> dict[str, Any]:
    """The case's mapping in the settings, its sidecar with two images in the drop folder; what is expected."""
    mapping = GALLERY / case / "mapping.toml"
    site.drop_lines = "quiet_s = 0.3\n" + (mapping.read_text(encoding="utf-8") if mapping.exists() else "")
    expected: dict[str, Any] = json.loads((GALLERY / case / "expected.json").read_text(encoding="utf-8"))
    exam = expected.get("exam", {})
    for number in range(2):
        dicom(
            site.drop / f"CT1/IM{number}.dcm",
            patient=exam.get("patientId", "P7001"),
            accession=exam.get("accessNumber", "ACC1"),
        )
    if expected.get("pdfs"):
        (site.drop / "CT1/report.pdf").write_bytes(PDF)
    (site.drop / "CT1/exam.json").write_bytes((GALLERY / case / "exam.json").read_bytes())
    return expected


@pytest.mark.parametrize("case", CASES)
def test_a_real_sidecar_ends_as_it_should(site: Site, case: str) -> None:
    expected = hung_up(site, case)
    code = site.once()
    assert site.states() == {"CT1": expected["state"]}
    if expected["state"] == "REFUSED":
        assert (code, site.received().posts) == (4, [])
        why = (site.shelf("failed")["CT1"] / "WHY.txt").read_text(encoding="utf-8-sig").split("-----")[0]
        assert [line.rsplit("[", 1)[1].rstrip("]") for line in why.splitlines() if "[FA-" in line] == expected[
            "problems"
        ]
        return
    assert code == 0
    [posted] = site.received().posts
    filled = json.loads((site.shelf()["CT1"] / "receipt.json").read_bytes())["filled"]
    assert {name: value for name, value in posted.items() if name not in {*COUNT_FIELDS, *filled}} == expected["exam"]
    assert posted["imageCnt"] == 2
    receipt = json.loads((site.shelf()["CT1"] / "receipt.json").read_text(encoding="utf-8"))
    assert (receipt["encoding"], receipt["exam"]) == (expected["encoding"], posted)
    told = {warning["code"] for warning in receipt["warnings"]} - {"FA-FIELD-ABSENT"}
    assert sorted(told) == expected["warnings"]
    assert (site.shelf()["CT1"] / "exam.json").read_bytes() == (GALLERY / case / "exam.json").read_bytes()
    shown = json.loads(CliRunner().invoke(app, ["show", "CT1", "--json", "--config", str(site.config())]).stdout)
    assert shown["bundle"]["encoding"] == expected["encoding"]
    for value in (expected["exam"]["patientName"], expected["exam"].get("idCardNum", "no such")):
        assert value not in site.logs() + json.dumps(shown, ensure_ascii=False)


@pytest.mark.parametrize("case", CASES)
def test_trying_it_tells_beforehand_how_it_ends(site: Site, case: str) -> None:
    expected = hung_up(site, case)
    file = GALLERY / case / "exam.json"
    tried = CliRunner().invoke(
        app, ["try-sidecar", str(file), "--drop", "ct", "--json", "--config", str(site.config())]
    )
    told = json.loads(tried.stdout)
    assert tried.exit_code == (0 if expected["state"] == "DONE" else 4)
    assert told["encoding"] == expected["encoding"]
    assert [one["code"] for one in told["problems"]] == expected.get("problems", [])
    if expected["state"] == "DONE":
        fields = {one["field"]: one["value"] for one in told["fields"] if one["field"] not in COUNT_FIELDS}
        assert fields == expected["exam"]


def test_the_gallery_is_what_it_says() -> None:
    """A case whose files somebody has saved in another encoding would test nothing."""
    assert len(CASES) >= 15
    encodings = {
        json.loads((GALLERY / case / "expected.json").read_text(encoding="utf-8"))["encoding"] for case in CASES
    }
    assert encodings == {"utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "gb18030"}


def encoding_of(site: Site) -> str | None:
    shown = CliRunner().invoke(app, ["show", "CT1", "--json", "--config", str(site.config())])
    found: str | None = json.loads(shown.stdout)["bundle"]["encoding"]
    return found


def test_show_tells_the_encoding_wherever_the_sidecar_lies(site: Site) -> None:
    site.drop_lines = "quiet_s = 0.3\n"
    text = json.dumps(FIELDS | {"imageCnt": 1, "patientSex": "猫"}, ensure_ascii=False)
    file = site.drop / "CT1/exam.json"
    file.parent.mkdir()
    file.write_bytes(text.replace('"猫"', '"男"').encode("gbk"))
    assert site.once() == 3
    assert (site.states(), encoding_of(site)) == ({"CT1": "GATHERING"}, "gb18030")
    file.write_bytes(text.encode("utf-16"))
    dicom(site.drop / "CT1/IM0.dcm")
    assert site.once() == 4
    assert (site.states(), encoding_of(site)) == ({"CT1": "REFUSED"}, "utf-16-le")
    (site.shelf("failed")["CT1"] / "exam.json").unlink()
    assert encoding_of(site) is None
