# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys as a program is given them for itself: what it loads, and what it refuses to start with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._secrets import fitness
from plugins.module_utils._x509 import material
from tests.unit.x509.pki import DAY, NOW, intermediate, leaf, root, rsa_key

#: of all findings, those that keep a program from loading its own certificate; others (dates, uses, names) are its peers' concern
LOADING = {"KEY_MISMATCH", "KEY_MISSING", "LEAF_NOT_FIRST", "KEY_TOO_SMALL", "CERTIFICATE_MISSING"}
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@dataclass(frozen=True)
class Own:
    """The two files."""

    title: str
    certificate: str
    key: str
    nginx: str = ""
    envoy: str = ""

    def code(self, rules: str) -> str:
        """Why we say that it can't be loaded; "" = it can."""
        places = {"certificate": "the certificate", "key": "the key", "ca": ""}
        try:
            held = material.from_pem(self.certificate, self.key, None, places)
        except EdgeError as error:
            return error.code
        return next(
            (each.code for each in fitness.findings(held, "server", reader=rules) if each.code in LOADING and each.severity == "error"), ""
        )


@functools.cache
def all_own() -> list[Own]:
    """Every pair of files."""
    ca = root("Own Root")
    mid = intermediate(ca, "Own Intermediate")
    end, stranger = leaf(mid), leaf(ca)
    chain, key = end.pem + mid.pem, end.key_pem()
    rsa, weak, edwards = (leaf(ca, key=each) for each in (rsa_key(), rsa_key(1024), ed25519.Ed25519PrivateKey.generate()))
    p384, p521 = (leaf(ca, key=ec.generate_private_key(each)) for each in (ec.SECP384R1(), ec.SECP521R1()))

    def same(title: str, certificate: str, key: str, code: str = "") -> Own:
        return Own(title, certificate, key, code, code)

    return [
        same("good", chain, key),
        same("CRLF line ends", chain.replace("\n", "\r\n"), key.replace("\n", "\r\n")),
        same("text between the blocks", f"subject=CN = x\n{end.pem}\nissuer=CN = y\n{mid.pem}", f"Bag Attributes\n{key}"),
        same("no last newline", chain.rstrip(), key.rstrip()),
        same("SEC1 key", chain, end.key_pem("PKCS1")),
        same("SEC1 key behind its parameters", chain, EC_PARAMETERS + end.key_pem("PKCS1")),
        same("PKCS#1 key", rsa.pem, rsa.key_pem("PKCS1")),
        same("expired", (old := leaf(ca, not_before=NOW - 9 * DAY, not_after=NOW - DAY)).pem, old.key_pem()),
        same("issuers in the wrong order", end.pem + ca.pem + mid.pem, key),
        same("another certificate's key", chain, stranger.key_pem(), "KEY_MISMATCH"),
        same("key of another type", chain, rsa.key_pem(), "KEY_MISMATCH"),
        same("issuer in front of the leaf", mid.pem + end.pem, key, "LEAF_NOT_FIRST"),
        same("newline lost at the join", end.pem.rstrip() + mid.pem, key, "PEM_JOINED"),
        same("second certificate cut off", end.pem + mid.pem[:-40], key, "PEM_UNTERMINATED"),
        same("second certificate is not base64", end.pem + mid.pem.replace("MII", "M?I", 1), key, "PEM_BASE64"),
        same("dashes lost", end.pem.replace("-----", "----"), key, "PEM_BOUNDARY_DAMAGED"),
        same("key file without a key", chain, mid.pem, "KEY_MISSING"),
        same("key cut off", chain, key[:-40], "PEM_UNTERMINATED"),
        same("encrypted key", chain, end.key_pem(password=b"secret"), "KEY_ENCRYPTED"),
        same("encrypted key, old form", rsa.pem, rsa.key_pem("PKCS1", b"secret"), "KEY_ENCRYPTED"),
        same("PKCS#1 key under PKCS#8's label", rsa.pem, rsa.key_pem("PKCS1").replace("RSA ", ""), "KEY_LABEL_WRONG"),
        same("key written on one line", chain, key.replace("\n", " "), "PEM_ONE_LINE"),
        same("1024-bit key", weak.pem, weak.key_pem(), "KEY_TOO_SMALL"),
        same("P-384 key", p384.pem, p384.key_pem()),
        same("P-521 key", p521.pem, p521.key_pem()),
        same("Ed25519 key", edwards.pem, edwards.key_pem()),
    ]
