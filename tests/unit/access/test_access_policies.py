# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies say what access says: judged by an evaluation of their own of what Istio's documentation says of each field."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._access import policies
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes.load import gateways, load
from plugins.module_utils._routes.schema import Route

ATTACH = {"selector": {"matchLabels": {"istio": "ingressgateway"}}}
POOL = ["192.0.2.0/25", "192.0.2.128/26", "198.51.100.7/32", "2001:db8::/32", "2001:db8:ffff::/48"]
CLIENTS = ["192.0.2.1", "192.0.2.130", "192.0.2.200", "198.51.100.7", "203.0.113.9", "2001:db8::1", "2001:db8:ffff::1", "2001:db9::1"]
REQUESTS = st.fixed_dictionaries(
    {
        "client": st.sampled_from(CLIENTS),
        "path": st.sampled_from(["/", "/admin", "/admin/a", "/x.php"]),
        "method": st.sampled_from(["GET", "POST"]),
        "groups": st.sampled_from([None, "staff", "guests"]),
        "identity": st.sampled_from(["", "a/ns/b/sa/c", "a/ns/b/sa/d"]),
        "host": st.sampled_from(
            ["shop.example.com", "SHOP.example.com:8443", "other.example.com", "x.wild.example.com", "x.wild.example.com:1"]
        ),
    }
)


RULES = st.fixed_dictionaries(
    {},
    optional={
        "addresses": st.lists(st.sampled_from(POOL[:4]), unique=True, min_size=1, max_size=3),
        "not_addresses": st.lists(st.sampled_from(POOL[:3]), unique=True, min_size=1, max_size=2),
        "paths": st.lists(st.sampled_from(["/admin", "/admin/*", "*.php"]), unique=True, min_size=1),
        "methods": st.lists(st.sampled_from(["GET", "POST"]), unique=True, min_size=1),
        "claims": st.just({"groups": ["staff"]}),
        "identities": st.just(["spiffe://a/ns/b/sa/c"]),
    },
).filter(lambda rule: rule and not {"addresses", "not_addresses"} <= set(rule))


# What access means, said once more and differently


def within(client: str, found: list[str]) -> bool:
    address = ipaddress.ip_address(client)
    return any(address in ipaddress.ip_network(each) for each in found)


def like(text: str, patterns: list[str]) -> bool:
    def one(pattern: str) -> bool:
        if pattern.startswith("*"):
            return text.endswith(pattern[1:])
        return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern

    return any(map(one, patterns))


def meant(rule: dict[str, Any], request: dict[str, Any]) -> bool:
    return (
        ("addresses" not in rule or within(request["client"], rule["addresses"]))
        and ("not_addresses" not in rule or not within(request["client"], rule["not_addresses"]))
        and ("paths" not in rule or like(request["path"], rule["paths"]))
        and ("methods" not in rule or request["method"] in rule["methods"])
        and ("claims" not in rule or request["groups"] in rule["claims"]["groups"])
        and ("identities" not in rule or f"spiffe://{request['identity']}" in rule["identities"])
    )


def comes_in(access: dict[str, Any], request: dict[str, Any]) -> bool:
    allow, deny = access.get("allow", []), access.get("deny", [])
    return (not allow or any(meant(rule, request) for rule in allow)) and not any(meant(rule, request) for rule in deny)


# What Istio makes of a policy


def matches(rule: dict[str, Any], request: dict[str, Any], sni: str) -> bool:
    def both(part: dict[str, Any], field: str, test: Any) -> bool:
        negated = f"not{field[0].upper()}{field[1:]}"
        return (field not in part or test(part[field])) and (negated not in part or not test(part[negated]))

    def source(part: dict[str, Any]) -> bool:
        return all(both(part, each, lambda found: within(request["client"], found)) for each in ("ipBlocks", "remoteIpBlocks")) and both(
            part, "principals", lambda found: request["identity"] in found
        )

    def operation(part: dict[str, Any]) -> bool:
        return (
            both(part, "hosts", lambda found: like(request["host"].lower(), found))
            and both(part, "paths", lambda found: like(request["path"], found))
            and both(part, "methods", lambda found: request["method"] in found)
        )

    def condition(part: dict[str, Any]) -> bool:
        value = sni if part["key"] == "connection.sni" else request["groups"]
        return ("values" not in part or like(value or "", part["values"])) and (
            "notValues" not in part or not like(value or "", part["notValues"])
        )

    return (
        ("from" not in rule or any(source(each["source"]) for each in rule["from"]))
        and ("to" not in rule or any(operation(each["operation"]) for each in rule["to"]))
        and all(map(condition, rule.get("when", [])))
    )


def denied(made: list[dict[str, Any]], request: dict[str, Any], sni: str = "shop.example.com") -> bool:
    assert {policy["spec"]["action"] for policy in made} <= {"DENY"}
    return any(matches(rule, request, sni) for policy in made for rule in policy["spec"]["rules"])


