# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before a gateway and who may come in: read, or refused with its place named."""

# ruff: noqa: E501 - one refusal, one line
from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes import clouds
from plugins.module_utils._routes.access import Rule
from plugins.module_utils._routes.load import gateways, load
from plugins.module_utils._routes.parts import Gateway

SHOP: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public"},
    "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
}


def gateway(**entry: Any) -> Gateway:
    return gateways({"main": entry})[0]


def allowed(entry: Gateway) -> list[Rule]:
    return entry.access.allow if entry.access else []


def test_texts_and_mappings_mean_the_same() -> None:
    said = gateway(access={"allow": "192.0.2.7, 2001:db8::/32", "deny": '["198.51.100.0/24"]', "allow_lockout": "no"}, front="node_port")
    meant = gateway(
        access={"allow": [{"addresses": ["192.0.2.7"]}, {"addresses": "2001:db8::/32"}], "deny": ["198.51.100.0/24"]},
        front={"kind": "node_port"},
    )
    assert said == meant
    assert [rule.addresses for rule in allowed(said)] == [["192.0.2.7/32"], ["2001:db8::/32"]]
    assert said.front.hops == 0


def test_nothing_said_is_no_access() -> None:
    assert gateway(access={}).access is None
    assert gateway(access={"allow": [], "allow_lockout": True}).access is None
    assert gateways(None) == []


def test_output_is_input() -> None:
    rule = {
        "paths": ["/admin/*"],
        "methods": "POST",
        "claims": {"realm.roles": "admin"},
        "identities": ["spiffe://a/ns/b/sa/c"],
        "not_addresses": "10.0.0.0/8",
    }
    made = gateway(
        access={"deny": [rule], "allow": ["192.0.2.7"]}, front={"kind": "tcp_proxy", "provider": "eks", "proxies": "192.0.2.0/24"}
    )
    assert gateways([dataclasses.asdict(made)]) == [made]
    assert made.access
    assert made.access.deny[0].claims == {"realm.roles": ["admin"]}


def test_flat_variables() -> None:
    flat = {"edge_host": "a.example.com", "edge_service": "web", "edge_service_namespace": "shop", "edge_service_port": "80",
            "edge_allow": "192.0.2.0/24,2001:db8::1", "edge_deny": "192.0.2.7", "edge_front": "node_port"}  # fmt: skip
    (route,) = load(None, None, flat)
    assert route.gateway.front.kind == "node_port"
    assert route.access
    assert len(route.access.allow) == 2
    with pytest.raises(EdgeError, match=r"edge_allow: '192.0.2.7/24' is not a network"):
        load(None, None, {**flat, "edge_allow": "192.0.2.7/24"})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("host bits", {"access": {"allow": ["192.0.2.7/24"]}}, "(main).access.allow[0]: '192.0.2.7/24' is not a network. Write 192.0.2.0/24, or 192.0.2.7 for the one address."),
    ("host bits, IPv6", {"access": {"deny": ["2001:db8::1/32"]}}, "access.deny[0]: '2001:db8::1/32' is not a network"),
    ("a name", {"access": {"allow": ["office.example.com"]}}, "is not a network"),
    ("a scope", {"access": {"allow": ["fe80::1%eth0"]}}, "is not a network"),
    ("a netmask", {"access": {"allow": ["10.0.0.0/255.0.0.0"]}}, "is not a network"),
    ("IPv4 within IPv6", {"access": {"allow": ["::ffff:192.0.2.7"]}}, "is an IPv4 address in IPv6 form: Envoy compares it as IPv4. Write it as IPv4"),
    ("twice", {"access": {"allow": ["192.0.2.7", "192.0.2.7/32"]}}, "access.allow: 192.0.2.7/32 is listed twice. Remove the one"),
    ("overlap", {"access": {"deny": ["192.0.2.0/24", "192.0.2.7"]}}, "access.deny: 192.0.2.7/32 and 192.0.2.0/24 overlap"),
    ("overlap in an entry", {"access": {"deny": [{"paths": "/a", "addresses": "10.0.0.0/8,10.1.0.0/16"}]}}, "deny[0].addresses: 10.1.0.0/16 and 10.0.0.0/8 overlap"),
    ("everybody", {"access": {"deny": ["0.0.0.0/0"]}}, "access.deny: 0.0.0.0/0 is everybody. Use allow, or set allow_lockout: true"),
    ("empty entry", {"access": {"deny": [{}]}}, "access.deny[0]: says nothing"),
    ("both ways", {"access": {"deny": [{"addresses": "192.0.2.7", "not_addresses": "192.0.2.8"}]}}, "not_addresses: is given beside addresses"),
    ("typo", {"access": {"alow": []}}, "access.alow: is not a known key. Did you mean allow?"),
    ("path", {"access": {"deny": [{"paths": "/a*b"}]}}, 'paths[0]: "/a*b" is not a path'),
    ("method", {"access": {"deny": [{"methods": "post"}]}}, 'methods[0]: "post" is not an HTTP method'),
    ("identity", {"access": {"deny": [{"identities": "edge.example.com"}]}}, "is not a SPIFFE identity. Write it as spiffe://cluster.local/ns/shop/sa/web; for other names in client certificates use upstream_tls.client_names"),
    ("ipBlocks behind an HTTP proxy", {"access": {"allow": ["192.0.2.7"], "match": "ip_blocks"}}, "access.match: ip_blocks can't tell clients apart behind an HTTP proxy: there every connection comes from the proxy"),
    ("ipBlocks behind a TCP proxy", {"front": "tcp_proxy", "access": {"allow": ["192.0.2.7"], "match": "ip_blocks"}}, "behind a TCP proxy"),
    ("remoteIpBlocks without a hop", {"front": "node_port", "access": {"allow": ["192.0.2.7"], "match": "remote_ip_blocks"}}, "access.match: remote_ip_blocks needs a trusted hop, and front.kind is node_port"),
    ("no hop", {"front": {"kind": "http_proxy", "hops": 0}}, "front.hops: is 0, but kind is http_proxy"),
    ("hops without a proxy", {"front": {"kind": "network_lb", "hops": 1}}, "front.hops: is 1, but kind is network_lb"),
    ("proxies without one", {"front": {"kind": "node_port", "proxies": ["192.0.2.7"]}}, "front.proxies: is given, but kind is node_port"),
    ("a cloud without it", {"front": {"kind": "tcp_proxy", "provider": "gke"}}, "front.provider: gke makes no tcp_proxy for a Service. Choose one of: network_lb, http_proxy"),
    ("a cloud's node ports", {"front": {"kind": "node_port", "provider": "eks"}}, "eks makes no node_port for a Service"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        gateways({"main": entry})
    assert sentence in refusal.value.sentence
    assert refusal.value.where.startswith("edge_gateways[0] (main)")


ROUTES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("ipBlocks", {"access": {"deny": ["192.0.2.7"], "match": "ip_blocks"}}, {}, "edge_routes[0] (shop).access.match: ip_blocks can't tell"),
    ("passthrough behind hops", {"access": {"deny": ["192.0.2.7"]}, "upstream_tls": {"mode": "passthrough"}}, {}, "(shop).access: the gateway can't see an address in X-Forwarded-For when mode is passthrough"),
    ("passthrough and paths", {"access": {"deny": [{"paths": "/a"}]}, "upstream_tls": {"mode": "passthrough"}}, {"front": "node_port"}, "can't see paths, methods, claims and identities"),
    ("a shared wildcard", {"access": {"deny": ["192.0.2.7"]}, "hosts": ["*.shop.example.com"]}, {"istio_gateway": "a/b"}, "can't match *.shop.example.com together with a port"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "of", "sentence"), [row[1:] for row in ROUTES], ids=[row[0] for row in ROUTES])
