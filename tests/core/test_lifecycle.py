"""The state machine's whole grid: what is allowed is listed here once more, by hand; everything else must raise."""

from __future__ import annotations

import pytest

from folder_agent.core.lifecycle import (
    BundleEvent,
    BundleState,
    FileEvent,
    FileState,
    NotAllowed,
    bundle_step,
    next_bundle_state,
    next_file_state,
)
from folder_agent.core.records import BundleRecord

FILES = """
SEEN settle SETTLED; SEEN refuse REFUSED; SEEN change SEEN; SEEN vanish VANISHED
SETTLED accept SENT; SETTLED recognise SENT; SETTLED change SEEN; SETTLED refuse REFUSED; SETTLED vanish VANISHED
SENT miss SETTLED; SENT change SEEN; SENT vanish VANISHED
REFUSED change SEEN; REFUSED settle SETTLED; REFUSED vanish VANISHED
"""
BUNDLES = """
GATHERING complete COMPLETE; GATHERING refuse REFUSED; GATHERING fail FAILED; GATHERING withdraw WITHDRAWN
COMPLETE send SENDING; COMPLETE reopen GATHERING; COMPLETE refuse REFUSED
SENDING commit COMMITTED; SENDING put-off WAITING; SENDING hold HELD; SENDING refuse REFUSED; SENDING fail FAILED
SENDING reopen GATHERING; SENDING repeat COMMITTED
WAITING send SENDING; WAITING retry-now WAITING; WAITING reopen GATHERING; WAITING refuse REFUSED; WAITING fail FAILED
HELD send SENDING; HELD retry-now HELD; HELD reopen GATHERING; HELD refuse REFUSED
COMMITTED aim COMMITTED; COMMITTED shelve DONE
REFUSED aim REFUSED; REFUSED shelve REFUSED
FAILED aim FAILED; FAILED shelve FAILED
"""


def table(text: str) -> dict[tuple[str, str], str]:
    rows = [row.split() for row in text.replace("\n", ";").split(";") if row.strip()]
    return {(state, event.replace("-", " ")): after for state, event, after in rows}


@pytest.mark.parametrize("event", FileEvent)
@pytest.mark.parametrize("state", FileState)
def test_a_file_moves_only_as_listed(state: FileState, event: FileEvent) -> None:
    expected = table(FILES).get((str(state), str(event)))
    if expected is None:
        with pytest.raises(NotAllowed):
            next_file_state(state, event)
    else:
        assert next_file_state(state, event) == expected


@pytest.mark.parametrize("event", BundleEvent)
@pytest.mark.parametrize("state", BundleState)
def test_a_bundle_moves_only_as_listed(state: BundleState, event: BundleEvent) -> None:
    expected = table(BUNDLES).get((str(state), str(event)))
    if expected is None:
        with pytest.raises(NotAllowed):
            next_bundle_state(state, event)
    else:
        assert next_bundle_state(state, event) == expected


@pytest.mark.parametrize("event", BundleEvent)
@pytest.mark.parametrize("state", [BundleState.DONE, BundleState.WITHDRAWN])
def test_what_has_ended_stays_ended(state: BundleState, event: BundleEvent) -> None:
    with pytest.raises(NotAllowed):
        next_bundle_state(state, event)


def test_only_a_commit_leads_to_done() -> None:
    assert {state for (state, _), after in table(BUNDLES).items() if after == "DONE"} == {"COMMITTED"}
    assert {state for (state, _), after in table(BUNDLES).items() if after == "COMMITTED"} == {"SENDING", "COMMITTED"}


def test_a_step_changes_what_it_says_and_the_time() -> None:
    before = BundleRecord(1, "ct", "CT1/", "CT1", BundleState.GATHERING, 1.0, 1.0)
    step = bundle_step(before, BundleEvent.COMPLETE, 5.0, study_uid="1.2")
    assert (step.after.state, step.after.changed_at, step.after.study_uid) == (BundleState.COMPLETE, 5.0, "1.2")
    assert before.state is BundleState.GATHERING
