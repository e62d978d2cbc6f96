"""Every input that ever broke a promise, and every seed, keeps the promises now: without atheris, on every platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.running import REGRESSIONS
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CASES = sorted(path.relative_to(REGRESSIONS).as_posix() for path in REGRESSIONS.glob("*/*"))


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("case", CASES)
def test_what_was_found_once_stays_mended(case: str) -> None:
    TARGETS[case.partition("/")[0]]((REGRESSIONS / case).read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_begins_with_is_sound(name: str) -> None:
    contents = list(seeds(name))
    assert len(contents) > 5
    for content in contents:
        TARGETS[name](content)
