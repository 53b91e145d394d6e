"""Whom a list would lock out that the operator surely wants in: health checks, and the clients of this very run."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from .._routes import clouds
from .._schema.fields import refuse

Dict = dict[str, Any]


def admits(access: Dict, address: str) -> bool:
    """Whether a client at this address, or any of this network, may come in with some request."""
    if access["allow"] and not any(from_there(rule, address) for rule in access["allow"]):
        return False
    return not any(from_there(rule, address) for rule in access["deny"] if not _narrow(rule))


def from_there(rule: Dict, address: str) -> bool:
    """Whether an entry is about clients at this address, or in all of this network."""
    client = ipaddress.ip_network(address)

    def within(networks: Iterable[str]) -> bool:
        return any(client.version == each.version and client.subnet_of(each) for each in map(ipaddress.ip_network, networks))  # type: ignore[arg-type]

    return (not rule["addresses"] or within(rule["addresses"])) and not within(rule["not_addresses"])


def _narrow(rule: Dict) -> bool:
    """Whether an entry is about some requests only."""
    return any(rule[part] for part in ("paths", "methods", "claims", "identities"))


def check(gateway: Dict, routes: list[Dict], clients: Dict) -> None:
    """Refuses access that shuts somebody of ``clients`` out, unless it says that this is meant.

    :param clients: who it is -> its addresses, of which one has to be let in.
    """
    front = gateway["front"]
    checks = {
        f"the health checks from {each}": [each]
        for each in (*front["health_checks"], *clouds.health_checks(front["provider"], front["kind"]))
    }
    for where, access in _lists(gateway, routes):
        if access["allow_lockout"]:
            continue
        for who, addresses in {**checks, **clients}.items():
            if addresses and not any(admits(access, each) for each in addresses):
                raise refuse(
                    where, f"would lock out {who} ({', '.join(addresses)})" if who not in checks else f"would lock out {who}",
                    "Let them in, or say allow_lockout: true",
                )  # fmt: skip


def _lists(gateway: Dict, routes: list[Dict]) -> Iterator[tuple[str, Dict]]:
    if gateway["access"]:
        yield f"edge_gateways.{gateway['name']}.access", gateway["access"]
    for route in routes:
        if route["access"]:
            yield f"edge_routes ({route['name']}).access", route["access"]
