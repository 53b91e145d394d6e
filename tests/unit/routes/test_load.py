# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes becomes complete routes, or is refused with its place named."""

# ruff: noqa: E501 - one refusal, one line
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils import _values as values
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.parts import KeyPair, SecretName
from plugins.module_utils._routes.schema import Hsts

SHOP: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public"},
    "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
    "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
}


def shop(**changes: Any) -> dict[str, Any]:
    return {**SHOP, **changes}


def test_a_path_takes_from_the_route_what_it_does_not_say() -> None:
    own = {"path": "/events", "proxy": {"buffering": "no", "read_timeout": "1h"}}
    whole = {"connect_timeout": "9s", "read_timeout": "9s", "keepalive": 3}
    (route,) = load([shop(paths=[*SHOP["paths"], {**SHOP["paths"][0], **own}], proxy=whole)])
    events, rest = route.paths
    assert events.proxy
    assert (events.proxy.buffering, events.proxy.read_timeout, events.proxy.connect_timeout) == (False, "1h", "9s")
    assert rest.proxy is None


def test_complete() -> None:
    (route,) = load([SHOP])
    assert route.as_dict() == {
        "name": "shop",
        "host": "shop.example.com",
        "hosts": ["shop.example.com"],
        "on": "edge_nginx",
        "gateway": {
            "name": "main",
            "namespace": "istio-system",
            "service": "istio-ingressgateway",
            "port": "https",
            "address": "node_ports",
            "addresses": [],
            "address_types": ["InternalIP", "ExternalIP", "Hostname"],
            "istio_gateway": None,
            "selector": {},
            "front": {"kind": "http_proxy", "hops": 1, "provider": None, "scope": "gateway", "proxies": [], "health_checks": []},
            "access": None,
        },
        "listen": {
            "mode": "terminate",
            "port": 443,
            "http_port": 80,
            "tls": True,
            "http2": True,
            "http3": False,
            "redirect_http": True,
            "acme_webroot": None,
            "hsts": None,
            "certificate": {"secret": {"namespace": "edgemesh", "name": "shop-public"}, "cert_file": None, "key_file": None},
        },
        "upstream_tls": {
            "mode": "mutual",
            "server_name": "shop.example.com",
            "verify": True,
            "verify_depth": 3,
            "server_ca": {"secret": {"namespace": "edgemesh", "name": "edge-ca"}, "file": None},
            "client_certificate": {"secret": {"namespace": "edgemesh", "name": "edge-client"}, "cert_file": None, "key_file": None},
            "client_names": ["edge.example.com"],
            "client_ca": {"secret": {"namespace": "edgemesh", "name": "edge-ca"}, "file": None},
            "credential": "edge-shop",
        },
        "paths": [{"path": "/", "match": "prefix", "service": {"namespace": "shop", "name": "web", "port": 8000}, "proxy": None}],
        "proxy": {
            "protocol": "http",
            "connect_timeout": "5s",
            "read_timeout": "60s",
            "send_timeout": "60s",
            "client_max_body_size": "",
            "buffering": True,
            "request_buffering": True,
            "websocket": True,
            "keepalive": 64,
            "proxy_protocol": False,
            "next_upstream": ["error", "timeout"],
        },
        "rate_limit": None,
        "access_log": "default",
        "access": None,
        "probe": {"path": "/", "status": 200, "method": "GET"},
        "list_name": "default",
        "labels": {
            "app.kubernetes.io/managed-by": "edgemesh",
            "edgemesh.nginx-istio/list": "default",
            "edgemesh.nginx-istio/route": "shop",
        },
    }


