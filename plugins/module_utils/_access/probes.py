# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes: a marked request through the front before anything changes, and requests to every pod of a gateway afterwards."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from .. import _values as values
from .._address import join, split
from .._loose import mapping
from .._probe.entry import entry
from .._probe.spec import Expect, Http, Path, Tls
from .._routes.access import HTTP_PROXY, PROXIES, TCP_PROXY, Access, Rule
from .._routes.parts import Gateway, Probe
from .._routes.schema import Listen, Route
from . import lockout, neighbours, seen, standing
from .declared import Declared
from .live import Live
from .standing import Policy, like

#: An entry of edge_probe's ``paths``.
Entry = dict[str, Any]
#: By inventory group: addresses by name of the machines that serve routes.
Machines = Mapping[str, Mapping[str, str]]
# Stands for the addresses of the hops between the client and the last proxy.
_HOP = "192.0.2.78"
# Documentation networks (RFC 5737, RFC 3849): a client that no list names.
_NOBODY = ("192.0.2.79", "198.51.100.79", "203.0.113.79", "2001:db8::79")
_DENIED = Expect(status=(403,), body_contains="RBAC: access denied")
_ANSWERED = Expect(status=tuple(range(100, 600)))
# Policies of a whole gateway are asked before anything is routed. Without a server name it is asked in plain text.
_NO_ROUTE = Route(name="any host", host="edgemesh-probe.invalid", listen=Listen(tls=False), paths=[])


@dataclass(frozen=True)
class Asked:
    """One marked request.

    :ivar gateway: the gateway's name.
    :ivar entry: where it goes in, ``host:port``.
    :ivar agent: the user agent by which it is known in the gateway's log.
    """

    gateway: str
    entry: str
    agent: str
    probe: Entry


@dataclass(frozen=True)
class Arrival:
    """How a marked request arrived, for people and for proofs.

    :ivar entry: where it went in.
    :ivar way: the addresses that it came by, that of the outermost client first; the last is the connection's at the gateway.
    :ivar hops: HTTP proxies on the way.
    :ivar seen_as: the address that the gateway took for the client's.
    :ivar forwarded_for_replaced: a proxy threw away what the client itself wrote into X-Forwarded-For.
    :ivar front: the kind of front that was declared.
    """

    gateway: str
    entry: str
    way: list[str]
    hops: int
    seen_as: str
    forwarded_for_replaced: bool
    front: str


@dataclass(frozen=True)
class Pods:
    """Probes of pods.

    :ivar connect: one for each pod, whether it can be reached from here.
    :ivar paths: what each pod has to answer.
    """

    connect: list[Entry]
    paths: list[Entry]


def agents(run: str) -> str:
    """The prefix of the user agents of a run's marked requests."""
    return f"edgemesh-access/{run}/"


def unknown(declared: Declared, given: Mapping[str, list[str]]) -> list[Gateway]:
    """The gateways of which only the cluster knows where clients come in: no proxy stands there, and no entry is given."""
    return [each for each in declared.gateways if each.front.kind not in PROXIES and each.name not in given and declared.through(each)]


def entries(
    declared: Declared, given: Mapping[str, list[str]], offered: Mapping[str, list[str]], machines: Machines
) -> dict[str, list[str]]:
    """Addresses that clients use, each a ``host:port``, by gateway name.

    :param given: what the user says of it.
    :param offered: the gateways' own addresses.
    """

    def found(gateway: Gateway) -> list[str]:
        if gateway.name in given:
            return [values.endpoint(each, f"gateway_access_control_entries.{gateway.name}") for each in given[gateway.name]]
        if gateway.front.kind not in PROXIES:
            return list(offered.get(gateway.name, []))
        routes = declared.through(gateway)
        return [join(address, route.listen.port) for route in routes for address in machines.get(route.on, {}).values()]

    return {gateway.name: list(dict.fromkeys(found(gateway))) for gateway in declared.gateways}


