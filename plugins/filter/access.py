"""From what stands before gateways, and who may come in, to what the cluster is told and what is asked on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._access import entry
from ..module_utils._errors import EdgeError
from ..module_utils._plain import plain
from ..module_utils._routes import load


def gateways(value: Any) -> list[dict[str, Any]]:
    """Complete gateways from what a user wrote; see gateways.yml."""
    found: list[dict[str, Any]] = _do(load.gateways, value)
    return found


def access_plan(value: Any, routes: Any, objects: Any, **options: Any) -> dict[str, Any]:
    """What to apply; see access_plan.yml."""
    found: dict[str, Any] = _do(entry.planned, value, routes, objects, options)
    return found


def access_probes(value: Any, routes: Any, **options: Any) -> dict[str, Any]:
    """What to ask; see access_probes.yml."""
    found: dict[str, Any] = _do(entry.probed, value, routes, options)
    return found


def access_seen(value: Any, routes: Any, asked: Any, **options: Any) -> list[dict[str, Any]]:
    """What arrived; see access_seen.yml."""
    found: list[dict[str, Any]] = _do(entry.judged, value, routes, asked, options)
    return found


def _do(work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*map(plain, arguments))
    except EdgeError as error:
        raise AnsibleFilterError(error.sentence) from None


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"access_plan": access_plan, "access_probes": access_probes, "access_seen": access_seen, "gateways": gateways}
