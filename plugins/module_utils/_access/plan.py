# SPDX-License-Identifier: GPL-3.0-or-later
"""All that gateways and their routes ask of the cluster, from what is there now; and what of it interrupts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .._errors import EdgeError
from .._lists import Run
from .._loose import mapping, mappings
from .._routes.access import HTTP_PROXY, PROXIES
from .._routes.parts import Gateway
from .._schema.fields import refuse
from . import neighbours, policies, settings, standing, topology
from .declared import Declared
from .live import Live, Manifest


@dataclass(frozen=True)
class Plan:
    """What to apply.

    :ivar settings: partial objects, for the field manager :data:`.settings.FIELD_MANAGER`.
    :ivar policies: AuthorizationPolicies.
    :ivar removed: those that go, by kind and name.
    :ivar interrupted: changes that fail requests while they are made, in words.
    :ivar missing: names of gateways that are not there yet.
    :ivar kept: settings that other lists still need, in words.
    :ivar believed: gateways of which anybody could forge the address that lists go by, in words.
    """

    settings: list[Manifest] = field(default_factory=list)
    policies: list[Manifest] = field(default_factory=list)
    removed: list[Manifest] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)


def plan(declared: Declared, live: Live, *, check: bool = False, sets_topology: bool = True, all_lists: bool = False) -> Plan:
    """Plan the changes in the cluster for these gateways and routes.

    :param check: nothing was changed in this run, so gateways that it would have installed may be missing.
    :param sets_topology: whether what makes the client's address arrive is planned too.
    :param all_lists: whether fronts have changed for all lists.
    :raises EdgeError: where a gateway is not there (unless ``check``), can't be what it is asked to be, or is another list's in part.
    """
    _agree(declared.gateways)
    missing = {gateway.name: lacking for gateway in declared.gateways if (lacking := _lacking(gateway, live, sets_topology))}
    if missing and not check:
        name, lacking = next(iter(missing.items()))
        raise refuse(f"edge_gateways.{name}", lacking, "Install the gateway (role istio), or name the right Service")
    there = [gateway for gateway in declared.gateways if gateway.name not in missing]
    for gateway in there:
        _verified(gateway, declared, live)
        neighbours.agree(declared, gateway, live, all_lists)
    made = [policy for gateway in there for policy in _policies(gateway, declared, live)]
    neighbours.not_theirs(declared, live, made)
    return Plan(
        settings=_settings(there, live) if sets_topology else [],
        policies=made,
        removed=declared.taken(live, made),
        interrupted=[sentence for gateway in there for sentence in _interruption(gateway, live)] if sets_topology else [],
        missing=list(missing),
        believed=[sentence for gateway in there for sentence in _believed(gateway, declared)],
    )


def ended(declared: Declared, live: Live, *, sets_topology: bool = True, all_lists: bool = False) -> Plan:
    """Plan the end of the list: its policies go, and the settings that no other policy needs are as before us.

    :param sets_topology: whether settings are looked at.
    :param all_lists: whether all lists end.
    """
    restore = {"Service": settings.service, "ConfigMap": settings.mesh}
    ending = replace(declared, run=Run.teardown(declared.run.list_name))
    staying = [policy for policy in ending.staying(live) if not (all_lists and policy.namespace in declared.namespaces)]
    going = [policy.reference for policy in standing.every(live) if policy not in staying]
    restored, needed = {}, {}
    for gateway in declared.places if sets_topology else ():
        here = [policy for policy in staying if standing.at(policy, gateway, live)]
        for each in _touched(gateway, live):
            needing = [policy for policy in staying if policy.front.get("scope") == "mesh"] if each["kind"] == "ConfigMap" else here
            if needing:
                needed[_key(each)] = f"{each['kind']} {each['metadata']['name']} keeps its settings: {needing[0].owner} needs them."
            else:
                restored[_key(each)] = restore.get(each["kind"], settings.workload)(each, None)
    settled = [each for key, each in restored.items() if key not in needed]
    return Plan(settings=settled, removed=going, kept=list(needed.values()))


def unlike(declared: Declared, live: Live) -> list[str]:
    """Pods that trust something else than their gateway's front says, in words."""
    return [
        f"Pod {pod}: {trusted}"
        for gateway in declared.gateways
        for pod, trusted in live.topologies(gateway).items()
        if trusted != topology.wanted(gateway.front)
    ]


def _settings(gateways: list[Gateway], live: Live) -> list[Manifest]:
    # Two entries may be of one Service, such as one for each of its ports.
    made: dict[tuple[str, ...], Manifest] = {}
    change = {"Service": settings.service, "ConfigMap": settings.mesh}
    for gateway in gateways:
        if gateway.front.scope == "mesh" and live.mesh() is None:
            raise EdgeError(
                "the mesh's configuration is not there", where=f"edge_gateways.{gateway.name}.front.scope",
                fix="Set gateway_access_control_istio_namespace and gateway_access_control_mesh_config, or scope: gateway",
            )  # fmt: skip
        for each in _touched(gateway, live):
            if _key(each) not in made:
                made[_key(each)] = change.get(each["kind"], settings.workload)(each, gateway.front)
    return list(made.values())


