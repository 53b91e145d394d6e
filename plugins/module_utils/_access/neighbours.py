# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must leave alone at its gateways, above all other lists' policies: refuses what would change them, and says what they deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._routes.parts import Gateway
from .._schema.fields import refuse
from . import policies, settings, standing, topology
from .declared import Declared
from .live import Live, Manifest
from .standing import Policy


def not_theirs(declared: Declared, live: Live, made: Iterable[Manifest]) -> None:
    """Refuses a policy by a name that another list has.

    :param made: the policies that the run applies.
    :raises EdgeError: OTHER_LIST, naming whose it is.
    """
    there = {policy.key: policy.owner for policy in standing.every(live)}
    for each in made:
        key = each["metadata"]["namespace"], each["metadata"]["name"]
        if key in there:
            what = f"{policies.KIND} {'/'.join(key)}"
            declared.run.refuse(
                [there[key]], what, "edge_routes", "Choose another name for the route, or change it in that list (edge_list)"
            )


def agree(declared: Declared, gateway: Gateway, live: Live, all_lists: bool) -> None:
    """Refuses access of a whole gateway that another list restricts already, and a front that policies which stay were not made for.

    :param all_lists: whether the front has changed for all of them.
    :raises EdgeError: OTHER_LIST, naming whose it is.
    """
    name, where = f"Service {gateway.namespace}/{gateway.service}", f"edge_gateways.{gateway.name}"
    for policy in declared.staying(live):
        here = standing.at(policy, gateway, live)
        if here and gateway.access and policy.gateway and not policy.of_proxies:
            fix = f"Give the access to each route of this list, or change it in list {policy.owner.list_name} (edge_list)"
            declared.run.refuse([policy.owner], f"access of all of {name}", f"{where}.access", fix)
        shared = gateway.front.scope == policy.front.get("scope") == "mesh"
        if all_lists or not (here or shared) or _made_for(policy, gateway, live):
            continue
        front = f"the front of {name} ({_said(policy.front)})"
        fix = "Declare the same front. If it has changed for all lists, set gateway_access_control_all_lists: true, then run each list"
        declared.run.refuse([policy.owner], front, f"{where}.front", fix)
        raise refuse(f"{where}.front", f"is not {front} that {policy.owner} has, and this run does not list that", fix)


def _made_for(policy: Policy, gateway: Gateway, live: Live) -> bool:
    """Whether a policy was made for the gateway's front; from before there were lists, it was made for what is set in the cluster."""
    if policy.front:
        return policy.made_for(gateway.front)
    same = all(trusted == topology.wanted(gateway.front) for trusted in live.topologies(gateway).values())
    return same and (live.local(gateway) or not settings.needs_local(gateway.front))


def _said(front: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in front.items() if value) if front else "as the gateway is configured"


def denials(declared: Declared, gateway: Gateway, live: Live, clients: Mapping[str, list[str]]) -> list[str]:
    """Who of this run's clients can't ask this run's routes because of policies that stay, in words.

    :param clients: addresses by a client's name; one of them is enough.
    """
    found: dict[tuple[str, str], str] = {}
    for policy in declared.staying(live):
        if not standing.at(policy, gateway, live):
            continue
        for route in declared.through(gateway):
            for who, addresses in clients.items():
                if addresses and all(policy.denies(route, each) for each in addresses):
                    said = (
                        f"edge_gateways.{gateway.name}: policy {policy.name} of {policy.owner} denies {who} ({', '.join(addresses)}), "
                        f"so its requests to route {route.name} are answered 403. Admit it in list {policy.owner.list_name}"
                    )
                    found.setdefault((policy.name, who), said)
    return list(found.values())