def test_refused_of_a_route(entry: dict[str, Any], of: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        load([{**SHOP, **entry}], {"main": of})
    assert sentence in refusal.value.sentence


def test_every_cloud_has_fronts() -> None:
    for provider in clouds.PROVIDERS:
        assert clouds.kinds(provider)
        for kind in clouds.kinds(provider):
            assert gateway(front={"kind": kind, "provider": provider}).front.provider == provider


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda each: each.ipv4_mapped is None))  # type: ignore[union-attr]


@settings(max_examples=200, deadline=None)
@given(ADDRESSES, st.integers(0, 128))
def test_a_network_is_itself_or_refused_for_its_host_bits(address: Any, length: int) -> None:
    length = min(length, address.max_prefixlen)
    text = f"{address}/{length}"
    whole = ipaddress.ip_network(text, strict=False)
    entry = {"access": {"allow": [text]}}
    if whole.network_address == address:
        assert [rule.addresses for rule in allowed(gateway(**entry))] == [[str(whole)]]
    else:
        with pytest.raises(EdgeError, match="is not a network"):
            gateway(**entry)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_refused_or_an_address(text: str) -> None:
    try:
        made = gateway(access={"deny": [text], "allow_lockout": True})
    except EdgeError:
        return
    for rule in made.access.deny if made.access else []:
        for each in rule.addresses:
            assert str(ipaddress.ip_network(each)) == each


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        ADDRESSES.flatmap(lambda each: st.integers(8, each.max_prefixlen).map(lambda n: ipaddress.ip_network(f"{each}/{n}", strict=False))),
        min_size=2,
        max_size=4,
    )
)
def test_networks_in_one_list_are_apart_or_refused(found: list[Any]) -> None:
    apart = not any(a.version == b.version and a.overlaps(b) for i, a in enumerate(found) for b in found[i + 1 :])
    refused = None
    try:
        gateway(access={"allow": [str(each) for each in found]})
    except EdgeError as error:
        refused = error.sentence
    assert (refused is None) == apart or "IPv4 address in IPv6" in str(refused)
