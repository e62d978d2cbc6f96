"""Drop folders as systems and people really leave them, each through the real agent.

A case of tests/gallery/drops/ is a folder: `drop/` is what lies in the drop folder, `settings.toml` what stands in its
table (may be missing), `expected.json` how it ends: the exit code, the state of each bundle by its name, what is on the
shelves (but our notes), what was posted, and what is said of files that belong to no exam.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from tests.site import Site

DROPS = Path(__file__).parent.parent / "gallery" / "drops"
CASES = sorted(folder.name for folder in DROPS.iterdir() if folder.is_dir())
NOTES = ("receipt.json", "WHY.txt")


def files_of(shelf: Path) -> dict[str, list[str]]:
    return {
        bundle.name: sorted(
            path.relative_to(bundle).as_posix()
            for path in bundle.rglob("*")
            if path.is_file() and path.relative_to(bundle).as_posix() not in NOTES
        )
        for bundle in sorted(shelf.glob("*/*"))
    }


def outcome(site: Site) -> dict[str, Any]:
    code = site.once()
    told = json.loads(CliRunner().invoke(app, ["status", "--json", "--config", str(site.config())]).stdout)
    return {
        "code": code,
        "states": {name: state for name, state in site.states().items() if state != "WITHDRAWN"},
        "done": files_of(site.drop / "done"),
        "failed": files_of(site.drop / "failed"),
        "why": {name: bundle.reasons[0].code for name, bundle in latest(site).items() if bundle.reasons},
        "posted": sorted(
            f"{post['accessNumber']}: {post['imageCnt']} images, {post['pdfCnt']} PDF" for post in site.received().posts
        ),
        "ignored": {one["path"]: one["code"] for one in told["ignored"]},
    }


def latest(site: Site) -> dict[str, Any]:
    return {one.name: one for one in site.bundles() if str(one.state) != "WITHDRAWN"}


@pytest.mark.parametrize("case", CASES)
def test_a_drop_ends_as_it_should(site: Site, case: str) -> None:
    table = DROPS / case / "settings.toml"
    site.drop_lines = "quiet_s = 0.3\n" + (table.read_text(encoding="utf-8") if table.exists() else "")
    before = sorted(path.read_bytes() for path in (DROPS / case / "drop").rglob("*") if path.is_file())
    shutil.copytree(DROPS / case / "drop", site.drop, dirs_exist_ok=True)
    found = outcome(site)
    assert found == json.loads((DROPS / case / "expected.json").read_text(encoding="utf-8"))
    there = [path.read_bytes() for path in site.drop.rglob("*") if path.is_file()]
    assert all(there.count(content) >= before.count(content) for content in before), "a dropped file is lost"


def test_there_are_cases_of_every_way_to_drop() -> None:
    assert len(CASES) >= 10
