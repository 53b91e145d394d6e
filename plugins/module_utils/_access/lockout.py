# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses lists that would lock out health checks, machines that probe, or the host of this very run."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from .._routes import clouds
from .._routes.access import Access, Rule
from .._routes.parts import Gateway
from .._routes.schema import Route
from .._schema.fields import refuse


def admits(access: Access, address: str) -> bool:
    """Whether a client at this address, or any of this network, may come in with some request."""
    if access.allow and not any(from_there(rule, address) for rule in access.allow):
        return False
    return not any(from_there(rule, address) for rule in access.deny if not rule.sees_requests)


def from_there(rule: Rule, address: str) -> bool:
    """Whether an entry is about clients at this address, or in all of this network."""
    return (not rule.addresses or within(address, rule.addresses)) and not within(address, rule.not_addresses)


def within(address: str, networks: Iterable[str]) -> bool:
    """Whether an address, or all of a network, is in one of these."""
    client = ipaddress.ip_network(address)
    return any(client.version == each.version and client.subnet_of(each) for each in map(ipaddress.ip_network, networks))  # type: ignore[arg-type]


def check(gateway: Gateway, routes: list[Route], clients: Mapping[str, list[str]]) -> None:
    """Refuses access that shuts somebody of ``clients`` out, unless it says that this is meant.

    :param routes: the gateway's.
    :param clients: addresses by a client's name; one of them must be admitted.
    """
    networks = (*gateway.front.health_checks, *clouds.health_checks(gateway.front.provider, gateway.front.kind))
    checks = {f"the health checks from {each}": [each] for each in networks}
    for where, access in _lists(gateway, routes):
        if access.allow_lockout:
            continue
        for who, addresses in {**checks, **clients}.items():
            if addresses and not any(admits(access, each) for each in addresses):
                shown = "" if who in checks else f" ({', '.join(addresses)})"
                raise refuse(where, f"would lock out {who}{shown}", "Admit them, or set allow_lockout: true")


def _lists(gateway: Gateway, routes: list[Route]) -> Iterator[tuple[str, Access]]:
    if gateway.access:
        yield f"edge_gateways.{gateway.name}.access", gateway.access
    for route in routes:
        if route.access:
            yield f"edge_routes ({route.name}).access", route.access
