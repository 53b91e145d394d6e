# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this material fit for its use? Findings with a stable code, a severity, a sentence and a fix.

Errors are what the reader (nginx, Envoy, istiod, the API server) would refuse or what would fail on the wire; warnings are what
works today. Codes: those of pem.py and chain.py, and CERTIFICATE_MISSING, KEY_MISSING, CA_MISSING, KEY_MISMATCH, LEAF_NOT_FIRST,
ORDER_WRONG, PUBLIC_CERT_AS_CLIENT, NO_SAN, OLD_STYLE, CERT_EXPIRES_SOON, KEY_TOO_SMALL, LEAF_IS_CA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Optional

from .._x509 import chain, clock, facts, names, purposes
from .._x509.library import x509
from .._x509.material import Material
from .._x509.purposes import CA, CLIENT, ENVOY, NGINX, SERVER

ERROR, WARNING = "error", "warning"
#: warn when less than this, and less than a third of the validity, is left
SOON = timedelta(days=7)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or will be (warning)."""

    code: str
    severity: str
    sentence: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def findings(
    material: Material,
    use: str,
    asked_names: Sequence[str] = (),
    now: Optional[datetime] = None,
    reader: str = "",
    soon: timedelta = SOON,
) -> list[Finding]:
    """Faults of ``material`` for ``use``; errors first.

    :param use: ``server`` (presented by a server), ``client`` (presented by a client), ``ca`` (what verifies others).
    :param asked_names: names that the certificate must cover (DNS names, addresses, URIs).
    :param reader: ``nginx``, ``envoy``, or "" for both: whose rules count as errors.
    :param soon: warn when less than this is left.
    """
    now = now or clock.now()
    found = _ca(material.ca, now, reader, soon) if use == CA else _presented(material, use, asked_names, now, reader, soon)
    return sorted(found, key=lambda each: each.severity != ERROR)


def beside(
    material: Material,
    use: str,
    asked_names: Sequence[str] = (),
    now: Optional[datetime] = None,
    reader: str = "",
    soon: timedelta = SOON,
) -> list[Finding]:
    """As :func:`findings`, of a certificate with a CA beside it.

    It may be the issuer's CA or the CA for its peers. These can't be told apart, so a mismatch is only a warning.
    """
    found = findings(Material(material.certs, material.key), use, asked_names, now, reader, soon)
    for each in findings(material, use, asked_names, now, reader, soon) if material.ca else []:
        if each not in found:
            sentence = f"by the CA in the same object, if that is meant to verify it: {each.sentence}"
            found.append(Finding(each.code, WARNING, sentence, each.fix))
    return found


def _presented(material: Material, use: str, asked: Sequence[str], now: datetime, reader: str, soon: timedelta) -> list[Finding]:
    if not material.certs:
        return [Finding("CERTIFICATE_MISSING", ERROR, "there is no certificate.")]
    found = [*pair(material), *dates(material.certs, now, soon)]
    leaf = material.leaf
    known = facts.facts(leaf)
    if any(each.code == "LEAF_NOT_FIRST" for each in found):
        return found
    found += _use(leaf, use, reader)
    if any(each.code == "CERT_UNREADABLE" for each in found):
        return found
    found += _key(leaf, known, reader)
    found += _names(leaf, known, use, asked, reader)
    break_ = chain.order(material.certs)
    if break_:
        found.append(Finding("ORDER_WRONG", WARNING, f"{break_}.", "Put each certificate's issuer right behind it"))
    if material.ca:
        found += _verdicts(material, use, now, reader, {each.code for each in found})
    if known["version"] == 1 or known["serial"] == "0":
        sentence = "the certificate is of an old style (version 1 or serial number 0), which strict programs refuse."
        found.append(Finding("OLD_STYLE", WARNING, sentence, "Issue it anew with extensions and a random serial number"))
    if known["ca"]:
        found.append(Finding("LEAF_IS_CA", WARNING, "the certificate is a CA's, not a leaf.", "Issue a leaf from it and use that"))
    return found


def pair(material: Material) -> list[Finding]:
    """Whether there is a key and it is the first certificate's."""
    if not material.certs:
        return [Finding("CERTIFICATE_MISSING", ERROR, "there is no certificate.")]
    if material.key is None:
        return [Finding("KEY_MISSING", ERROR, "there is no private key.")]
    if facts.key_matches(material.key, material.leaf):
        return []
    if any(facts.key_matches(material.key, each) for each in material.certs[1:]):
        return [Finding("LEAF_NOT_FIRST", ERROR, "the key's certificate is not the first one.", "Put the leaf in front of its issuers")]
    return [Finding("KEY_MISMATCH", ERROR, "the private key does not belong to the certificate.", "Give the pair that belongs together")]


