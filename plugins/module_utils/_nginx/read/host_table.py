# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's own way to look a host name up among names with wildcards, for ``server_name`` and for ``map … hostnames``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def find(names: Iterable[tuple[str, T]], host: str) -> T | None:
    """The value of the exact name, else of the longest ``*.name``, else of the longest ``name.*``; None where nothing matches.

    Of names in conflict nginx ignores the later one, with a warning; ``.name`` is in conflict with ``name`` and with ``*.name``.
    Regular expressions are not looked at.
    """
    exact: dict[str, T | None] = {}
    leading: dict[str, tuple[T, bool]] = {}  # with whether the bare name belongs to it
    trailing: dict[str, T] = {}
    for given, value in names:
        name = given.lower()
        if name.startswith("."):
            # it takes the exact name's place, even where it is then ignored itself
            if name[1:] not in exact:
                exact[name[1:]] = None
                leading.setdefault(name[1:], (value, True))
        elif name.startswith("*."):
            leading.setdefault(name[2:], (value, False))
        elif name.endswith(".*"):
            trailing.setdefault(name[:-2], value)
        else:
            exact.setdefault(name, value)
    found = exact.get(host)
    if found is not None:
        return found
    heads = [suffix for suffix, (_value, bare) in leading.items() if host.endswith(f".{suffix}") or (bare and host == suffix)]
    if heads:
        return leading[max(heads, key=len)][0]
    tails = [prefix for prefix in trailing if host.startswith(f"{prefix}.")]
    return trailing[max(tails, key=len)] if tails else None


def search(pattern: str, text: str, flags: int = 0) -> re.Match[str] | None:
    """PCRE as far as Python's own expressions agree with it; None where they can't read it."""
    try:
        return re.search(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern), text, flags)
    except re.error:
        return None
