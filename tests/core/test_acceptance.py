"""What an operator may have sent though it was refused: counts, and nothing else; and only the very same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from folder_agent.core.acceptance import counts_alone, is_acceptable
from folder_agent.core.errors import Problem, problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord

MANY = problem("FA-TOO-MANY", field="imageCnt", declared=1, found=3)
PDFS = problem("FA-TOO-MANY", field="pdfCnt", declared=0, found=1)
MISMATCH = problem("FA-MISMATCH", "a.dcm", field="studyUid")
DAMAGED = problem("FA-FILE-TRUNCATED", "a.dcm")
REFUSED = BundleRecord(
    *(1, "ct", "CT1/", "CT1", BundleState.REFUSED, 1.0, 2.0), target="/failed/CT1", is_open=False, reasons=(MANY,)
)


@pytest.mark.parametrize("reasons", [(MANY,), (MANY, PDFS)])
def test_what_lies_in_failed_for_its_counts_alone_may_be_accepted(reasons: tuple[Problem, ...]) -> None:
    assert is_acceptable(replace(REFUSED, reasons=reasons))
    assert counts_alone((*reasons, problem("FA-WAIT-QUIET", seconds=60))) == reasons


@pytest.mark.parametrize(
    "other",
    [
        {"reasons": (MANY, MISMATCH)},
        {"reasons": (DAMAGED, MANY)},
        {"reasons": (MISMATCH,)},
        {"reasons": ()},
        {"reasons": (problem("FA-OPERATOR-REFUSED", who="anna"),)},
        {"state": BundleState.FAILED},
        {"state": BundleState.DONE},
        {"is_open": True},
        {"target": None},
    ],
    ids=str,
)
def test_nothing_else_may(other: dict[str, object]) -> None:
    assert not is_acceptable(replace(REFUSED, **other))  # type: ignore[arg-type]
    assert counts_alone((MANY, MISMATCH)) == counts_alone((problem("FA-WAIT-QUIET", seconds=1),)) == ()
