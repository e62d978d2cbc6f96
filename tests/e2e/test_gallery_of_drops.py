"""Drop folders as systems and people really leave them, each through the real agent.

A case of tests/gallery/drops/ is a folder: `drop/` is what lies in the drop folder, `then-1/`, `then-2/` … what is
dropped after that, each as soon as nothing moves any more; `settings.toml` what stands in its table (may be missing);
`expected.json` how it ends: the exit code, the state of each bundle by its name, what is on the shelves (but our
notes), what was posted, in this order if there are several drops, what is said of files that belong to no exam, which
templates of sidecars wait to be filled in (if any do); and, if it asks for them, how many images and reports were
`sent`, and what `show` says of the last bundle (`told`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.simulator.state import items_of
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
    templates = sorted(path.name for path in site.drop.glob("_STATUS/*"))
    return ({"templates": templates} if templates else {}) | {
        "code": code,
        "states": {name: state for name, state in site.states().items() if state != "WITHDRAWN"},
        "done": files_of(site.drop / "done"),
        "failed": files_of(site.drop / "failed"),
        "why": {name: bundle.reasons[0].code for name, bundle in latest(site).items() if bundle.reasons},
        "posted": [
            f"{post['accessNumber']}: {post['imageCnt']} images, {post['pdfCnt']} PDF" for post in site.received().posts
        ],
        "ignored": {one["path"]: one["code"] for one in told["ignored"]},
    }


def sent(site: Site) -> dict[str, int]:
    items = [item for request in site.received().requests for item in items_of(request) if item["stored"]]
    images = sum("sop" in item for item in items)
    return {"images": images, "reports": len(items) - images}


def told(site: Site) -> str:
    """What `show` says of the last bundle, without the time."""
    number = str(max(bundle.id for bundle in site.bundles()))
    shown = CliRunner().invoke(app, ["show", number, "--json", "--config", str(site.config())])
    text: str = json.loads(shown.stdout)["bundle"]["for"]
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: [+-]\d{4})?", "…", text)


def drop(site: Site, folder: Path, owed: Counter[bytes]) -> None:
    """As somebody copies a folder into the drop folder: over what lies there."""
    for path in folder.rglob("*"):
        if path.is_file():
            place = site.drop / path.relative_to(folder)
            if place.exists():
                owed[place.read_bytes()] -= 1
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
            owed[path.read_bytes()] += 1


def latest(site: Site) -> dict[str, Any]:
    return {one.name: one for one in site.bundles() if str(one.state) != "WITHDRAWN"}


@pytest.mark.parametrize("case", CASES)
def test_a_drop_ends_as_it_should(site: Site, case: str) -> None:
    table = DROPS / case / "settings.toml"
    site.drop_lines = "quiet_s = 0.3\n" + (table.read_text(encoding="utf-8") if table.exists() else "")
    site.gateway.stop()
    site.gateway.behaviour.replaces = '"newest"' in site.drop_lines
    site.gateway.start()
    expected = json.loads((DROPS / case / "expected.json").read_text(encoding="utf-8"))
    owed = Counter[bytes]()
    later = sorted((DROPS / case).glob("then-*"))
    drop(site, DROPS / case / "drop", owed)
    for folder in later:
        site.once()
        drop(site, folder, owed)
    found = outcome(site)
    found["posted"] = found["posted"] if later else sorted(found["posted"])
    found |= {name: ask(site) for name, ask in (("sent", sent), ("told", told)) if name in expected}
    assert found == expected
    there = Counter(path.read_bytes() for path in site.drop.rglob("*") if path.is_file())
    assert not owed - there, "a dropped file is lost"
    assert json.loads(site.command("reconcile", "--json").stdout)["differences"] == []


def test_there_are_cases_of_every_way_to_drop() -> None:
    assert len(CASES) >= 10
