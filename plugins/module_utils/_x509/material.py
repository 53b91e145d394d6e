# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, key and trusted certificates that belong together, and the shapes of Secrets that hold them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Optional

from .._errors import EdgeError
from . import chain, facts, pem
from .library import serialization, x509

#: entries with certificate and key in the order in which Istio looks for them, then those of an IKS ALB; those with a CA likewise
PAIRS = (("cert", "key"), ("tls.crt", "tls.key"), ("client.crt", "client.key"))
CA_KEYS = ("cacert", "ca.crt", "trusted.crt")


@dataclass(frozen=True)
class Material:
    """What a Secret, files or an issuer give. Its representation shows nothing of the key.

    :ivar certs: leaf first, then its issuers; [] where only a CA is given.
    :ivar ca: what verifies it; [] where that isn't known.
    """

    certs: list[x509.Certificate] = field(default_factory=list)
    key: Optional[pem.PrivateKey] = field(default=None, repr=False)
    ca: list[x509.Certificate] = field(default_factory=list)

    @property
    def leaf(self) -> x509.Certificate:
        """The first certificate."""
        return self.certs[0]

    @property
    def trust(self) -> list[x509.Certificate]:
        """The CA with which peers verify this: the given CA, else the chain's self-signed end."""
        return self.ca or [each for each in self.certs if facts.self_signed(each)]

    def key_pem(self) -> bytes:
        """The key as unencrypted PKCS#8."""
        if self.key is None:
            raise ValueError("no key")
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@dataclass(frozen=True)
class Shape:
    """What a reader expects of a Secret.

    :ivar type: the Secret's type.
    :ivar certificate, key, ca: names of its entries; "" = none.
    :ivar ca_always: the CA is what this Secret is for, or part of it; else it is written only when asked for.
    """

    type: str
    certificate: str = ""
    key: str = ""
    ca: str = ""
    ca_always: bool = False


TLS = "kubernetes.io/tls"
SHAPES = {
    # Istio takes a ca.crt here for the CA of clients unless there is a -cacert Secret, so it is written only when asked for
    "gateway": Shape(TLS, "tls.crt", "tls.key", "ca.crt"),
    "gateway_ca": Shape("Opaque", ca="cacert", ca_always=True),
    "nginx_ca": Shape("nginx.org/ca", ca="ca.crt", ca_always=True),
    # ingress.bluemix.net/ssl-services
    "iks_alb": Shape("Opaque", "client.crt", "client.key", "trusted.crt", ca_always=True),
    "tls": Shape(TLS, "tls.crt", "tls.key", "ca.crt"),
    "ca": Shape(TLS, "tls.crt", "tls.key", "ca.crt", ca_always=True),
}
#: of a CA whose key is kept elsewhere: its certificates, for all who copy them
CA_IN_FOLDER = Shape("Opaque", ca="ca.crt", ca_always=True)


def to_data(shape: Shape, material: Material, include_ca: bool = False) -> dict[str, bytes]:
    """The entries of a Secret of that shape."""
    data: dict[str, bytes] = {}
    if shape.certificate:
        data[shape.certificate] = pem.dump(material.certs).encode("ascii")
        data[shape.key] = material.key_pem()
    if shape.ca and (shape.ca_always or include_ca):
        data[shape.ca] = pem.dump(material.trust).encode("ascii")
    return data


def decoded(secret: dict[str, Any]) -> dict[str, bytes]:
    """The entries of a Secret, or of a ConfigMap, as the API gives it.

    :raises EdgeError: SECRET_BASE64, naming the entry; SECRET_UNREADABLE where it has no entries but something else.
    """
    if secret.get("kind") == "ConfigMap":
        return {str(name): str(text).encode() for name, text in (secret.get("data") or {}).items()}
    result = {}
    data = secret.get("data") or {}
    if not isinstance(data, dict):
        raise EdgeError("its data is no map of entries", where=title(secret), code="SECRET_UNREADABLE")
    for name, value in data.items():
        try:
            result[str(name)] = base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise EdgeError("the entry is not base64", where=f"{title(secret)}, key {name!r}", code="SECRET_BASE64") from None
    return result


