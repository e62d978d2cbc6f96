"""What systemd is told, heard at a socket of our own; and by a whole agent in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from folder_agent.service.notifying import Notifier
from tests.site import Site

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux'")


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(30)

    def lines(self) -> list[str]:
        """The next message."""
        return self._socket.recv(4096).decode().splitlines()

    def until(self, line: str) -> list[str]:
        """Everything up to the message that has the line."""
        heard: list[str] = []
        while line not in heard:
            heard += self.lines()
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has 108 bytes at most
        made = Listener(f"{folder}/notify")
        yield made
        made.close()


def test_starting_ready_alive_stopping(listener: Listener) -> None:
    environment = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "4000000"}
    with Notifier(environment, tick_s=0.01) as notifier:
        for _ in range(2):
            status, more = listener.lines()
            assert status.startswith("STATUS=starting")
            assert more == "EXTEND_TIMEOUT_USEC=60000000"
        notifier.ready()
        listener.until("READY=1")
        for _ in range(100):
            notifier.alive()
        assert listener.until("WATCHDOG=1").count("WATCHDOG=1") == 1
        notifier.stopping()
        listener.until("STOPPING=1")


def test_an_abstract_socket_is_spoken_to() -> None:
    heard = Listener(f"@folder-agent-test-{os.getpid()}")
    try:
        with Notifier({"NOTIFY_SOCKET": heard.address}):
            assert heard.lines()[0].startswith("STATUS=starting")
    finally:
        heard.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_systemd_nothing_is_done(environment: dict[str, str]) -> None:
    with Notifier({**environment, "WATCHDOG_USEC": "1"}) as notifier:
        notifier.ready()
        notifier.alive()


def test_a_socket_that_has_gone_troubles_nobody(tmp_path: Path) -> None:
    with Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}) as notifier:
        notifier.ready()


@pytest.mark.parametrize("watchdog", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_for_another_process_or_none_is_not_fed(listener: Listener, watchdog: dict[str, str]) -> None:
    with Notifier({"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "4000000", **watchdog}) as notifier:
        notifier.alive()
        notifier.ready()
        assert "WATCHDOG=1" not in listener.until("READY=1")


def test_a_real_agent_says_ready_feeds_the_watchdog_and_ends_on_sigterm(site: Site, listener: Listener) -> None:
    environment = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "400000"}
    running = site.start("run", env=environment)
    try:
        heard = listener.until("READY=1")
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in heard)
        begun = time.monotonic()
        listener.until("WATCHDOG=1")
        listener.until("WATCHDOG=1")
        assert time.monotonic() - begun < 30
        running.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in listener.until("STOPPING=1")
        assert running.wait(30) == 0
    finally:
        running.kill()
        running.wait()