def through(declared: Declared, places: Mapping[str, list[str]], run: str) -> list[Asked]:
    """One request through each of :func:`entries`, where a route of the gateway can be asked for."""
    made: list[Asked] = []
    for gateway in declared.gateways:
        route = _askable(declared.through(gateway), gateway)
        if route is None:
            continue
        for place in places.get(gateway.name, []):
            name = f"{agents(run)}{len(made)}"
            headers = {"User-Agent": name, "X-Forwarded-For": seen.MARKER}
            probe = _request(name, route, place, headers, _ANSWERED, to_proxy=gateway.front.kind == HTTP_PROXY)
            made.append(Asked(gateway.name, place, name, entry(probe)))
    return made


def _askable(routes: list[Route], gateway: Gateway) -> Optional[Route]:
    """A route whose requests the gateway can see, and that asks us for no certificate."""
    modes = ("simple", "mutual") if gateway.front.kind == HTTP_PROXY else ("simple",)
    return next((route for route in routes if route.upstream_tls.mode in modes), None)


def _request(name: str, route: Route, endpoint: str, headers: dict[str, str], expect: Expect, to_proxy: bool = False) -> Path:
    """The route's own probe, to its HTTP proxy or to the gateway behind it."""
    address, port = split(endpoint)
    sni = route.upstream_tls.server_name
    if to_proxy:
        sni = route.host if route.listen.tls else ""
    http = Http(method=route.probe.method, path=route.probe.path, host=route.host, headers=headers)
    return Path(name, address, port, tls=Tls(sni=sni, rules="none") if sni else None, http=http, expect=expect)


def probing(routes: list[Route], machines: Machines, clients: Mapping[str, str]) -> dict[str, list[str]]:
    """Addresses, by name, of hosts that probe these routes: their VMs, and the clients.

    :param clients: addresses by name. A name in place of an address tells nothing.
    """
    found = {f"VM {name}": address for route in routes for name, address in machines.get(route.on, {}).items()}
    if routes:
        found.update({f"client {name}": address for name, address in clients.items() if f"VM {name}" not in found})
    return {who: [plain] for who, address in found.items() if (plain := seen.plain(address))}


@dataclass(frozen=True)
class Clients:
    """Who asks this run's routes; addresses by a client's name, of which one is enough.

    :ivar guarded: who must be admitted by the lists of this run.
    :ivar probing: all hosts that probe.
    :ivar own: the addresses of the host that asked; they count where the log doesn't tell by which it is known.
    """

    guarded: Mapping[str, list[str]]
    probing: Mapping[str, list[str]]
    own: list[str]


def judge(
    declared: Declared, asked: list[Asked], lines: Mapping[str, list[str]], live: Live, clients: Clients
) -> tuple[list[Arrival], list[str]]:
    """What arrived of :func:`through`'s requests, and whom policies of other lists deny, in words.

    :param lines: of the gateways' logs, by ``namespace/name`` of their Services.
    :raises EdgeError: where a front is not what is seen, or access would lock somebody out.
    """
    arrivals, denied = [], []
    for gateway in declared.gateways:
        log = lines.get(f"{gateway.namespace}/{gateway.service}", [])
        found = [seen.seen(each.entry, log, each.agent) for each in asked if each.gateway == gateway.name]
        arrived = [each for each in found if each is not None]
        for each in arrived:
            seen.fits(each, gateway)
        known = {seen.client(each, gateway.front, _true_source(gateway, live)) for each in arrived} - {""}
        own = {"this run's own client": sorted(known) or clients.own}
        lockout.check(gateway, declared.through(gateway), {**clients.guarded, **own})
        denied += neighbours.denials(declared, gateway, live, {**clients.guarded, **clients.probing, **own})
        arrivals += [
            Arrival(gateway.name, each.entry, each.chain, each.hops, each.client, each.replaced, gateway.front.kind) for each in arrived
        ]
    return arrivals, denied


def _true_source(gateway: Gateway, live: Live) -> bool:
    """Whether the gateway already sees a connection's source address."""
    if gateway.front.kind == TCP_PROXY:
        return any(trusted.proxy_protocol for trusted in live.topologies(gateway).values())
    return live.local(gateway)


