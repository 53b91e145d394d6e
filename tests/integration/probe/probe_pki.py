# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for a gateway, its clients and its mistakes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.cert.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    def write(self, folder: Path, name: str, *chain: Pair) -> Pair:
        """Write ``name``.crt (with ``chain`` after it) and ``name``.key."""
        (folder / f"{name}.crt").write_text(self.pem + "".join(each.pem for each in chain))
        (folder / f"{name}.key").write_text(self.key_pem)
        return self


def issue(
    common_name: str,
    by: Pair | None = None,
    *,
    names: list[str] | None = None,
    usage: x509.ObjectIdentifier | None = SERVER,
    ca: bool = False,
    days: tuple[int, int] = (-1, 30),
) -> Pair:
    """A certificate signed by ``by`` (itself when None). ``names``: DNS names, or URIs where they hold ``://``."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = by.key if by else key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.cert.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    else:
        sans = [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names or [common_name]]
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)
