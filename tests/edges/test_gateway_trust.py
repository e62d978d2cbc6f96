"""Promises of TLS: only a trusted or pinned certificate, and not a byte to anybody else."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import sys
import threading
from pathlib import Path

import httpcore
import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.gateway.client import Link, make_client
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.trust import PinnedContext, make_context
from folder_agent.edges.gateway.wire import Manners, PromptBackend
from folder_agent.simulator.secured import secured
from tests.servers.certificates import make_certificate
from tests.servers.kit import StillClock, certificate, serving
from tests.servers.scripted import ScriptedServer, answer


def ask(url: str, context: ssl.SSLContext) -> int:
    clock = StillClock()
    link = Link(make_client(SignedHeaders("1", "2", clock), context, 5, 1), clock, 5)
    try:
        return link.exchange(url, {}, b"personal").status
    finally:
        link.close()


def detail_of(error: AgentError) -> object:
    return dict(error.problem.values)["detail"]


def refused(server: ScriptedServer, context: ssl.SSLContext, host: str = "127.0.0.1") -> object:
    """The detail of the refusal; proves that nothing was sent."""
    with pytest.raises(AgentError) as caught:
        ask(f"https://{host}:{server.port}", context)
    assert caught.value.problem.code == "FA-GW-TLS"
    assert caught.value.disposition is Disposition.HOLD
    assert not server.requests
    assert not server.raw
    return detail_of(caught.value)


def test_a_certificate_named_by_ca_file_is_trusted() -> None:
    with serving(answer(200)) as server:
        assert ask(server.url, make_context(ca_file=certificate().public)) == 200


def test_a_der_file_will_do_as_well(tmp_path: Path) -> None:
    file = tmp_path / "gateway.cer"
    file.write_bytes(certificate().der)
    with serving(answer(200)) as server:
        assert ask(server.url, make_context(ca_file=file)) == 200


def test_a_pinned_certificate_is_trusted_whatever_its_name_and_date(tmp_path: Path) -> None:
    odd = make_certificate(tmp_path, address="10.9.9.9", expired=True)
    with ScriptedServer(odd.pem, [answer(200)]) as server:
        assert ask(server.url, make_context(fingerprint=odd.sha256)) == 200


def test_another_certificate_than_the_pinned_one_gets_nothing() -> None:
    with serving(answer(200)) as server:
        assert refused(server, make_context(fingerprint="0" * 64)) == "fingerprint differs"


def test_the_systems_trust_does_not_know_a_self_signed_certificate() -> None:
    with serving(answer(200)) as server:
        told = "certificate not trusted" if sys.platform == "win32" else "self-signed certificate"
        assert refused(server, make_context()) == told


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    expired = make_certificate(tmp_path, expired=True)
    with ScriptedServer(expired.pem, [answer(200)]) as server:
        assert refused(server, make_context(ca_file=expired.public)) == "certificate expired"


def test_a_certificate_for_another_address_is_refused(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, address="10.9.9.9")
    with ScriptedServer(other.pem, [answer(200)]) as server:
        assert refused(server, make_context(ca_file=other.public)) == "certificate is for another IP address"
        assert refused(server, make_context(ca_file=other.public), "localhost") == "certificate is for another name"


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_file_that_holds_no_certificate_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(AgentError) as caught:
        make_context(ca_file=file)
    assert caught.value.problem.code == "FA-GW-TLS"


def test_a_ca_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        make_context(ca_file=tmp_path / "none")
    assert detail_of(caught.value) == "ca_file cannot be read as a certificate"


def test_every_context_demands_tls_1_2() -> None:
    for context in (make_context(), make_context(certificate().public), make_context(fingerprint="0" * 64)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_only_the_pinned_context_leaves_the_name_to_the_fingerprint() -> None:
    for context in (make_context(), make_context(certificate().public)):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_the_socket_is_closed_when_the_fingerprint_differs() -> None:
    with serving(answer(200)) as server:
        plain = socket.create_connection(("127.0.0.1", server.port), 5)
        with pytest.raises(ssl.SSLCertVerificationError):
            PinnedContext("0" * 64).wrap_socket(plain)
        assert plain.fileno() == -1


def test_a_pin_cannot_be_passed_by_through_a_tunnel() -> None:
    with pytest.raises(NotImplementedError):
        PinnedContext("0" * 64).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def test_a_server_that_does_not_speak_tls_is_a_broken_connection() -> None:
    def grumble(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=grumble, args=(listener,))
        thread.start()
        with pytest.raises(AgentError) as caught:
            ask(f"https://127.0.0.1:{listener.getsockname()[1]}", make_context(certificate().public))
        thread.join()
    assert caught.value.problem.code == "FA-GW-BROKEN"
    assert detail_of(caught.value) == "TLS: wrong version number"


_RESET = struct.pack("ii", 1, 0)  # linger 0: closing is a reset


def reset(connection: socket.socket, other: socket.socket) -> None:
    """Have the other end know that this one is gone, before it does anything."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
    while _is_connected(other):
        pass


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="linger and resets are set up as Linux does")
@pytest.mark.parametrize("pinned", [False, True])
def test_a_server_that_resets_before_the_handshake_leaves_no_socket_open(pinned: bool) -> None:
    context = make_context(fingerprint="0" * 64) if pinned else make_context(certificate().public)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = PromptBackend(Manners()).connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
        sock = stream.get_extra_info("socket")
        reset(listener.accept()[0], sock)
        with pytest.raises(httpcore.ConnectError):
            stream.start_tls(context, "127.0.0.1", 5)
        assert sock.fileno() == -1
    gc.collect()  # an unclosed socket is a ResourceWarning, and that an error


@pytest.mark.skipif(sys.platform != "linux", reason="linger and resets are set up as Linux does")
def test_a_client_that_resets_before_the_handshake_leaves_no_socket_open_at_a_test_server() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate().pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 5)
        sock = listener.accept()[0]
        reset(client, sock)
        with pytest.raises(ConnectionResetError):
            secured(context, sock)
        assert sock.fileno() == -1
    gc.collect()
