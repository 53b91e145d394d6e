# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Secret or ConfigMap holds, as facts, and whether it is fit for the uses that are asked for. Never a byte of a key."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Optional, TypeVar

from .._errors import EdgeError
from .._kube.text import clean
from .._loose import mapping
from .._x509 import clock, facts, pem
from .._x509.library import x509
from .._x509.material import CA_KEYS, PAIRS, Material, pair_of
from .._x509.purposes import CA, CLIENT, SERVER
from . import fitness
from .fitness import ERROR, SOON, Finding

Read = TypeVar("Read")
#: entries that may hold a CA, the first that is there counts; Istio keeps its own root under the last name
CA_ENTRIES = (*CA_KEYS, "root-cert.pem")
#: entries that a Secret's type promises
_PROMISED = {"kubernetes.io/tls": {"certificate": "tls.crt", "key": "tls.key"}, "nginx.org/ca": {"ca": "ca.crt"}}
#: said of a role when nothing is there; superfluous when it has been said why
_NOTHING = {"certificate": "CERTIFICATE_MISSING", "key": "KEY_MISSING", "ca": "CA_MISSING"}


@dataclass(frozen=True)
class Use:
    """What material is to serve for.

    :ivar use: server, client or ca. :ivar names: what it must cover. :ivar reader: nginx, envoy, or "" for both.
    """

    use: str
    names: tuple[str, ...] = ()
    reader: str = ""


@dataclass
class Held:
    """What could be read of one object.

    :ivar entries: role -> entry. :ivar faults: role -> why it can't be used. :ivar missing: why it is not all there; "" when it is.
    """

    material: Material = field(default_factory=Material)
    entries: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Finding] = field(default_factory=dict)
    missing: str = ""


