# SPDX-License-Identifier: GPL-3.0-or-later
"""Flat variables, as an AWX survey asks for them, and the one route that they describe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._schema.fields import boolean, choice, refuse

# flat variable -> where its value stands in a route
ROUTE: dict[str, tuple[str, ...]] = {
    "edge_name": ("name",),
    "edge_host": ("host",),
    "edge_hosts": ("hosts",),
    "edge_on": ("on",),
    "edge_listen_mode": ("listen", "mode"),
    "edge_listen_port": ("listen", "port"),
    "edge_http_port": ("listen", "http_port"),
    "edge_tls": ("listen", "tls"),
    "edge_http2": ("listen", "http2"),
    "edge_http3": ("listen", "http3"),
    "edge_redirect_http": ("listen", "redirect_http"),
    "edge_acme_webroot": ("listen", "acme_webroot"),
    "edge_hsts": ("listen", "hsts"),
    "edge_certificate": ("listen", "certificate"),
    "edge_mode": ("upstream_tls", "mode"),
    "edge_server_name": ("upstream_tls", "server_name"),
    "edge_server_ca": ("upstream_tls", "server_ca"),
    "edge_client_certificate": ("upstream_tls", "client_certificate"),
    "edge_client_names": ("upstream_tls", "client_names"),
    "edge_client_ca": ("upstream_tls", "client_ca"),
    "edge_credential": ("upstream_tls", "credential"),
    "edge_proxy_protocol": ("proxy", "proxy_protocol"),
    "edge_allow": ("access", "allow"),
    "edge_deny": ("access", "deny"),
    "edge_allow_lockout": ("access", "allow_lockout"),
    "edge_probe_path": ("probe", "path"),
    "edge_probe_status": ("probe", "status"),
}
PATH: dict[str, tuple[str, ...]] = {
    "edge_path": ("path",),
    "edge_service": ("service", "name"),
    "edge_service_namespace": ("service", "namespace"),
    "edge_service_port": ("service", "port"),
}
GATEWAY: dict[str, tuple[str, ...]] = {
    "edge_gateway": ("name",),
    "edge_gateway_namespace": ("namespace",),
    "edge_gateway_service": ("service",),
    "edge_gateway_port": ("port",),
    "edge_gateway_addresses": ("addresses",),
    "edge_front": ("front", "kind"),
    "edge_front_provider": ("front", "provider"),
    "edge_gateway_hops": ("front", "hops"),
    "edge_istio_gateway": ("istio_gateway",),
}
# whether the route shall be there at all
STATE = "edge_state"
VARIABLES = (*ROUTE, *PATH, *GATEWAY, STATE)


def describes_route(flat: Mapping[str, Any]) -> bool:
    """Whether the variables name a public host; all others only add to it."""
    return "edge_host" in flat or "edge_hosts" in flat


def goes(flat: Mapping[str, Any]) -> bool:
    """Whether the route that the variables name shall go; its name, or its host, is enough."""
    state = choice("present", "absent")(flat[STATE], STATE) if STATE in flat else "present"
    if state == "absent" and not (describes_route(flat) or "edge_name" in flat):
        raise refuse(STATE, "is absent, but no route is named", "Set edge_name or edge_host")
    return state == "absent"


def name(flat: Mapping[str, Any]) -> str:
    """The route's name: as given, or made from the host's first label."""
    if "edge_name" in flat:
        return str(flat["edge_name"])
    first_host = re.split(r"[,\s]+", str(flat.get("edge_host") or flat["edge_hosts"]).strip())[0]
    return re.sub(r"[^a-z0-9]+", "-", first_host.split(".", 1)[0].lower()).strip("-") or "route"


def route(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of ``edge_routes``; its name is by :func:`name`, its certificate is ``<name>-public``."""
    entry = _nest(flat, ROUTE)
    entry.setdefault("name", name(flat))
    listen = entry.setdefault("listen", {})
    if boolean(flat.get("edge_tls", True), "edge_tls") and listen.get("mode") != "passthrough":
        listen.setdefault("certificate", f"{entry['name']}-public")
    if "edge_gateway" in flat:
        entry["gateway"] = flat["edge_gateway"]
    return {**entry, "paths": [_nest(flat, PATH)]}


def gateway(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of ``edge_gateways``."""
    return {"name": "main", **_nest(flat, GATEWAY)}


def variable(where: str) -> str:
    """The flat variable behind a place in the route or gateway that was made from them: what its author knows it by."""
    table = {**ROUTE, **{name: ("paths[0]", *keys) for name, keys in PATH.items()}}
    if where.startswith("edge_gateways"):
        table = GATEWAY
    field = where.partition(".")[2]
    return next((name for name, keys in table.items() if re.match(re.escape(".".join(keys)) + r"(?![\w])", field)), where)


def _nest(flat: Mapping[str, Any], places: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for variable, (*parents, last) in places.items():
        if variable in flat:
            target = entry
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = flat[variable]
    return entry
