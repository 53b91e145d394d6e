# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading other people's data, which may lack or mistype anything."""

from __future__ import annotations

from typing import Any


def mapping(value: Any) -> dict[str, Any]:
    """``value`` if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in ``value`` if it is a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(value: Any, default: int = 0) -> int:
    """``value`` if it is an integer."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default