def _touched(gateway: Gateway, live: Live) -> Iterator[Manifest]:
    """The objects that a gateway's front is about."""
    yield from live.workloads(gateway)
    service, mesh = live.service(gateway), live.mesh()
    if service is not None:
        yield service
    if mesh is not None and gateway.front.scope == "mesh":
        yield mesh


def _key(live: Manifest) -> tuple[str, ...]:
    return live["kind"], live["metadata"]["namespace"], live["metadata"]["name"]


def _policies(gateway: Gateway, declared: Declared, live: Live) -> list[Manifest]:
    attach = _attachment(gateway, live)
    routes = declared.through(gateway)
    own = policies.of_gateway(gateway, attach, declared.run.list_name)
    return [*own, *(policy for route in routes for policy in policies.of_route(route, attach))]


def _attachment(gateway: Gateway, live: Live) -> Manifest:
    """How a policy finds the gateway: by the Gateway API's Gateway that it was made for, or by its pods' labels."""
    name = live.target(gateway)
    if name:
        return {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]}
    labels = gateway.selector or live.labels(gateway)
    if not labels:
        raise refuse(
            f"edge_gateways.{gateway.name}", f"Service {gateway.namespace}/{gateway.service} selects no pods", "Give the gateway's selector"
        )
    return {"selector": {"matchLabels": labels}}


def _believed(gateway: Gateway, declared: Declared) -> list[str]:
    front = gateway.front
    if front.kind not in PROXIES or front.proxies or not (gateway.access or any(route.access for route in declared.through(gateway))):
        return []
    header = "X-Forwarded-For" if front.kind == HTTP_PROXY else "PROXY header"
    return [
        f"edge_gateways.{gateway.name}.front: a client that bypasses the proxy can forge the {header}. "
        "Name the proxies' own addresses (front.proxies), or keep others off the gateway's port by the network."
    ]


def _interruption(gateway: Gateway, live: Live) -> list[str]:
    """PROXY protocol can't be switched on or off in place: old pods don't understand what new ones demand, or the other way round."""
    wanted = topology.wanted(gateway.front)
    now = sorted({str(found) for found in live.topologies(gateway).values() if found.proxy_protocol != wanted.proxy_protocol})
    return [f"edge_gateways.{gateway.name}: from {' and '.join(now)} to {wanted}"] if now else []


def _verified(gateway: Gateway, declared: Declared, live: Live) -> None:
    """Refuse claims of unverified tokens: a list of ``deny`` by claims would admit everybody."""
    lists = [gateway.access, *(route.access for route in declared.through(gateway))]
    if not any(rule.claims for access in lists if access for rule in access.rules):
        return
    if any(_verifies(each, gateway, live) for each in live.every("RequestAuthentication")):
        return
    raise refuse(
        f"edge_gateways.{gateway.name}",
        "access names claims, but no RequestAuthentication verifies tokens here",
        "Make one for this gateway",
        why="an unverified token has no claims, so a rule on claims would never match",
    )


def _verifies(authentication: Manifest, gateway: Gateway, live: Live) -> bool:
    spec = mapping(authentication.get("spec"))
    own = authentication["metadata"].get("namespace") == gateway.namespace
    if spec.get("targetRefs"):
        return own and any(mapping(ref).get("name") == live.target(gateway) for ref in mappings(spec["targetRefs"]))
    chosen = mapping(mapping(spec.get("selector")).get("matchLabels"))
    return chosen.items() <= live.labels(gateway).items() and (own or not chosen)


def _lacking(gateway: Gateway, live: Live, sets_topology: bool) -> str:
    """The missing parts of the gateway, in words; "" if there are none."""
    name = f"{gateway.namespace}/{gateway.service}"
    if live.service(gateway) is None:
        return f"there is no Service {name}"
    if sets_topology and not live.workloads(gateway):
        return f"no Deployment or DaemonSet makes the pods of Service {name}"
    return ""


def _agree(gateways: list[Gateway]) -> None:
    """Two entries for one Service, or two that speak for the mesh, say the same of what stands before them."""
    seen: dict[str, Gateway] = {}
    for gateway in gateways:
        keys = [f"Service {gateway.namespace}/{gateway.service}", *(["the mesh"] if gateway.front.scope == "mesh" else [])]
        for key in keys:
            other = seen.setdefault(key, gateway)
            if other.front != gateway.front:
                where = f"edge_gateways.{gateway.name}.front"
                raise refuse(where, f"differs from that of {other.name}, and both are of {key}", "Make them equal")
