"""What the suite inside of Windows makes of what its processes say; that it runs is seen where the gate runs it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.windows import suite
from tests.windows.lab.assembling import windows_path
from tests.windows.lab.session import ROOT
from tests.windows.suite import Told

if TYPE_CHECKING:
    from tests.windows.lab import Lab

SAID = """.s.E
SKIPPED [12] tests\\edges\\test_x.py:48: PostgreSQL runs on the Linux side
SKIPPED [1] tests\\e2e\\test_y.py:5: Wine lacks: notifications
1822 passed, 13 skipped, 1 deselected, 2 errors in 909.48s (0:15:09)
the interpreter's last words
"""
SAID_WELL = "3 passed in 1.00s"


def test_the_closing_line_counts_whatever_is_said_after_it() -> None:
    assert Told(1, SAID).counts == Counter(passed=1822, skipped=13, error=2)
    assert Told(1, "= 1 failed, 2 passed in 3.00s =").counts == Counter(passed=2, failed=1)
    assert Told(1, "..F +++ Timeout +++").counts == Counter()


def test_every_skip_is_told_with_its_reason() -> None:
    assert Told(1, SAID).reasons == {"PostgreSQL runs on the Linux side": 12, "Wine lacks: notifications": 1}


def test_what_is_chosen_and_what_is_left_out_is_there() -> None:
    chosen = suite.chosen(everything=True)
    assert {*suite.chosen()} | suite.ALL_ALONE == {*chosen}
    assert all((ROOT / file).is_file() for file in [*chosen, *suite.LEFT_OUT])
    assert not suite.LEFT_OUT & {*chosen}
    assert len(chosen) == len({*chosen})


@pytest.mark.parametrize("said", ["", "..F +++ Timeout +++", "3 deselected in 1.00s"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_ends_without_a_word_of_success_fails_the_suite(said: str, code: int) -> None:
    outcome = suite.run(lambda files: [Told(code, said) if files == ["b"] else Told(0, SAID_WELL)], ["a", "b"], 2)
    assert (outcome.passed, outcome.failed) == (3, 1)


@pytest.mark.parametrize(
    ("again", "counts"), [(Told(0, "1 passed in 1s"), (3, 0)), (Told(1, "1 failed in 1s"), (2, 1))]
)
def test_what_failed_counts_as_its_second_try_went(again: Told, counts: tuple[int, int]) -> None:
    outcome = suite.run(lambda files: [Told(1, "1 failed, 2 passed in 3.00s"), again], ["a"], 1)
    assert (outcome.passed, outcome.failed) == counts


@pytest.fixture
def plain_folder() -> Iterator[Path]:
    """Not one of pytest's own: it has a link beside it, which pytest on Windows takes for the folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("victims", ["wineserver", ""], ids=["the server alone", "and what it served"])
def test_tests_under_which_wine_broke_down_run_again(
    victims: str, lab: Lab, plain_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the processes that have lost their server are ended: they would hang, and hold what they said."""
    first = plain_folder / "first"
    test = plain_folder / "test_it.py"
    test.write_text(
        "import pathlib, time\n"
        "def test_it():\n"
        f"    first = pathlib.Path({windows_path(first)!r})\n"
        "    if not first.exists():\n"
        "        first.touch()\n"
        "        time.sleep(600)\n",
        encoding="utf-8",
    )
    ended = threading.Event()

    def end_the_server() -> None:
        deadline = time.monotonic() + 60
        while not first.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if victims in process.name() and str(plain_folder) in process.environ().get("WINEPREFIX", ""):
                    process.kill()
                    ended.set()

    ending = threading.Thread(target=end_the_server)
    ending.start()
    told = suite.in_windows(lab, plain_folder, [windows_path(test)])
    ending.join()
    assert ended.is_set()
    assert [(one.code, one.broke, one.counts["passed"]) for one in told] == [(0, "", 1)]
    assert "Windows broke away under" in capsys.readouterr().out
