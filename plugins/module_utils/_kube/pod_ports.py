# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Service's own pods listen: past the Service, at every address that a pod has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

from .._address import join
from .._errors import EdgeError
from .._loose import mapping, mappings, number
from .client import Client

#: Pods of one Service that are named; a Service with hundreds of pods is no reason for hundreds of probes.
MOST = 4
_SERVICE_NAME = "kubernetes.io/service-name"


def look(client: Client, asked: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``results`` of module pod_port_info.

    :param asked: ``namespace``, ``name`` and ``port`` of a Service.
    """
    namespace, name = asked["namespace"], asked["name"]
    service = client.get("Service", name, namespace)
    slices = client.list("EndpointSlice", namespace, f"{_SERVICE_NAME}={name}", None, "discovery.k8s.io/v1")[0] if service else []
    try:
        addresses, reason = listening(asked, service, slices, lambda pod: client.get("Pod", pod, namespace)), ""
    except EdgeError as error:
        addresses, reason = [], error.sentence
    return {"namespace": namespace, "name": name, "port": asked["port"], "addresses": addresses, "reason": reason}


def listening(
    asked: Mapping[str, Any],
    service: Optional[Mapping[str, Any]],
    slices: Iterable[Mapping[str, Any]],
    pod: Callable[[str], Optional[Mapping[str, Any]]],
) -> list[str]:
    """``address:port`` of the first :data:`MOST` ready pods, IPv4 before IPv6, at the port that the Service's port leads to.

    A Service of one address family lists its pods by that one; a pod listens at its other address as well.

    :param slices: the Service's EndpointSlices.
    :param pod: gives a pod by its name.
    :raises EdgeError: there is none, and why.
    """
    where = f"Service {asked['namespace']}/{asked['name']}"
    if service is None:
        raise EdgeError("it was not found", where=where)
    ports = [each for each in mappings(mapping(service.get("spec")).get("ports")) if number(each.get("port")) == asked["port"]]
    tcp = next((each for each in ports if (each.get("protocol") or "TCP") == "TCP"), None)
    if tcp is None:
        raise EdgeError(f"it has no TCP port {asked['port']}", where=where)
    places: dict[str, set[tuple[str, int]]] = {}
    for each in slices:
        for who, place in _places(each, str(tcp.get("name") or "")):
            places.setdefault(who, set()).add(place)
    if not places:
        raise EdgeError(f"it has no ready pod at its port {asked['port']}", where=where)
    for who in (chosen := sorted(places, key=lambda who: (sorted(places[who]), who))[:MOST]):
        status = mapping(mapping(pod(who) if who else None).get("status"))
        own = {str(each["ip"]) for each in mappings(status.get("podIPs")) if each.get("ip")}
        places[who] |= {(address, port) for address in own for _address, port in places[who]}
    found = {place for who in chosen for place in places[who]}
    return [join(address, port) for address, port in sorted(found, key=lambda place: (":" in place[0], place))]


def _places(live: Mapping[str, Any], name: str) -> list[tuple[str, tuple[str, int]]]:
    """The pods (their names; "" for what is none) that are ready in an EndpointSlice, with address and port."""
    if live.get("addressType") not in ("IPv4", "IPv6"):
        return []
    # a slice calls its ports as the Service does
    ports = [number(each.get("port")) for each in mappings(live.get("ports")) if (each.get("name") or "") == name]
    ready = [each for each in mappings(live.get("endpoints")) if mapping(each.get("conditions")).get("ready") is not False]
    return [
        (_pod(mapping(each.get("targetRef"))), (str(address), port))
        for each in ready
        for address in each.get("addresses") or []
        for port in ports
        if port
    ]


def _pod(reference: Mapping[str, Any]) -> str:
    return str(reference.get("name") or "") if reference.get("kind") == "Pod" else ""
