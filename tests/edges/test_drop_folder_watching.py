"""Hints: they come for what matters, not for what does not, and the watch that gives them outlives its accidents."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from folder_agent.edges.drop_folder import native
from folder_agent.edges.drop_folder.watching import Mode, Watcher
from tests.marks import LINKS, wine_lacks

SOON_S = 5.0
OLD_FOLDERS = wine_lacks("notifications of folders that are older than the watch, under the names that they have now")
# As an error it would end watchdog's thread; see native.py.
pytestmark = pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")


class Hints:
    """Counts hints, and waits for them."""

    def __init__(self) -> None:
        self._came = threading.Event()

    def __call__(self) -> None:
        self._came.set()

    def after(self, action: Callable[[], object]) -> bool:
        """Whether a hint comes soon after the action."""
        self._came.clear()
        action()
        return self._came.wait(SOON_S)

    def stay_away_after(self, action: Callable[[], object]) -> bool:
        time.sleep(0.8)  # watchdog holds half of a move back for 0.5 s
        self._came.clear()
        action()
        return not self._came.wait(0.8)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("done", "failed", "CT1"):
        (tmp_path / "drop" / name).mkdir(parents=True)
    return tmp_path / "drop"


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def watcher(root: Path, hints: Hints, clock: Time) -> Iterator[Watcher]:
    watcher = Watcher(root, [root / "done", root / "failed"], hints, clock=clock)
    watcher.start()
    assert watcher.check() is None
    yield watcher
    watcher.stop()


@OLD_FOLDERS
def test_a_new_a_written_a_renamed_and_a_removed_file_give_hints(watcher: Watcher, root: Path, hints: Hints) -> None:
    for folder in (root, root / "CT1"):
        file = folder / "a.part"
        assert hints.after(lambda file=file: file.write_bytes(b"1"))  # type: ignore[misc]
        assert hints.after(lambda file=file: file.write_bytes(b"12"))  # type: ignore[misc]
        assert hints.after(lambda file=file: file.rename(file.with_suffix(".dcm")))  # type: ignore[misc]
        assert hints.after(lambda file=file: file.with_suffix(".dcm").unlink())  # type: ignore[misc]


def test_files_in_new_folders_in_new_folders_give_hints(watcher: Watcher, root: Path, hints: Hints) -> None:
    deep = root / "CT2" / "s1" / "s2"
    assert hints.after(lambda: deep.mkdir(parents=True))
    time.sleep(0.5)
    assert hints.after(lambda: (deep / "a.dcm").write_bytes(b"1"))


def test_a_whole_folder_moved_in_gives_a_hint_and_is_watched(
    watcher: Watcher, root: Path, hints: Hints, tmp_path: Path
) -> None:
    (tmp_path / "CT3" / "s").mkdir(parents=True)
    assert hints.after(lambda: (tmp_path / "CT3").rename(root / "CT3"))
    time.sleep(0.5)
    assert hints.after(lambda: (root / "CT3" / "s" / "late.dcm").write_bytes(b"1"))


def test_what_happens_in_done_and_failed_is_not_told(watcher: Watcher, root: Path, hints: Hints) -> None:
    def shelve() -> None:
        for shelf in ("done", "failed"):
            (root / shelf / "2026-01-01" / "CT9").mkdir(parents=True)
            (root / shelf / "2026-01-01" / "CT9" / "receipt.json").write_bytes(b"{}")

    assert hints.stay_away_after(shelve)
    assert hints.after(lambda: (root / "a.dcm").write_bytes(b"1"))


@OLD_FOLDERS
def test_shelves_deeper_inside_are_not_told_either(root: Path, hints: Hints) -> None:
    (root / "CT1" / "done").mkdir()
    watcher = Watcher(root, [root / "CT1" / "done"], hints)
    watcher.start()
    assert hints.stay_away_after(lambda: (root / "CT1" / "done" / "a.dcm").write_bytes(b"1"))
    assert hints.after(lambda: (root / "CT1" / "done" / "a.dcm").rename(root / "CT1" / "a.dcm"))
    watcher.stop()


def test_reading_a_file_is_not_told(watcher: Watcher, root: Path, hints: Hints) -> None:
    (root / "CT1" / "a.dcm").write_bytes(b"1")
    assert hints.stay_away_after((root / "CT1" / "a.dcm").read_bytes)


@OLD_FOLDERS
def test_a_folder_of_a_name_that_was_shelved_is_watched_again(watcher: Watcher, root: Path, hints: Hints) -> None:
    (root / "CT1").rename(root / "done" / "CT1")
    (root / "CT1").mkdir()
    time.sleep(1.0)
    assert hints.after(lambda: (root / "CT1" / "again.dcm").write_bytes(b"1"))
    assert hints.stay_away_after(lambda: (root / "done" / "CT1" / "receipt.json").write_bytes(b"{}"))


@LINKS
def test_a_root_that_is_a_link_is_watched_where_it_leads(tmp_path: Path, root: Path, hints: Hints) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    watcher = Watcher(link, [link / "done"], hints)
    watcher.start()
    assert hints.after(lambda: (root / "CT1" / "a.dcm").write_bytes(b"1"))
    assert hints.stay_away_after(lambda: (root / "done" / "b.dcm").write_bytes(b"1"))
    watcher.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one watch serves the whole tree")
def test_the_number_of_watches_is_bounded(root: Path, hints: Hints) -> None:
    for number in range(100):
        (root / f"MR{number}").mkdir()
        (root / "done" / f"MR{number}").mkdir()
    before = threading.active_count()
    watcher = Watcher(root, [root / "done", root / "failed"], hints)
    watcher.start()
    assert threading.active_count() - before < 70
    watcher.stop()
    assert threading.active_count() == before


def end_a_thread(watcher: Watcher) -> None:
    assert watcher._native is not None
    emitter = next(iter(watcher._native._observer.emitters))
    emitter.stop()
    emitter.join(SOON_S)


def end_the_reader(watcher: Watcher) -> None:
    assert watcher._native is not None
    reader = getattr(watcher._native._observer, "_inotify_fd", None)
    if reader is None:
        (emitter,) = watcher._native._observer.emitters
        reader = emitter._reader._reader_thread  # type: ignore[attr-defined]
        emitter._reader.stop()  # type: ignore[attr-defined]
    else:
        reader.stop()
    reader.join(SOON_S)


def end_the_observer(watcher: Watcher) -> None:
    assert watcher._native is not None
    watcher._native._observer.stop()
    watcher._native._observer.join(SOON_S)


@pytest.mark.parametrize("accident", [end_a_thread, pytest.param(end_the_reader, marks=OLD_FOLDERS), end_the_observer])
def test_a_watch_that_has_died_is_built_anew(
    accident: Callable[[Watcher], None], watcher: Watcher, root: Path, hints: Hints
) -> None:
    accident(watcher)
    assert watcher.check() is None
    assert watcher.is_native
    assert hints.after(lambda: (root / "a.dcm").write_bytes(b"1"))
    assert hints.after(lambda: (root / "CT1" / "a.dcm").write_bytes(b"1"))


def test_building_anew_gives_a_hint_because_nobody_watched_meanwhile(watcher: Watcher, hints: Hints) -> None:
    end_the_observer(watcher)
    assert hints.after(watcher.check)


def test_a_watch_that_dies_again_and_again_is_built_with_growing_pauses(watcher: Watcher, clock: Time) -> None:
    pauses = []
    for _ in range(9):
        end_the_observer(watcher)
        waited = 0
        while (problem := watcher.check()) is not None:
            assert problem.code == "FA-WATCHER"
            assert not watcher.is_native
            waited += 1
            clock.now += 1
        pauses.append(waited)
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_watch_that_had_held_for_long_is_built_at_once_again(watcher: Watcher, clock: Time) -> None:
    for _ in range(3):
        clock.now += 61
        end_the_observer(watcher)
        assert watcher.check() is None


def test_a_root_that_goes_away_and_comes_back_is_watched_again(
    watcher: Watcher, root: Path, clock: Time, hints: Hints, tmp_path: Path
) -> None:
    root.rename(tmp_path / "elsewhere")
    problem = watcher.check()
    assert problem is not None
    assert problem.code == "FA-WATCHER"
    root.mkdir()
    clock.now += 60
    assert watcher.check() is None
    assert hints.after(lambda: (root / "a.dcm").write_bytes(b"1"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_without_native_notifications_it_says_so_and_tries_again_later(
    number: int, root: Path, hints: Hints, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()

    def refused(timeout: float) -> object:
        raise OSError(number, "inotify limit reached")

    monkeypatch.setattr("folder_agent.edges.drop_folder.native.Observer", refused)
    watcher = Watcher(root, [], hints, clock=clock)
    watcher.start()
    problem = watcher.check()
    assert problem is not None
    assert dict(problem.values) == {"detail": errno.errorcode[number]}
    assert threading.active_count() == before
    monkeypatch.undo()
    clock.now += 60
    assert watcher.check() is None
    assert watcher.is_native
    watcher.stop()


def test_a_watch_that_cannot_be_placed_leaves_no_thread_behind(
    root: Path, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    before = threading.active_count()
    monkeypatch.setattr("folder_agent.edges.drop_folder.native.Observer.schedule", full)
    watcher = Watcher(root, [], hints)
    watcher.start()
    problem = watcher.check()
    assert problem is not None
    assert dict(problem.values) == {"detail": "ENOSPC"}
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("mode", "remote", "watches"),
    [("auto", False, True), ("auto", True, False), ("native", True, True), ("scan", False, False)],
)
def test_shares_are_only_scanned_unless_told_otherwise(
    mode: Mode, remote: bool, watches: bool, root: Path, hints: Hints
) -> None:
    watcher = Watcher(root, [], hints, mode, remote)
    watcher.start()
    assert watcher.check() is None
    assert watcher.is_native is watches
    watcher.stop()
    assert not watcher.is_native


def test_a_root_that_is_not_there_yet_is_watched_once_it_is(tmp_path: Path, hints: Hints, clock: Time) -> None:
    watcher = Watcher(tmp_path / "later", [], hints, clock=clock)
    watcher.start()
    assert watcher.check() is not None
    (tmp_path / "later").mkdir()
    clock.now += 60
    assert watcher.check() is None
    watcher.stop()
    watcher.stop()


def test_stopping_does_not_wait_for_a_thread_that_hangs(
    root: Path, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_STOP_S", 0.2)
    watcher = Watcher(root, [], hints)
    watcher.start()
    assert watcher._native is not None
    observer, release = watcher._native._observer, threading.Event()
    real = observer.stop
    monkeypatch.setattr(observer, "stop", lambda: (release.wait(SOON_S), real()))
    begun = time.monotonic()
    watcher.stop()
    assert time.monotonic() - begun < 2
    release.set()
    observer.join(SOON_S)
