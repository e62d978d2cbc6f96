"""What `doctor` asks the gateway: does it answer, is it trusted, is our signature right, is the clock right?

Touches the network; sends a signed, empty exam, which the gateway can only refuse for its content.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

from folder_agent.core.errors import AgentError, Problem
from folder_agent.core.ports import Clock
from folder_agent.edges.gateway.answers import judge, told
from folder_agent.edges.gateway.client import Link, Reply, make_client
from folder_agent.edges.gateway.qido import Qido
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.study_add import StudyAdd
from folder_agent.edges.gateway.trust import make_context
from folder_agent.settings import GatewaySettings

_CONTENT_VERDICTS = frozenset({"FA-GW-REFUSED", "FA-GW-AGAIN"})  # it looked past the signature, at the exam


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the gateway shows, whether or not it is trusted."""

    sha256: str  # lower-case hex of the DER form; what `fingerprint` in the settings pins
    not_after: datetime  # UTC
    subject: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was found out. None: the probe did not get so far."""

    is_reachable: bool
    is_trusted: bool | None
    status: int | None = None  # HTTP
    code: int | None = None  # the gateway's own
    clock_offset_s: int | None = None  # our clock minus the gateway's
    certificate: Certificate | None = None
    problem: Problem | None = None  # None: the signature was accepted


def check_signature(gateway: GatewaySettings, token: str, clock: Clock) -> ProbeResult:
    """Post `{}`, signed, to study_path. Never raises for what the gateway does."""
    certificate = _certificate(gateway)
    try:
        link = _link(gateway, token, clock)
        try:
            reply = StudyAdd(link, gateway.url + gateway.study_path).post({})
        finally:
            link.close()
    except AgentError as error:
        return _unanswered(error.problem, certificate)
    return _answered(reply, certificate)


def check_search(gateway: GatewaySettings, token: str, clock: Clock, studies: str) -> int:
    """Ask by QIDO-RS for a study that nobody has; the HTTP status of the answer. Raises AgentError."""
    link = _link(gateway, token, clock)
    try:
        return Qido(link, studies, lambda: False).probe()
    finally:
        link.close()


def certificate_of(host: str, port: int, timeout_s: float = 10) -> Certificate:
    """The certificate shown at that address, believed or not; nothing is sent. Raises OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        der = wrapped.getpeercert(binary_form=True) or b""
    found = x509.load_der_x509_certificate(der)
    return Certificate(hashlib.sha256(der).hexdigest(), found.not_valid_after_utc, found.subject.rfc4514_string())


def _link(gateway: GatewaySettings, token: str, clock: Clock) -> Link:
    context = make_context(gateway.ca_file, gateway.fingerprint)
    auth = SignedHeaders(gateway.app_id, token, clock)
    return Link(make_client(auth, context, gateway.timeout_s, workers=1), clock, gateway.timeout_s)


def _certificate(gateway: GatewaySettings) -> Certificate | None:
    parts = urlsplit(gateway.url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    try:
        return certificate_of(parts.hostname, parts.port or 443, gateway.timeout_s)
    except (OSError, ValueError):
        return None  # the request that follows says why


def _unanswered(problem: Problem, certificate: Certificate | None) -> ProbeResult:
    if problem.code == "FA-GW-TLS":
        return ProbeResult(certificate is not None, False, certificate=certificate, problem=problem)
    is_reachable = certificate is not None or problem.code != "FA-GW-UNREACHABLE"
    return ProbeResult(is_reachable, None, certificate=certificate, problem=problem)


def _answered(reply: Reply, certificate: Certificate | None) -> ProbeResult:
    found = told(reply.body)
    offset_s = None if reply.clock_offset_s is None else round(reply.clock_offset_s)
    return ProbeResult(
        True, True, reply.status, found.code if found else None, offset_s, certificate, _signature_problem(reply)
    )


def _signature_problem(reply: Reply) -> Problem | None:
    """None if the gateway complained of the exam's content, as it must."""
    try:
        judge(reply)
    except AgentError as error:
        return None if error.problem.code in _CONTENT_VERDICTS else error.problem
    return None
