# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over routes asks the cluster for its proof, and what it tells the next job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._filters import answer


def verify_look(read: Any, upstreams: Any = None) -> dict[str, list[dict[str, Any]]]:
    """What role verify asks the cluster; see verify_look.yml."""
    from ..module_utils._proof.vm_nginx.sought import sought
    from ..plugin_utils._reading import reading

    found: dict[str, list[dict[str, Any]]] = answer(lambda text, given: sought(reading(text), given), read, upstreams)
    return found


def route_stats(read: Any, upstreams: Any, secrets: Any = ()) -> dict[str, Any]:
    """Statistics for the next job; see route_stats.yml."""
    from ..module_utils._routes.statistics import statistics
    from ..plugin_utils._reading import reading

    found: dict[str, Any] = answer(lambda text, *given: statistics(reading(text), *given), read, upstreams, secrets)
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"route_stats": route_stats, "verify_look": verify_look}
