"""Which TLS certificates are believed: the system's trust, one CA file, or one pinned certificate.

Touches the CA file and, while shaking hands, the socket. Nothing here can turn verification off.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from pathlib import Path

import truststore

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem


class FingerprintDiffers(ssl.SSLCertVerificationError):
    """The peer showed another certificate than the pinned one."""


class PinnedContext(ssl.SSLContext):
    """Believes exactly one certificate, by the SHA-256 of its DER form, whoever issued it and whatever name it bears.

    The check happens inside wrap_socket: there is no moment at which a caller holds an unchecked connection.
    """

    sha256: str  # lower-case hex

    def __new__(cls, _sha256: str) -> PinnedContext:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, sha256: str) -> None:
        self.check_hostname = False
        self.verify_mode = ssl.CERT_NONE
        self.sha256 = sha256

    def wrap_socket(  # type: ignore[override]  # only what a client needs; the rest would weaken the pin
        self, sock: socket.socket, *, server_hostname: str | bytes | None = None
    ) -> ssl.SSLSocket:
        """Shake hands and compare, before a byte of the request leaves. Raises FingerprintDiffers, ssl.SSLError."""
        wrapped = super().wrap_socket(sock, server_hostname=server_hostname)
        shown = hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(shown, self.sha256):
            wrapped.close()
            raise FingerprintDiffers("fingerprint differs")
        return wrapped

    def wrap_bio(self, *_args: object, **_kwargs: object) -> ssl.SSLObject:
        """Refused: through a proxy's tunnel the handshake would happen later, out of our sight."""
        raise NotImplementedError("a pinned certificate is checked on a socket of our own")


def make_context(ca_file: Path | None = None, fingerprint: str | None = None) -> ssl.SSLContext:
    """The context for every connection to the gateway, TLS 1.2 or newer. AgentError (HOLD) for an unusable CA file."""
    if fingerprint:
        context: ssl.SSLContext = PinnedContext(fingerprint)
    elif ca_file:
        context = _from_file(ca_file)
    else:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def show_certificate(context: ssl.SSLContext, cert_file: Path, key_file: Path | None = None) -> None:
    """Have the context show this certificate of ours (PEM) to whoever asks for one. AgentError (HOLD) if it cannot be
    used, or its key needs a password: nobody is there to type it."""
    try:
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise failure(problem("FA-GW-CLIENT-CERT", detail="cert_file or key_file cannot be used")) from None


def _from_file(ca_file: Path) -> ssl.SSLContext:
    """PEM or DER: the certificate export of Windows writes DER by default, under the same name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The file may name the gateway's own certificate or an intermediate, not only a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        content = ca_file.read_bytes()
        context.load_verify_locations(cadata=_pem_or_der(content))
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise failure(problem("FA-GW-TLS", detail="ca_file cannot be read as a certificate")) from None
    return context


def _pem_or_der(content: bytes) -> str | bytes:
    return content.decode("ascii", "ignore") if b"-----BEGIN" in content else content
