# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the stream context sends a name, what that means for a request's way, and what a diagnosis makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from test_probe_verdict import result

from plugins.module_utils._diagnose import ladder as plan
from plugins.module_utils._diagnose.hostfacts import Facts
from plugins.module_utils._diagnose.verdict import diagnose
from plugins.module_utils._nginx.read.effective import Effective, Listen, effective, read
from plugins.module_utils._nginx.read.sharing import look

#: One port for both kinds of routes, as role nginx_offload writes it.
CONFIG = """nginx version: nginx/1.26.3
# configuration file /etc/nginx/nginx.conf:
http {
    server { listen 127.102.1.187:488 ssl proxy_protocol; server_name ""; return 421; }
    server { listen 127.102.1.187:488 ssl proxy_protocol; server_name shop.example.com; location / {
        proxy_pass https://mesh; proxy_http_version 1.1; proxy_ssl_server_name on; proxy_ssl_name shop.example.com; } }
    server { listen 127.102.1.187:488 ssl proxy_protocol; server_name free.example.com; location / {
        proxy_pass https://mesh; proxy_ssl_server_name on; proxy_ssl_name free.example.com; } }
    server { listen 80; server_name shop.example.com bank.example.com; return 301 https://$host$request_uri; }
    upstream mesh { server 192.0.2.10:30443; keepalive 8; }
}
stream {
    upstream edge_here_443 { server 127.102.1.187:488; }
    upstream edge_to_main { server 192.0.2.10:30443; server 192.0.2.11:30443; }
    upstream edge_to_told { server [2001:db8::20]:443; }
    upstream edge_to_main_plain_443 { server 127.103.7.8:488; }
    map $ssl_preread_server_name $edge_passed_443 {
        hostnames;
        default edge_here_443;
        shop.example.com edge_here_443;
        free.example.com edge_here_443;
        bank.example.com edge_to_main_plain_443;
        *.bank.example.com edge_to_main_plain_443;
        told.example.com edge_to_told;
    }
    server { listen 443; listen [::]:443; ssl_preread on; proxy_pass $edge_passed_443; proxy_protocol on; }
    server { listen 127.103.7.8:488 proxy_protocol; proxy_pass edge_to_main; }
    server { listen 5432; proxy_pass 192.0.2.30:5432; }
}
"""
MAIN = [("192.0.2.10", 30443), ("192.0.2.11", 30443)]


def way(host: str, port: int | None = None, config: str = CONFIG) -> Effective:
    return effective(read(config), host, "/", port)


@pytest.mark.parametrize("port", [None, 443])
def test_what_ends_tls_behind_it_is_reached_as_clients_reach_it(port: int | None) -> None:
    found = way("shop.example.com", port)
    assert found.listen == Listen("127.0.0.1", 443, True, False)
    assert (found.by_name, found.server, found.passed) == (True, "/etc/nginx/nginx.conf:3", [])
    assert found.proxy
    assert found.proxy.sni == "shop.example.com"


@pytest.mark.parametrize(
    ("host", "addresses", "tells"),
    [
        ("bank.example.com", MAIN, False),
        ("x.bank.example.com", MAIN, False),
        ("told.example.com", [("2001:db8::20", 443)], True),
        ("TOLD.example.com", [("2001:db8::20", 443)], True),
    ],
)
def test_what_is_passed_on(host: str, addresses: list[Any], tells: bool) -> None:
    for port in (None, 443):
        found = way(host, port)
        assert (found.passed, found.passed_tells, found.proxy, found.by_name) == (addresses, tells, None, True)
        assert found.listen == Listen("127.0.0.1", 443, True, False)
    assert way("bank.example.com", 80).answer.startswith("return 301"), "on the plain port it is http's"


