# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads DER: what it is, as far as its outermost tags tell, and the elements of what `cryptography` has no way in for."""

from __future__ import annotations

_INTEGER = 0x02
#: the tags inside the outer SEQUENCE -> what the DER is, and how it becomes PEM
KINDS = {
    (0x30, 0xA0): ("this is a certificate in DER", "Convert it with openssl x509 -inform DER"),
    (0x30, 0x02): ("this is a certificate in DER", "Convert it with openssl x509 -inform DER"),  # version 1
    (0x30, 0x06): ("this is an encrypted private key in DER", "Convert it with openssl pkcs8 -inform DER"),
    (0x02, 0x30): ("this is a private key or a PKCS#12 file in DER", "Convert it with openssl pkey -inform DER, or openssl pkcs12 -nodes"),
    (0x02, 0x02): ("this is an RSA private key in DER", "Convert it with openssl pkey -inform DER"),
    (0x02, 0x04): ("this is an EC private key in DER", "Convert it with openssl pkey -inform DER"),
}


def is_der(data: str | bytes) -> bool:
    """One SEQUENCE, as certificates and keys are; no text in UTF-8 looks like this."""
    if isinstance(data, str) or len(data) < 2 or data[0] != 0x30:
        return False
    return 0x81 <= data[1] <= 0x84 or data[1] == len(data) - 2


def tags(der: bytes) -> tuple[int, int]:
    """Tags in a SEQUENCE: of its first element, and the tag inside that one or, after an INTEGER, of the second; 0 = none."""
    try:
        at = _header(der, 0)[0]
        start, length = _header(der, at)
        return der[at], der[start + length if der[at] == _INTEGER else start]
    except IndexError:
        return 0, 0


def content(der: bytes, tag: int) -> bytes:
    """What is in an element.

    :raises ValueError, IndexError: it has another tag, or it ends too early.
    """
    if der[:1] != bytes([tag]):
        raise ValueError("unexpected tag")
    start, length = _header(der, 0)
    return _slice(der, start, start + length)


def elements(der: bytes) -> list[bytes]:
    """The elements that stand one behind the other, each with its tag.

    :raises ValueError, IndexError: one ends too early.
    """
    found, at = [], 0
    while at < len(der):
        start, length = _header(der, at)
        found.append(_slice(der, at, start + length))
        at = start + length
    return found


def oid(data: bytes) -> str:
    """The content of an OBJECT IDENTIFIER in dots."""
    numbers, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _header(der: bytes, at: int) -> tuple[int, int]:
    """Where an element's content begins, and its length."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    return start, length


def _slice(der: bytes, start: int, end: int) -> bytes:
    if end > len(der):
        raise ValueError("truncated")
    return der[start:end]