@dataclass
class Report:
    """What is to be said of one object.

    :ivar held: its content. :ivar ca: where the certificates for a use as CA come from. :ivar uses: each with ``fit`` and ``why``.
    """

    held: Held
    found: bool
    uses: list[dict[str, Any]]
    findings: list[Finding]
    ca: list[x509.Certificate]
    ca_from: str = ""

    @property
    def fit(self) -> bool:
        """Fit for every use."""
        return self.found and all(each["fit"] for each in self.uses)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over certificates, key and CA; "" where there are none. A change in any of them changes it."""
        material = self.held.material
        parts = [facts.facts(each)["sha256"] for each in (*material.certs, *self.ca)]
        if material.key is not None:
            parts.append(facts.spki_sha256(material.key.public_key()))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else ""

    def why_not(self, until: str, old: str = "") -> str:
        """What it lacks of ``present``, ``fit`` or ``changed`` (fit, and another than ``old``); "" when nothing."""
        if not self.found:
            return "it does not exist"
        if self.held.missing or until == "present":
            return self.held.missing
        certs = self.held.material.certs
        if until == "changed" and old in (self.fingerprint, facts.facts(certs[0])["sha256"] if certs else ""):
            return f"it is still the one with the fingerprint {old}"
        return " ".join(dict.fromkeys(sentence for each in self.uses for sentence in each["why"]))

    def result(self) -> dict[str, Any]:
        """As JSON types, for anybody to read."""
        material = self.held.material
        certs, key = [facts.facts(each) for each in material.certs], material.key
        ends = [each["not_after"] for each in (*certs, *map(facts.facts, self.ca))]
        return {
            "found": self.found,
            "fit": self.fit,
            "uses": self.uses,
            "findings": [each.as_dict() for each in self.findings],
            "entries": self.held.entries,
            "certificate": certs[0] if certs else None,
            "chain": certs[1:],
            "ca": [facts.facts(each) for each in self.ca],
            "ca_from": self.ca_from,
            "key": {**facts.key_facts(key), "matches": bool(certs) and facts.key_matches(key, material.leaf)} if key else None,
            "fingerprint": self.fingerprint,
            "expires": min(ends, default=""),
        }


def inspect(
    live: Optional[dict[str, Any]],
    uses: Sequence[Use] = (),
    entries: Optional[dict[str, Optional[str]]] = None,
    *,
    trusted: Optional[dict[str, Any]] = None,
    verified_by: bool = False,
    beside: Optional[dict[str, Any]] = None,
    now: Optional[datetime] = None,
    soon: timedelta = SOON,
) -> Report:
    """Judge an object.

    :param live: the Secret or ConfigMap; None where there is none.
    :param uses: what for; () = what the certificate itself says.
    :param entries: role (certificate, key, ca) -> name of its entry, where it isn't the usual one.
    :param verified_by: ``trusted`` was named (but may not be there): the object with the CA by which peers verify this.
    :param beside: Istio's ``<name>-cacert``: where it exists, Istio takes the CA from nowhere else.
    """
    now = now or clock.now()
    if live is None:
        missing = Finding("SECRET_MISSING", ERROR, "it does not exist.", "Make it first, or correct namespace and name")
        failed = [
            {"use": each.use, "names": list(each.names), "reader": each.reader, "fit": False, "why": [missing.sentence]} for each in uses
        ]
        return Report(Held(missing="it does not exist"), False, failed, [missing], [])
    held = hold(live, entries)
    ca, ca_from, faults = _ca_of(live, held, beside, any(each.use == CA for each in uses))
    judged, findings = [], list(held.faults.values())
    for each in uses or [_own_use(held)]:
        if each.use == CA:
            found = _told(faults, fitness.findings(Material(ca=ca), CA, now=now, reader=each.reader, soon=soon))
        else:
            judgement = _presented(held, each, trusted, verified_by, now, soon)
            found = _told({role: fault for role, fault in held.faults.items() if role != "ca"}, judgement)
        bad = list(dict.fromkeys(one.sentence for one in found if one.severity == ERROR))
        judged.append({"use": each.use, "names": list(each.names), "reader": each.reader, "fit": not bad, "why": bad})
        findings += found
    return Report(held, True, judged, sorted(dict.fromkeys(findings), key=lambda one: one.severity != ERROR), ca, ca_from)


def _told(faults: dict[str, Finding], found: list[Finding]) -> list[Finding]:
    """What could not be read, and what was found in the rest."""
    return [*faults.values(), *(each for each in found if each.code not in {_NOTHING[role] for role in faults})]


def hold(live: dict[str, Any], entries: Optional[dict[str, Optional[str]]] = None) -> Held:
    """Read an object's entries, each by itself: what one lacks does not hide the others."""
    held, place = Held(), title(live)
    config_map = live.get("kind") == "ConfigMap"
    plain = mapping(live.get("data")) if config_map else {}
    encoded = mapping(live.get("binaryData" if config_map else "data"))
    there = {name for each in (plain, encoded) for name, value in each.items() if value}
    named = {role: name for role, name in (entries or {}).items() if name}
    certificate, key = pair_of(there)
    usual = {"certificate": certificate, "key": key, "ca": next((each for each in CA_ENTRIES if each in there), "")}
    promised = {**_PROMISED.get(str(live.get("type")), {}), **named}
    if certificate and not key and any(each in there for _certificate, each in PAIRS):
        promised.setdefault("key", dict(PAIRS)[certificate])
    gaps: list[str] = []

    def read(role: str, parse: Callable[[bytes, str], Read], nothing: Read) -> Read:
        name = promised.get(role) or usual[role]
        if not name:
            return nothing
        where = f"{place}, key {clean(name, 253)}"
        if name not in there:
            gaps.append(clean(name, 253))
            state = "is empty" if name in plain or name in encoded else "is not there"
            has = ", ".join(clean(each, 253) for each in sorted(there)) or "none"
            fix = "Wait for who makes it, or correct the name"
            held.faults[role] = Finding("ENTRY_MISSING", ERROR, f"{where}: the entry {state}; with content: {has}.", fix)
            return nothing
        held.entries[role] = name
        try:
            value = str(plain[name]).encode("utf-8", "replace") if name in plain else base64.b64decode(encoded[name], validate=True)
            return parse(value, where)
        except (binascii.Error, ValueError, TypeError):
            held.faults[role] = Finding("SECRET_BASE64", ERROR, f"{where}: the entry is not base64.")
        except EdgeError as error:
            held.faults[role] = Finding(error.code, ERROR, error.sentence, error.fix)
        return nothing

    held.material = Material(
        read("certificate", pem.certificates, []), read("key", pem.private_key, None), read("ca", pem.certificates, [])
    )
    if gaps:
        held.missing = f"{'entries' if len(gaps) > 1 else 'entry'} {', '.join(gaps)} missing or empty"
    elif not held.entries.keys() & {"certificate", "ca"}:
        held.missing = "it holds no certificate"
    return held


