"""Every file of the collections ends as expectations.csv says; where that is not what DCMTK says, it says why."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.vendor.collection import COLLECTIONS, Row, agrees, dcmtk, digest, expectations, files, inspected, said

ROWS = expectations()
THERE = {f"{collection}/{name}": path for collection, path, name in files()}


def test_every_file_of_the_collections_has_an_expectation() -> None:
    known = {row.name for row in ROWS}
    assert set(THERE) <= known, "run `python -m tests.vendor`, and read what is new"
    assert {row.collection for row in ROWS} == set(COLLECTIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_file_is_what_it_was_found_to_be(row: Row) -> None:
    path = THERE.get(row.name)
    if path is None or digest(path) != row.sha256:
        return  # another version of the collection: the test above tells what is new
    assert said(inspected(path)) == (row.kind, row.role, row.reason, row.detail)


def test_whatever_differs_from_dcmtk_is_explained() -> None:
    assert [row.name for row in ROWS if agrees(row) != (row.note == "")] == []
    assert not [row.name for row in ROWS if row.note == "UNEXPLAINED"]


def test_what_can_be_sent_counts_and_what_cannot_says_why() -> None:
    kinds = Counter(row.kind for row in ROWS)
    assert kinds["DICOM"] > 150
    for row in ROWS:
        assert (row.kind == "DICOM") == (row.role != "")
        assert (row.kind == "UNKNOWN") == (row.reason != "")


@pytest.mark.skipif(shutil.which("dcmftest") is None, reason="dcmftest (Debian: dcmtk) is not here")
def test_dcmtk_says_what_the_expectations_hold() -> None:
    same = [row for row in ROWS if row.name in THERE and digest(THERE[row.name]) == row.sha256]
    assert {row.name: dcmtk(THERE[row.name]) for row in same} == {r.name: (r.dcmftest, r.dcmdump) for r in same}
