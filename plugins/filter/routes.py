# SPDX-License-Identifier: GPL-3.0-or-later
"""From gateways and routes to what roles work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._plain import plain
from ..plugin_utils._filters import answer


def routes(
    value: Any, gateways: Any = None, namespace: Any = None, ca: Any = None, flat: Any = None, on: Any = None
) -> list[dict[str, Any]]:
    """Complete routes from what a user wrote; see routes.yml."""
    from ..module_utils._routes import survey
    from ..module_utils._routes.load import CA, NAMESPACE, load

    if not isinstance(flat, (Mapping, type(None))):
        raise AnsibleFilterError("flat: is no dictionary of variables")
    asked = {name: flat[name] for name in survey.VARIABLES if name in flat} if flat else {}
    made = answer(load, value, gateways, asked, namespace or NAMESPACE, ca or CA)
    groups = plain(on)
    wanted = [groups] if isinstance(groups, str) else groups
    return [route.as_dict() for route in made if wanted is None or route.on in wanted]


def gateways(value: Any) -> list[dict[str, Any]]:
    """Complete gateways from what a user wrote; see gateways.yml."""
    import dataclasses

    from ..module_utils._routes import load

    return [dataclasses.asdict(gateway) for gateway in answer(load.gateways, value)]


def routes_in_mesh(read: Any, services: Any, gateways: Any = (), check: Any = False) -> list[dict[str, Any]]:
    """Routes joined with what the cluster says about their gateways; see routes_in_mesh.yml."""
    from ..module_utils._mesh.gateways import in_mesh

    found = _answer(lambda said, *live: in_mesh(said.routes, *live), read, services, gateways, bool(check))
    return [live.as_dict() for live in found]


def routes_upstreams(read: Any, services: Any, check: Any = False) -> dict[str, list[str]]:
    """Where nginx reaches the routes' gateways; see routes_upstreams.yml."""
    from ..module_utils._mesh.gateways import upstreams

    found: dict[str, list[str]] = _answer(lambda said, *live: upstreams(said.routes, *live), read, services, bool(check))
    return found


def gateway_routes_look(read: Any) -> dict[str, Any]:
    """What role gateway_routes asks the cluster; see gateway_routes_look.yml."""
    from ..module_utils._mesh.gateway_routes import look

    found: dict[str, Any] = _answer(lambda said: look(said.routes), read)
    return found


def route_needs(read: Any) -> list[dict[str, Any]]:
    """The Secrets that routes through a VM's nginx need; see route_needs.yml."""
    from ..module_utils._routes.needs import needs

    return [need.as_dict() for need in _answer(needs, read)]


def private_ca_plan(value: Any, read: Any, state: Any = "present", certificates: Any = (), all_lists: Any = False) -> dict[str, Any]:
    """What role private_ca does about needs; see private_ca_plan.yml."""
    from ..module_utils._lists import Run
    from ..module_utils._routes.needs import places
    from ..module_utils._secrets import needs
    from ..module_utils._secrets.entries import Reference

    def plan(said: Any, asked: Any, live: Any) -> dict[str, Any]:
        wanted = needs.read(asked, "private_ca_needs")
        namespaces = [*places(said), *(need.secret.namespace for need in wanted)]
        run, wanted = (said.run, wanted) if state == "present" else (Run.teardown(said.list_name, bool(all_lists)), [])
        return needs.plan(wanted, Reference(said.namespace, said.ca), run, namespaces, live)

    found: dict[str, Any] = _answer(plan, read, value, certificates)
    return found


def _answer(work: Callable[..., Any], read: Any, *arguments: Any) -> Any:
    """What ``work`` makes of the reading ``edge__read`` and of further arguments."""
    from ..plugin_utils._reading import reading

    return answer(lambda text, *given: work(reading(text), *given), read, *arguments)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "gateway_routes_look": gateway_routes_look,
            "gateways": gateways,
            "private_ca_plan": private_ca_plan,
            "route_needs": route_needs,
            "routes": routes,
            "routes_in_mesh": routes_in_mesh,
            "routes_upstreams": routes_upstreams,
        }
