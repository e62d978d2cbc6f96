"""What can be sent arrives at the gateway byte for byte, whatever device wrote it and in whatever transfer syntax."""

from __future__ import annotations

import shutil

import pytest

from folder_agent.edges.drop_folder.dicom import data_set_begins, has_preamble
from tests.site import Site, sidecar
from tests.vendor.collection import files, inspected
from tests.vendor.test_vendor import ROWS

SENDABLE = {row.name for row in ROWS if row.kind == "DICOM" and row.dcmdump == "ok"}


@pytest.mark.timeout(600)
def test_every_file_that_counts_is_delivered_as_it_is(site: Site) -> None:
    site.drop_lines, site.lines = "quiet_s = 0.5\nmatch = []\n", "workers = 8\n"
    sent, instances = {}, set()
    for number, (collection, path, name) in enumerate(files()):
        facts = inspected(path).dicom if f"{collection}/{name}" in SENDABLE else None
        if facts is not None and facts.sop_instance not in instances:  # some are one instance in several codings
            instances.add(facts.sop_instance)
            folder = site.drop / f"E{number}"
            folder.mkdir()
            shutil.copy(path, folder / "IM1")
            sidecar(folder / "exam.json", accessNumber=f"A{number}", studyId=f"S{number}")
            sent[f"E{number}"] = path.read_bytes()
    assert site.once() == 0
    assert site.states() == dict.fromkeys(sent, "DONE")
    received = {path.read_bytes() for path in site.received().instances.values()}
    bare = {content for content in sent.values() if not has_preamble(content)}
    assert len(bare) > 2
    assert {content[data_set_begins(content) :] for content in received - set(sent.values())} == {
        content[data_set_begins(content) :] for content in bare
    }
    assert all((site.shelf()[name] / "IM1").read_bytes() == content for name, content in sent.items())
