# SPDX-License-Identifier: GPL-3.0-or-later
"""From routes and the VM that they go through to the proofs to make, and the probes that make them.

Pure: the same inputs give the same plan. A plan is made for one VM; together the VMs' plans are what the report expects
to see, so a proof that nobody made is missed rather than forgotten.
"""

from __future__ import annotations

from ..._routes.schema import Route
from ..model import Proof
from .app import AppPlan
from .client import ClientPlan
from .gateway import GatewayPlan
from .machine import Given, Machine
from .neighbours import NeighbourPlan
from .turns import TurnsPlan


def plan(routes: list[Route], machine: Machine, given: Given) -> list[Proof]:
    """All proofs of the routes that the VM serves, from itself to each address of the gateway, from each client and from a pod.

    And from itself those of other lists' routes.
    """
    proofs: list[Proof] = []
    for route in routes:
        for address in addresses(route, machine) or [""]:
            proofs += GatewayPlan(route, machine, given, address).proofs()
        proofs += TurnsPlan(route, machine, given).proofs()
        for client in given.clients:
            proofs += ClientPlan(route, machine, given, client).proofs()
        for service in dict.fromkeys(path.service for path in route.paths):
            proofs += AppPlan(route, given, service).proofs()
    for neighbour in given.neighbours:
        for path in neighbour.paths:
            proofs += NeighbourPlan(given, neighbour.owner, path).proofs()
    return proofs


def addresses(route: Route, machine: Machine) -> list[str]:
    """Where the gateway is said to be, and where nginx takes it to be: an address that went stale must show."""
    own = machine.nginx.get(route.name)
    return list(dict.fromkeys([*machine.gateways.get(route.gateway.name, []), *(own.addresses if own else ())]))