def test_other_names_and_other_ports() -> None:
    unknown = way("unknown.example.com", 443)
    assert (unknown.by_name, unknown.server, unknown.answer) == (False, "/etc/nginx/nginx.conf:2", "return 421")
    assert way("shop.example.com", 5432).listen is None, "a server that doesn't sort by names says nothing about one"
    alone = way("unknown.example.com", 443, CONFIG.replace("default edge_here_443", 'default ""'))
    assert (alone.by_name, alone.answer, alone.passed) == (False, "closes the connection", [])


def test_neighbours_are_asked_through_the_same_listener() -> None:
    found = look(read(CONFIG), "shop.example.com", "/", 443)
    assert [each.host for each in found.neighbours] == ["free.example.com"]
    own, others, _alone = plan.turns(found, found.host, "/")
    assert {(each.address, each.port, each.proxy_protocol) for each in (own, others)} == {("127.0.0.1", 443, "")}


def test_a_circle_of_servers_ends() -> None:
    circle = "server { listen 127.0.0.1:1; proxy_pass 127.0.0.1:2; } server { listen 127.0.0.1:2; proxy_pass 127.0.0.1:1; }"
    config = CONFIG.replace("server 127.103.7.8:488;", "server 127.0.0.1:1;").replace(
        "server { listen 5432", circle + " server { listen 5432"
    )
    assert way("bank.example.com", 443, config).passed


# --- the diagnosis ---


def seen(through: dict[str, Any], *beyond: dict[str, Any], host: str = "bank.example.com", facts: Facts | None = None) -> Any:
    return diagnose(way(host, 443), host, "/", [{**through, "name": plan.THROUGH}, *beyond], [], facts)


def test_it_asks_what_is_behind_as_a_client_would() -> None:
    first = plan.first_look(way("told.example.com", 443), "told.example.com", "/", [])
    assert [(each.name, each.proxy_protocol) for each in first] == [
        (plan.THROUGH, ""), ("as a client to [2001:db8::20]:443", "v1"),
    ]  # fmt: skip
    assert [each.tls and each.tls.sni for each in first] == ["told.example.com"] * 2
    assert len(plan.first_look(way("bank.example.com", 443), "bank.example.com", "/", [])) == 3


GOOD = result("as a client to 192.0.2.10:30443")
GONE = result("as a client to 192.0.2.11:30443", "CONNECTION_REFUSED", None, "tcp")
CUT = result("x", "TLS_RESET", None, "tls_handshake")
ASKED = result("x", "CLIENT_CERT_MISSING", None, "tls_first_read")


def test_healthy_also_where_one_address_is_gone() -> None:
    assert (seen(GOOD, GOOD, GOOD).healthy, seen(GOOD, GOOD, GOOD).notes) == (True, [])
    one = seen(GOOD, GOOD, GONE)
    assert one.healthy
    assert "1 of 2 addresses" in one.notes[0]


def test_a_gateway_that_asks_for_certificates_is_no_fault() -> None:
    found = seen(ASKED, ASKED, ASKED)
    assert found.healthy
    assert "demands a client certificate" in found.notes[0]


@pytest.mark.parametrize(
    ("beyond", "facts", "code"),
    [
        ([GONE, GONE], Facts(), "CONNECTION_REFUSED"),
        ([GONE, GONE], Facts(selinux_denies=True), "CONNECTION_REFUSED"),
        ([GOOD, GOOD], Facts(), "NGINX_UNLIKE_REPLAY"),
        ([GOOD, GOOD], Facts(selinux_denies=True), "SELINUX_BOOLEAN"),
        ([GOOD, GOOD], Facts(newer_files=["/etc/nginx/x.conf"]), "NGINX_NOT_RELOADED"),
    ],
)
def test_what_is_wrong_is_nearest_to_the_gateway(beyond: list[Any], facts: Facts, code: str) -> None:
    found = seen(CUT, *beyond, facts=facts)
    assert found.cause
    assert found.cause.code == code


def test_nobody_listens() -> None:
    assert seen(GONE, GOOD, GOOD).cause.code == "NGINX_NOT_RUNNING"
