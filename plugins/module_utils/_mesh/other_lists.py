# SPDX-License-Identifier: GPL-3.0-or-later
"""What other lists of routes have at the gateways: names of routes, hosts, SNIs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._kube.labels import owner, owners
from .._kube.manifests import Manifest
from .._lists import Owner, Run
from .._loose import mapping, mappings
from .._routes.schema import Route

#: Where a host is: a port's number or an Istio Gateway, the host, and the labels of the pods (none where the Gateway says it).
_Claim = tuple[str, str, dict[str, str]]


def refuse(run: Run, routes: Iterable[Route], wanted: list[Manifest], live: list[Manifest]) -> None:
    """Stop where another list has an object's name, or a host or SNI at the same gateway.

    :param routes: of the run, for words.
    :param wanted: the Istio Gateways and VirtualServices that the run applies.
    :param live: Istio Gateways, anybody's, and VirtualServices of other lists, in the namespaces of the routes' gateways.
    :raises EdgeError: OTHER_LIST, naming the list, its route and the gateway.
    """
    known, gateways = {route.name: route for route in routes}, _gateways([*live, *wanted])
    names: dict[tuple[str, str], Owner] = {}
    taken: dict[tuple[str, str], list[tuple[dict[str, str], Owner]]] = {}
    for each in live:
        for other in owners(each):
            if other.list_name != run.list_name:
                names[each["kind"], _name(each)] = other
                for place, host, labels in _claims(each, gateways):
                    taken.setdefault((place, host), []).append((labels, other))
    for each in wanted if names else []:
        name = owner(each).route
        route, where = known.get(name), f"edge_routes ({name})"
        if (each["kind"], _name(each)) in names:
            run.refuse([names[each["kind"], _name(each)]], f"route name {name} at {_at(route, each)}", where)
        for place, host, labels in _claims(each, gateways):
            same = [other for theirs, other in taken.get((place, host), ()) if _some_pods_in_common(theirs, labels)]
            run.refuse(same, f"{'SNI' if route and host not in route.hosts else 'host'} {host} at {_at(route, each)}", where)


def _gateways(objects: Iterable[Manifest]) -> dict[str, Manifest]:
    return {_name(each): each for each in objects if each["kind"] == "Gateway"}


def _name(each: Manifest) -> str:
    return f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"


def _claims(each: Manifest, gateways: Mapping[str, Manifest]) -> Iterator[_Claim]:
    """The hosts of an object: a Gateway's on its ports, a VirtualService's at its Gateways and on their ports."""
    spec = mapping(each.get("spec"))
    if each["kind"] == "Gateway":
        for server in mappings(spec.get("servers")):
            for host in server.get("hosts") or []:
                yield _port(server), str(host).rpartition("/")[2], mapping(spec.get("selector"))
        return
    for name in spec.get("gateways") or []:
        place = name if "/" in name else f"{each['metadata'].get('namespace')}/{name}"
        gateway = mapping(gateways.get(place, {}).get("spec"))
        for host in spec.get("hosts") or []:
            yield place, host, {}
            for server in mappings(gateway.get("servers")):
                yield _port(server), host, mapping(gateway.get("selector"))


def _port(server: Mapping[str, Any]) -> str:
    return str(mapping(server.get("port")).get("number"))


def _some_pods_in_common(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether all pods with the labels of one have those of the other."""
    return one.items() <= other.items() or other.items() <= one.items()


def _at(route: Route | None, each: Manifest) -> str:
    if route is None:
        return f"the gateway in namespace {each['metadata'].get('namespace')}"
    gateway = route.gateway
    attached = f", Istio Gateway {gateway.istio_gateway}" if gateway.istio_gateway else ""
    return f"gateway {gateway.name} ({gateway.namespace}/{gateway.service}{attached})"
