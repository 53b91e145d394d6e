# SPDX-License-Identifier: GPL-3.0-or-later
"""A distinguished name in DER as text, as servers list the CAs that they take (`cryptography` has no way in for a bare name)."""

from __future__ import annotations

from .._x509.der import content, elements, oid
from .._x509.facts import name_text as text_of
from .._x509.library import x509

_STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


def name_text(der: bytes) -> str:
    """``CN=edge-ca,O=shop`` as `_x509` writes it; hexadecimal for what can't be read."""
    try:
        relative = []
        for distinguished in elements(content(der, 0x30)):
            pairs = []
            for pair in elements(content(distinguished, 0x31)):
                kind, value = elements(content(pair, 0x30))
                text = content(value, value[0]).decode(_STRINGS[value[0]])
                pairs.append(x509.NameAttribute(x509.ObjectIdentifier(oid(content(kind, 0x06))), text, _validate=False))
            relative.append(x509.RelativeDistinguishedName(pairs))
        return text_of(x509.Name(relative))
    except (ValueError, KeyError, IndexError):
        return der.hex()