def title(live: dict[str, Any]) -> str:
    """How sentences name an object: ``Secret shop/web``."""
    metadata = mapping(live.get("metadata"))
    return clean(f"{live.get('kind') or 'Secret'} {metadata.get('namespace')}/{metadata.get('name')}", 600)


def holds_certificates(live: dict[str, Any]) -> bool:
    """Whether it is meant for certificates at all, by its type or its entries' names."""
    names = {*mapping(live.get("data")), *mapping(live.get("binaryData"))}
    return str(live.get("type")) in _PROMISED or not names.isdisjoint((*dict(PAIRS), *CA_ENTRIES))


def _own_use(held: Held) -> Use:
    if not held.material.certs:
        return Use(CA) if "ca" in held.entries and "certificate" not in held.entries else Use(SERVER)
    known = facts.facts(held.material.leaf)
    if known["ca"]:
        return Use(CA)
    extended = known["extended_key_usage"] or []
    return Use(CLIENT if "clientAuth" in extended and "serverAuth" not in extended else SERVER)


def _ca_of(
    live: dict[str, Any], held: Held, beside: Optional[dict[str, Any]], asked: bool
) -> tuple[list[x509.Certificate], str, dict[str, Finding]]:
    """The certificates that serve as CA, where they come from, and why they can't be read.

    :param asked: it is to serve as CA; else the object's own certificates are of more interest.
    """
    own_ca = "ca" in held.entries or "ca" in held.faults
    if own_ca and not (asked and beside is not None):
        return held.material.ca, title(live), {role: fault for role, fault in held.faults.items() if role == "ca"}
    if beside is not None:
        other = hold(beside)
        faults = {role: fault for role, fault in other.faults.items() if role == "ca"}
        if not (faults or other.material.ca):
            sentence = f"{title(beside)} has no entry cacert or ca.crt, and where it exists Istio looks for a CA nowhere else."
            faults["ca"] = Finding("CA_MISSING", ERROR, sentence, "Put the CA under cacert, or delete it")
        return other.material.ca, title(beside), faults
    own = [each for each in held.material.certs[:1] if facts.facts(each)["ca"]]
    return own, title(live) if own else "", {}


def _presented(held: Held, use: Use, trusted: Optional[dict[str, Any]], verified_by: bool, now: datetime, soon: timedelta) -> list[Finding]:
    if not verified_by:
        return fitness.beside(held.material, use.use, use.names, now, use.reader, soon)

    def judge(ca: list[x509.Certificate]) -> list[Finding]:
        return fitness.findings(Material(held.material.certs, held.material.key, ca), use.use, use.names, now, use.reader, soon)

    found = judge([])
    if trusted is None:
        return [*found, Finding("CA_MISSING", ERROR, "the CA by which peers verify it does not exist.", "Make it first, or correct ca")]
    other = hold(trusted)
    trust = other.material.ca or other.material.trust
    if not trust:
        missing = Finding("CA_MISSING", ERROR, f"{title(trusted)} holds no CA certificate.", "Correct ca")
        return [*found, *other.faults.values(), missing]
    return [*found, *(each for each in judge(trust) if each not in found)]