def route(access: dict[str, Any], front: Any = "node_port", **changes: Any) -> Route:
    entry = {"name": "shop", "host": "shop.example.com", "listen": {"certificate": "c"}, "access": access,
             "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}], **changes}  # fmt: skip
    return load([entry], {"main": {"front": front}})[0]


def apart(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries that are about addresses only must not overlap; the first says it."""
    plain, kept, rest = 0, [], []
    for rule in rules:
        (kept if set(rule) == {"addresses"} else rest).append(rule)
    return rest + kept[: 1 + plain]


@settings(max_examples=150, deadline=None)
@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=3), st.lists(REQUESTS, min_size=1, max_size=8))
def test_a_gateways_policies_are_what_access_means(allow: Any, deny: Any, requests: list[dict[str, Any]]) -> None:
    access = {"allow": apart(allow), "deny": apart(deny)}
    (gateway,) = gateways({"main": {"front": "node_port", "access": access}})
    try:
        made = policies.of_gateway(gateway, ATTACH)
    except EdgeError as error:
        if "more than 64 rules" not in error.what:
            raise
        return
    for request in requests:
        assert denied(made, request) != comes_in(access, request)


@settings(max_examples=100, deadline=None)
@given(st.lists(RULES, max_size=2), st.lists(RULES, max_size=2), st.lists(REQUESTS, min_size=1, max_size=8))
def test_a_routes_policies_touch_no_other_host(allow: Any, deny: Any, requests: list[dict[str, Any]]) -> None:
    """And they hold however the client writes the host."""
    access = {"allow": apart(allow), "deny": apart(deny)}
    made = policies.of_route(route(access, hosts=["*.wild.example.com"]), ATTACH)
    for request in requests:
        ours = request["host"] != "other.example.com"
        assert denied(made, request, "shop.example.com" if ours else "other.example.com") == (ours and not comes_in(access, request))


def test_the_obvious_becomes_the_obvious() -> None:
    access = {"allow": ["192.0.2.0/24", "2001:db8::/32"], "deny": ["192.0.2.7"]}
    deny, allow = policies.of_route(route(access, {"kind": "http_proxy"}), ATTACH)
    hosts = {"operation": {"hosts": ["shop.example.com", "shop.example.com:*"]}}
    assert deny["spec"] == {
        **ATTACH,
        "action": "DENY",
        "rules": [{"from": [{"source": {"remoteIpBlocks": ["192.0.2.7/32"]}}], "to": [hosts]}],
    }
    everybody_else = {"source": {"notRemoteIpBlocks": ["192.0.2.0/24", "2001:db8::/32"]}}
    assert allow["spec"]["rules"] == [{"from": [everybody_else], "to": [hosts]}]
    assert (deny["metadata"]["name"], allow["metadata"]["name"]) == ("edge-shop-deny", "edge-shop-allow")
    assert allow["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "edgemesh",
        "app.kubernetes.io/component": "access-control",
        "edgemesh.nginx-istio/list": "default",
        "edgemesh.nginx-istio/route": "shop",
    }


PEER, CLIENT = "ipBlocks", "remoteIpBlocks"


@pytest.mark.parametrize(
    ("front", "field"), [("node_port", PEER), ("network_lb", PEER), ("none", PEER), ("tcp_proxy", CLIENT), ("http_proxy", CLIENT)]
)
def test_the_front_decides_by_what_clients_are_known(front: str, field: str) -> None:
    ((policy),) = policies.of_route(route({"deny": ["192.0.2.7"]}, front), ATTACH)
    assert list(policy["spec"]["rules"][0]["from"][0]["source"]) == [field]


def test_tls_that_passes_through_is_known_by_its_server_name() -> None:
    (policy,) = policies.of_route(route({"deny": ["192.0.2.7"]}, upstream_tls={"mode": "passthrough"}), ATTACH)
    assert policy["spec"]["rules"] == [
        {"from": [{"source": {"ipBlocks": ["192.0.2.7/32"]}}], "when": [{"key": "connection.sni", "values": ["shop.example.com"]}]}
    ]


def test_claims_within_claims() -> None:
    (policy,) = policies.of_route(route({"allow": [{"claims": {"realm.roles": ["admin"]}}]}), ATTACH)
    assert policy["spec"]["rules"][0]["when"] == [{"key": "request.auth.claims[realm][roles]", "notValues": ["admin"]}]


def test_only_the_proxies_connect() -> None:
    (gateway,) = gateways({"main": {"front": {"kind": "http_proxy", "proxies": ["192.0.2.10"]}}})
    (policy,) = policies.of_gateway(gateway, ATTACH)
    assert policy["metadata"]["name"] == "edge-gateway.main-proxies"
    assert policy["spec"]["rules"] == [{"from": [{"source": {"notIpBlocks": ["192.0.2.10/32"]}}]}]


def test_too_many_combinations() -> None:
    entry = {"addresses": ["192.0.2.7"], "paths": ["/a"], "methods": ["GET"], "claims": {"a": "b"}}
    allow = [{**entry, "paths": [f"/{number}"]} for number in range(5)]
    with pytest.raises(EdgeError, match="becomes more than 64 rules"):
        policies.of_route(route({"allow": allow}), ATTACH)
