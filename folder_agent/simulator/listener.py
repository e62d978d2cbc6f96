"""The listening socket and its connections' threads, with TLS, resets on demand and a stop that leaves nothing open.

Works alike on Windows and POSIX; a client that breaks a connection is no event here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

from folder_agent.simulator.gateway import Gateway
from folder_agent.simulator.handler import Handler
from folder_agent.simulator.secured import secured

# struct linger has u_short members on Windows, int elsewhere.
_LINGER_NONE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
_JOIN_S = 5.0


class Listener(ThreadingHTTPServer):
    """Accepts connections for a gateway. `port` 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 128
    # On Windows the option would let two processes listen on one port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, host: str, port: int, gateway: Gateway, tls: ssl.SSLContext | None) -> None:
        self.gateway, self._tls = gateway, tls
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._aborted: set[int] = set()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return connection if self._tls is None else secured(self._tls, connection, shakes_hands=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        """A daemon thread for the connection, remembered so that a stop can end it."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="simulator-connection", daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def abort(self, connection: socket.socket) -> None:
        """Makes the closing of that connection a reset (RST) instead of an orderly end."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        with self._lock:
            self._aborted.add(id(connection))

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection: TLS first, then TCP, unless it is to be reset."""
        with self._lock:
            self._connections.pop(request, None)
            aborted = id(request) in self._aborted
            self._aborted.discard(id(request))
        if not aborted:
            _say_goodbye(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent for broken connections; anything else is a bug of the simulator, and said."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stops listening, ends every connection and waits for their threads."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            open_now = dict(self._connections)
        for connection in open_now:
            _wake(connection)
        deadline = time.monotonic() + _JOIN_S
        for thread in open_now.values():
            thread.join(max(0.0, deadline - time.monotonic()))


def _say_goodbye(connection: socket.socket) -> None:
    try:
        if isinstance(connection, ssl.SSLSocket):
            # Not blocking: say close_notify, do not wait for the client's.
            connection.setblocking(False)
            connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
    except (OSError, ValueError):
        pass


def _wake(connection: socket.socket) -> None:
    """Ends a blocked read. Not SSLSocket's own shutdown, which would pull the TLS state from under its thread."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
