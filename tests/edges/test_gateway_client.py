"""Promises of the one exchange: bounded in time and size, nothing followed, every failure in the catalogue's words."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
from collections.abc import Iterator

import httpcore
import httpx
import pytest

from folder_agent.core.catalogue import CATALOGUE
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.gateway import pace, wire
from folder_agent.edges.gateway.client import Link
from folder_agent.edges.gateway.faults import FAULTS, fault
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.gateway.wire import WireTransport, translated
from tests.servers.kit import StillClock, certificate, linked, serving
from tests.servers.scripted import Seen, answer, drip, early, hang, hang_up

SECRET = "张三"
CONTENT = SECRET.encode()


def failing(link: Link, url: str, content: bytes | Iterator[bytes] = CONTENT) -> AgentError:
    headers = {} if isinstance(content, bytes) else {"Content-Length": str(512 * 1024 * 1024)}
    with pytest.raises(AgentError) as caught:
        link.exchange(url, headers, content, 1000)
    assert SECRET not in str(caught.value) + repr(caught.value.problem)
    assert caught.value.__cause__ is None
    return caught.value


def words(error: AgentError) -> tuple[str, object]:
    values = dict(error.problem.values)
    return error.problem.code, values.get("detail", values.get("seconds"))


def exceptions_of(module: object) -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, Exception)]


def test_every_exception_of_httpx_has_its_place_in_the_table() -> None:
    assert set(exceptions_of(httpx)) == set(FAULTS)


@pytest.mark.parametrize("kind", list(FAULTS))
def test_every_exception_of_httpx_becomes_a_reason_of_the_catalogue(kind: type[Exception]) -> None:
    error = fault(kind.__new__(kind), 30)
    assert error.problem.code in CATALOGUE


def test_every_exception_of_httpcore_has_its_namesake() -> None:
    for kind in exceptions_of(httpcore):
        if kind is httpcore.ConnectionNotAvailable:  # handled inside httpcore's pool
            continue
        with pytest.raises(getattr(httpx, kind.__name__)), translated():
            raise kind("x")


def test_other_exceptions_pass_untouched() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with linked() as link:
        error = failing(link, f"https://127.0.0.1:{port}")
    assert words(error) == ("FA-GW-UNREACHABLE", "connection refused")
    assert error.disposition is Disposition.RETRY


def test_the_name_is_not_known() -> None:
    with linked() as link:
        assert words(failing(link, "https://gateway.invalid")) == ("FA-GW-UNREACHABLE", "name not found")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "https://", "not an address"])
def test_an_address_that_cannot_be_asked_is_held(url: str) -> None:
    with linked() as link:
        error = failing(link, url)
    assert error.problem.code == "FA-GW-UNREACHABLE"
    assert error.disposition is Disposition.HOLD


def test_a_server_that_never_answers_is_left_after_timeout_s() -> None:
    with serving(hang) as server, linked(timeout_s=0.5) as link:
        started = time.monotonic()
        assert words(failing(link, server.url)) == ("FA-GW-TIMEOUT", 1)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("whole", [answer(200, b"x" * 100), b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50 + b"\r\n"])
def test_a_slow_drip_does_not_hold_for_ever(whole: bytes) -> None:
    with serving(drip(whole, 0.1)) as server, linked(timeout_s=1) as link:
        started = time.monotonic()
        assert words(failing(link, server.url)) == ("FA-GW-TIMEOUT", 1)
        assert time.monotonic() - started < 4


def test_the_deadline_begins_when_the_request_has_been_sent() -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.3)
            yield b"x"

    with serving(answer(200)) as server, linked(timeout_s=0.8) as link:
        assert link.exchange(server.url, {"Content-Length": "4"}, slowly()).status == 200


def test_a_shaking_of_hands_that_never_ends_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, linked(timeout_s=0.5) as link:
        error = failing(link, f"https://127.0.0.1:{silent.getsockname()[1]}")
    assert words(error) == ("FA-GW-UNREACHABLE", "connecting took too long")


def test_an_answer_that_is_too_long_is_not_read() -> None:
    with serving(answer(200, b"x" * 2000)) as server, linked() as link:
        assert words(failing(link, server.url)) == ("FA-GW-ANSWER", "longer than expected")


def test_a_compressed_answer_that_is_broken_is_not_understood() -> None:
    with serving(answer(200, b"no gzip", "Content-Encoding: gzip")) as server, linked() as link:
        assert words(failing(link, server.url)) == ("FA-GW-ANSWER", "compression")


@pytest.mark.parametrize("content", [b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"])
def test_an_answer_that_is_no_whole_http_is_a_broken_connection(content: bytes) -> None:
    with serving(drip(content, 0)) as server, linked() as link:
        assert failing(link, server.url).problem.code == "FA-GW-BROKEN"


def test_a_server_that_hangs_up_is_a_broken_connection() -> None:
    with serving(hang_up) as server, linked() as link:
        error = failing(link, server.url)
    assert error.problem.code == "FA-GW-BROKEN"
    assert error.disposition is Disposition.RETRY


class Ones:
    """A body that can be read again."""

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"ab", b"cd")


def test_a_kept_connection_that_the_server_has_left_by_now_costs_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "RESTED_S", 0.0)
    clock = StillClock()

    def leave(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        clock.time += 1  # so that it shows that the second try is signed anew

    with serving(answer(200, b"one"), leave, answer(200, b"two")) as server, linked(clock) as link:
        link.exchange(server.url, {}, b"x")
        reply = link.exchange(server.url, {"Content-Length": "4"}, Ones())
    assert (reply.status, reply.body) == (200, b"two")
    assert server.connections == 2
    assert server.requests[-1].body == b"abcd"
    first, second = (int(seen.header("timestamp")) for seen in server.requests[1:])
    assert second > first


def test_a_server_that_leaves_new_connections_too_is_a_broken_connection_after_one_more_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "RESTED_S", 0.0)
    with serving(answer(200), hang_up) as server, linked() as link:
        link.exchange(server.url, {}, b"x")
        assert failing(link, server.url).problem.code == "FA-GW-BROKEN"
    assert (server.connections, len(server.requests)) == (2, 3)


def test_a_connection_that_breaks_while_it_is_busy_is_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "RESTED_S", 60.0)
    with serving(answer(200), hang_up) as server, linked() as link:
        link.exchange(server.url, {}, b"x")
        assert failing(link, server.url).problem.code == "FA-GW-BROKEN"
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"])
def test_a_server_that_has_begun_to_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(wire, "RESTED_S", 0.0)
    with serving(answer(200), lambda sock, *_: sock.sendall(said)) as server, linked() as link:
        link.exchange(server.url, {}, b"x")
        assert failing(link, server.url).problem.code == "FA-GW-BROKEN"
    assert len(server.requests) == 2


def test_an_answer_before_the_end_of_the_request_is_heard_at_once() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 512 * 1024 * 1024:
            sent += 262144
            yield b"\0" * 262144

    with serving(early(answer(413, b"too much"))) as server, linked() as link:
        reply = link.exchange(server.url, {"Content-Length": str(512 * 1024 * 1024)}, endless())
    assert (reply.status, reply.body) == (413, b"too much")
    assert sent < 256 * 1024 * 1024


def test_what_the_content_raises_comes_through_and_the_connection_is_dropped() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    with serving(hang) as server, linked(timeout_s=0.5) as link:
        with pytest.raises(ZeroDivisionError):
            link.exchange(server.url, {"Content-Length": "100"}, broken())
        with pytest.raises(AgentError):
            link.exchange(server.url, {}, b"the next one needs a connection of its own")
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["https://127.0.0.1/elsewhere", "https://localhost:{port}/x", "http://127.0.0.1:{port}/x", "//[", ""]
)
def test_a_redirect_elsewhere_is_not_followed(status: int, location: str) -> None:
    moved: list[bytes] = []
    with serving(lambda *_: None) as server, linked() as link:
        server.answers = [answer(status, b"", f"Location: {location.format(port=server.port)}")]
        moved = [b"x" for _ in range(1) if link.exchange(server.url, {}, b"").status == status]
    assert moved
    assert len(server.requests) == (4 if location == "" and status > 303 else 1)  # "" is where it was asked


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_change_the_method_is_not_followed(status: int) -> None:
    with serving(answer(status, b"", "Location: /elsewhere"), answer(200)) as server, linked() as link:
        reply = link.exchange(server.url, {}, b"x")
    assert (reply.status, reply.location) == (status, f"{server.url}/elsewhere")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("location", ["/new/place?a=1", "{url}/new/place?a=1"])
def test_a_redirect_on_the_same_server_is_followed_signed_anew_with_the_whole_body(status: int, location: str) -> None:
    clock = StillClock()

    class Twice:
        def __iter__(self) -> Iterator[bytes]:
            clock.time += 1
            yield from (b"ab", b"cd")

    with serving(answer(200, b"ok")) as server, linked(clock) as link:
        server.answers.insert(0, answer(status, b"", f"Location: {location.format(url=server.url)}"))
        reply = link.exchange(f"{server.url}/old", {"Content-Length": "4"}, Twice())
    assert (reply.status, reply.body) == (200, b"ok")
    assert [seen.line for seen in server.requests] == ["POST /old HTTP/1.1", "POST /new/place?a=1 HTTP/1.1"]
    assert [seen.body for seen in server.requests] == [b"abcd", b"abcd"]
    first, second = (seen.header("timestamp") for seen in server.requests)
    assert int(second) > int(first)


def test_a_server_that_redirects_in_circles_is_left() -> None:
    with serving(answer(307, b"", "Location: /again")) as server, linked() as link:
        assert link.exchange(server.url, {}, b"").status == 307
    assert len(server.requests) == 4


LARGE = wire.EXPECT_FROM
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def blocks(sent: list[int]) -> Iterator[bytes]:
    for _ in range(LARGE // 65536):
        sent.append(65536)
        yield bytes(65536)


def asked_first(seen: Seen) -> bool:
    return any(name.lower() == "expect" for name, _ in seen.headers)


def take(sock: socket.socket, seen: Seen, rest: bytes) -> None:
    left = int(seen.header("Content-Length")) - len(rest)
    while left > 0:
        left -= len(sock.recv(1 << 20))


def test_a_large_body_is_offered_first_and_goes_as_soon_as_it_is_wanted() -> None:
    def want(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        assert not rest
        sock.sendall(CONTINUE)
        take(sock, seen, rest)
        sock.sendall(answer(200, b"ok"))

    sent: list[int] = []
    began = time.monotonic()
    with serving(want) as server, linked() as link:
        reply = link.exchange(server.url, {"Content-Length": str(LARGE)}, blocks(sent))
    assert (reply.status, reply.body, sum(sent)) == (200, b"ok", LARGE)
    assert asked_first(server.requests[0])
    assert time.monotonic() - began < wire.CONTINUE_S + 4


@pytest.mark.parametrize("status", [401, 413, 503])
def test_a_server_that_does_not_want_a_large_body_gets_none_of_it(status: int) -> None:
    sent: list[int] = []
    with serving(answer(200)) as server, linked() as link:
        server.answers = [lambda sock, seen, rest: sock.sendall(answer(status, b"no"))]
        reply = link.exchange(server.url, {"Content-Length": str(LARGE)}, blocks(sent))
    assert (reply.status, reply.body) == (status, b"no")
    assert len(sent) <= 1  # one block is made before it turns out that it is not wanted


def test_a_server_that_does_not_say_whether_it_wants_a_body_gets_it_and_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "CONTINUE_S", 0.2)
    with serving(answer(200)) as server, linked() as link:
        for _ in range(2):
            assert link.exchange(server.url, {"Content-Length": str(LARGE)}, blocks([])).status == 200
    assert [asked_first(seen) for seen in server.requests] == [True, False]


def test_a_server_that_will_not_be_asked_gets_the_body_at_once() -> None:
    with serving(answer(417), answer(200)) as server, linked() as link:
        assert link.exchange(server.url, {"Content-Length": str(LARGE)}, Again()).status == 200
    assert [asked_first(seen) for seen in server.requests] == [True, False]


class Again:
    def __iter__(self) -> Iterator[bytes]:
        return blocks([])


def test_small_bodies_go_at_once() -> None:
    with serving(answer(200)) as server, linked() as link:
        link.exchange(server.url, {}, b"x")
    assert not asked_first(server.requests[0])


def test_an_interim_answer_and_a_refusal_that_come_together_are_told_apart() -> None:
    def both(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE + answer(413, b"no"))

    sent: list[int] = []
    with serving(both) as server, linked() as link:
        assert link.exchange(server.url, {"Content-Length": str(LARGE)}, blocks(sent)).status == 413
    assert len(sent) <= 1


def test_the_environment_does_not_name_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(answer(200)) as server, linked() as link:
        assert link.exchange(server.url, {}, b"").status == 200


def test_connections_are_kept_and_cookies_are_not() -> None:
    with serving(answer(200, b"", "Set-Cookie: a=b")) as server, linked() as link:
        for _ in range(5):
            link.exchange(server.url, {}, b"")
    assert server.connections == 1
    assert not any(name.lower() == "cookie" for seen in server.requests for name, _ in seen.headers)


def test_the_agent_names_itself() -> None:
    with serving(answer(200)) as server, linked() as link:
        link.exchange(server.url, {}, b"")
    assert server.requests[0].header("User-Agent").startswith("folder-agent/")
    assert server.requests[0].line.endswith("HTTP/1.1")


def test_the_pool_serves_many_threads_at_once() -> None:
    statuses: list[int] = []
    with serving(answer(200)) as server, linked(workers=4) as link:

        def work() -> None:
            for _ in range(10):
                statuses.append(link.exchange(server.url, {}, b"x" * 1000).status)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 80
    assert server.connections <= 6  # four workers and two to spare, all kept


def test_when_every_connection_is_in_use_it_is_said_after_the_timeout() -> None:
    context = make_context(certificate().public)
    timeout = httpx.Timeout(10, pool=0.3)
    with (
        serving(answer(200, b"x")) as server,
        httpx.Client(transport=WireTransport(context, 1), timeout=timeout) as client,
    ):
        with client.stream("POST", server.url), pytest.raises(httpx.PoolTimeout) as caught:
            client.post(server.url)
        assert client.post(server.url).status_code == 200  # it was given back
    assert words(fault(caught.value, 30)) == ("FA-GW-UNREACHABLE", "no connection is free")


def test_a_request_under_way_survives_the_closing_and_gives_its_connection_back() -> None:
    """Closing a connection under another thread's hands would free a descriptor, for some other file to get."""
    closed, ended = threading.Event(), threading.Event()

    def patient(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        closed.wait(10)
        sock.sendall(answer(200, b"late"))
        while sock.recv(65536):
            pass
        ended.set()

    replies: list[bytes] = []
    with serving(patient) as server, linked(timeout_s=10) as link:
        worker = threading.Thread(target=lambda: replies.append(link.exchange(server.url, {}, b"").body))
        worker.start()
        while not server.requests:
            time.sleep(0.01)
        link.close()
        closed.set()
        worker.join(10)
        assert replies == [b"late"]
        assert ended.wait(10)


def test_after_the_closing_every_request_is_refused_as_stopping() -> None:
    with serving(answer(200)) as server, linked() as link:
        link.exchange(server.url, {}, b"")
        link.close()
        assert failing(link, server.url).problem.code == "FA-STOPPING"


class _Plain:
    """What PromptStream needs of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def get_extra_info(self, info: str) -> socket.socket:
        return self.sock


@contextlib.contextmanager
def slow_receiver() -> Iterator[socket.socket]:
    """The sending end of a line whose other end takes about 80 KiB a second: some progress within every timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(listener.getsockname())
        far, _ = listener.accept()

    def take() -> None:
        while far.recv(4096):
            time.sleep(0.05)

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    try:
        yield near
    finally:
        near.close()
        taker.join(10)
        far.close()


def test_a_receiver_that_takes_less_than_the_least_rate_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LEAST_RATE", 64 * 1024 * 1024)
    monkeypatch.setattr(pace, "_WINDOW", 0.2)
    with slow_receiver() as sock, pytest.raises(httpcore.WriteTimeout, match="too little"):
        wire.PromptStream(_Plain(sock)).write(bytes(16 * 1024 * 1024), 5)  # type: ignore[arg-type]


def test_a_slow_receiver_that_keeps_the_least_rate_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LEAST_RATE", 1)
    monkeypatch.setattr(pace, "_WINDOW", 0.02)
    with slow_receiver() as sock:
        wire.PromptStream(_Plain(sock)).write(bytes(100_000), 5)  # type: ignore[arg-type]


def test_a_receiver_that_takes_nothing_is_left_after_timeout_s() -> None:
    def deaf(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        done.wait(20)

    done = threading.Event()
    blocks = (b"\0" * 262144 for _ in range(2048))
    with serving(deaf) as server, linked(timeout_s=0.5) as link:
        with pytest.raises(AgentError) as caught:
            link.exchange(server.url, {"Content-Length": str(512 * 1024 * 1024)}, blocks)
        done.set()
    assert caught.value.problem.code == "FA-GW-TIMEOUT"


def test_an_answer_is_heard_though_the_server_takes_no_more_of_the_request() -> None:
    def deaf(sock: socket.socket, seen: Seen, rest: bytes) -> None:
        time.sleep(0.3)  # until our buffers are full
        sock.sendall(answer(401))
        time.sleep(2)

    blocks = (b"\0" * 262144 for _ in range(2048))
    with serving(deaf) as server, linked(timeout_s=1) as link:
        assert link.exchange(server.url, {"Content-Length": str(512 * 1024 * 1024)}, blocks).status == 401


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999", 86400),
        ("Fri, 07 Mar 2025 09:08:30 GMT", 60),
        ("Fri, 07 Mar 2025 09:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_comes_as_seconds_or_as_a_date(header: str, seconds: int | None) -> None:
    with serving(answer(503, b"", f"Retry-After: {header}")) as server, linked(StillClock()) as link:
        assert link.exchange(server.url, {}, b"").retry_after_s == seconds


@pytest.mark.parametrize(
    ("header", "offset_s"),
    [("Fri, 07 Mar 2025 09:07:00 GMT", 30), ("Fri, 07 Mar 2025 09:07:40 GMT", -10), ("yesterday", None)],
)
def test_the_date_header_tells_how_far_the_clocks_are_apart(header: str, offset_s: int | None) -> None:
    with serving(answer(200, b"", f"Date: {header}")) as server, linked(StillClock()) as link:
        assert link.exchange(server.url, {}, b"").clock_offset_s == offset_s
