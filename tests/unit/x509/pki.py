# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of every kind for tests: good by default, each fault by a keyword."""

from __future__ import annotations

import datetime as dt
import ipaddress
import warnings
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: the real time, because real programs judge these certificates as well
NOW = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
DAY = dt.timedelta(days=1)
EKU = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code": ExtendedKeyUsageOID.CODE_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
_RSA: dict[tuple[int, int], rsa.RSAPrivateKey] = {}


def rsa_key(size: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """RSA keys cost time to make, so they are shared between tests; different numbers are different keys."""
    if (size, number) not in _RSA:
        _RSA[(size, number)] = rsa.generate_private_key(65537, size)
    return _RSA[(size, number)]


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    cert: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.cert.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def key_der(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())

    def key_pem(self, form: str = "PKCS8", password: bytes | None = None) -> str:
        formats = {"PKCS8": serialization.PrivateFormat.PKCS8, "PKCS1": serialization.PrivateFormat.TraditionalOpenSSL}
        cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, formats[form], cipher).decode()


def general_name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_address(value))
    if kind == "URI":
        return x509.UniformResourceIdentifier(value)
    return x509.DNSName(value if kind == "DNS" else text)


def make(
    cn: str = "",
    issuer: Pair | None = None,
    *,
    key: Any = None,
    sans: list[str] | None = None,
    eku: list[str] | None = None,
    ca: bool | None = None,
    path_length: int | None = None,
    key_usage: list[str] | None = None,
    not_before: dt.datetime = NOW - DAY,
    not_after: dt.datetime = NOW + 90 * DAY,
    sha1: bool = False,
    digest: hashes.HashAlgorithm | None = None,
    pss: bool = False,
    serial: int | None = None,
    v1: bool = False,
    ids: bool = True,
    extra: list[tuple[x509.ExtensionType, bool]] | None = None,
    sign_with: Any = None,
) -> Pair:
    """One certificate; self-signed without ``issuer``. ``ca`` None = no basicConstraints at all."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial or 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if sans is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([general_name(each) for each in sans]), critical=not cn)
    if eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([EKU[each] for each in eku]), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
    if key_usage is not None:
        flags = {each: each in key_usage for each in (*KEY_USAGES, "encipher_only", "decipher_only")}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
    if ids and not v1:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        above = issuer.key if issuer else key
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    for value, critical in extra or []:
        builder = builder.add_extension(value, critical=critical)
    signer = sign_with or (issuer.key if issuer else key)
    hashing = None if isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else digest or hashes.SHA256()
    padded = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH) if pss else None
    cert = builder.sign(signer, hashing, rsa_padding=padded)
    if v1:
        cert = _signed_anew(cert, signer, without=(0xA0, 0xA3))
    if sha1 or serial == 0:
        cert = _signed_anew(cert, signer, sha1=sha1, serial_0=serial == 0)
    return Pair(cert, key)


def root(cn: str = "Test Root", **options: Any) -> Pair:
    return make(cn, **{"ca": True, "key_usage": ["key_cert_sign", "crl_sign"], **options})


def intermediate(issuer: Pair, cn: str = "Test Intermediate", **options: Any) -> Pair:
    return make(cn, issuer, **{"ca": True, "key_usage": ["key_cert_sign", "crl_sign"], **options})


def leaf(issuer: Pair | None, name: str = "shop.example.com", **options: Any) -> Pair:
    given = {"sans": [f"DNS:{name}"], "eku": ["server"], "ca": False, "key_usage": ["digital_signature"], **options}
    return make(given.pop("cn", name), issuer, **given)


def _signed_anew(
    cert: x509.Certificate, signer: Any, without: tuple[int, ...] = (), sha1: bool = False, serial_0: bool = False
) -> x509.Certificate:
    """What the builder refuses to make: version 1 (without the fields 0xA0 and 0xA3), a SHA-1 signature (ECDSA), or the serial number 0."""

    def parts(der: bytes) -> list[bytes]:
        found, at = [], 0
        while at < len(der):
            length, head = der[at + 1], 2
            if length & 0x80:
                count = length & 0x7F
                length, head = int.from_bytes(der[at + 2 : at + 2 + count], "big"), 2 + count
            found.append(der[at : at + head + length])
            at += head + length
        return found

    def content(der: bytes) -> bytes:
        return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]

    def wrap(tag: int, body: bytes) -> bytes:
        size = len(body)
        length = (
            bytes([size])
            if size < 128
            else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8, "big")
        )
        return bytes([tag]) + length + body

    fields = [each for each in parts(content(cert.tbs_certificate_bytes)) if each[0] not in without]
    if serial_0:
        fields[[each[0] for each in fields].index(0x02)] = b"\x02\x01\x00"
    algorithm = parts(content(cert.public_bytes(serialization.Encoding.DER)))[1]
    if sha1:
        fields[fields.index(algorithm)] = algorithm = bytes.fromhex("300906072a8648ce3d0401")  # ecdsa-with-SHA1
    tbs = wrap(0x30, b"".join(fields))
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = signer.sign(tbs, ec.ECDSA(hashes.SHA1() if sha1 else hashes.SHA256()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the serial number 0
        return x509.load_der_x509_certificate(wrap(0x30, tbs + algorithm + wrap(0x03, b"\0" + signature)))
