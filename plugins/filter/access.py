"""From what stands before gateways, and who may come in, to what the cluster is told and what is asked on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._filters import answer


def access_plan(value: Any, routes: Any, objects: Any, **options: Any) -> dict[str, Any]:
    """What to apply; see access_plan.yml."""
    from ..module_utils._access import entry

    found: dict[str, Any] = answer(entry.planned, value, routes, objects, options)
    return found


def access_probes(value: Any, routes: Any, **options: Any) -> dict[str, Any]:
    """What to ask; see access_probes.yml."""
    from ..module_utils._access import entry

    found: dict[str, Any] = answer(entry.probed, value, routes, options)
    return found


def access_seen(value: Any, routes: Any, asked: Any, **options: Any) -> list[dict[str, Any]]:
    """What arrived; see access_seen.yml."""
    from ..module_utils._access import entry

    found: list[dict[str, Any]] = answer(entry.judged, value, routes, asked, options)
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"access_plan": access_plan, "access_probes": access_probes, "access_seen": access_seen}
