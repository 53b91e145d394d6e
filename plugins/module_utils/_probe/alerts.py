# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts of TLS (RFC 8446 §6): their numbers, OpenSSL's names for them, and what they say about a client certificate.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import re

HANDSHAKE_FAILURE, PROTOCOL_VERSION, UNRECOGNIZED_NAME, NO_APPLICATION_PROTOCOL = 40, 70, 112, 120

#: in upper case, with _ for blanks, these are the names that OpenSSL gives alerts in exceptions
_WORDS = {
    10: "unexpected message",
    20: "bad record MAC",
    40: "handshake failure",
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown CA",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    90: "user cancelled",
    109: "missing extension",
    110: "unsupported extension",
    112: "unrecognized name",
    113: "bad certificate status response",
    115: "unknown PSK identity",
    116: "certificate required",
    120: "no application protocol",
}
_NUMBERS = {name.upper().replace(" ", "_"): number for number, name in _WORDS.items()}
_REASON = re.compile(r"^(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.+)$")

#: causes of alerts that are about the client's certificate
CLIENT_CAUSES = {
    116: "CLIENT_CERT_MISSING",
    41: "CLIENT_CERT_MISSING",
    48: "CLIENT_CERT_UNTRUSTED",
    45: "CLIENT_CERT_EXPIRED",
    43: "EKU_NO_CLIENTAUTH",
    42: "CLIENT_CERT_REFUSED",
    44: "CLIENT_CERT_REFUSED",
    46: "CLIENT_CERT_REFUSED",
    49: "CLIENT_CERT_REFUSED",
}


def words(number: int) -> str:
    """The alert as people say it: ``unknown CA``."""
    return _WORDS.get(number, "of another kind")


def number_of(reason: str | None) -> int | None:
    """The number of the peer's alert from OpenSSL's reason code: ``TLSV13_ALERT_CERTIFICATE_REQUIRED`` → 116."""
    match = _REASON.match(reason or "")
    return _NUMBERS.get(match[1]) if match else None
