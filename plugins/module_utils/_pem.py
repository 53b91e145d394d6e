# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates in PEM text, and nothing else of it: a key may stand beside them. No library is needed, so nothing is judged.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import base64
import re

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def blocks(text: str) -> list[str]:
    """The CERTIFICATE blocks as they stand there."""
    return [found[0] for found in _BLOCK.finditer(text)]


def base64_der(text: str) -> list[str]:
    """Each certificate as one line of base64."""
    return ["".join(body.split()) for body in _BLOCK.findall(text)]


def der(text: str) -> list[bytes]:
    """Each certificate as DER.

    :raises ValueError: what is in a block is not base64.
    """
    return [base64.b64decode(line) for line in base64_der(text)]


def is_all(text: str) -> bool:
    """Whether there is a CERTIFICATE block, and nothing but such."""
    rest, count = _BLOCK.subn("", text)
    return count > 0 and not rest.strip()
