"""TLS in front of a plain local server: Debian's Orthanc 1.10.1 crashes (SIGSEGV) on its first HTTPS request."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from folder_agent.simulator.secured import secured
from tests.servers.certificates import TestCertificate


@contextlib.contextmanager
def tls_in_front_of(port: int, certificate: TestCertificate) -> Iterator[int]:
    """The port that speaks TLS; what arrives there goes to `port` in plain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(target: object, *args: object) -> None:
        threads.append(threading.Thread(target=target, args=args, daemon=True))  # type: ignore[arg-type]
        threads[-1].start()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                target.sendall(block)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def serve(sock: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            sock,
            secured(context, sock) as outer,
            socket.create_connection(("127.0.0.1", port)) as inner,
        ):
            back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
            back.start()
            pump(outer, inner)
            back.join(10)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                start(serve, listener.accept()[0])

    start(listen)
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10)
