"""Certificates of an authority that lives as long as a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "make_authority", "make_certificate"]


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def make_authority(path: Path) -> Authority:
    """Make an authority, and write its certificate."""
    authority = Authority(_name("discgrade test authority"), ec.generate_private_key(ec.SECP256R1()))
    builder = _builder(authority.name, authority).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    path.write_bytes(_signed(builder.public_key(authority.key.public_key()), authority))
    return authority


def make_certificate(authority: Authority, folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for a host or client; returns its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = _builder(_name(name), authority).public_key(key.public_key()).add_extension(names, critical=False)
    cert_path, key_path = folder / f"{name}.pem", folder / f"{name}-key.pem"
    cert_path.write_bytes(_signed(builder, authority))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, authority: Authority) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.name)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )


def _signed(builder: x509.CertificateBuilder, authority: Authority) -> bytes:
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
