# SPDX-License-Identifier: GPL-3.0-or-later
"""More certificate sets: each fault in the forms that people really make of it, and what looks like one and isn't."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from tests.unit.x509.certificate_set import NAME, Set
from tests.unit.x509.pki import DAY, NOW, Pair, intermediate, leaf, make, root, rsa_key

#: as a client, of any name
CLIENT: dict[str, str | None] = {"purpose": "client", "name": None}
SPIFFE = "spiffe://td/ns/a/sa/b"
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
SCT = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x02\x00\x00")


def variations() -> list[Set]:
    """All of them."""
    ca = root("Varied Root")
    return [*_files(ca), *_chains(ca), *_anchors(ca), *_dates(ca), *_uses(ca), *_names(ca), *_keys(ca)]


def _same(title: str, chain: tuple[Pair, ...], ca: tuple[Pair, ...], code: str = "", **options: object) -> Set:
    """nginx and Envoy agree."""
    return Set(title, chain, ca, code, code, **options)  # type: ignore[arg-type]


def _files(ca: Pair) -> list[Set]:
    """The CA file as it comes out of editors, shells and templates."""
    other, end, text = root("Other Varied Root"), leaf(ca), ca.pem

    def file(title: str, content: str, nginx: str = "", envoy: str | None = None) -> Set:
        return Set(f"CA file: {title}", (end,), (ca,), nginx, nginx if envoy is None else envoy, ca_text=content)

    request = text.replace("CERTIFICATE", "CERTIFICATE REQUEST")
    return [
        file("CRLF line ends", text.replace("\n", "\r\n")),
        file("text around the block", f"subject=CN = Varied Root\n{text}\nthat was it\n"),
        file("no last newline", text.rstrip()),
        file("blanks at the line ends", text.replace("\n", " \n")),
        file("old label X509 CERTIFICATE", text.replace("CERTIFICATE", "X509 CERTIFICATE")),
        file(
            "all base64 on one line",
            text.replace("\n", "").replace("CERTIFICATE-----", "CERTIFICATE-----\n", 1).replace("-----END", "\n-----END") + "\n",
        ),
        file("a private key among the certificates", other.pem + other.key_pem() + text),
        file("a certificate request beside it", request + text),
        file("nothing but a private key", other.key_pem(), "TRUST_EMPTY"),
        file("byte order mark", "\ufeff" + text, "", "PEM_BOM"),
        file("byte order mark at the join", other.pem + "\ufeff" + text, "", "PEM_BOM"),
        file("text and a byte order mark at the join", f"{other.pem}\n\ufeff{text}", "PEM_BOM"),
        file("newline lost at the join", other.pem.rstrip() + text, "PEM_JOINED"),
        file("cut off", other.pem + text[:-40], "PEM_UNTERMINATED"),
        file("a character that is not base64", text.replace("MII", "M?I", 1), "PEM_BASE64"),
        file("damaged inside", text[:200] + "AAAA" + text[204:], "CERT_UNREADABLE"),
        file("blanks in front of every line", "".join(f"  {line}\n" for line in text.splitlines()), "PEM_INDENTED"),
        file("dashes lost", text.replace("-----", "----"), "PEM_BOUNDARY_DAMAGED"),
        file("newlines turned into blanks", text.replace("\n", " "), "PEM_ONE_LINE"),
        file("newlines written as backslash and n", text.replace("\n", "\\n"), "PEM_ESCAPED_NEWLINES"),
        file("carriage returns alone", text.replace("\n", "\r"), "PEM_CARRIAGE_RETURN"),
        file("base64 of PEM", base64.b64encode(text.encode()).decode(), "PEM_DOUBLE_BASE64"),
        file("END of another label", text.replace("END CERTIFICATE", "END X509 CRL"), "PEM_LABEL_MISMATCH"),
        file("empty", "", "PEM_EMPTY"),
    ]


def _chains(ca: Pair) -> list[Set]:
    first = intermediate(ca, "First")
    second = intermediate(first, "Second")
    twin = intermediate(ca, "First")
    end, under_first = leaf(second), leaf(first)
    v1_middle = make("V1 Middle", ca, key=rsa_key(), v1=True)
    new_root = root("New Root")
    crossed = make("New Root", ca, key=new_root.key, ca=True, key_usage=["key_cert_sign", "crl_sign"])
    old_crossed = make("New Root", ca, key=new_root.key, ca=True, key_usage=["key_cert_sign", "crl_sign"],
                       not_before=NOW - 90 * DAY, not_after=NOW - DAY)  # fmt: skip
    stranger = leaf(root("Stranger"), "stranger.example.com")
    return [
        _same("two intermediates", (end, second, first), (ca,)),
        _same("upper intermediate missing", (end, second), (ca,), "ISSUER_MISSING"),
        _same("lower intermediate missing", (end, first), (ca,), "ISSUER_MISSING"),
        Set("upper intermediate is the anchor", (end, second), (first,), "ROOT_MISSING", ""),
        Set("two intermediates at nginx's default depth", (end, second, first), (ca,), "CHAIN_TOO_LONG", "", depth=1),
        _same("one intermediate at nginx's default depth", (under_first, first), (ca,), depth=1),
        _same("the leaf twice", (under_first, under_first, first), (ca,)),
        _same("a stranger in between", (under_first, stranger, first), (ca,)),
        _same("another intermediate of the same name", (under_first, twin), (ca,), "ISSUER_MISSING"),
        _same("another intermediate of the same name, and the right one", (under_first, twin, first), (ca,)),
        _same("leaf and root both trusted", (under_first, first), (under_first, ca)),
        _same("root by a cross-certificate of a trusted root", (leaf(new_root), crossed), (ca,)),
        _same("expired cross-certificate sent, root trusted", (leaf(new_root), old_crossed), (new_root,)),
        _same("expired cross-certificate sent, only its issuer trusted", (leaf(new_root), old_crossed), (ca,), "CERT_EXPIRED"),
        _same("version 1 intermediate", (leaf(v1_middle), v1_middle), (ca,), "CA_FLAG_MISSING"),
        _same("leaf issued by a leaf", (leaf(under_first), under_first, first), (ca,), "CA_FLAG_MISSING"),
    ]


def _anchors(ca: Pair) -> list[Set]:
    """What is trusted itself. BoringSSL believes it whatever its extensions say; only its dates and name constraints count."""

    def anchor(title: str, chain: tuple[Pair, ...], trust: Pair, nginx: str, envoy: str = "", **options: object) -> Set:
        return Set(f"anchor: {title}", chain, (trust,), nginx, envoy, **options)  # type: ignore[arg-type]

    flagless, gone = root("Flagless", ca=False, key_usage=None), {"not_before": NOW - 90 * DAY, "not_after": NOW - DAY}
    flagless_gone = root("Flagless Gone", ca=False, key_usage=None, **gone)
    flagless_middle = intermediate(ca, "Flagless Middle", ca=False, key_usage=None)
    for_servers, for_clients = root("For Servers", eku=["server"]), root("For Clients", eku=["client"])
    short = root("Short Root", path_length=0)
    below_short = intermediate(short, "Below Short")
    critical = root("Critical Root", extra=[(UNKNOWN, True)])
    signs_nothing = root("Signs Nothing", key_usage=["digital_signature"])
    wrong_use, old = leaf(ca, eku=["client"]), leaf(None, **gone)
    below = intermediate(flagless, "Below Flagless")
    return [
        anchor("no CA flag", (leaf(flagless),), flagless, "CA_FLAG_MISSING"),
        anchor("no CA flag, two above", (leaf(below), below), flagless, "CA_FLAG_MISSING"),
        anchor("no CA flag, and expired", (leaf(flagless_gone),), flagless_gone, "CA_FLAG_MISSING", "CERT_EXPIRED"),
        anchor("no CA flag, below it a leaf for clients", (leaf(flagless, eku=["client"]),), flagless, "CA_FLAG_MISSING",
               "EKU_NO_SERVERAUTH"),
        anchor("an intermediate without CA flag", (leaf(flagless_middle),), flagless_middle, "ROOT_MISSING"),
        anchor("key usage without keyCertSign", (leaf(signs_nothing),), signs_nothing, "CA_FLAG_MISSING", "CA_FLAG_MISSING"),
        anchor("limited to servers, client leaf", (leaf(for_servers, eku=["client"]),), for_servers, "EKU_NO_CLIENTAUTH", **CLIENT),
        anchor("limited to clients, server leaf", (leaf(for_clients),), for_clients, "EKU_NO_SERVERAUTH"),
        anchor("path length exceeded", (leaf(below_short), below_short), short, "PATH_LENGTH_EXCEEDED"),
        anchor("unknown critical extension", (leaf(critical),), critical, "CRITICAL_EXTENSION"),
        anchor("the leaf, which is not for servers", (wrong_use,), wrong_use, "ISSUER_MISSING"),
        anchor("the self-signed leaf, expired", (old,), old, "CERT_EXPIRED", "CERT_EXPIRED"),
    ]  # fmt: skip


def _dates(ca: Pair) -> list[Set]:
    renewed = root("Renewed Root")
    gone = root("Renewed Root", key=renewed.key, not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    early = intermediate(ca, "Early", not_before=NOW + DAY)
    minute = DAY / 1440
    return [
        _same("expired a minute ago", (leaf(ca, not_after=NOW - minute),), (ca,), "CERT_EXPIRED"),
        _same("valid since a minute, for an hour", (leaf(ca, not_before=NOW - minute, not_after=NOW + DAY / 24),), (ca,)),
        _same("leaf until 2060", (leaf(ca, not_after=NOW.replace(year=2060)),), (ca,)),
        _same("intermediate of tomorrow", (leaf(early), early), (ca,), "CERT_NOT_YET_VALID"),
        _same("renewed root trusted beside the expired one", (leaf(renewed),), (renewed, gone)),
        _same("expired root trusted beside another one", (leaf(ca),), (gone, ca)),
    ]


def _uses(ca: Pair) -> list[Set]:
    client_only = intermediate(ca, "Client Only", eku=["client"])
    return [
        _same("leaf of a public CA as a client", (leaf(ca, extra=[(SCT, False)]),), (ca,), "PUBLIC_CERT_AS_CLIENT", **CLIENT),
        _same("leaf of a public CA as a server", (leaf(ca, extra=[(SCT, False)]),), (ca,)),
        _same("EKU server and any, as a client", (leaf(ca, eku=["server", "any"]),), (ca,), "EKU_NO_CLIENTAUTH", **CLIENT),
        _same("EKU any, as a client", (leaf(ca, eku=["any"]),), (ca,), "EKU_NO_CLIENTAUTH", **CLIENT),
        _same("issuer limited to clients, server leaf", (leaf(client_only), client_only), (ca,), "EKU_NO_SERVERAUTH"),
        _same("issuer limited to clients, client leaf", (leaf(client_only, eku=["client"]), client_only), (ca,), **CLIENT),
        _same("no key usage", (leaf(ca, key_usage=None),), (ca,)),
        Set("key usage keyAgreement", (leaf(ca, key_usage=["key_agreement"]),), (ca,), "", "KEY_USAGE_WRONG"),
        Set("key usage keyAgreement, as a client", (leaf(ca, eku=["client"], key_usage=["key_agreement"]),), (ca,), "",
            "KEY_USAGE_WRONG", **CLIENT),
        Set("key usage keyEncipherment, RSA", (leaf(ca, key=rsa_key(2048, 1), key_usage=["key_encipherment"]),), (ca,), "",
            "KEY_USAGE_WRONG"),
        _same("key usage nonRepudiation", (leaf(ca, key_usage=["content_commitment"]),), (ca,), "KEY_USAGE_WRONG"),
        _same("SPIFFE identity as expected", (leaf(ca, sans=[f"URI:{SPIFFE}"], eku=["client"]),), (ca,), purpose="client", name=SPIFFE),
        Set("SPIFFE identity of another trust domain", (leaf(ca, sans=["URI:spiffe://other/ns/a/sa/b"], eku=["client"]),), (ca,),
            "", "NAME_MISMATCH", "client", SPIFFE),
        Set("no SPIFFE identity where one is expected", (leaf(ca, eku=["client"]),), (ca,), "", "NAME_MISMATCH", "client", SPIFFE),
    ]  # fmt: skip


def _names(ca: Pair) -> list[Set]:
    def named(title: str, san: str, nginx: str = "", envoy: str = "", name: str = NAME) -> Set:
        return Set(title, (leaf(ca, sans=san.split()),), (ca,), nginx, envoy, name=name)

    no = "NAME_MISMATCH"
    return [
        named("right name among several", "DNS:a.example.com IP:192.0.2.1 DNS:shop.example.com"),
        named("SPIFFE name beside the DNS name", f"URI:{SPIFFE} DNS:shop.example.com"),
        named("capital letters", "DNS:Shop.Example.COM"),
        named("wildcard for the name itself", "DNS:*.shop.example.com", no, no),
        named("wildcard over the whole top level", "DNS:*.com", no, "", "example.com"),
        named("part of a label as wildcard", "DNS:sh*.example.com"),
        named("wildcard in the second label", "DNS:shop.*.com", no, no),
        named("right name as a URI, and as the common name", "URI:https://shop.example.com/", "", no),
        named("IPv6 address as the name", "IP:2001:db8::1", no, "", "2001:db8::1"),
        named("address as a DNS name", "DNS:192.0.2.1", "", no, "192.0.2.1"),
        Set("version 1 leaf", (make(NAME, ca, key=rsa_key(2048, 1), v1=True),), (ca,), "", no),
        _same("version 1 leaf as a client", (make(NAME, ca, key=rsa_key(2048, 1), v1=True),), (ca,), **CLIENT),
        _same("serial number 0", (leaf(ca, serial=0),), (ca,)),
    ]


def _keys(ca: Pair) -> list[Set]:
    rsa_root = root("RSA Varied Root", key=rsa_key())
    sha1_root = root("SHA-1 Root", sha1=True)
    sha1_middle = intermediate(ca, "SHA-1 Middle", sha1=True)
    edwards = root("Ed25519 Root", key=ed25519.Ed25519PrivateKey.generate())
    weak = intermediate(ca, "Weak", key=rsa_key(1024))
    return [
        _same("P-384 leaf", (leaf(ca, key=ec.generate_private_key(ec.SECP384R1())),), (ca,)),
        Set("P-521 leaf", (leaf(ca, key=ec.generate_private_key(ec.SECP521R1())),), (ca,), "", "KEY_TYPE_REFUSED"),
        _same("3072-bit leaf", (leaf(ca, key=rsa_key(3072)),), (ca,)),
        _same("signed with SHA-384", (leaf(ca, digest=hashes.SHA384()),), (ca,)),
        _same("signed with SHA-512", (leaf(ca, digest=hashes.SHA512()),), (ca,)),
        _same("signed with RSA-PSS", (leaf(rsa_root, pss=True),), (rsa_root,)),
        _same("root signed with SHA-1", (leaf(sha1_root),), (sha1_root,)),
        Set("intermediate signed with SHA-1", (leaf(sha1_middle), sha1_middle), (ca,), "DIGEST_TOO_WEAK", ""),
        Set("1024-bit intermediate", (leaf(weak), weak), (ca,), "KEY_TOO_WEAK", ""),
        _same("Ed25519 root", (leaf(edwards),), (edwards,)),
        _same("secp256k1 leaf", (leaf(ca, key=ec.generate_private_key(ec.SECP256K1())),), (ca,), "KEY_TYPE_REFUSED"),
        _same("brainpoolP256r1 leaf", (leaf(ca, key=ec.generate_private_key(ec.BrainpoolP256R1())),), (ca,), "KEY_TYPE_REFUSED"),
        Set("Ed448 leaf", (leaf(ca, key=ed448.Ed448PrivateKey.generate()),), (ca,), "", "KEY_TYPE_REFUSED"),
        Set(
            "Ed25519 leaf as a client",
            (leaf(ca, eku=["client"], key=ed25519.Ed25519PrivateKey.generate()),),
            (ca,),
            "",
            "KEY_TYPE_REFUSED",
            **CLIENT,
        ),
        _same("P-384 leaf as a client", (leaf(ca, eku=["client"], key=ec.generate_private_key(ec.SECP384R1())),), (ca,), **CLIENT),
        Set(
            "P-521 leaf as a client",
            (leaf(ca, eku=["client"], key=ec.generate_private_key(ec.SECP521R1())),),
            (ca,),
            "",
            "KEY_TYPE_REFUSED",
            **CLIENT,
        ),
        _same(
            "secp256k1 leaf as a client",
            (leaf(ca, eku=["client"], key=ec.generate_private_key(ec.SECP256K1())),),
            (ca,),
            "KEY_TYPE_REFUSED",
            **CLIENT,
        ),
    ]
