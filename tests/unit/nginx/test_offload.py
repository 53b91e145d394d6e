# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx is told for routes: the rendered configuration, read back."""

from __future__ import annotations

import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from nginx_rendering import ADDRESSES, MUTUAL, SERVICE, blocks, depends_on, plan, read_back, render, route, servers

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import offload
from plugins.module_utils._routes.load import load


def served(*routes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The one server of the only route."""
    return servers(render(plan(*routes, **settings)))[-1]


def test_the_way_to_the_gateway() -> None:
    server = served(route(**MUTUAL))
    way = server["location /"]
    one_word = {name: args[0][0] for name, args in way.items() if len(args) == 1 and len(args[0]) == 1}
    material = "/etc/edgemesh/tls/edgemesh"
    expected = {
        "proxy_http_version": "1.1", "proxy_ssl_server_name": "on", "proxy_ssl_name": "shop.example.com",
        "proxy_ssl_verify": "on", "proxy_ssl_verify_depth": "3", "proxy_ssl_trusted_certificate": f"{material}/edge-ca/ca.crt",
        "proxy_ssl_certificate": f"{material}/edge-client/tls.crt", "proxy_ssl_certificate_key": f"{material}/edge-client/tls.key",
        "proxy_connect_timeout": "5s", "proxy_read_timeout": "60s", "proxy_redirect": "off",
    }  # fmt: skip
    assert expected.items() <= one_word.items()
    assert way["proxy_ssl_protocols"] == [["TLSv1.2", "TLSv1.3"]]
    assert way["proxy_next_upstream"] == [["error", "timeout"]]
    assert dict(way["proxy_set_header"]) == {
        "Host": "$host", "Upgrade": "$edge_upgrade", "Connection": "$edge_connection", "X-Real-IP": "$remote_addr",
        "X-Forwarded-For": "$remote_addr", "X-Forwarded-Proto": "$scheme", "X-Forwarded-Host": "$host",
        "X-Forwarded-Client-Cert": "", "Forwarded": "",
    }  # fmt: skip
    assert "proxy_set_header" not in server, "a header set in the location would drop it"


def test_the_upstream_has_every_address_and_keeps_connections() -> None:
    made = plan(route())
    block = next(one for one in read_back(render(made)) if one["directive"] == "upstream")
    (upstream,) = blocks(made, "upstream")
    assert block["args"] == [upstream["name"]]
    found = [(one["directive"], one["args"]) for one in block["block"]]
    assert [args for name, args in found if name == "server"] == [[address] for address in ADDRESSES["main"]]
    assert ("keepalive", ["64"]) in found
    assert ("keepalive_timeout", ["55s"]) in found
    assert ("zone", [upstream["name"], "80k"]) in found
    assert served(route())["location /"]["proxy_pass"] == [[f"https://{upstream['name']}"]]
    assert "keepalive" not in render(plan(route(proxy__keepalive=0)))


def test_the_front() -> None:
    server = served(route(listen__hsts=True))
    assert server["listen"] == [["443", "ssl", "http2"]]
    assert server["ssl_protocols"] == [["TLSv1.2", "TLSv1.3"]]
    assert server["ssl_certificate_key"] == [["/etc/edgemesh/tls/edgemesh/shop-public/tls.key"]]
    assert server["add_header"] == [["Strict-Transport-Security", "max-age=31536000", "always"]]
    hsts = {"max_age": 60, "include_subdomains": True, "preload": True}
    assert served(route(listen__hsts=hsts))["add_header"][0][1] == "max-age=60; includeSubDomains; preload"
    assert "add_header" not in served(route())


@pytest.mark.parametrize(
    ("version", "words", "directive"),
    [("", ["443", "ssl", "http2"], None), ("1.22.1", ["443", "ssl", "http2"], None), ("1.25.0", ["443", "ssl", "http2"], None),
     ("1.25.1", ["443", "ssl"], [["on"]]), ("1.26.3", ["443", "ssl"], [["on"]]), ("1.30", ["443", "ssl"], [["on"]])],
)  # fmt: skip
def test_http2_in_each_versions_own_way(version: str, words: list[str], directive: Any) -> None:
    for server in (served(route(), version=version), servers(render(plan(route(), version=version)))[0]):
        assert server["listen"] == [words]
        assert server.get("http2") == directive
    off = served(route(listen__http2=False), version=version)
    assert (off["listen"], off.get("http2")) == ([["443", "ssl"]], None)


def test_the_plain_port_redirects_and_lets_acme_in() -> None:
    redirect = servers(render(plan(route())))[2]
    assert redirect["listen"] == [["80"]]
    assert redirect["location /"]["return"] == [["301", "https://$host$request_uri"]]
    assert redirect["location /.well-known/acme-challenge/"]["root"] == [["/var/www/html"]]
    redirect = servers(render(plan(route(listen__port=8443, listen__acme_webroot="/srv/acme"))))[2]
    assert redirect["location /"]["return"] == [["301", "https://$host:8443$request_uri"]]
    assert redirect["location /.well-known/acme-challenge/"]["root"] == [["/srv/acme"]]
    assert len(servers(render(plan(route(listen__redirect_http=False))))) == 2
    only_acme = servers(render(plan(route(listen__redirect_http=False, listen__acme_webroot="/srv/acme"))))[2]
    assert only_acme["location /"]["return"] == [["404"]]
    assert "location /.well-known/acme-challenge/" not in servers(render(plan(route(), acme_webroot="")))[2]


def test_plain_http_as_in_the_recipe() -> None:
    made = plan(route(listen={"tls": False}))
    assert [site["redirect"] for site in blocks(made, "site")] == [None]
    server = servers(render(made))[-1]
    assert server["listen"] == [["80"]]
    assert not [name for name in server if name.startswith("ssl")]
    assert server["location /"]["proxy_ssl_verify"] == [["on"]]


def test_unknown_names_are_refused_first_on_every_port() -> None:
    refusals = servers(render(plan(route(), route(name="b", host="b.example.com", listen={"tls": False, "port": 8080}))))[:3]
    assert [server["listen"][0][0] for server in refusals] == ["443", "80", "8080"], "in the order of their files' names"
    assert all(server["return"] == [["421"]] and server["server_name"] == [[""]] for server in refusals)
    assert [server.get("ssl_reject_handshake") for server in refusals] == [[["on"]], None, None]
    assert not any("default_server" in words for server in refusals for words in server["listen"])
    assert len(servers(render(plan(route(), refuse_unknown=False)))) == 2


def test_ipv6_beside_ipv4() -> None:
    assert served(route(), ipv6=True)["listen"] == [["443", "ssl", "http2"], ["[::]:443", "ssl", "http2"]]


def test_websocket_only_and_not_at_all() -> None:
    maps = [one for one in read_back(render(plan(route()))) if one["directive"] == "map"]
    assert [(one["directive"], one["args"]) for one in maps[0]["block"]] == [("default", [""]), ("~*^websocket$", ["websocket"])]
    headers = dict(served(route(proxy__websocket=False))["location /"]["proxy_set_header"])
    assert (headers["Connection"], headers.get("Upgrade")) == ("", None)


def test_verification_only_goes_by_asking() -> None:
    way = served(route(upstream_tls__verify=False))["location /"]
    assert way["proxy_ssl_verify"] == [["off"]]
    assert "proxy_ssl_trusted_certificate" not in way


def test_material_comes_from_secrets_or_files() -> None:
    made = plan(route(**MUTUAL), route(name="b", host="b.example.com", listen__certificate="edge-ca"))
    folder = "/etc/edgemesh/tls/edgemesh"
    assert {export["secret"]["name"]: sorted(set(export) - {"secret"}) for export in made["exports"]} == {
        "shop-public": ["cert", "key"], "edge-client": ["cert", "key"], "edge-ca": ["ca", "cert", "key"],
    }  # fmt: skip
    assert depends_on(made) == {
        f"{folder}/{name}" for name in ("shop-public/tls.crt", "shop-public/tls.key", "edge-client/tls.crt", "edge-client/tls.key",
                                        "edge-ca/ca.crt", "edge-ca/tls.crt", "edge-ca/tls.key")
    }  # fmt: skip
    files = route(listen__certificate={"cert_file": "/acme/c.pem", "key_file": "/acme/k.pem"}, upstream_tls__server_ca={"file": "/ca.pem"})
    made = plan(files)
    assert made["exports"] == ()
    (part,) = made["parts"]
    assert (part["depends_on"], part["material"]) == (("/acme/c.pem", "/acme/k.pem", "/ca.pem"), ()), "other people's files stay"


IDENTITIES = {
    "plain": {},
    "client": MUTUAL,
    "other client": {**MUTUAL, "upstream_tls__client_certificate": "other-client"},
    "client file": {**MUTUAL, "upstream_tls__client_certificate": {"cert_file": "/a.pem", "key_file": "/a.key"}},
    "other SNI": {"upstream_tls__server_name": "other.example.com"},
    "other CA": {"upstream_tls__server_ca": "other-ca"},
    "other depth": {"upstream_tls__verify_depth": 2},
    "unverified": {"upstream_tls__verify": False},
    "other gateway": {"gateway": "second"},
}


def test_one_upstream_for_one_identity() -> None:
    gateways = {"main": {}, "second": {"service": "second"}}
    base = {"upstream_tls__server_name": "shop.example.com", "gateway": "main"}
    # each loaded alone: which of them one gateway could serve together is another matter
    routes = [
        load([route(**{**base, "name": f"r{number}{twin}", "host": f"r{number}{twin}.example.com", **changes})], gateways)[0]
        for number, changes in enumerate(IDENTITIES.values())
        for twin in "ab"
    ]
    made = offload(routes, {**ADDRESSES, "second": ADDRESSES["main"]}, Settings())
    used = [file.it.server.locations[0].upstream for file in made.http if file.kind == "site"]
    assert used[0::2] == used[1::2], "equal identities share"
    assert len(set(used[0::2])) == len(IDENTITIES), "different ones never do"
    assert len([file for file in made.http if file.kind == "upstream"]) == len(IDENTITIES)


def test_each_protocol_has_connections_of_its_own() -> None:
    grpc = {"path": "/a", "service": SERVICE, "proxy": {"protocol": "grpc"}}
    made = plan(route(**MUTUAL, paths=[{"service": SERVICE}, grpc, {**grpc, "path": "/b"}]))
    plain, streams = blocks(made, "upstream")
    assert streams["name"] == f"{plain['name']}_grpc"
    way = servers(render(made))[-1]
    assert [way[f"location {path}"].get("grpc_pass") for path in ("/", "/a", "/b")] == [None, *[[[f"grpcs://{streams['name']}"]]] * 2]
    assert way["location /a"]["grpc_ssl_certificate"] == way["location /"]["proxy_ssl_certificate"]
    assert way["location /a"]["grpc_ssl_verify"] == [["on"]]
    assert way["location /a"]["client_max_body_size"] == [["0"]], "a stream has no end"
    assert not [name for name in way["location /a"] if name.startswith("proxy")]
    assert "grpc" not in render(plan(route()))


def test_paths_of_their_own_and_nothing_but_those() -> None:
    own = {"service": SERVICE, "proxy": {"buffering": False, "read_timeout": "1h"}}
    made = plan(route(paths=[{"service": SERVICE}, {"path": "/events/", **own}, {"path": "/e", "match": "exact", **own},
                             {"path": "/plain", "service": SERVICE}]))  # fmt: skip
    way = servers(render(made))[-1]
    assert {name for name in way if name.startswith("location")} == {
        "location /",
        "location /events/",
        "location = /events",
        "location = /e",
    }
    assert (way["location /events/"]["proxy_buffering"], way["location /events/"]["proxy_read_timeout"]) == ([["off"]], [["1h"]])
    assert "proxy_buffering" not in way["location = /events"], "the mesh's to answer, not a redirect of nginx's"
    whole = servers(render(plan(route(paths=[own]))))[-1]
    assert whole["location /"]["proxy_buffering"] == [["off"]]
    assert [name for name in whole if name.startswith("location")] == ["location /"]


def test_limits_and_logs() -> None:
    text = render(plan(route(rate_limit="10r/s"), route(name="b", host="b.example.com", rate_limit={"connections": 3}, access_log="json")))
    zones = {one["directive"]: one["args"] for one in read_back(text) if one["directive"].startswith("limit")}
    assert zones == {
        "limit_req_zone": ["$binary_remote_addr", "zone=edge_shop:10m", "rate=10r/s"],
        "limit_conn_zone": ["$binary_remote_addr", "zone=edge_b_at_once:10m"],
    }  # fmt: skip
    second, first = servers(text)[3::2]
    assert (first["limit_req"], first.get("limit_conn"), first.get("access_log")) == ([["zone=edge_shop"]], None, None)
    assert (second["limit_conn"], second.get("limit_req")) == ([["edge_b_at_once", "3"]], None)
    assert second["access_log"] == [["/var/log/nginx/edgemesh.log", "edge_b"]]
    assert served(route(access_log="off"))["access_log"] == [["off"]]
    burst = served(route(rate_limit={"rate": "1r/s", "burst": 5}))
    assert (burst["limit_req"], burst["limit_req_status"]) == ([["zone=edge_shop", "burst=5", "nodelay"]], [["429"]])


def test_names_are_resolved_again_by_nginx_or_by_us() -> None:
    named = {"main": ["gw.example.com:443", "192.0.2.1:443"]}
    new = plan(route(), version="1.27.3", upstreams=named, resolvers=["192.0.2.53", "2001:db8::53"])
    block = {
        one["directive"]: one["args"] for one in next(one for one in read_back(render(new)) if one["directive"] == "upstream")["block"]
    }
    assert block["resolver"] == ["192.0.2.53", "[2001:db8::53]"]
    assert blocks(new, "upstream")[0]["servers"] == ("gw.example.com:443 resolve", "192.0.2.1:443")
    assert new["lookup"] == ()
    for settings in ({"version": "1.26.3", "resolvers": ["192.0.2.53"]}, {"version": "1.27.3", "resolvers": []}):
        old = plan(route(), upstreams=named, **settings)
        assert (old["lookup"], blocks(old, "upstream")[0]["servers"]) == (("gw.example.com",), ("gw.example.com:443", "192.0.2.1:443"))
        assert "resolver" not in render(old)
    for order in (1, -1):
        answers = {"gw.example.com": ["192.0.2.9", "192.0.2.8", "2001:db8::8"][::order]}
        found = blocks(plan(route(), upstreams=named, resolved=answers), "upstream")[0]["servers"]
        assert found == ("192.0.2.8:443", "192.0.2.9:443", "[2001:db8::8]:443", "192.0.2.1:443"), "whatever the answers' order"


def test_pools_of_other_sizes_and_other_addresses_are_other_upstreams() -> None:
    """So that no route's file, and no upstream, depends on other routes or lists."""

    def names(*changes: dict[str, Any], **more: Any) -> list[str]:
        routes = [
            route(**{"name": f"r{number}", "host": f"r{number}.example.com", "upstream_tls__server_name": "one.example.com", **change})
            for number, change in enumerate(changes)
        ]
        loaded = [load([each])[0] for each in routes]
        return [file.it.name for file in offload(loaded, more.get("upstreams", ADDRESSES), Settings()).http if file.kind == "upstream"]

    (one,) = names({}, {})
    first, smaller = names({}, {"proxy__keepalive": 8})
    assert first == one != smaller
    assert names({}, upstreams={"main": ["192.0.2.99:30443"]}) != [one]


def test_what_else_a_gateway_says_changes_no_upstreams_name() -> None:
    plain = blocks(plan(route()), "upstream")
    gateways = {"main": {"selector": {"istio": "other"}, "port": "443", "front": {"hops": 2}, "access": {"deny": ["203.0.113.0/24"]}}}
    assert blocks(plan(route(), gateways=gateways), "upstream") == plain


def test_addresses() -> None:
    with pytest.raises(EdgeError) as caught:
        plan(route(), upstreams={})
    assert caught.value.where == "edge_routes (shop).gateway"
    made = plan(route(), upstreams={}, gateways={"main": {"addresses": ["gw.example.com:443"]}})
    assert blocks(made, "upstream")[0]["servers"] == ("gw.example.com:443",)
    for unknown in ({}, {"main": ["(known after apply)"]}):
        text = render(plan(route(), upstreams=unknown, check=True))
        assert "# (known after apply)" in text
        assert read_back(text)
    with pytest.raises(EdgeError) as caught:
        plan(route(), upstreams={"main": ["192.0.2.1:70000"]})
    assert caught.value.where == "nginx_offload_upstreams.main[0]"
    twice = plan(route(), upstreams={"main": ["192.0.2.1:1", "192.0.2.1:1"]})
    assert blocks(twice, "upstream")[0]["servers"] == ("192.0.2.1:1",)


def test_long_names_get_a_table_that_holds_them() -> None:
    longer, longest = route(hosts=["x" * 41 + ".example.com"]), route(name="b", host=".".join(["x" * 60] * 3))
    assert "bucket_size" not in render(plan(route()))
    assert "server_names_hash_bucket_size 128;" in render(plan(longer))
    for routes in ([longer, longest], [longest, longer]):
        text = render(plan(*routes))
        assert "server_names_hash_bucket_size 512;" in text
        assert text.count("bucket_size") == 1, "the largest holds for all"


H3 = {"version": "1.26.3", "configured": "configure arguments: --with-http_v2_module --with-http_v3_module\n"}


def test_http3_beside_tcp() -> None:
    routes = [
        route(listen__http3=True), route(name="b", host="b.example.com", listen__http3=True),
        route(name="c", host="c.example.com"), route(name="d", host="d.example.com", listen__port=8443, listen__http_port=8080),
    ]  # fmt: skip
    whole = plan(*routes, ipv6=True, **H3)
    found = servers(render(whole))
    made_first, *tcp = [server for server in found if {"ssl", "quic"} & {*server["listen"][0]}]
    # the server that refuses unknown names is the first on the port, and says how its socket is made
    assert (made_first["listen"], made_first["server_name"]) == ([["443", "quic", "reuseport"], ["[::]:443", "quic", "reuseport"]], [[""]])
    assert made_first["ssl_reject_handshake"] == [["on"]]
    by_name = {(server["server_name"][0][0], server["listen"][0][0]): server for server in tcp}
    quic = {key: [words for words in server["listen"] if "quic" in words] for key, server in by_name.items()}
    assert quic == {
        ("", "443"): [], ("", "8443"): [], ("c.example.com", "443"): [], ("d.example.com", "8443"): [],
        ("shop.example.com", "443"): [["443", "quic"], ["[::]:443", "quic"]],
        ("b.example.com", "443"): [["443", "quic"], ["[::]:443", "quic"]],
    }  # fmt: skip
    offered = {key[0]: server.get("add_header") for key, server in by_name.items()}
    assert offered["shop.example.com"] == [["Alt-Svc", 'h3=":443"; ma=86400', "always"]]
    assert (offered["c.example.com"], offered[""]) == (None, None)
    alone = servers(render(plan(*routes, ipv6=True, refuse_unknown=False, **H3)))
    assert [words for server in alone for words in server["listen"] if "reuseport" in words] == [
        ["443", "quic", "reuseport"], ["[::]:443", "quic", "reuseport"],
    ]  # fmt: skip


def test_http3_where_its_port_also_passes_tls_on() -> None:
    passed = route(name="bank", host="bank.example.com", listen={"mode": "passthrough"})
    whole = plan(route(listen__http3=True), passed, **H3)
    shop = next(
        server for server in servers(render(whole)) if server["server_name"] == [["shop.example.com"]] and "ssl_certificate" in server
    )
    assert shop["listen"] == [["127.102.1.187:488", "ssl", "proxy_protocol"], ["443", "quic"]], "UDP's 443 is its own"


def test_http3_is_refused_where_nginx_has_none_as_documented() -> None:
    from pathlib import Path

    with pytest.raises(EdgeError) as caught:
        plan(route(listen__http3=True))
    assert f"```text\n{caught.value.sentence}\n```" in (Path(__file__).parents[3] / "docs" / "routes.md").read_text()
    with pytest.raises(EdgeError, match="isn't known"):
        offload(load([route(listen__http3=True)]), ADDRESSES, Settings())
    foretold = offload(load([route(listen__http3=True)]), ADDRESSES, Settings(check=True))
    (site,) = [file.it for file in foretold.http if file.kind == "site"]
    assert site.server.quic == (), "in a check on an empty host"
