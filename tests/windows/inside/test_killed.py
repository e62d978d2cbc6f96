"""The kill matrix in small: the real agent is ended by TerminateProcess at a handful of steps, and started again.

tests/crash does so at every step on Linux, and says what is checked afterwards; here it is shown that nothing of it
rests on what only POSIX has: its renames, its locks, a process whose handles the system closes in an order of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import trial
from tests.crash.plan import moments
from tests.crash.trial import LIFETIME_S, Job, Outcome
from tests.crash.victim import KILL, Order
from tests.crash.yard import make_materials

KILLS = 4
_LIVE = "import sys; from tests.crash.victim import Order, live; live(Order.of(sys.stdin.read()))"

pytestmark = pytest.mark.timeout(400)


class Lives:
    """As those of `trial`, but begun when they are needed: nothing forks here."""

    def __init__(self, folder: Path, count: int) -> None:
        self._said: list[str] = []

    def spend(self, order: Order) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _LIVE],
            input=order.text(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LIFETIME_S,
            check=False,
        )
        self._said.append(done.stdout + done.stderr)
        return -KILL if done.returncode == KILL else done.returncode

    def end(self) -> None:
        """None of them is left."""

    def said(self) -> str:
        return "".join(self._said)[-3000:]


def play(folder: Path, number: int, scenario: str, *deaths: str) -> Outcome:
    """Live through the scenario, with that death in its first stage."""
    return trial.play(Job(number, scenario, str(folder / f"trial{number}"), str(folder / "materials"), "", 0, deaths))


@pytest.mark.parametrize(("scenario", "kills"), [("delivered", KILLS), ("refused", 1)])
def test_ended_at_a_handful_of_steps_and_started_again_loses_and_doubles_nothing(
    scenario: str, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "Lives", Lives)
    make_materials(tmp_path / "materials")
    undisturbed = play(tmp_path, 0, scenario)
    assert undisturbed.wrong == []
    groups = moments(undisturbed.steps[0])
    assert len(groups) > kills
    chosen = [groups[len(groups) * number // kills][0] for number in range(kills)]
    died = 0
    for number, step in enumerate(chosen, 1):
        outcome = play(tmp_path, number, scenario, step)
        assert outcome.wrong == [], step
        died += outcome.died
    assert died > kills / 2, "some numbers depend on timing and are not met again"