def texts(value: Any) -> Any:
    """Every leaf as a survey, or ``-e name=value``, would hand it over."""
    if isinstance(value, dict):
        return {key: texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_every_value_as_text() -> None:
    full = shop(
        hosts=["www.example.com"],
        listen={"certificate": "edge/shop", "port": 8443, "http2": False, "hsts": {"max_age": 60, "preload": True}, "acme_webroot": None},
        proxy={"keepalive": 8, "websocket": False, "read_timeout": "2m"},
        probe={"status": 418},
    )
    assert load(texts([full])) == load([full])
    assert load(json.dumps([full])) == load([full])
    # lists as lines and by commas, dictionaries as JSON
    split = shop(host="", hosts="shop.example.com\nwww.example.com", upstream_tls=json.dumps(SHOP["upstream_tls"]))
    assert load([split]) == load([shop(hosts="shop.example.com, www.example.com")])


def passed(**changes: Any) -> dict[str, Any]:
    return shop(**{"listen": {"mode": "passthrough"}, "upstream_tls": {"mode": "simple"}, **changes})


def test_tls_passed_on_is_the_gateways() -> None:
    (route,) = load(
        [passed(upstream_tls={"mode": "mutual", "client_names": ["a.example"]}, proxy={"proxy_protocol": "yes", "read_timeout": "1h"})]
    )
    listen = route.listen
    assert (listen.port, listen.http2, listen.certificate, listen.redirect_http) == (443, False, None, True)
    assert (route.proxy.proxy_protocol, route.upstream_tls.client_certificate) == (True, None)
    again = {key: value for key, value in route.as_dict().items() if key not in ("labels", "gateway")}
    assert load([again]) == [route]


UNFIT = [
    ({"listen": {"mode": "passthrough", "certificate": "shop-public"}}, "`listen: {mode: passthrough, certificate: shop-public}`"),
    ({"listen": {"mode": "passthrough", "tls": False}}, "`listen: {mode: passthrough, tls: false}`"),
    ({"upstream_tls": {"mode": "mutual", "client_certificate": "edge-client"}}, "`upstream_tls: {mode: mutual, client_certificate: edge-client}`"),
    ({"upstream_tls": {"server_name": "gw.example.com"}}, "`upstream_tls: {server_name: gw.example.com}`"),
    ({"proxy": {"client_max_body_size": "1m"}}, "`proxy: {client_max_body_size: 1m}`"),
    ({"rate_limit": "10r/s"}, "`rate_limit: 10r/s`"),
    ({"host": "default"}, "`host: default`"),
    ({"listen": {"certificate": "shop-public"}, "proxy": {"proxy_protocol": True}}, "`listen: {certificate: shop-public}`, `proxy: {proxy_protocol: true}`"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "shown"), UNFIT, ids=[row[1] for row in UNFIT])
def test_what_a_mode_has_no_use_for_is_refused_as_documented(changes: dict[str, Any], shown: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        load([passed(**changes)])
    assert f"| {shown} | {refusal.value.sentence} |\n" in (Path(__file__).parents[3] / "docs" / "routes.md").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"proxy": {"keepalive": 3}}, {"proxy": {"protocol": "grpc"}}, {"proxy": {"websocket": False}}, {"listen": {"mode": "passthrough", "hsts": True}}, {"listen": {"mode": "passthrough", "http3": True}},
        {"paths": [{**SHOP["paths"][0], "proxy": {"buffering": False}}]}, {"hosts": ["hostnames"]}, {"hosts": ["volatile"]}, {"hosts": ["include"]},
        {"listen": {"mode": "passthrough", "http_port": 443}},
    ],
)  # fmt: skip
def test_further_refusals_of_the_mode(changes: dict[str, Any]) -> None:
    with pytest.raises(EdgeError):
        load([passed(**changes)])


def test_routes_by_name() -> None:
    rest = {key: value for key, value in SHOP.items() if key != "name"}
    assert load({"shop": rest}) == load([SHOP])


def test_output_is_input() -> None:
    """What the filter returned may be fed to it again, by a role that is called with it."""
    (route,) = load([SHOP])
    again = {key: value for key, value in route.as_dict().items() if key not in ("labels", "gateway")}
    assert load([again]) == [route]


def test_yaml_reads_an_unquoted_on_as_true() -> None:
    assert load([{**SHOP, True: "dmz"}])[0].on == "dmz"


def test_without_tls() -> None:
    listen = load([shop(listen={"tls": "no"})])[0].listen
    assert (listen.port, listen.tls, listen.http2, listen.redirect_http, listen.certificate) == (80, False, False, False, None)


def test_most_specific_path_first() -> None:
    def path(path: str, match: str = "prefix") -> dict[str, Any]:
        return {"path": path, "match": match, "service": {"namespace": "a", "name": "b", "port": 1}}

    (route,) = load([shop(paths=[path("/"), path("/api"), path("/api/v1"), path("/", "exact")])])
    assert [(entry.match, entry.path) for entry in route.paths] == [
        ("exact", "/"), ("prefix", "/api/v1"), ("prefix", "/api"), ("prefix", "/"),
    ]  # fmt: skip


