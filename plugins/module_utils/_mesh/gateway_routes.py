# SPDX-License-Identifier: GPL-3.0-or-later
"""Role gateway_routes: the objects that it reads for its routes, and where its own are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from .._lists import Run
from .._routes.parts import Gateway
from .._routes.reading import Reading
from .._routes.schema import GATEWAY_ROUTES, Route

#: API version of Istio's Gateway and VirtualService.
ISTIO = "networking.istio.io/v1"
_ADDRESS = {"node_ports": ["node_port"], "load_balancer": ["load_balancer"], "addresses": []}


def look(routes: list[Route]) -> dict[str, Any]:
    """What to ask.

    :returns: ``gateways``, options of node_port_info for each gateway; ``backends``, Services for node_port_info; ``attached``, queries for
        k8s_objects_info.
    """
    used = _gateways(routes)
    names = dict.fromkeys(each.istio_gateway for each in used if each.istio_gateway)
    return {
        # One that is reached by given addresses and found by given labels needs no Service.
        "gateways": [_service(each) for each in used if each.address != "addresses" or not (each.selector or each.istio_gateway)],
        "backends": _backends(routes),
        "attached": [_query(*name.split("/")) for name in names],
    }


def _service(gateway: Gateway) -> dict[str, Any]:
    return {
        "services": [{"namespace": gateway.namespace, "name": gateway.service, "ports": [gateway.port]}],
        "address_types": gateway.address_types,
        "wait_for": ["endpoint", *_ADDRESS[gateway.address]],
    }


def _backends(routes: Iterable[Route]) -> list[dict[str, Any]]:
    """The Services behind the routes; each must have its port."""
    services = dict.fromkeys(path.service for route in routes for path in route.paths)
    return [{"namespace": each.namespace, "name": each.name, "ports": [str(each.port)]} for each in services]


def _query(namespace: str, name: str) -> dict[str, str]:
    return {"api_version": ISTIO, "kind": "Gateway", "namespace": namespace, "name": name}


def places(read: Reading) -> list[str]:
    """The namespaces where the list's objects are: those of its gateways."""
    gateways = [*read.gateways, *_gateways(read.routes)] or [Gateway(name="main")]
    return list(dict.fromkeys(gateway.namespace for gateway in gateways))


def prune(read: Reading, run: Optional[Run]) -> dict[str, Any]:
    """Option ``prune`` of k8s_objects: the role's objects that go. Secrets at gateways are none of them.

    :param run: None: everybody's go.
    """
    kinds = [{"api_version": ISTIO, "kind": kind, "namespace": each} for each in places(read) for kind in ("Gateway", "VirtualService")]
    taken = {"routes": sorted(run.present | run.absent), "exclusive": run.exclusive} if run else {}
    return {"labels": GATEWAY_ROUTES, "kinds": kinds, **taken}


def _gateways(routes: Iterable[Route]) -> list[Gateway]:
    return list({route.gateway.name: route.gateway for route in routes}.values())
