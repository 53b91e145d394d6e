"""From routes and the places they are seen from to the proofs to make, and the probes that make them.

Pure: the same inputs give the same plan. A plan is made for one VM; together the VMs' plans are what the report expects
to see, so a proof that nobody made is missed rather than forgotten.
"""

from __future__ import annotations

from typing import Any

from ..model import Machine, Options, Proof
from .client import ClientPlan
from .gateway import GatewayPlan
from .turns import TurnsPlan


def plan(routes: list[dict[str, Any]], machine: Machine, clients: list[str], options: Options) -> list[Proof]:
    """All proofs of the routes that ``machine`` serves, made from itself towards each address of the gateway and from each client."""
    proofs: list[Proof] = []
    for route in routes:
        for address in addresses(route, machine) or [""]:
            proofs += GatewayPlan(route, machine, options, address).proofs()
        proofs += TurnsPlan(route, machine, options).proofs()
        for client in clients:
            proofs += ClientPlan(route, machine, options, client).proofs()
    return proofs


def addresses(route: dict[str, Any], machine: Machine) -> list[str]:
    """Where the gateway is said to be, and where nginx takes it to be: an address that went stale must show."""
    own = machine.nginx.get(route["name"])
    return list(dict.fromkeys([*machine.gateways.get(route["gateway"]["name"], []), *(own.addresses if own else ())]))


def probes(proofs: list[Proof]) -> dict[str, list[dict[str, Any]]]:
    """The probes to run, each once, by vantage point.

    Those of a proof with another one beside it come in turn: they ask what the one before left in nginx.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for proof in proofs:
        for probe in (proof.probe, proof.beside):
            if probe:
                found.setdefault(proof.vantage, {})[probe["name"]] = {**probe, "in_turn": True} if proof.beside else probe
    return {vantage: list(each.values()) for vantage, each in found.items()}