REFUSED: list[tuple[str, Any, Any, str]] = [
    ("misspelt key", [shop(lisen={})], None, "edge_routes[0] (shop).lisen: is not a known key. Did you mean listen?"),
    ("misspelt key below", [shop(listen={"certificat": "x"})], None, "edge_routes[0] (shop).listen.certificat: is not a known key. Did you mean certificate?"),
    ("semicolon", [shop(host="shop.example.com;")], None, "edge_routes[0] (shop).host: 'shop.example.com;' is not a host name"),
    ("port", [shop(listen={"certificate": "c", "port": 70000})], None, "edge_routes[0] (shop).listen.port: 70000 is not a port. Write a number from 1 to 65535"),
    ("service port", [shop(paths=[{"service": {"namespace": "a", "name": "b", "port": "70000"}}])], None, "(shop).paths[0].service.port: '70000' is not a port"),
    ("type", [shop(hosts={"a": 1})], None, "edge_routes[0] (shop).hosts: is a dictionary, must be a list"),
    ("type of a leaf", [shop(host=["a.b"])], None, "edge_routes[0] (shop).host: is a list, must be a host name"),
    ("boolean port", [shop(listen={"certificate": "c", "port": True})], None, "listen.port: is a boolean, must be a port"),
    ("type of the list", 5, None, "edge_routes: is an integer, must be a list"),
    ("type of an entry", ["shop"], None, "edge_routes[0]: is a text that is not valid JSON"),
    ("broken JSON", '[{"name": "a"', None, "edge_routes: is a text that is not valid JSON (line 1, column 14)"),
    ("boolean", [shop(listen={"certificate": "c", "http2": "maybe"})], None, "(shop).listen.http2: 'maybe' is not true or false"),
    ("mode", [shop(upstream_tls={"mode": "mutal"})], None, '.upstream_tls.mode: "mutal" is not one of simple, mutual, passthrough. Did you mean mutual?'),
    ("mutual without certificate", [shop(upstream_tls={"mode": "mutual"})], None, "(shop).upstream_tls.client_certificate: is missing, and mode is mutual"),
    ("simple with certificate", [shop(upstream_tls={"client_certificate": "c"})], None, "is given, but mode is simple"),
    ("client CA in a file", [shop(upstream_tls={"mode": "mutual", "client_certificate": "c", "server_ca": {"file": "/ca.crt"}})], None, "client_ca: must name a Secret"),
    ("no certificate", [shop(listen={})], None, "edge_routes[0] (shop).listen.certificate: is missing"),
    ("certificate without TLS", [shop(listen={"tls": False, "certificate": "c"})], None, "listen.certificate: is given, but tls is off"),
    ("HTTP/3 without TLS", [shop(listen={"tls": False, "http3": True})], None, "listen.http3: is given, but tls is off"),
    ("half a key pair", [shop(listen={"certificate": {"cert_file": "/a.crt"}})], None, "needs either secret, or both cert_file and key_file"),
    ("both forms", [shop(listen={"certificate": {"secret": "a", "cert_file": "/a.crt", "key_file": "/a.key"}})], None, "needs either secret"),
    ("relative file", [shop(listen={"certificate": {"cert_file": "a.crt", "key_file": "/a"}})], None, "cert_file: 'a.crt' is not an absolute path"),
    ("same ports", [shop(listen={"certificate": "c", "http_port": 443})], None, "listen.http_port: 443 is the TLS port too"),
    ("no name", [{key: value for key, value in SHOP.items() if key != "name"}], None, "edge_routes[0].name: is missing"),
    ("no host", [shop(host="")], None, "edge_routes[0] (shop).host: is missing"),
    ("no paths", [shop(paths=[])], None, "(shop).paths: is an empty list"),
    ("wildcard first", [shop(host="", hosts=["*.example.com"])], None, "SNI and probes need a full name"),
    ("path twice", [shop(paths=SHOP["paths"] * 2)], None, "(shop).paths: / (prefix) is listed twice"),
    ("name twice", [SHOP, shop(host="b.example.com")], None, 'edge_routes[1].name: "shop" is taken by edge_routes[0]'),
    ("host twice", [SHOP, shop(name="b")], None, 'edge_routes[1] (b).hosts: "shop.example.com" belongs to route shop already'),
    ("SNI twice", [SHOP, shop(name="b", host="b.c", upstream_tls={"server_name": "shop.example.com"})], None, "is the SNI of route shop too"),
    ("unknown gateway", [shop(gateway="man")], {"main": {}, "b": {}}, 'edge_routes[0] (shop).gateway: "man" is not in edge_gateways. Did you mean main?'),
    ("which gateway", [SHOP], {"main": {}, "b": {}}, "is missing, and there are several. Choose one of: main, b"),
    ("gateway key", [SHOP], {"main": {"namspace": "x"}}, "edge_gateways[0] (main).namspace: is not a known key. Did you mean namespace?"),
    ("addresses", [SHOP], {"main": {"address": "addresses"}}, "edge_gateways[0] (main).addresses: and address disagree"),
    ("address without port", [SHOP], {"main": {"addresses": "192.0.2.1"}}, "addresses[0]: '192.0.2.1' is not an address with a port"),
    ("cacert credential", [shop(upstream_tls={"credential": "a-cacert"})], None, "ends in -cacert"),
    ("passthrough with paths", [shop(upstream_tls={"mode": "passthrough"}, paths=[{**SHOP["paths"][0], "path": "/a"}])], None, "can't see paths"),
    ("gRPC without HTTP/2", [shop(listen={"certificate": "c", "http2": False}, proxy={"protocol": "grpc"})], None, "grpc needs HTTP/2 from clients"),
    ("gRPC path without TLS", [shop(listen={"tls": False}, paths=[{**SHOP["paths"][0], "proxy": {"protocol": "grpc"}}])], None, "grpc needs HTTP/2"),
    ("a path's keepalive", [shop(paths=[{**SHOP["paths"][0], "proxy": {"keepalive": 1}}])], None, "paths[0].proxy.keepalive: is not a known key"),
    ("size", [shop(proxy={"client_max_body_size": "10 MB"})], None, "(shop).proxy.client_max_body_size: '10 MB' is not a size. Write a number of bytes"),
    ("rate", [shop(rate_limit={"rate": "10/s"})], None, "(shop).rate_limit.rate: '10/s' is not a rate. Write requests per second or minute"),
    ("burst of nothing", [shop(rate_limit={"burst": 5, "connections": 2})], None, "(shop).rate_limit.rate: is missing"),
    ("line break", [shop(name="a\nb")], None, "holds a control character or a line break"),
    ("key material", [shop(gateway="-----BEGIN PRIVATE KEY-----")], None, "what looks like key material is not a name"),
]  # fmt: skip


