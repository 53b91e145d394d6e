# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate's content as plain data that may be shown."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import warnings
from collections.abc import Callable
from typing import Any, Optional, TypeVar, Union

from . import clock, pem
from .library import Encoding, ExtendedKeyUsageOID, NameOID, PublicFormat, ec, ed448, ed25519, rsa, x509

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)

EKU_NAMES = {
    ExtendedKeyUsageOID.SERVER_AUTH.dotted_string: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING.dotted_string: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING.dotted_string: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string: "anyExtendedKeyUsage",
}
KEY_USAGES = {
    "digital_signature": "digitalSignature", "content_commitment": "nonRepudiation", "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment", "key_agreement": "keyAgreement", "key_cert_sign": "keyCertSign", "crl_sign": "cRLSign",
}  # fmt: skip

#: policies under which public CAs issue for servers, and the timestamps of their logs
_FORUM, _SCTS = "2.23.140.1.", "1.3.6.1.4.1.11129.2.4.2"


def facts(certificate: Union[str, bytes, x509.Certificate]) -> dict[str, Any]:
    """A certificate (PEM, DER or object; of PEM with several blocks the first) as JSON types.

    Keys: ``subject``, ``common_name``, ``issuer`` (RFC 4514 text), ``sans`` (``["DNS:a", "IP:192.0.2.1", "URI:spiffe://..."]``),
    ``serial`` (hex), ``version`` (1 or 3), ``not_before``, ``not_after`` (``2026-11-21T09:30:00Z``), ``extended_key_usage`` and
    ``key_usage`` (names; None where the extension is absent), ``ca`` (bool), ``path_length``, ``key`` (``{"type": "ecdsa", "size": 256,
    "curve": "secp256r1"}``), ``signature`` (hash name), ``sha256`` (of the DER, hex), ``spki_sha256`` (of the public key, hex),
    ``subject_key_id``, ``authority_key_id`` (hex or ""), ``self_signed`` (bool), ``unreadable`` (names of extensions that can't be read).

    :raises PemError: where it isn't a certificate at all.
    """
    known = _known(pem.load(certificate)[0])
    return {key: value.copy() if isinstance(value, (list, dict)) else value for key, value in known.items()}


@functools.lru_cache(maxsize=1024)
def _known(cert: x509.Certificate) -> dict[str, Any]:
    """One is asked for again and again: by each rule, and for each path on which it was presented."""
    unreadable: list[str] = []

    def read(kind: type[ExtensionT]) -> Optional[ExtensionT]:
        try:
            return extension(cert, kind)
        except ValueError:
            unreadable.append(kind.__name__)
            return None

    basic = read(x509.BasicConstraints)
    usage = read(x509.KeyUsage)
    extended = read(x509.ExtendedKeyUsage)
    names = read(x509.SubjectAlternativeName)
    own_id = read(x509.SubjectKeyIdentifier)
    issuer_id = read(x509.AuthorityKeyIdentifier)
    return {
        "subject": name_text(cert.subject),
        "common_name": (common_names(cert) or [""])[-1],
        "issuer": name_text(cert.issuer),
        "sans": [san_text(each) for each in names] if names else [],
        "serial": format(_serial(cert), "x"),
        "version": 1 if cert.version is x509.Version.v1 else 3,
        "not_before": clock.text(cert.not_valid_before_utc),
        "not_after": clock.text(cert.not_valid_after_utc),
        "extended_key_usage": [EKU_NAMES.get(each.dotted_string, each.dotted_string) for each in extended] if extended else None,
        "key_usage": [text for attribute, text in KEY_USAGES.items() if getattr(usage, attribute)] if usage else None,
        "ca": bool(basic and basic.ca),
        "path_length": basic.path_length if basic else None,
        "key": _or(lambda: key_facts(cert.public_key()), {"type": "unknown", "size": 0, "curve": ""}),
        "signature": _or(lambda: cert.signature_hash_algorithm.name if cert.signature_hash_algorithm else "none", "unknown"),
        "sha256": hashlib.sha256(cert.public_bytes(Encoding.DER)).hexdigest(),
        "spki_sha256": _or(lambda: spki_sha256(cert.public_key()), ""),
        "subject_key_id": own_id.digest.hex() if own_id else "",
        "authority_key_id": (issuer_id.key_identifier or b"").hex() if issuer_id else "",
        "self_signed": self_signed(cert),
        "unreadable": unreadable,
    }


def title(cert: x509.Certificate) -> str:
    """How sentences name a certificate: subject, else SANs, else fingerprint."""
    known = facts(cert)
    return known["subject"] or ", ".join(known["sans"]) or f"certificate {known['sha256'][:16]}"


def extension(cert: x509.Certificate, kind: type[ExtensionT]) -> Optional[ExtensionT]:
    """The extension's value, or None where it is absent.

    :raises ValueError: the certificate's extensions can't be read.
    """
    try:
        return cert.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("unreadable extension") from None


