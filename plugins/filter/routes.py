"""From gateways and routes to what roles work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from ..plugin_utils._filters import answer
from ..plugin_utils._routes import complete_routes


@pass_context
def routes(context: Context, value: Any, gateways: Any = None, namespace: Any = None, on: Any = None) -> list[dict[str, Any]]:
    """Complete routes from what a user wrote; see routes.yml."""
    return complete_routes(context, value, gateways, namespace, on)


def routes_in_mesh(value: Any, services: Any, gateways: Any = (), check: Any = False) -> list[dict[str, Any]]:
    """Routes joined with what the cluster says about their gateways; see routes_in_mesh.yml."""
    from ..module_utils._mesh.gateways import in_mesh

    made: list[dict[str, Any]] = answer(in_mesh, value, services, gateways, bool(check))
    return made


def routes_upstreams(value: Any, services: Any, check: Any = False) -> dict[str, list[str]]:
    """Where nginx reaches the routes' gateways; see routes_upstreams.yml."""
    from ..module_utils._mesh.gateways import upstreams

    found: dict[str, list[str]] = answer(upstreams, value, services, bool(check))
    return found


def routes_secrets(value: Any, ca: Any, issue: Any = None) -> dict[str, list[dict[str, Any]]]:
    """The Secrets that routes need; see routes_secrets.yml."""
    from ..module_utils._routes.trust import LEAVES, secrets
    from ..module_utils._schema.fields import choice, list_of

    kinds = answer(list_of(choice(*LEAVES)), LEAVES if issue is None else issue, "issue")
    found: dict[str, list[dict[str, Any]]] = answer(secrets, value, ca, kinds)
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "routes": routes,
            "routes_in_mesh": routes_in_mesh,
            "routes_secrets": routes_secrets,
            "routes_upstreams": routes_upstreams,
        }
