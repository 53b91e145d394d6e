# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a certificate cover a name? The two answers: OpenSSL's X509_check_host (nginx) and Envoy's.

They differ: OpenSSL takes the common name where no DNS SAN exists, and nginx never looks at IP or URI SANs, so an upstream that is
an address can't be name-verified; Envoy takes SANs only, of any type.
"""

from __future__ import annotations

import ipaddress
import re

from . import facts
from .library import x509

_LABEL_TEXT = re.compile(r"[0-9A-Za-z-]*")
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
#: a star at the start or the end of the first label, and two more labels at least
_STAR = re.compile(rf"(?:\*(?P<tail>[0-9A-Za-z-]*[0-9A-Za-z])?|(?P<head>{_LABEL})\*)(?P<rest>(?:\.{_LABEL}){{2,}})")


def covers(cert: x509.Certificate, name: str, rules: str) -> bool:
    """Whether ``cert`` is good for ``name`` (a host name, for Envoy also an address or a URI) under ``nginx`` or ``envoy`` rules."""
    return _nginx(cert, name) if rules == "nginx" else _envoy(cert, name)


def _nginx(cert: x509.Certificate, name: str) -> bool:
    candidates = facts.dns_names(cert)
    if not candidates:
        candidates = facts.common_names(cert)
    return any(openssl_match(pattern, name) for pattern in candidates)


def openssl_match(pattern: str, name: str) -> bool:
    """X509_check_host with flags 0.

    One star, at an end of the first label, with two more labels behind it, and never against a part of an A-label.
    """
    pattern, name = pattern.lower(), name.lower()
    if not pattern or not name:
        return False
    if name.startswith(".") and len(name) > 1:  # asks for any sub-domain
        return len(pattern) > len(name) and pattern.endswith(name)
    star = _STAR.fullmatch(pattern)
    if star is None:
        return pattern == name
    head, tail = star["head"] or "", (star["tail"] or "") + star["rest"]
    if head.startswith("xn--"):
        return pattern == name
    if len(name) < len(head) + len(tail) or not (name.startswith(head) and name.endswith(tail)):
        return False
    middle = name[len(head) : len(name) - len(tail)]
    whole_label = not head and not star["tail"]
    if (whole_label and not middle) or (not whole_label and name.startswith("xn--")):
        return False
    return middle == "*" or _LABEL_TEXT.fullmatch(middle) is not None


def _envoy(cert: x509.Certificate, name: str) -> bool:
    try:
        return ipaddress.ip_address(name) in facts.addresses(cert)
    except ValueError:
        pass
    return name in facts.uris(cert) or any(envoy_match(pattern, name) for pattern in facts.dns_names(cert))


def envoy_match(pattern: str, name: str) -> bool:
    """Envoy's dnsNameMatch: one star in the first label, which stands for any part of exactly one label."""
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    label, _dot, rest = pattern.partition(".")
    own, _dot, own_rest = name.partition(".")
    if not rest or rest != own_rest or "*" in rest or label.count("*") != 1 or label.startswith("xn--"):
        return False
    before, after = label.split("*")
    return label == "*" or (len(own) + 1 >= len(label) and own.startswith(before) and own.endswith(after))
