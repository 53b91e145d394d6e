# SPDX-License-Identifier: GPL-3.0-or-later
"""AuthorizationPolicies from access.

**Every list becomes DENY.** An ALLOW policy would be the obvious thing for ``allow``, but all ALLOW policies of a gateway are one list of
alternatives: one that names a host locks out all other hosts of that gateway, and another one that admits those
would admit requests that somebody else's ALLOW policy refuses. "Deny a client that matches no entry of allow" has no such effect, and like
every DENY it can only take away: it changes nothing for other hosts, and nothing that others forbid becomes allowed.

An entry of ``allow`` is a conjunction, so its negation is a choice of what does not fit, and the negation of a list is every combination of
such choices. Istio's ``not...`` fields are exactly what those combinations need.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .._kube.labels import LIST_LABEL, MANAGED_BY
from .._lists import DEFAULT
from .._routes.access import IP_BLOCKS, Access, Front, Rule
from .._routes.parts import Gateway
from .._routes.schema import Route
from .live import Manifest

API_VERSION, KIND = "security.istio.io/v1", "AuthorizationPolicy"
#: What every policy of ours carries, besides the collection's label.
COMPONENT = {"app.kubernetes.io/component": "access-control"}
#: On a gateway's own policies: its name in the list that declares it.
GATEWAY_LABEL = "edgemesh.nginx-istio/gateway"
#: How the names of a gateway's own policies begin. A route's name has no dot, so neither clashes with the other.
GATEWAY_NAME = "edge-gateway."
#: How the name of the one ends that keeps out who is not the front's proxy.
PROXIES = "-proxies"
#: The front that a policy was made for, as JSON; without it the policy would compare another address.
FRONT = "edgemesh.nginx-istio/front"
# The most rules that one list may become; each is looked at for each request.
_MOST = 64

# Conditions that must all hold: (field, whether it must not fit) -> values. Fields: addresses, paths, methods, identities, claim names.
Terms = dict[tuple[str, bool], list[str]]
_FIELDS = {"paths": "Paths", "methods": "Methods", "identities": "Principals"}


@dataclass(frozen=True)
class Scope:
    """The requests that a rule is about: those to these Host headers, or with these server names; without either all of them."""

    hosts: tuple[str, ...] = ()
    sni: tuple[str, ...] = ()


def denied(entry: Rule) -> Terms:
    """One entry of ``deny``, or of ``allow``, as conditions."""
    terms: Terms = {("addresses", False): entry.addresses, ("addresses", True): entry.not_addresses}
    terms.update({(field, False): getattr(entry, field) for field in _FIELDS})
    terms.update({(f"claims.{name}", False): wanted for name, wanted in entry.claims.items()})
    return {term: wanted for term, wanted in terms.items() if wanted}


def all_denied(entries: list[Rule]) -> list[Terms]:
    """A rule for each entry of ``deny``; those about addresses only are one."""
    terms = [denied(entry) for entry in entries]
    plain = [each[("addresses", False)] for each in terms if set(each) == {("addresses", False)}]
    rest = [each for each in terms if set(each) != {("addresses", False)}]
    return [{("addresses", False): list(itertools.chain(*plain))}, *rest] if plain else rest


def not_allowed(entries: list[Rule], where: str) -> list[Terms]:
    """Requests that match no entry of ``allow``, as rules of which one must hold."""
    choices = [[((field, not negated), wanted) for (field, negated), wanted in terms.items()] for terms in all_denied(entries)]
    rules: list[Terms] = []
    # one entry after the other, so that what says no more than another goes at once
    for number, combination in enumerate(itertools.product(*choices) if choices else ()):
        if number >= _MOST:
            raise EdgeError(
                f"becomes more than {_MOST} rules", where=where, why="each entry multiplies them by the number of its conditions",
                fix="Give fewer entries with several conditions, such as one for all addresses", code="BAD_ROUTE",
            )  # fmt: skip
        merged = _conjunction(combination)
        if merged is not None and merged not in rules:
            rules.append(merged)
    return rules


def _conjunction(terms: Iterable[tuple[tuple[str, bool], list[str]]]) -> Optional[Terms]:
    """Conditions at once: none of these and none of those is none of all; one of these and one of those is one of both, or impossible."""
    made: Terms = {}
    for term, wanted in terms:
        known = made.get(term)
        if known is None:
            made[term] = list(wanted)
        elif term[1]:
            made[term] = list(dict.fromkeys([*known, *wanted]))
        else:
            # Only addresses come here: nothing else is negated twice.
            made[term] = list(dict.fromkeys(_common(known, wanted)))
            if not made[term]:
                return None
    return made


def _common(left: list[str], right: list[str]) -> Iterator[str]:
    for one, other in itertools.product(map(ipaddress.ip_network, left), map(ipaddress.ip_network, right)):
        if one.version == other.version and one.overlaps(other):
            yield str(one if one.prefixlen >= other.prefixlen else other)


def rule(terms: Terms, match: str, scope: Scope) -> Manifest:
    """One rule of a policy."""
    source: Manifest = {}
    operation: Manifest = {"hosts": list(scope.hosts)} if scope.hosts else {}
    when: list[Manifest] = [{"key": "connection.sni", "values": list(scope.sni)}] if scope.sni else []
    blocks = "IpBlocks" if match == IP_BLOCKS else "RemoteIpBlocks"
    for (field, negated), wanted in terms.items():
        if field == "addresses":
            source[_name(blocks, negated)] = wanted
        elif field == "identities":
            source[_name("Principals", negated)] = [each[len("spiffe://") :] for each in wanted]
        elif field in _FIELDS:
            operation[_name(_FIELDS[field], negated)] = wanted
        else:
            key = "".join(f"[{part}]" for part in field.split(".")[1:])
            when.append({"key": f"request.auth.claims{key}", "notValues" if negated else "values": wanted})
    made: Manifest = {}
    if source:
        made["from"] = [{"source": source}]
    if operation:
        made["to"] = [{"operation": operation}]
    return {**made, **({"when": when} if when else {})}


def _name(field: str, negated: bool) -> str:
    return f"not{field}" if negated else field[0].lower() + field[1:]


def scopes(route: Route) -> list[Scope]:
    """The conditions by which a policy matches the route's requests.

    By host, with any port that a client may write after it: Envoy ignores it when it chooses the route, a policy doesn't. A wildcard
    can't be written with one; there the server name of a Gateway of ours, which no other route has, closes the gap. It is also all
    that there is where the gateway passes TLS through.
    """
    names = Scope(sni=tuple(dict.fromkeys([*route.hosts, route.upstream_tls.server_name])))
    if route.upstream_tls.mode == "passthrough":
        return [names]
    exact = [host for host in route.hosts if not host.startswith("*")]
    wildcards = [host for host in route.hosts if host.startswith("*")]
    by_host = Scope(hosts=(*(name for host in exact for name in (host, f"{host}:*")), *wildcards))
    return [by_host, names] if wildcards else [by_host]


def of_route(route: Route, attach: Manifest) -> list[Manifest]:
    """The policies of one route.

    :param attach: how a policy finds the gateway: its ``selector`` or ``targetRefs``.
    """
    return _policies(f"edge-{route.name}", route.access, scopes(route), route.gateway, attach, route.labels)


def of_gateway(gateway: Gateway, attach: Manifest, list_name: str = DEFAULT) -> list[Manifest]:
    """The policies of a whole gateway.

    :param list_name: the list that declares it. Another list may call its gateway the same.
    """
    name = f"{GATEWAY_NAME}{'' if list_name == DEFAULT else f'{list_name}.'}{gateway.name}"
    labels = {**MANAGED_BY, LIST_LABEL: list_name, GATEWAY_LABEL: gateway.name}
    made = _policies(name, gateway.access, [Scope()], gateway, attach, labels)
    proxies = gateway.front.proxies
    if proxies:
        # The gateway believes such a proxy about its clients, so only the proxy may connect.
        strangers = [rule({("addresses", True): proxies}, IP_BLOCKS, Scope())]
        made.append(_policy(f"{name}{PROXIES}", strangers, gateway, attach, labels))
    return made


def noted(front: Front) -> dict[str, Any]:
    """What policies and settings depend on in a front."""
    return {
        "kind": front.kind,
        "hops": front.hops,
        "provider": front.provider,
        "scope": front.scope,
        "proxies": sorted(front.proxies),
    }


def _policies(
    name: str, access: Optional[Access], known: list[Scope], gateway: Gateway, attach: Manifest, labels: dict[str, str]
) -> list[Manifest]:
    if not access:
        return []
    match = access.match or gateway.front.match
    lists = {"deny": all_denied(access.deny), "allow": not_allowed(access.allow, f"access.allow of {name}")}
    return [
        _policy(f"{name}-{what}", [rule(each, match, scope) for scope in known for each in terms], gateway, attach, labels)
        for what, terms in lists.items()
        if terms
    ]


def _policy(name: str, rules: list[Manifest], gateway: Gateway, attach: Manifest, labels: dict[str, str]) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": gateway.namespace,
            "labels": {**labels, **COMPONENT},
            "annotations": {FRONT: json.dumps(noted(gateway.front))},
        },
        "spec": {**attach, "action": "DENY", "rules": rules},
    }
