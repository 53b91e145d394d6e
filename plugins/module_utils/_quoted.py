# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message may not quote: keys, which people paste into any field, and the values of a URL's query, which may be credentials."""

from __future__ import annotations

import re

#: In place of the value.
KEY = "what looks like key material"
_RUN = re.compile(r"[A-Za-z0-9+/=]{40,}")
_QUERY = re.compile(r"""([?&][^\s=&?#;"']+=)[^\s&#;"',)]+""")
_KINDS = tuple(re.compile(kind) for kind in ("[A-Z]", "[a-z]", "[0-9]"))


def may_be_key(text: str) -> bool:
    """Whether it holds PEM, or a body of it without its first line: long base64, which has letters of both cases and digits.

    Names and fingerprints have letters of one case alone.
    """
    if "-----BEGIN" in text or "PRIVATE KEY" in text:
        return True
    return any(all(kind.search(run) for kind in _KINDS) for run in _RUN.findall(text))


def without_query(text: str) -> str:
    """The same with "…" in place of each value in a URL's query."""
    return _QUERY.sub(r"\1…", text)
