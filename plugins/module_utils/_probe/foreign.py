"""A client certificate that nobody trusts: who still gets in with it proves that mutual TLS is not enforced."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from .._x509.library import ExtendedKeyUsageOID, NameOID, ec, hashes, serialization, x509


def foreign_certificate() -> str:
    """PEM of a fresh certificate, good in every respect but its issuer, followed by its key. Valid for an hour; never stored."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgemesh foreign client")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgemesh foreign CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("foreign.invalid")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (built.public_bytes(serialization.Encoding.PEM) + private).decode()
