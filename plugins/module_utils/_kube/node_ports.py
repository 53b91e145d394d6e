# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Service can be reached from outside the cluster: its NodePorts on the nodes, its load balancer's addresses."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Optional

from .._address import join
from .._errors import EdgeError
from .._loose import mapping, mappings, number
from .ready import Never, Reason
from .text import clean

#: Stands for what only a real run can make.
KNOWN_AFTER_APPLY = "(known after apply)"
_PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass
class Asked:
    """A Service that was asked for, and ports of it as the user calls them: name, number, number/protocol or protocol."""

    namespace: str
    name: str
    ports: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """As people write it."""
        return clean(f"Service {self.namespace}/{self.name}", 600)


@dataclass
class Found:
    """What the cluster has of it."""

    service: Optional[dict[str, Any]] = None
    slices: Optional[list[dict[str, Any]]] = None  #: EndpointSlices; None = we may not see them
    nodes: list[dict[str, Any]] = field(default_factory=list)


def ports_of(asked: Asked, service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The Service's ports by what they were called; all of them, by name or else number, if none was.

    :raises EdgeError: names the ports that there are when one isn't, or when a word fits several.
    """
    ports = mappings(mapping(service.get("spec")).get("ports"))
    if not asked.ports:
        return {str(port.get("name") or port.get("port")): port for port in ports}
    return {word: _port(asked, word, ports) for word in asked.ports}


def _port(asked: Asked, word: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    figure = re.fullmatch(r"(\d+)(?:/([A-Z]+))?", word)
    if figure:
        fitting = [port for port in ports if str(port.get("port")) == figure[1] and figure[2] in (None, _protocol(port))]
    elif word in _PROTOCOLS:
        fitting = [port for port in ports if _protocol(port) == word]
    else:
        fitting = [port for port in ports if port.get("name") == word]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(_called(port) for port in ports) or "none"
    raise EdgeError(
        f"port {clean(word, 100)} matches several of its ports" if fitting else f"it has no port {clean(word, 100)}",
        where=asked.title,
        why=f"its ports are {there}",
        fix="Name one of them by its name, or by number/protocol",
        code="PORT_NOT_FOUND",
    )


def _protocol(port: dict[str, Any]) -> str:
    return str(port.get("protocol") or "TCP")


def _called(port: dict[str, Any]) -> str:
    figure = f"{number(port.get('port'))}/{_protocol(port)}"
    return f"{clean(port['name'], 100)} ({figure})" if port.get("name") else figure


def describe(asked: Asked, found: Found, address_types: Collection[str]) -> dict[str, Any]:
    """The module's entry for one Service.

    :raises EdgeError: when the Service or a port of it isn't there.
    """
    service = found.service
    if service is None:
        raise EdgeError(
            "it does not exist", where=asked.title, fix="Correct the name and the namespace, or install it first", code="SERVICE_NOT_FOUND"
        )
    spec = mapping(service.get("spec"))
    ports = ports_of(asked, service)
    local = spec.get("externalTrafficPolicy") == "Local"
    nodes = [_node(live, address_types) for live in found.nodes]
    reached = {word: endpoint_nodes(port, found.slices) for word, port in ports.items()}
    for node in nodes:
        node["has_endpoint"] = None if found.slices is None else any(node["name"] in (names or ()) for names in reached.values())
    node_ports: dict[str, list[str]] = {}
    for word, port in ports.items():
        serving = [node for node in nodes if node["ready"] and node["address"] and (not local or node["name"] in (reached[word] or ()))]
        node_port = number(port.get("nodePort"))
        node_ports[word] = [join(node["address"], node_port) for node in serving] if node_port else []
    return {
        "namespace": asked.namespace,
        "name": asked.name,
        "found": True,
        "type": str(spec.get("type") or "ClusterIP"),
        "external_traffic_policy": str(spec.get("externalTrafficPolicy") or ""),
        "cluster_ips": [str(address) for address in spec.get("clusterIPs") or []],
        "selector": {str(name): str(value) for name, value in mapping(spec.get("selector")).items()},
        "ports": {word: _facts(port) for word, port in ports.items()},
        "nodes": nodes,
        "node_ports": node_ports,
        "load_balancer": load_balancer(service),
    }


def predicted(asked: Asked) -> dict[str, Any]:
    """The entry for a Service that check mode does not find: an earlier task would have made it."""
    return {
        "namespace": asked.namespace,
        "name": asked.name,
        "found": False,
        "type": "",
        "external_traffic_policy": "",
        "cluster_ips": [],
        "selector": {},
        "ports": {word: {"name": "", "port": None, "node_port": None, "protocol": "", "target_port": ""} for word in asked.ports},
        "nodes": [],
        "node_ports": {word: [KNOWN_AFTER_APPLY] for word in asked.ports},
        "load_balancer": [KNOWN_AFTER_APPLY],
    }


def service_lacks(asked: Asked, found: Found, until: Collection[str]) -> Reason:
    """The parts of ``until`` (node_port, endpoint, load_balancer) that the Service still lacks; empty if none."""
    if found.service is None:
        return "it does not exist yet"
    try:
        ports = ports_of(asked, found.service)
    except EdgeError as error:
        return Never(error.what)
    without = [clean(word, 100) for word, port in ports.items() if not number(port.get("nodePort"))]
    if "node_port" in until and without:
        return f"no NodePort yet for {', '.join(without)}; it is of type {mapping(found.service.get('spec')).get('type')}"
    return "its load balancer has no address yet" if "load_balancer" in until and not load_balancer(found.service) else ""


def endpoints_lack(asked: Asked, found: Found, until: Collection[str]) -> str:
    """Which ports no ready endpoint serves."""
    if found.service is None or "endpoint" not in until:
        return ""
    unserved = [clean(word, 100) for word, port in ports_of(asked, found.service).items() if not endpoint_nodes(port, found.slices)]
    return f"no ready endpoint yet for {', '.join(unserved)}" if unserved else ""


def nodes_lack(asked: Asked, found: Found, until: Collection[str], address_types: Collection[str]) -> str:
    """Which ports no node serves."""
    if found.service is None or "node_port" not in until:
        return ""
    entry = describe(asked, found, address_types)
    unserved = [clean(word, 100) for word, places in entry["node_ports"].items() if not places]
    if not unserved:
        return ""
    only = "; with externalTrafficPolicy Local only nodes with an endpoint count" if entry["external_traffic_policy"] == "Local" else ""
    return f"no Ready node with an address of a wanted type for {', '.join(unserved)}{only}"


def endpoint_nodes(port: dict[str, Any], slices: Optional[list[dict[str, Any]]]) -> Optional[set[str]]:
    """Names of the nodes on which a ready endpoint serves the port; an endpoint without a node counts as "". None = not known."""
    if slices is None:
        return None
    names: set[str] = set()
    wanted = (port.get("name") or "", _protocol(port))
    for each in slices:
        if any((one.get("name") or "", _protocol(one)) == wanted for one in mappings(each.get("ports"))):
            ready = (one for one in mappings(each.get("endpoints")) if mapping(one.get("conditions")).get("ready") is not False)
            names.update(str(one.get("nodeName") or "") for one in ready)
    return names


def load_balancer(service: dict[str, Any]) -> list[str]:
    """Addresses, or names, of the Service's load balancer."""
    ingress = mappings(mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress"))
    return [str(each.get("ip") or each.get("hostname")) for each in ingress if each.get("ip") or each.get("hostname")]


def _facts(port: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(port.get("name") or ""),
        "port": number(port.get("port")),
        "node_port": number(port.get("nodePort")) or None,
        "protocol": _protocol(port),
        "target_port": str(port.get("targetPort") or ""),
    }


def _node(live: dict[str, Any], address_types: Collection[str]) -> dict[str, Any]:
    status = mapping(live.get("status"))
    addresses: dict[str, list[str]] = {}
    for each in mappings(status.get("addresses")):
        addresses.setdefault(str(each.get("type")), []).append(str(each.get("address")))
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in mappings(status.get("conditions")))
    return {
        "name": str(mapping(live.get("metadata")).get("name")),
        # A node of both families names the one that it prefers first.
        "address": next((addresses[wanted][0] for wanted in address_types if addresses.get(wanted)), ""),
        "addresses": addresses,
        "ready": ready and not mapping(live.get("metadata")).get("deletionTimestamp"),
    }
