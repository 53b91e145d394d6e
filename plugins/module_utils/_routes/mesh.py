"""Joins routes with what the cluster says about their gateways."""

from __future__ import annotations

from typing import Any

from .fields import refuse

UNKNOWN = "(known after apply)"


def in_mesh(
    routes: list[dict[str, Any]], services: list[dict[str, Any]], gateways: list[dict[str, Any]], check: bool = False
) -> list[dict[str, Any]]:
    """Routes whose gateway's ``selector`` is that of live pods, and whose existing Istio Gateway covers their hosts.

    :param services: ``results`` of node_port_info for the routes' gateways.
    :param gateways: the Istio Gateway objects that routes attach to.
    :param check: nothing was changed in this run, so what it would have installed may be missing.
    :raises EdgeError: where no pod stands behind a gateway's Service, or a Gateway lacks a host.
    """
    by_service = {(service["namespace"], service["name"]): service for service in services}
    by_name = {f"{item['metadata']['namespace']}/{item['metadata']['name']}": item for item in gateways}
    for route in routes:
        if route["gateway"]["istio_gateway"]:
            covered(route, by_name.get(route["gateway"]["istio_gateway"]), check)
    return [{**route, "gateway": {**route["gateway"], "selector": selector(route, by_service, check)}} for route in routes]


def selector(route: dict[str, Any], services: dict[tuple[str, str], dict[str, Any]], check: bool) -> dict[str, str]:
    """The labels by which Istio finds the gateway's pods: the user's, or those that its Service selects them by."""
    gateway = route["gateway"]
    if gateway["selector"]:
        return dict(gateway["selector"])
    service = services.get((gateway["namespace"], gateway["service"]), {})
    if service.get("selector") and any(node["has_endpoint"] for node in service.get("nodes", [])):
        return dict(service["selector"])
    if check:
        return {"istio": UNKNOWN}
    raise refuse(
        f"edge_gateways.{gateway['name']}",
        f"no Ready pod stands behind Service {gateway['namespace']}/{gateway['service']}",
        "Install the gateway (role istio), or name the right Service",
        why="a Gateway whose selector matches no pod programs nothing",
    )


def covered(route: dict[str, Any], gateway: dict[str, Any] | None, check: bool) -> None:
    """Refuses an Istio Gateway that doesn't serve all the route's hosts, and its SNI, over TLS in the route's mode."""
    name = route["gateway"]["istio_gateway"]
    where = f"edge_routes ({route['name']}).gateway"
    if gateway is None:
        if check:
            return
        raise refuse(
            where,
            f"there is no Istio Gateway {name}",
            "Name one that exists as namespace/name, or leave istio_gateway out to have one made",
        )
    mode = route["upstream_tls"]["mode"].upper()
    servers = [
        server
        for server in gateway["spec"].get("servers", [])
        if (server.get("tls") or {}).get("mode", "PASSTHROUGH") in (mode, f"OPTIONAL_{mode}")
    ]
    if not servers:
        raise refuse(
            where, f"Istio Gateway {name} has no server with TLS mode {mode}", "Set the route's upstream_tls.mode to what the Gateway does"
        )
    offered = [_bare(host) for server in servers for host in server.get("hosts", [])]
    missing = [
        host
        for host in dict.fromkeys([*route["hosts"], route["upstream_tls"]["server_name"]])
        if not any(covers(pattern, host) for pattern in offered)
    ]
    if missing:
        raise refuse(
            where, f"Istio Gateway {name} doesn't serve {', '.join(missing)}",
            "Add the host to it, or leave istio_gateway out to have one made",
            why=f"it serves {', '.join(sorted(set(offered)))}",
        )  # fmt: skip


def _bare(host: str) -> str:
    """A Gateway's host without the namespace that it may begin with."""
    return host.rpartition("/")[2]


def covers(pattern: str, host: str) -> bool:
    """Whether a Gateway's host, which may be ``*`` or ``*.example.com``, covers this one, which may be a wildcard too."""
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[1:])
