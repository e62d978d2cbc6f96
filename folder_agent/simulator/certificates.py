"""The simulator's own certificate: self-signed, made on the spot, kept in the state folder as cert.pem and key.pem.

A hospital's front-end machine is addressed by IP and has just such a certificate. Touches only the state folder.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=800)
_SPARE = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the PEM files lie, and `sha256:<hex of the DER's digest>`."""

    cert_file: Path
    key_file: Path
    fingerprint: str


def ensure_certificate(folder: Path) -> Certificate:
    """The certificate in `folder`: the one that is there if it is still valid for a day, else a new one."""
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    found = _usable(cert_file, key_file)
    if found is None:
        cert_pem, key_pem = make_certificate()
        key_file.unlink(missing_ok=True)
        key_file.touch(mode=0o600)
        key_file.write_bytes(key_pem)
        cert_file.write_bytes(cert_pem)
        found = x509.load_pem_x509_certificate(cert_pem)
    return Certificate(cert_file, key_file, fingerprint(found))


def fingerprint(certificate: x509.Certificate) -> str:
    """`sha256:` and the lower-case hex digest of the certificate's DER form."""
    return "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()


def make_certificate() -> tuple[bytes, bytes]:
    """A new certificate and its key, both PEM, for 127.0.0.1, ::1 and localhost (RFC 5280)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "folder-agent simulated gateway")])
    now = dt.datetime.now(dt.UTC)
    # A CA:TRUE root with its key identifiers, because OpenSSL's strict mode (Python 3.13's default) asks for them.
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SPARE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(_names(), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def _names() -> x509.SubjectAlternativeName:
    loopbacks = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    return x509.SubjectAlternativeName([x509.DNSName("localhost"), *loopbacks])


def _usable(cert_file: Path, key_file: Path) -> x509.Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    if certificate.not_valid_after_utc < dt.datetime.now(dt.UTC) + _SPARE:
        return None
    return certificate if key.public_key() == certificate.public_key() else None
