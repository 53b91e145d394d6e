# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins routes with what the cluster says about their gateways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._address import join
from .._routes.parts import Gateway
from .._routes.schema import Route
from .._schema.fields import refuse

UNKNOWN = "(known after apply)"
# Istio's gateways listen there for TLS; stands in where only the run could tell.
HTTPS = 443


@dataclass(frozen=True)
class Live:
    """A route, and how the mesh knows its gateway.

    :ivar selector: labels of the gateway's pods. :ivar port_number: of the Service's port.
    """

    route: Route
    selector: dict[str, str]
    port_number: int

    def as_dict(self) -> dict[str, Any]:
        """The route for templates, its gateway with the two keys."""
        made = self.route.as_dict()
        return {**made, "gateway": {**made["gateway"], "selector": self.selector, "port_number": self.port_number}}


def in_mesh(routes: list[Route], services: list[dict[str, Any]], gateways: list[dict[str, Any]], check: bool = False) -> list[Live]:
    """Routes with the labels of live pods, and with existing Istio Gateways that cover their hosts.

    :param services: ``results`` of node_port_info for the routes' gateways.
    :param gateways: the Istio Gateway objects that routes attach to.
    :param check: nothing was changed in this run, so what it would have installed may be missing.
    :raises EdgeError: where no pod stands behind a gateway's Service, or a Gateway lacks a host.
    """
    by_service = _found(services)
    by_name = {f"{item['metadata']['namespace']}/{item['metadata']['name']}": item for item in gateways}
    for route in routes:
        if route.gateway.istio_gateway:
            covered(route, by_name.get(route.gateway.istio_gateway), check)
    result = []
    for route in routes:
        service = by_service.get((route.gateway.namespace, route.gateway.service), {})
        result.append(Live(route, selector(route.gateway, service, check), port_number(route.gateway, service, check)))
    return result


def _found(services: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Services that are there, by namespace and name."""
    return {(service["namespace"], service["name"]): service for service in services if service.get("found")}


def upstreams(routes: list[Route], services: list[dict[str, Any]], check: bool = False) -> dict[str, list[str]]:
    """``host:port`` by which nginx reaches each gateway, by gateway name; a gateway that isn't there yet is left out of a check."""
    by_service = _found(services)
    found = {}
    for gateway in {route.gateway.name: route.gateway for route in routes}.values():
        service = by_service.get((gateway.namespace, gateway.service), {})
        if gateway.address == "addresses":
            addresses = gateway.addresses
        elif gateway.address == "load_balancer":
            addresses = [join(each, port_number(gateway, service, check)) for each in service.get("load_balancer", [])]
        else:
            addresses = service.get("node_ports", {}).get(gateway.port, [])
        if addresses:
            found[gateway.name] = list(addresses)
        elif not check:
            raise refuse(
                f"edge_gateways.{gateway.name}",
                f"Service {gateway.namespace}/{gateway.service} has no {gateway.address.replace('_', ' ')} for port {gateway.port}",
                "Set address, or give addresses as host:port",
            )
    return found


def selector(gateway: Gateway, service: dict[str, Any], check: bool) -> dict[str, str]:
    """The labels by which Istio finds the gateway's pods: the user's, or those that its Service selects them by."""
    if gateway.selector:
        return dict(gateway.selector)
    # has_endpoint is None where EndpointSlices may not be read.
    if service.get("selector") and any(node["has_endpoint"] is not False for node in service.get("nodes", [])):
        return dict(service["selector"])
    if gateway.istio_gateway:
        return {}
    if check:
        return {"istio": UNKNOWN}
    raise refuse(
        f"edge_gateways.{gateway.name}",
        f"Service {gateway.namespace}/{gateway.service} has no Ready pod",
        "Install the gateway (role istio), or name the right Service",
        why="a Gateway whose selector matches no pod has no effect",
    )


def port_number(gateway: Gateway, service: dict[str, Any], check: bool) -> int:
    """The number of the Service's port: what an Istio Gateway's server is matched by."""
    if gateway.port.isdigit():
        return int(gateway.port)
    port = service.get("ports", {}).get(gateway.port)
    if port:
        return int(port["port"])
    if check or gateway.istio_gateway:
        return HTTPS
    raise refuse(
        f"edge_gateways.{gateway.name}.port",
        f"Service {gateway.namespace}/{gateway.service} has no port {gateway.port}",
        f"Choose one of: {', '.join(service.get('ports', {})) or 'none'}",
    )


def covered(route: Route, gateway: dict[str, Any] | None, check: bool) -> None:
    """Refuses an Istio Gateway that doesn't serve all the route's hosts, and its SNI, over TLS in the route's mode."""
    name = route.gateway.istio_gateway
    where = f"edge_routes ({route.name}).gateway"
    if gateway is None:
        if check:
            return
        raise refuse(
            where,
            f"there is no Istio Gateway {name}",
            "Name one that exists as namespace/name, or leave istio_gateway out to have one made",
        )
    mode = route.upstream_tls.mode.upper()
    servers = [
        server
        for server in gateway["spec"].get("servers", [])
        if (server.get("tls") or {}).get("mode", "PASSTHROUGH") in (mode, f"OPTIONAL_{mode}")
    ]
    if not servers:
        raise refuse(
            where, f"Istio Gateway {name} has no server with TLS mode {mode}", "Set the route's upstream_tls.mode to that of the Gateway"
        )
    offered = [host for server in servers for host in _offered(server, gateway["metadata"]["namespace"], route.gateway.namespace)]
    missing = [
        host
        for host in dict.fromkeys([*route.hosts, route.upstream_tls.server_name])
        if not any(covers(pattern, host) for pattern in offered)
    ]
    if missing:
        raise refuse(
            where, f"Istio Gateway {name} doesn't serve {', '.join(missing)}",
            "Add the host to it, or leave istio_gateway out to have one made",
            why=f"it serves {', '.join(sorted(set(offered)))}",
        )  # fmt: skip


def _offered(server: dict[str, Any], own: str, namespace: str) -> Iterator[str]:
    """The hosts of a Gateway's server that a VirtualService in this namespace may have: each may begin with ``namespace/``."""
    for entry in server.get("hosts", []):
        scope, slash, host = entry.rpartition("/")
        if not slash or scope in ("*", namespace) or (scope == "." and own == namespace):
            yield host


def covers(pattern: str, host: str) -> bool:
    """Whether a Gateway's host, which may be ``*`` or ``*.example.com``, covers this one, which may be a wildcard too."""
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:])
