# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateways that a user declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._filters import answer


def gateways(value: Any) -> list[dict[str, Any]]:
    """Complete gateways from what a user wrote; see gateways.yml."""
    from ..module_utils._routes import load

    found: list[dict[str, Any]] = answer(load.gateway_dicts, value)
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"gateways": gateways}
