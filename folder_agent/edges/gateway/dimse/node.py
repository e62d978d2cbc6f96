"""The receiver as the settings name it: where it listens, what both sides are called, how it is trusted. Pure."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from folder_agent.edges.gateway.trust import make_context, show_certificate
from folder_agent.settings import DimseSettings


@dataclass(frozen=True, slots=True)
class Node:
    """One DICOM application entity on the network."""

    host: str
    port: int
    called_ae: str
    calling_ae: str
    context: ssl.SSLContext | None  # None: without TLS
    timeout_s: float

    @property
    def address(self) -> str:
        """The same text for the same receiver, for ever: whether TLS is on does not make it another one."""
        return f"dicom://{self.host}:{self.port}/{self.called_ae}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where we listen for the receiver's reports."""

    port: int
    context: ssl.SSLContext | None = None  # None: without TLS


def place_of(dimse: DimseSettings) -> Place | None:
    """Where the receiver may call us, if anywhere. Raises AgentError as `node_of` does."""
    if dimse.commitment_port is None:
        return None
    if not dimse.tls or dimse.cert_file is None:  # the settings see to it that TLS has a certificate
        return Place(dimse.commitment_port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    show_certificate(context, dimse.cert_file, dimse.key_file)
    return Place(dimse.commitment_port, context)


def node_of(dimse: DimseSettings, timeout_s: float) -> Node:
    """The node of the settings. Raises AgentError (FA-GW-TLS or FA-GW-CLIENT-CERT, HOLD) for unusable certificates."""
    context = make_context(dimse.ca_file, dimse.fingerprint) if dimse.tls else None
    if context is not None and dimse.cert_file is not None:
        show_certificate(context, dimse.cert_file, dimse.key_file)
    return Node(dimse.host or "", dimse.port, dimse.called_ae, dimse.calling_ae, context, timeout_s)
