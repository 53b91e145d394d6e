# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate sets with the verdict that each side must give, for the tests against openssl, nginx and Envoy; more in variations.py."""

from __future__ import annotations

import functools

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.unit.x509.certificate_set import NAME, Set
from tests.unit.x509.pki import DAY, NOW, Pair, intermediate, leaf, make, root, rsa_key
from tests.unit.x509.variations import variations


@functools.cache
def all_sets() -> list[Set]:
    """Every set; made once, because RSA keys take time."""
    ca, other = root(), root("Other Root")
    same_name = root()
    mid = intermediate(ca)
    no_flag = make("No Flag", ca, ca=False, key_usage=["key_cert_sign"])
    only_usage = make("Only keyCertSign", ca, key_usage=["key_cert_sign"])
    old_root = make("Old Root", key=rsa_key(), v1=True)
    short = intermediate(ca, "Short", path_length=0)
    limited = root("Limited", extra=[(x509.NameConstraints([x509.DNSName("allowed.example")], None), True)])
    expired_ca = root("Expired Root", not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    server_only_ca = intermediate(ca, "Server Only", eku=["server"])
    leaf_via_mid = leaf(mid)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    netscape = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), b"\x03\x02\x06\x40")
    expired = {"not_before": NOW - 90 * DAY, "not_after": NOW - DAY}
    weak_ca = root("Weak Root", key=rsa_key(1024))

    def good(title: str, *chain: Pair, trust: tuple[Pair, ...] = (ca,), purpose: str = "server", name: str | None = NAME) -> Set:
        return Set(title, chain, trust, "", "", purpose, name)

    return [
        good("leaf of the root", leaf(ca)),
        good("leaf of the root, root sent too", leaf(ca), ca),
        good("leaf through an intermediate", leaf_via_mid, mid),
        good("intermediate in the CA file instead of in the chain", leaf_via_mid, trust=(mid, ca)),
        good("issuers sent in the wrong order", leaf_via_mid, ca, mid),
        good("RSA leaf and root", leaf(root_rsa := root("RSA Root", key=rsa_key()), key=rsa_key(2048, 1)), trust=(root_rsa,)),
        good("several roots trusted", leaf(ca), trust=(other, ca)),
        good("a second root of the same name trusted", leaf(ca), trust=(same_name, ca)),
        good("no EKU at all, as a server", leaf(ca, eku=None)),
        good("no EKU at all, as a client", leaf(ca, eku=None), purpose="client", name=None),
        good("both EKUs, as a client", leaf(ca, eku=["server", "client"]), purpose="client", name=None),
        good(
            "SPIFFE leaf without subject, as a client",
            leaf(ca, cn="", sans=["URI:spiffe://td/ns/a/sa/b"], eku=["server", "client"]),
            purpose="client",
            name=None,
        ),
        good("wildcard", leaf(ca, sans=["DNS:*.example.com"])),
        good("no basicConstraints on the leaf", leaf(ca, ca=None)),
        good("self-signed leaf that is itself trusted", alone := leaf(None), trust=(alone,)),
        good("version 1 root", leaf(old_root), trust=(old_root,)),
        Set("anchor is the intermediate", (leaf_via_mid,), (mid,), "ROOT_MISSING", ""),
        Set("anchor is the leaf", (pinned := leaf(ca),), (pinned,), "ISSUER_MISSING", ""),
        Set("intermediate neither sent nor trusted", (leaf_via_mid,), (ca,), "ISSUER_MISSING", "ISSUER_MISSING"),
        Set("foreign root", (leaf(ca),), (other,), "ISSUER_MISSING", "ISSUER_MISSING"),
        Set("root of the same name, another key", (leaf(ca, ids=False),), (same_name,), "SIGNATURE_WRONG", "SIGNATURE_WRONG"),
        Set("self-signed leaf", (leaf(None),), (ca,), "SELF_SIGNED", "SELF_SIGNED"),
        Set("foreign root, which the peer sends", (leaf(other), other), (ca,), "ROOT_NOT_TRUSTED", "ROOT_NOT_TRUSTED"),
        Set("expired leaf", (leaf(ca, **expired),), (ca,), "CERT_EXPIRED", "CERT_EXPIRED"),
        Set("leaf of tomorrow", (leaf(ca, not_before=NOW + DAY),), (ca,), "CERT_NOT_YET_VALID", "CERT_NOT_YET_VALID"),
        Set("expired intermediate", (leaf(m := intermediate(ca, **expired)), m), (ca,), "CERT_EXPIRED", "CERT_EXPIRED"),
        Set("expired root", (leaf(expired_ca),), (expired_ca,), "CERT_EXPIRED", "CERT_EXPIRED"),
        Set("server leaf as a client", (leaf(ca),), (ca,), "EKU_NO_CLIENTAUTH", "EKU_NO_CLIENTAUTH", "client", None),
        Set("client leaf as a server", (leaf(ca, eku=["client"]),), (ca,), "EKU_NO_SERVERAUTH", "EKU_NO_SERVERAUTH"),
        Set("code-signing leaf", (leaf(ca, eku=["code"]),), (ca,), "EKU_NO_SERVERAUTH", "EKU_NO_SERVERAUTH"),
        Set("EKU any", (leaf(ca, eku=["any"]),), (ca,), "EKU_NO_SERVERAUTH", "EKU_NO_SERVERAUTH"),
        Set(
            "issuer limited to servers, client leaf",
            (leaf(server_only_ca, eku=["client"]), server_only_ca),
            (ca,),
            "EKU_NO_CLIENTAUTH",
            "EKU_NO_CLIENTAUTH",
            "client",
            None,
        ),
        Set("key usage only keyCertSign", (leaf(ca, key_usage=["key_cert_sign"]),), (ca,), "KEY_USAGE_WRONG", "KEY_USAGE_WRONG"),
        Set(
            "key usage keyEncipherment, as a client",
            (leaf(ca, eku=["client"], key_usage=["key_encipherment"]),),
            (ca,),
            "KEY_USAGE_WRONG",
            "KEY_USAGE_WRONG",
            "client",
            None,
        ),
        Set(
            "Netscape type server, as a client",
            (leaf(ca, eku=None, extra=[(netscape, False)]),),
            (ca,),
            "KEY_USAGE_WRONG",
            "",
            "client",
            None,
        ),
        Set("issuer with CA:FALSE", (leaf(no_flag), no_flag), (ca,), "CA_FLAG_MISSING", "CA_FLAG_MISSING"),
        Set("issuer with keyCertSign only", (leaf(only_usage), only_usage), (ca,), "CA_FLAG_MISSING", "CA_FLAG_MISSING"),
        Set(
            "path length exceeded",
            (leaf(deep := intermediate(short, "Deep")), deep, short),
            (ca,),
            "PATH_LENGTH_EXCEEDED",
            "PATH_LENGTH_EXCEEDED",
        ),
        Set("outside the root's name constraint", (leaf(limited),), (limited,), "NAME_CONSTRAINT", "NAME_CONSTRAINT"),
        Set("unknown critical extension", (leaf(ca, extra=[(unknown, True)]),), (ca,), "CRITICAL_EXTENSION", "CRITICAL_EXTENSION"),
        Set("forged signature", (leaf(ca, sign_with=other.key),), (ca,), "SIGNATURE_WRONG", "SIGNATURE_WRONG"),
        Set("another name", (leaf(ca, name="other.example.com"),), (ca,), "NAME_MISMATCH", "NAME_MISMATCH"),
        Set("SPIFFE name only", (leaf(ca, cn="", sans=["URI:spiffe://td/ns/a/sa/b"]),), (ca,), "NAME_MISMATCH", "NAME_MISMATCH"),
        Set("common name only", (leaf(ca, sans=None),), (ca,), "", "NAME_MISMATCH"),
        Set("common name right, DNS SAN wrong", (leaf(ca, sans=["DNS:other.example.com"]),), (ca,), "NAME_MISMATCH", "NAME_MISMATCH"),
        Set("address as the name", (leaf(ca, sans=["IP:192.0.2.1"]),), (ca,), "NAME_MISMATCH", "", name="192.0.2.1"),
        Set(
            "wildcard two labels up",
            (leaf(ca, sans=["DNS:*.example.com"]),),
            (ca,),
            "NAME_MISMATCH",
            "NAME_MISMATCH",
            name="a.b.example.com",
        ),
        Set("1024-bit leaf", (leaf(ca, key=rsa_key(1024)),), (ca,), "KEY_TOO_WEAK", ""),
        Set("1024-bit root", (leaf(weak_ca),), (weak_ca,), "KEY_TOO_WEAK", ""),
        Set("SHA-1 leaf", (leaf(ca, sha1=True),), (ca,), "DIGEST_TOO_WEAK", ""),
        Set("Ed25519 leaf", (leaf(ca, key=ed25519.Ed25519PrivateKey.generate()),), (ca,), "", "KEY_TYPE_REFUSED"),
        *variations(),
    ]