def extension_bytes(cert: x509.Certificate, oid: str) -> bytes:
    """The value of an extension that ``cryptography`` has no class for; b"" where it is absent or can't be read."""
    found = _or(lambda: cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value, None)
    return bytes(getattr(found, "value", b""))


def has_name_constraints(cert: x509.Certificate) -> bool:
    """Whether it limits the names of what it issues; also when the limits can't be read."""
    return _or(lambda: extension(cert, x509.NameConstraints), True) is not None


def publicly_trusted(cert: x509.Certificate) -> bool:
    """Whether a publicly trusted CA issued it: its policy is one of the CA/Browser Forum's, or it went through Certificate Transparency."""
    policies = _or(lambda: extension(cert, x509.CertificatePolicies), None) or []
    if any(each.policy_identifier.dotted_string.startswith(_FORUM) for each in policies):
        return True
    return _or(lambda: cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(_SCTS)), None) is not None


def key_facts(key: Any) -> dict[str, Any]:
    """``{"type": rsa|ecdsa|ed25519|ed448|<class name>, "size": bits, "curve": name or ""}`` of a public or private key."""
    if isinstance(key, (rsa.RSAPublicKey, rsa.RSAPrivateKey)):
        return {"type": "rsa", "size": key.key_size, "curve": ""}
    if isinstance(key, (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)):
        return {"type": "ecdsa", "size": key.curve.key_size, "curve": key.curve.name}
    if isinstance(key, (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey)):
        return {"type": "ed25519", "size": 256, "curve": ""}
    if isinstance(key, (ed448.Ed448PublicKey, ed448.Ed448PrivateKey)):
        return {"type": "ed448", "size": 456, "curve": ""}
    return {"type": type(key).__name__.lower().replace("publickey", "").replace("privatekey", ""), "size": 0, "curve": ""}


def spki_sha256(public_key: Any) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hex: the same for a key and for every certificate over it."""
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def key_matches(key: pem.PrivateKey, cert: x509.Certificate) -> bool:
    """Whether the private key belongs to the certificate."""
    return bool(spki_sha256(key.public_key()) == _or(lambda: spki_sha256(cert.public_key()), None))


def self_signed(cert: x509.Certificate) -> bool:
    """True when the certificate's own key made its signature."""
    return issued_by(cert, cert)


def issued_by(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True when ``issuer`` is named as issuer and its key made the signature."""
    try:
        cert.verify_directly_issued_by(issuer)
    except Exception:  # every way to fail means the same here: another key, another name, a key that signs nothing
        return False
    return True


def common_names(cert: x509.Certificate) -> list[str]:
    """Every common name of the subject."""
    return [str(each.value) for each in _or(lambda: cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME), [])]


def name_text(name: x509.Name) -> str:
    """A distinguished name as RFC 4514 text; "" for an empty one."""
    return str(_or(name.rfc4514_string, "(unreadable)"))


def san_text(name: x509.GeneralName) -> str:
    """One subject alternative name as OpenSSL prints it: ``DNS:...``, ``IP:...``, ``URI:...``, ``email:...``."""
    if isinstance(name, x509.DNSName):
        return f"DNS:{name.value}"
    if isinstance(name, x509.IPAddress):
        return f"IP:{name.value}"
    if isinstance(name, x509.UniformResourceIdentifier):
        return f"URI:{name.value}"
    if isinstance(name, x509.RFC822Name):
        return f"email:{name.value}"
    return f"other:{type(name).__name__}"


def dns_names(cert: x509.Certificate) -> list[str]:
    """The DNS names among the SANs; [] where they can't be read."""
    return [str(each) for each in _sans(cert, x509.DNSName)]


def uris(cert: x509.Certificate) -> list[str]:
    """The URIs among the SANs."""
    return [str(each) for each in _sans(cert, x509.UniformResourceIdentifier)]


def addresses(cert: x509.Certificate) -> list[Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]:
    """The IP addresses among the SANs."""
    return [each for each in _sans(cert, x509.IPAddress) if isinstance(each, (ipaddress.IPv4Address, ipaddress.IPv6Address))]


def _sans(cert: x509.Certificate, kind: Any) -> list[Any]:
    names = _or(lambda: extension(cert, x509.SubjectAlternativeName), None)
    return list(names.get_values_for_type(kind)) if names else []


def _serial(cert: x509.Certificate) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # serial number 0 is a finding of ours, not a Python warning
        return int(_or(lambda: cert.serial_number, 0))


def _or(read: Callable[[], Any], otherwise: Any) -> Any:
    """A certificate may parse and still hold a field that can't be decoded; facts about the rest are worth having."""
    try:
        return read()
    except Exception:
        return otherwise
