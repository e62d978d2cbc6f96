"""Promises of the bandwidth limit in force: kept by all workers together, fair, and left at once by a stop."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from folder_agent.core.bandwidth import parse_limit
from folder_agent.core.errors import AgentError
from folder_agent.edges.clock import week_minute
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway import open_gateway
from folder_agent.edges.gateway.allowance import Allowance
from folder_agent.edges.gateway.form import Form
from folder_agent.edges.gateway.multipart import BLOCK, Body, Reading
from folder_agent.edges.gateway.stow import Stow
from folder_agent.settings import SettingsError, load
from tests.servers.kit import StillClock, outgoing


def never() -> bool:
    return False


def test_without_a_limit_nobody_waits() -> None:
    assert Allowance((), StillClock()).take(BLOCK, never) == BLOCK
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[(week_minute(StillClock().now())[0] + 2) % 7]
    assert Allowance([parse_limit(f"64kbit/s {day}")], StillClock()).take(BLOCK, never) == BLOCK


def test_workers_share_one_rate_fairly() -> None:
    allowance = Allowance([parse_limit("1MB/s")], StillClock())
    taken: Counter[int] = Counter()
    begun, end = time.monotonic(), time.monotonic() + 1.0

    def work(number: int) -> None:
        while time.monotonic() < end:
            taken[number] += allowance.take(BLOCK if number else 4096, never)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    assert sum(taken.values()) <= 1e6 * (took + 0.3)
    large = [taken[number] for number in (1, 2, 3)]
    assert max(large) <= 2 * min(large)
    assert taken[0] >= 2 * 4096  # who sends little has his turn among them


def test_a_stop_ends_the_waiting() -> None:
    allowance = Allowance([parse_limit("64kbit/s")], StillClock())
    allowance._free_at = time.monotonic() + 60
    began = time.monotonic()
    with pytest.raises(AgentError) as caught:
        allowance.take(BLOCK, lambda: time.monotonic() > began + 0.2)
    assert caught.value.problem.code == "FA-STOPPING"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("", None),
        ('limit = "20Mbit/s Mon-Fri 08-18"', ["20Mbit/s Mon-Fri 08-18"]),
        ('limit = ["20Mbit/s Mon-Fri 08-18", "1MB/s"]', ["20Mbit/s Mon-Fri 08-18", "1MB/s"]),
    ],
)
def test_the_settings_name_one_limit_or_several(tmp_path: Path, line: str, texts: list[str] | None) -> None:
    loaded = load(written(tmp_path, line), {})
    assert (loaded.sync.limit and [limit.text for limit in loaded.sync.limit]) == texts
    by_variable = load(written(tmp_path, line), {"FOLDER_AGENT__SYNC__LIMIT": "5MB/s"}).sync.limit or ()
    assert [limit.rate for limit in by_variable] == [5e6]


@pytest.mark.parametrize("line", ["limit = 5", "limit = []", 'limit = ["1MB/s", 5]', 'limit = "1MB/s Mon-Fri 8"'])
def test_a_wrong_limit_is_told_with_its_key(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=r"folder-agent.toml: sync.limit: "):
        load(written(tmp_path, line), {})


def test_every_way_takes_from_one_allowance(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, 'limit = "1MB/s"'), {})
    gateway = open_gateway(loaded, "secret", StillClock(), never)
    assert isinstance(gateway.images, Stow)
    assert isinstance(gateway.reports, Form)
    assert gateway.images._reading.allowance is gateway.reports._reading.allowance is not None
    gateway.close()


def written(folder: Path, line: str) -> Path:
    file = folder / "folder-agent.toml"
    gateway = '[gateway]\nurl = "https://127.0.0.1:1"\napp_id = "1"\n'
    file.write_text(f'{gateway}[sync]\n{line}\n[[drops]]\nname = "ct"\npath = "."\n', encoding="utf-8")
    return file


def test_a_body_is_read_in_turns(tmp_path: Path) -> None:
    file = outgoing(tmp_path, "x", b"y" * 150_000)
    reading = Reading(open_for_reading, never, Allowance([parse_limit("1MB/s")], StillClock()))
    counts: list[int] = []
    began = time.monotonic()
    assert b"".join(Body([file], reading, counts.append)) == b"y" * 150_000
    assert counts == [100_000, 50_000]
    assert time.monotonic() - began < 5