def title(secret: dict[str, Any]) -> str:
    """How errors name a Secret or a ConfigMap: ``Secret shop/web``."""
    given = secret.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    return f"{secret.get('kind') or 'Secret'} {metadata.get('namespace')}/{metadata.get('name')}"


def pair_of(there: Container[str]) -> tuple[str, str]:
    """The entries with certificate and key, of those that hold something; "" = none. Istio takes no key from another pair."""
    certificate, key = max(PAIRS, key=lambda pair: 2 * (pair[0] in there) + (pair[1] in there))
    return certificate if certificate in there else "", key if key in there else ""


def from_secret(secret: dict[str, Any], mapping: Optional[dict[str, Optional[str]]] = None) -> Material:
    """What a Secret holds, whatever its type: by Istio's, NGINX IC's and Kubernetes' names, or by ``mapping``.

    :param mapping: ``certificate``, ``key``, ``ca`` -> name of the entry, for Secrets with names of their own.
    :raises EdgeError: a mapped entry is missing (SECRET_KEY_MISSING); an entry can't be read (codes of pem.py).
    """
    data, place = decoded(secret), title(secret)
    asked = {role: name for role, name in (mapping or {}).items() if name}
    for name in asked.values():
        if not data.get(name):
            raise EdgeError(f"there is no entry {name}", where=place, why=f"it has {', '.join(sorted(data)) or 'none'}",
                            code="SECRET_KEY_MISSING")  # fmt: skip

    usual = pair_of({name for name, value in data.items() if value})
    certificate, key = asked.get("certificate") or usual[0], asked.get("key") or usual[1]
    ca = asked.get("ca") or next((name for name in CA_KEYS if data.get(name)), "")
    return from_pem(
        data[certificate] if certificate else None,
        data[key] if key else None,
        data[ca] if ca else None,
        {"certificate": f"{place}, key {certificate}", "key": f"{place}, key {key}", "ca": f"{place}, key {ca}"},
    )


def from_pem(certificate: Optional[str | bytes], key: Optional[str | bytes], ca: Optional[str | bytes], where: dict[str, str]) -> Material:
    """Parse the three texts; ``where`` says how errors name each (``certificate``, ``key``, ``ca``).

    :raises PemError: as pem.py says.
    """
    return Material(
        pem.certificates(certificate, where["certificate"]) if certificate else [],
        pem.private_key(key, where["key"]) if key else None,
        pem.certificates(ca, where["ca"]) if ca else [],
    )


def summary(material: Material) -> Optional[dict[str, Any]]:
    """Facts about the first certificate (of the CA where there is no other), for results."""
    given = material.certs or material.ca
    return facts.facts(given[0]) if given else None


def describe(data: dict[str, bytes]) -> dict[str, Any]:
    """A Secret's entries for a diff: facts and fingerprints of what can be read, the length of what can't; never a key."""
    shown: dict[str, Any] = {}
    for name, value in sorted(data.items()):
        try:
            if name == "key" or name.endswith(".key"):
                key = pem.private_key(value)
                known = facts.key_facts(key)
                shown[name] = f"{known['type']} {known['size']} bits, public key SHA-256 {facts.spki_sha256(key.public_key())}"
            else:
                shown[name] = [_line(each) for each in pem.certificates(value)]
        except pem.PemError as error:
            shown[name] = f"{len(value)} bytes, {error.code}"
    return shown


def _line(cert: x509.Certificate) -> str:
    known = facts.facts(cert)
    names = ", ".join(known["sans"]) or "no SAN"
    return f"{known['subject'] or '(no subject)'} [{names}] {known['not_before']} to {known['not_after']}, SHA-256 {known['sha256']}"


def ordered(material: Material) -> Material:
    """The same with the key's certificate first and each followed by its issuer; untouched where that loses certificates."""
    result = chain.in_order(material.certs, material.key)
    return Material(result, material.key, material.ca) if len(result) == len(material.certs) else material