def pods(declared: Declared, live: Live, consecutive: int) -> Pods:
    """Probes of every pod of the gateways.

    :param consecutive: number of correct answers in a row from each pod.
    """
    made = Pods([], [])
    for gateway in declared.gateways:
        others = [policy for policy in declared.staying(live) if standing.at(policy, gateway, live)]
        # A port that has only a name is not known from here.
        port = str(live.port(gateway).get("targetPort", live.port(gateway).get("port")))
        for pod in live.pods(gateway) if port.isdigit() else ():
            address = mapping(pod.get("status")).get("podIP")
            if not address:
                continue
            name = f"{gateway.name} {pod['metadata']['name']}"
            made.connect.append(entry(Path(name, address, int(port))))
            answers = _answers(gateway, declared.through(gateway), join(address, int(port)), _plain_text(gateway, live), others)
            for number, probe in enumerate(answers):
                made.paths.append(entry(replace(probe, name=f"{name} {number}: {probe.name}", consecutive=consecutive)))
    return made


def _answers(gateway: Gateway, routes: list[Route], endpoint: str, plain: bool, others: list[Policy]) -> Iterator[Path]:
    """Expected answers of a pod for each route that demands no client certificate; without a route, and in plain text, for no host."""
    front = gateway.front
    for route in routes or ([_NO_ROUTE] if plain else []):
        if route.upstream_tls.mode != "simple":
            continue
        if front.kind != HTTP_PROXY or front.proxies:
            # The gateway does not trust us as a proxy and sees our own address, so any answer is enough.
            probe = _request(route.name, route, endpoint, {}, _ANSWERED)
            yield replace(probe, proxy_protocol="v2" if front.kind == TCP_PROXY else "")
            continue
        for client, admitted in samples([each for each in (gateway.access, route.access) if each], route, others):
            forwarded = {"X-Forwarded-For": ", ".join([client, *[_HOP] * (front.hops - 1)])}
            name = f"{route.name} {'lets in' if admitted else 'denies'} {client}"
            yield _request(name, route, endpoint, forwarded, Expect(status=_right(route)) if admitted else _DENIED)


def _right(route: Route) -> tuple[int, ...]:
    """Answers to a request that no list stops; a host that nobody serves is answered 404."""
    return (*range(100, 403), *range(404, 600)) if route is _NO_ROUTE else (route.probe.status,)


def _plain_text(gateway: Gateway, live: Live) -> bool:
    """Whether the gateway's port speaks HTTP without TLS, by its name in the Service as Istio reads it."""
    return str(live.port(gateway).get("name")).partition("-")[0] in ("http", "http2")


def samples(lists: list[Access], route: Route, others: list[Policy]) -> list[tuple[str, bool]]:
    """A client whose request for the route all lists let in, and for each of them one whose request it denies, where there are such.

    :param others: policies that are not this run's, but deny too.
    """
    request = route.probe
    named = [
        str(ipaddress.ip_network(network).network_address)
        for each in lists
        for rule in each.rules
        for network in (*rule.addresses, *rule.not_addresses)
    ]
    named += [str(ipaddress.ip_network(network).network_address) for policy in others for network in policy.addresses]
    candidates = list(dict.fromkeys([*named, *_NOBODY]))
    inside = [each for each in candidates if all(comes_in(one, each, request) for one in lists)]
    inside = [each for each in inside if not any(policy.denies(route, each) for policy in others)]
    outside = [next((each for each in candidates if not comes_in(one, each, request)), "") for one in lists]
    return [*((each, True) for each in inside[:1]), *((each, False) for each in dict.fromkeys(outside) if each)]


def comes_in(access: Access, client: str, request: Probe) -> bool:
    """Whether this very request, which carries neither a token nor a certificate, comes in from this client."""

    def fits(rule: Rule) -> bool:
        return (
            not (rule.claims or rule.identities)
            and (not rule.methods or request.method in rule.methods)
            and (not rule.paths or any(like(request.path, pattern) for pattern in rule.paths))
            and lockout.from_there(rule, client)
        )

    return (not access.allow or any(map(fits, access.allow))) and not any(map(fits, access.deny))