def dates(certs: Sequence[x509.Certificate], now: Optional[datetime] = None, soon: timedelta = SOON) -> list[Finding]:
    """Certificates that have expired, are not valid yet, or soon expire."""
    now = now or clock.now()
    found = []
    for cert in certs:
        known = facts.facts(cert)
        who = facts.title(cert)
        if cert.not_valid_after_utc < now:
            found.append(Finding("CERT_EXPIRED", ERROR, f"{who} expired at {known['not_after']}.", "Renew it"))
        elif cert.not_valid_before_utc > now:
            found.append(Finding("CERT_NOT_YET_VALID", ERROR, f"{who} is valid only from {known['not_before']} on.", "Check the clocks"))
        elif cert.not_valid_after_utc - now < min(soon, (cert.not_valid_after_utc - cert.not_valid_before_utc) / 3):
            found.append(Finding("CERT_EXPIRES_SOON", WARNING, f"{who} expires at {known['not_after']}.", "Renew it"))
    return found


def _by_rules(reader: str, judge: Callable[[str], Optional[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    """Code, severity and sentence of what either program says: an error where it is the reader, so the reader is asked first."""
    found: dict[str, tuple[str, str, str]] = {}
    for rules in sorted((NGINX, ENVOY), key=lambda each: each != reader):
        problem = judge(rules)
        if problem:
            found.setdefault(problem[0], (problem[0], ERROR if reader in ("", rules) else WARNING, problem[1]))
    return list(found.values())


def _use(leaf: x509.Certificate, use: str, reader: str) -> list[Finding]:
    fixes = {
        "PUBLIC_CERT_AS_CLIENT": "Use a client certificate from a private CA",
        "KEY_USAGE_WRONG": "Issue it with key usage digitalSignature",
    }
    usual = f"Issue it with extended key usage {'clientAuth' if use == CLIENT else 'serverAuth'}"
    return [
        Finding(code, severity, sentence, fixes.get(code, usual))
        for code, severity, sentence in _by_rules(reader, lambda rules: purposes.problem(leaf, use, rules=rules))
    ]


def _key(leaf: x509.Certificate, known: dict[str, Any], reader: str) -> list[Finding]:
    kind, size = known["key"]["type"], known["key"]["size"]
    if kind == "rsa" and size < 2048:
        return [
            Finding("KEY_TOO_SMALL", ERROR, f"an RSA key of {size} bits is refused by nginx and Envoy.", "Use 2048 bits, or ECDSA P-256")
        ]
    refused = _by_rules(reader, lambda rules: purposes.key_problem(leaf, rules))
    return [Finding(code, severity, sentence, "Use ECDSA P-256") for code, severity, sentence in refused]


def _names(leaf: x509.Certificate, known: dict[str, Any], use: str, asked: Sequence[str], reader: str) -> list[Finding]:
    found = []
    if not known["sans"]:
        severity = ERROR if reader == ENVOY else WARNING
        found.append(Finding("NO_SAN", severity, "the certificate has no subject alternative name; only nginx looks at the common name.",
                             "Issue it with its names as SANs"))  # fmt: skip
    for name in asked:
        rules = NGINX if use == SERVER and reader == NGINX else ENVOY
        if not names.covers(leaf, name, rules) and name not in facts.dns_names(leaf):
            has = ", ".join(known["sans"]) or f"only the common name {known['common_name']}"
            found.append(Finding("NAME_MISMATCH", ERROR, f"the certificate does not cover {name}: it has {has}.", f"Issue it for {name}"))
    return found


def _verdicts(material: Material, use: str, now: datetime, reader: str, already: set[str]) -> list[Finding]:
    def judge(rules: str) -> Optional[tuple[str, str]]:
        verdict = chain.verify(material.certs, material.ca, rules=rules, purpose=use, now=now)
        return None if verdict.ok else (verdict.code, f"{rules} would refuse the chain: {verdict.reason}")

    fix = "Give the CA that issued it, with its root, and send the intermediates"
    return [Finding(code, severity, sentence, fix) for code, severity, sentence in _by_rules(reader, judge) if code not in already]


def _ca(certs: Sequence[x509.Certificate], now: datetime, reader: str, soon: timedelta) -> list[Finding]:
    if not certs:
        return [Finding("CA_MISSING", ERROR, "there is no CA certificate.")]
    found = []
    for cert in certs:
        known = facts.facts(cert)
        who = facts.title(cert)
        old = known["version"] == 1 and known["self_signed"]
        usage = known["key_usage"]
        if not (known["ca"] or old) or (usage is not None and "keyCertSign" not in usage):
            sentence = f"{who} is no CA (basicConstraints CA:TRUE and keyCertSign), so nothing verifies against it."
            found.append(Finding("CA_FLAG_MISSING", ERROR, sentence, "Give the CA's own certificate, not the leaf"))
        elif old or usage is None:
            sentence = f"{who} has no key usage keyCertSign, so Python 3.13 and other strict programs refuse it."
            found.append(Finding("OLD_STYLE", WARNING, sentence, "Make the CA anew with critical keyUsage keyCertSign, cRLSign"))
    dated = dates(certs, now, soon)
    good = len(certs) - len({each.sentence for each in dated if each.severity == ERROR})
    # beside a good one, an expired CA is a leftover of a roll-over
    found += [Finding(each.code, WARNING, each.sentence, each.fix) if good else each for each in dated]
    if not any(facts.self_signed(each) for each in certs):
        severity = WARNING if reader == ENVOY else ERROR
        sentence = "no root is among the CA certificates: nginx needs the self-signed one, Envoy takes an intermediate."
        found.append(Finding("ROOT_MISSING", severity, sentence, "Add the root"))
    return found
