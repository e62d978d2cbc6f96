"""Promises of the lanes: no more under way than may be, in the order of asking; narrowed by what the gateway says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from folder_agent.core import easing
from folder_agent.core.errors import AgentError
from folder_agent.core.records import Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.client import Link, make_client
from folder_agent.edges.gateway.dimse import Dimse
from folder_agent.edges.gateway.lanes import Lanes
from folder_agent.edges.gateway.multipart import Reading
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.stow import Stow
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.meters import Meters
from folder_agent.simulator import Simulator
from tests.edges.test_dimse import image
from tests.servers.kit import APP_ID, TOKEN
from tests.servers.storescp import ScriptedScp, abort


class WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def in_threads(count: int, act: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_no_more_are_under_way_than_may_be() -> None:
    lanes, seen = Lanes(3), []

    def travel(_number: int) -> None:
        with lanes.lane():
            seen.append(lanes.state()[1])
            time.sleep(0.02)

    in_threads(12, travel)
    assert max(seen) <= 3
    assert lanes.state() == (3, 0)


def test_whoever_asks_first_goes_first() -> None:
    lanes, order = Lanes(1), list[int]()
    threads = []
    with lanes.lane():
        for number in range(5):
            threads.append(threading.Thread(target=lambda n=number: travel(n)))

            def travel(number: int) -> None:
                with lanes.lane():
                    order.append(number)

            threads[-1].start()
            while len(lanes._queue) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_a_stop_ends_the_waiting_and_leaves_the_queue() -> None:
    stop = False
    lanes = Lanes(1, lambda: stop)
    with lanes.lane():
        stop = True
        with pytest.raises(AgentError) as caught, lanes.lane():
            pass
        assert caught.value.problem.code == "FA-STOPPING"
    stop = False
    with lanes.lane():
        assert lanes.state() == (1, 1)


def test_what_is_under_way_goes_on_when_fewer_may_be() -> None:
    lanes = Lanes(4)
    with lanes.lane(), lanes.lane(), lanes.lane():
        lanes.troubled(time.monotonic())
        lanes.troubled(0.0)  # which set out before that
        assert lanes.state() == (2, 3)


def test_answers_that_grow_slow_narrow_it_once_and_quick_ones_widen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(easing, "GROW_S", 0.0)
    now = 0.0
    lanes = Lanes(8, monotonic=lambda: now)

    def answers(count: int, waited_s: float) -> None:
        nonlocal now
        for _ in range(count):
            now += 1
            lanes.answered("POST /x", now, waited_s, 0)

    answers(20, 0.3)
    answers(5, 3.0)
    assert lanes.state()[0] == 4
    answers(9 * easing.RUN, 0.3)
    assert lanes.state()[0] == 8


def sent(to: Dimse, files: Sequence[Outgoing]) -> str | None:
    try:
        to.send(files, lambda batch: None, lambda count: None)
    except AgentError as error:
        return error.problem.code
    return None


def test_c_store_is_counted_and_a_node_out_of_resources_narrows(tmp_path: Path) -> None:
    files, meters, lanes = [image(tmp_path, number) for number in (1, 2, 3)], Meters(), Lanes(8)
    with ScriptedScp() as scp:
        to = Dimse(scp.node(), Reading(open_for_reading, lambda: False), lanes, meters)
        scp.coming.extend([0, 0xB000])
        assert sent(to, files) is None
        assert lanes.state() == (8, 0)
        scp.coming.extend([0xA700])
        assert sent(to, files) == "FA-GW-INSTANCE-AGAIN"
        assert lanes.state() == (4, 0)
        scp.coming.extend([0xC000])
        assert sent(to, files) == "FA-GW-INSTANCE"  # a verdict on the image says nothing of that
        scp.coming.extend([abort])
        assert sent(to, files) == "FA-GW-BROKEN"
        assert lanes.state() == (4, 0)
        counted = {key: times.count for key, times in meters.requests().items()}
    assert counted == {
        ("A-ASSOCIATE", "accepted"): 4,
        ("C-STORE", "0x0000"): 2,
        ("C-STORE", "0xB000"): 1,
        ("C-STORE", "0xA700"): 1,
        ("C-STORE", "0xC000"): 1,
        ("C-STORE", "error"): 1,
    }
    assert sent(to, files) == "FA-GW-UNREACHABLE"
    assert meters.requests()["A-ASSOCIATE", "error"].count == 1
    assert lanes.state() == (4, 0)  # nor does a node that is not there


def test_an_answer_that_does_not_come_in_time_narrows(tmp_path: Path) -> None:
    release, lanes = threading.Event(), Lanes(8)
    with ScriptedScp() as scp:
        scp.coming.append(lambda _event: (release.wait(20), 0)[1])
        to = Dimse(scp.node(timeout_s=0.5), Reading(open_for_reading, lambda: False), lanes)
        assert sent(to, [image(tmp_path, 1)]) == "FA-GW-TIMEOUT"
        release.set()
    assert lanes.state() == (4, 0)


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        ({"do": "status", "status": 503}, 4),
        ({"do": "status", "status": 429}, 4),
        ({"do": "status", "status": 504}, 4),
        ({"do": "hang"}, 4),
        ({"do": "stow-fail", "reason": 0xA700, "times": 2}, 4),
        ({"do": "status", "status": 500}, 8),
        ({"do": "stow-fail", "reason": 0xC000}, 8),
        ({"do": "reset"}, 8),
    ],
)
def test_what_http_says_of_too_much_to_do_narrows(tmp_path: Path, rule: dict[str, object], most: int) -> None:
    files, lanes, clock = [image(tmp_path, number) for number in (1, 2)], Lanes(8), WallClock()
    with Simulator(tmp_path / "gateway") as simulator:
        client = make_client(SignedHeaders(APP_ID, TOKEN, clock), make_context(simulator.ca_file), 1, 8)
        link = Link(client, clock, 1, lanes=lanes)
        simulator.misbehave(**rule)  # type: ignore[arg-type]
        stow = Stow(link, f"{simulator.url}/dicom-web/studies", Reading(open_for_reading, lambda: False))
        with pytest.raises(AgentError):
            stow.send(files, lambda batch: None, lambda count: None)
        link.close()
    assert lanes.state() == (most, 0)
