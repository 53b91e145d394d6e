"""A distinguished name in DER as text, as servers list the CAs that they take (`cryptography` has no way in for a bare name)."""

from __future__ import annotations

from .._x509.facts import name_text as text_of
from .._x509.library import x509

_STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


def name_text(der: bytes) -> str:
    """``CN=edge-ca,O=shop`` as `_x509` writes it; hexadecimal for what can't be read."""
    try:
        relative = []
        for distinguished in _elements(_content(der, 0x30)):
            pairs = []
            for pair in _elements(_content(distinguished, 0x31)):
                kind, value = _elements(_content(pair, 0x30))
                text = _content(value, value[0]).decode(_STRINGS[value[0]])
                pairs.append(x509.NameAttribute(x509.ObjectIdentifier(_oid(_content(kind, 0x06))), text, _validate=False))
            relative.append(x509.RelativeDistinguishedName(pairs))
        return text_of(x509.Name(relative))
    except (ValueError, KeyError, IndexError):
        return der.hex()


def _split(der: bytes) -> tuple[bytes, bytes, bytes]:
    """(whole element, its content, what follows)."""
    length, start = der[1], 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + size], "big"), 2 + size
    if start + length > len(der):
        raise ValueError("truncated")
    return der[: start + length], der[start : start + length], der[start + length :]


def _content(der: bytes, tag: int) -> bytes:
    if der[0] != tag:
        raise ValueError("unexpected tag")
    return _split(der)[1]


def _elements(der: bytes) -> list[bytes]:
    found = []
    while der:
        element, _inside, der = _split(der)
        found.append(element)
    return found


def _oid(der: bytes) -> str:
    numbers, value = [], 0
    for byte in der:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))
