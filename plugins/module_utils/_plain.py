# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what Ansible hands over into plain Python data.

Since ansible-core 2.19 plugins receive tagged subclasses of the built-in types and lazy containers, which ``type(x) is``
tests, YAML dumpers and C extensions trip over. Inputs pass through here once, at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A deep copy of ``value`` made of exactly dict, list, str, int, float, bool, bytes and None.

    :raises TypeError: for anything else (names the type, never the value).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    # dates that a YAML parser made
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"cannot use a value of type {type(value).__name__}")
