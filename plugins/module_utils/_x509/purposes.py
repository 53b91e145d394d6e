# SPDX-License-Identifier: GPL-3.0-or-later
"""The allowed uses of a certificate and its key in a handshake: for OpenSSL, which nginx uses, and BoringSSL, which Envoy uses."""

from __future__ import annotations

from typing import Optional

from . import facts
from .library import x509

SERVER, CLIENT, CA = "server", "client", "ca"
#: whose rules
NGINX, ENVOY = "nginx", "envoy"

_EKU = {SERVER: "serverAuth", CLIENT: "clientAuth"}
#: old "server gated crypto" usages, which OpenSSL takes for serverAuth
_SGC = {"1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1"}
_KEY_USAGE = {
    (NGINX, SERVER): {"digitalSignature", "keyEncipherment", "keyAgreement"},
    (NGINX, CLIENT): {"digitalSignature", "keyAgreement"},
    (ENVOY, SERVER): {"digitalSignature"},
    (ENVOY, CLIENT): {"digitalSignature"},
}
#: types and curves of keys for whose signatures a peer may be asked
_KEYS = {NGINX: ("rsa", "ed25519", "ed448", "secp256r1", "secp384r1", "secp521r1"), ENVOY: ("rsa", "secp256r1", "secp384r1")}
_NETSCAPE_TYPE = "2.16.840.1.113730.1.1"
_NETSCAPE_BIT = {CLIENT: 0x80, SERVER: 0x40}


def problem(cert: x509.Certificate, purpose: str, depth: int = 0, rules: str = NGINX) -> Optional[tuple[str, str]]:
    """Why a certificate can't serve ``purpose`` (``server`` or ``client``) as leaf, or above one: code and sentence; None = it can.

    This is X509_check_purpose(sslserver | sslclient) but for the CA flag.
    """
    wanted = _EKU[purpose]
    known = facts.facts(cert)
    broken = sorted({"BasicConstraints", "KeyUsage", "ExtendedKeyUsage"} & set(known["unreadable"]))
    if broken:
        return "CERT_UNREADABLE", f"the extensions of {facts.title(cert)} can't be read ({', '.join(broken)})."
    extended = known["extended_key_usage"]
    if extended is not None and wanted not in extended and not (purpose == SERVER and _SGC & set(extended)):
        role = f"can't issue {purpose} certificates" if depth else f"can't be used as a {purpose} certificate"
        use = ", ".join(extended) or "nothing"
        sentence = f"{facts.title(cert)} {role}: its extended key usage is {use}, without {wanted}."
        if purpose == CLIENT and not depth and facts.publicly_trusted(cert):
            return "PUBLIC_CERT_AS_CLIENT", f"{sentence} It comes from a public CA, and these issue no client certificates any more."
        return f"EKU_NO_{wanted.upper()}", sentence
    return None if depth else usage_problem(cert, purpose, rules)


def usage_problem(cert: x509.Certificate, purpose: str, rules: str) -> Optional[tuple[str, str]]:
    """Why its key usage keeps a leaf from serving ``purpose``. BoringSSL looks at it in the handshake, so that trust doesn't matter."""
    usage = facts.facts(cert)["key_usage"]
    if usage is not None and not _KEY_USAGE[rules, purpose] & set(usage):
        return "KEY_USAGE_WRONG", f"{facts.title(cert)} may only be used for {', '.join(usage) or 'nothing'}."
    if rules == NGINX and not _netscape_allows(cert, purpose):
        return "KEY_USAGE_WRONG", f"the old Netscape certificate type of {facts.title(cert)} excludes this use."
    return None


def key_problem(cert: x509.Certificate, rules: str) -> Optional[tuple[str, str]]:
    """Why a peer with this key gets nowhere: it can't sign in any way that the other side offers."""
    key = facts.facts(cert)["key"]
    if {key["type"], key["curve"]} & set(_KEYS[rules]):
        return None
    kind = f"{key['type']} on the curve {key['curve']}" if key["curve"] else key["type"]
    return "KEY_TYPE_REFUSED", f"the key of {facts.title(cert)} is {kind}; of its peers {rules} takes only {', '.join(_KEYS[rules])}."


def _netscape_allows(cert: x509.Certificate, purpose: str) -> bool:
    """nsCertType, as easy-rsa 2 wrote it; OpenSSL honours it, BoringSSL doesn't."""
    raw = facts.extension_bytes(cert, _NETSCAPE_TYPE)  # BIT STRING: 03 02 <unused bits> <bits>
    return len(raw) < 4 or bool(raw[3] & _NETSCAPE_BIT[purpose])
