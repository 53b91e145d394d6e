# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates of a private CA, made in this process; a key leaves it only inside a :class:`.material.Material`."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta
from typing import Optional

from .._errors import EdgeError
from . import clock, facts
from .library import ExtendedKeyUsageOID, NameOID, ec, ed448, ed25519, hashes, rsa, x509
from .material import Material
from .pem import PrivateKey

KEY_TYPES = ("ecdsa", "rsa")
#: clocks of other machines may be behind
BACKDATE = timedelta(minutes=5)
_EKU = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_HOST = re.compile(
    r"(?=.{1,253}$)(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]{1,2000}")


def new_key(key_type: str = "ecdsa") -> PrivateKey:
    """``ecdsa`` = P-256 (fast, and every TLS program takes it), ``rsa`` = 2048 bits."""
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def general_name(text: str) -> x509.GeneralName:
    """A subject alternative name: a DNS name (also ``*.example.com``), an address, or a URI; ``DNS:``, ``IP:``, ``URI:`` may precede.

    :raises EdgeError: NAME_INVALID.
    """
    kind, _colon, value = text.partition(":")
    if kind not in ("DNS", "IP", "URI"):
        kind, value = "", text
    if kind in ("", "IP"):
        try:
            return x509.IPAddress(ipaddress.ip_address(value))
        except ValueError:
            pass
    if kind in ("", "URI") and _URI.fullmatch(value):
        return x509.UniformResourceIdentifier(value)
    if kind in ("", "DNS") and _HOST.fullmatch(value) and not value.replace(".", "").isdigit():
        return x509.DNSName(value.lower())
    raise EdgeError(
        f"{text[:100]!r} is no DNS name, address or URI",
        fix="Write names in ASCII, e.g. shop.example.com, *.example.com, 192.0.2.1 or spiffe://td/ns/a/sa/b",
        code="NAME_INVALID",
    )


def new_ca(common_name: str, days: float, key_type: str = "ecdsa", now: Optional[datetime] = None) -> Material:
    """A self-signed CA that may sign leaves only (path length 0).

    :param common_name: at most 64 characters.
    :param days: how long it is valid.
    """
    key = new_key(key_type)
    start = _second(now or clock.now())
    name = _name(common_name)
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, name, key, start - BACKDATE, start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    cert = builder.sign(key, hashes.SHA256())
    return Material([cert], key, [cert])


def new_leaf(
    issuer: Material,
    names: list[str],
    usage: str,
    days: float,
    key_type: str = "ecdsa",
    common_name: str = "",
    now: Optional[datetime] = None,
) -> Material:
    """A leaf under ``issuer``, with the issuer's chain (without root) behind it and what verifies it as ``ca``.

    :param names: at least one; see :func:`general_name`.
    :param usage: ``server`` or ``client``.
    :param days: how long it is valid, but never longer than its issuers are.
    :raises EdgeError: NAME_INVALID, CA_EXPIRED, CA_KEY_MISSING.
    """
    if issuer.key is None or not issuer.certs:
        raise EdgeError("the CA's certificate or key is missing, so nothing can be signed", code="CA_KEY_MISSING")
    start = _second(now or clock.now())
    parents = issuer.certs + issuer.ca
    end = not_after(issuer, days, start)
    if end <= start:
        raise EdgeError("the CA has expired", where=facts.name_text(issuer.leaf.subject), code="CA_EXPIRED", fix="Make a new CA")
    key = new_key(key_type)
    sans = [general_name(each) for each in names]
    if not sans:
        raise EdgeError("a certificate needs at least one name", code="NAME_INVALID")
    subject = _name(common_name or next((each.value for each in sans if isinstance(each, x509.DNSName) and len(each.value) <= 64), ""))
    above = facts.extension(issuer.leaf, x509.SubjectKeyIdentifier)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
        if above
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    )
    builder = (
        _builder(subject, issuer.leaf.subject, key, max(start - BACKDATE, max(each.not_valid_before_utc for each in parents)), end)
        .add_extension(x509.SubjectAlternativeName(sans), critical=not list(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, key_encipherment=key_type == "rsa"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_EKU[usage]]), critical=False)
        .add_extension(authority, critical=False)
    )
    edwards = isinstance(issuer.key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    cert = builder.sign(issuer.key, None if edwards else hashes.SHA256())
    return Material([cert, *(each for each in issuer.certs if not facts.self_signed(each))], key, issuer.trust)


def not_after(issuer: Material, days: float, now: datetime) -> datetime:
    """Until when a leaf made now would be valid."""
    return min(_second(now) + timedelta(days=days), min(each.not_valid_after_utc for each in issuer.certs))


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, start: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    if not common_name:
        return x509.Name([])
    if len(common_name) > 64 or not common_name.isprintable():
        raise EdgeError("a common name has 1 to 64 printable characters", where="common_name", code="NAME_INVALID")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(**usages: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{**dict.fromkeys((*facts.KEY_USAGES, "encipher_only", "decipher_only"), False), **usages})


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
