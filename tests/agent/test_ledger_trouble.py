"""A ledger that fails for a while stops nothing for good: the agent begins anew from what the ledger holds."""

from __future__ import annotations

import sqlite3
import threading

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import Disposition, problem
from folder_agent.edges.logs import LogPublisher
from tests.e2e.test_run_once import make_ct
from tests.site import Site


def test_a_ledger_that_fails_in_the_middle_of_a_look_is_waited_for(site: Site) -> None:
    make_ct(site.drop / "CT1")
    with Assembly(settings.load(site.config(), {}), LogPublisher()) as assembly:
        calls = iter(range(100))
        real = assembly.ledger.apply

        def flaky(transitions: object) -> None:
            if next(calls) in (0, 2):
                raise failure(problem("FA-LEDGER", detail="locked"), Disposition.RETRY)
            real(transitions)  # type: ignore[arg-type]

        assembly.ledger.apply = flaky  # type: ignore[method-assign]
        assembly.agent.run(until_idle=lambda: True)
    assert site.states() == {"CT1": "DONE"}
    assert site.received().repeats == 0


def test_a_ledger_that_another_program_locks_is_waited_for(site: Site) -> None:
    make_ct(site.drop / "CT1", imageCnt=4)
    assert site.once() == 3
    other = sqlite3.connect(site.root / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(2, lambda: other.execute("ROLLBACK")).start()
    make_ct(site.drop / "CT1", images=4)
    assert site.once() == 0
    other.close()