@pytest.mark.parametrize(("routes", "gateways", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(routes: Any, gateways: Any, sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        load(routes, gateways)
    assert sentence in refusal.value.sentence


def test_two_groups_may_not_share_a_host_at_one_gateway_but_at_two() -> None:
    other = shop(name="b", on="other", gateway="b")
    assert len(load([shop(gateway="a"), other], {"a": {}, "b": {}})) == 2
    with pytest.raises(EdgeError, match="belongs to route shop already"):
        load([shop(gateway="a"), {**other, "gateway": "a"}], {"a": {}, "b": {}})


def test_routes_that_attach_may_share_an_sni() -> None:
    tls = {"server_name": "gw.example.com"}
    pair = [shop(upstream_tls=tls), shop(name="b", host="b.example.com", upstream_tls=tls)]
    with pytest.raises(EdgeError, match="one certificate for one SNI"):
        load(pair)
    assert len(load(pair, {"main": {"istio_gateway": "istio-system/public"}})) == 2


SURVEY = {
    "edge_host": "shop.example.com",
    "edge_service": "web",
    "edge_service_namespace": "shop",
    "edge_service_port": "8000",
    "edge_mode": "mutual",
    "edge_client_certificate": "edge-client",
    "edge_client_names": "edge.example.com",
    "edge_hsts": "",
}


def test_survey() -> None:
    assert load([], None, SURVEY) == load([SHOP])
    assert load("", {}, SURVEY) == load([SHOP])


def test_survey_of_everything() -> None:
    (route,) = load(None, None, {
        **SURVEY, "edge_name": "web", "edge_hosts": "a.example.com\nb.example.com", "edge_gateway": "dmz", "edge_gateway_namespace": "dmz",
        "edge_gateway_service": "gw", "edge_gateway_port": "tls", "edge_gateway_addresses": "192.0.2.1:443", "edge_gateway_hops": "2",
        "edge_probe_status": "418", "edge_path": "/api", "edge_hsts": "true", "edge_server_name": "gw.example.com",
    })  # fmt: skip
    assert (route.name, route.hosts) == ("web", ["shop.example.com", "a.example.com", "b.example.com"])
    assert (route.gateway.name, route.gateway.namespace, route.gateway.front.hops) == ("dmz", "dmz", 2)
    assert (route.probe.status, route.paths[0].path, route.listen.hsts) == (418, "/api", Hsts(max_age=31536000))
    assert route.listen.certificate == KeyPair(secret=SecretName("edgemesh", "web-public"))


def test_survey_chooses_a_gateway() -> None:
    assert load(None, {"a": {}, "b": {"namespace": "b"}}, {**SURVEY, "edge_gateway": "b"})[0].gateway.namespace == "b"


def test_survey_passes_tls_on() -> None:
    flat = {**SURVEY, "edge_listen_mode": "passthrough", "edge_client_certificate": "", "edge_proxy_protocol": "true"}
    (route,) = load(None, None, flat)
    assert (route.listen.mode, route.listen.certificate, route.proxy.proxy_protocol) == ("passthrough", None, True)


def test_survey_without_tls() -> None:
    assert load(None, None, {**SURVEY, "edge_tls": "false"})[0].listen.port == 80


@pytest.mark.parametrize(
    ("flat", "sentence"),
    [
        ({"edge_host": "a;b"}, "edge_host: 'a;b' is not a host name"),
        ({"edge_host": "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n"}, "edge_host: what looks like key material is not a host name"),
        ({"edge_service_port": "70000"}, "edge_service_port: '70000' is not a port"),
        ({"edge_service": ""}, "edge_service: is missing"),
        ({"edge_client_certificate": ""}, "edge_client_certificate: is missing, and mode is mutual"),
        ({"edge_client_names": "a,b c"}, "edge_client_names: 'b c' is not a host name"),
        ({"edge_gateway_namespace": "A"}, 'edge_gateway_namespace: "A" is not a name that Kubernetes takes'),
    ],
)
def test_survey_refusals_name_the_variable(flat: dict[str, str], sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        load(None, None, {**SURVEY, **flat})
    assert refusal.value.sentence.startswith(sentence)


def test_survey_beside_a_list() -> None:
    with pytest.raises(EdgeError, match="edge_host are both given"):
        load([SHOP], None, SURVEY)
    # flat variables without a host belong to somebody else
    assert load([SHOP], None, {"edge_mode": "simple"}) == load([SHOP])


# Properties: whatever stands in any place, the outcome is complete routes or one EdgeError, and text that got through is safe.

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12), st.sampled_from(["[", "{", "[1", '{"a":1}', "a;b", "-----BEGIN"]),
    st.lists(st.text(max_size=3), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
PLACES: list[tuple[Any, ...]] = [
    ("name",), ("host",), ("hosts",), ("on",), ("gateway",), ("listen",), ("listen", "port"), ("listen", "certificate"), ("listen", "hsts"),
    ("listen", "acme_webroot"), ("upstream_tls",), ("upstream_tls", "mode"), ("upstream_tls", "server_ca"), ("upstream_tls", "client_names"),
    ("upstream_tls", "credential"), ("paths",), ("paths", 0), ("paths", 0, "path"), ("paths", 0, "service"), ("paths", 0, "service", "port"),
    ("proxy",), ("proxy", "read_timeout"), ("proxy", "next_upstream"), ("access",), ("probe", "status"), ("unknown",),
]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PLACES), JUNK)
def test_any_value_anywhere(place: tuple[Any, ...], junk: Any) -> None:
    entry = json.loads(json.dumps({**SHOP, "probe": {}, "proxy": {}}))
    target = entry
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = junk
    refusal = None
    try:
        routes = load([entry])
    except EdgeError as error:
        refusal = error
    if refusal:
        assert "edge_routes" in refusal.where
        return
    assert load(json.dumps([entry])) == routes
    for route in routes:
        for host in route.hosts:
            assert values.hostname(host, wildcard=True) == host
        assert not set(json.dumps({key: value for key, value in route.as_dict().items() if key != "access"})) & set(";$\n\\")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_any_host_is_refused_or_itself(host: str) -> None:
    try:
        (route,) = load([shop(host=host)])
    except EdgeError:
        return
    assert values.hostname(host.strip()) == route.host
