"""Throw-away certificates for test servers, each expired, mis-named or self-signed as a test needs it."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class TestCertificate:
    """A certificate with its key: `pem` holds both, `public` only the certificate."""

    __test__ = False
    pem: Path
    public: Path
    der: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.der).hexdigest()


def make_certificate(
    folder: Path, name: str = "server", address: str = "127.0.0.1", expired: bool = False, is_ca: bool = True
) -> TestCertificate:
    """Self-signed, for an IP address, as front-end machines show them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {name}")])
    now = datetime.now(UTC)
    not_after = now - timedelta(days=1) if expired else now + timedelta(days=2)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    pem_file, public_file = folder / f"{name}.pem", folder / f"{name}.crt"
    pem_file.write_bytes(private + public)
    public_file.write_bytes(public)
    return TestCertificate(pem_file, public_file, certificate.public_bytes(serialization.Encoding.DER))
