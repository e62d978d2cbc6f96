"""A few seconds of fuzzing for each target, and proof that a fault would be found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.faulty import FAULTY
from tests.fuzz.running import missing, run
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("FOLDER_AGENT_FUZZ_S", "2"))
reason = missing()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_a_few_seconds(name: str, tmp_path: Path) -> None:
    ran = run(name, SECONDS, tmp_path / "found")
    assert (ran.code, ran.found) == (0, ()), ran.log[-4000:]
    assert ran.runs > 50, ran.log[-4000:]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "kind"), [("raises", "crash-"), ("hangs", "timeout-"), ("grows", "oom-")], ids=sorted(FAULTY)
)
def test_a_fault_is_found_and_its_input_kept(name: str, kind: str, tmp_path: Path) -> None:
    ran = run(name, 30, tmp_path / "found", slowest_s=1 if name == "hangs" else 20)  # a busy machine is no hang
    assert ran.code != 0
    assert [path.name[: len(kind)] for path in ran.found] == [kind], ran.log[-4000:]
