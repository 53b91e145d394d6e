# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that is passed on: what the stream context is told, and what stands behind it."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from nginx_rendering import PASSED, blocks, depends_on, files_of, plan, read_back, render, render_stream, route, servers

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.write.probes import probes
from plugins.module_utils._probe import spec

TWO = {"main": {}, "second": {"service": "second"}}
REACHED = {"main": ["192.0.2.10:30443", "192.0.2.11:30443"], "second": ["192.0.2.20:443"]}


def passed(name: str = "bank", **changes: Any) -> dict[str, Any]:
    return route(**{"name": name, "host": f"{name}.example.com", "gateway": "main", **PASSED, **changes})


def ended(name: str = "shop", **changes: Any) -> dict[str, Any]:
    return route(**{"name": name, "host": f"{name}.example.com", "gateway": "main", "listen__port": 8443, **changes})


def made(*routes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return plan(*routes, gateways=TWO, upstreams=REACHED, **settings)


def plainly(name: str) -> str:
    """Without the digits by which upstreams of other addresses have other names."""
    return re.sub(r"(edge_to_[a-z]+)_[0-9a-f]{12}", r"\1", name)


def streams(whole: dict[str, Any]) -> dict[str, Any]:
    """The stream context: its map's entries, its upstreams' servers, and its server blocks."""
    found: dict[str, Any] = {"map": {}, "upstreams": {}, "servers": []}
    for one in read_back(plainly(render_stream(whole)), "stream"):
        block = [(inner["directive"], inner["args"]) for inner in one.get("block", [])]
        if one["directive"] == "map":
            found["map"].update((name, args[0] if args else None) for name, args in block)
        elif one["directive"] == "upstream":
            found["upstreams"][one["args"][0]] = [args[0] for name, args in block if name == "server"]
        elif one["directive"] == "server":
            found["servers"].append({name: [args for other, args in block if other == name] for name, _args in block})
    return found


def test_straight_to_the_gateway_where_nobody_is_told_anything() -> None:
    found = streams(made(passed(), passed("other", gateway="second", host="other.example.com", hosts=["*.other.example.com"])))
    assert found["map"] == {
        "hostnames": None, "default": "edge_here_8443", "bank.example.com": "edge_to_main_8443",
        "other.example.com": "edge_to_second_8443", "*.other.example.com": "edge_to_second_8443",
    }  # fmt: skip
    assert (found["upstreams"]["edge_to_main_8443"], found["upstreams"]["edge_to_second_8443"]) == (REACHED["main"], REACHED["second"])
    (listener,) = found["servers"]
    assert (listener["listen"], listener["ssl_preread"], listener["proxy_pass"]) == ([["8443"]], [["on"]], [["$edge_passed_8443"]])
    assert "proxy_protocol" not in listener
    whole = made(passed())
    assert ([site["server"] for site in blocks(whole, "site")], depends_on(whole)) == ([None], set())
    authority = {"secret": {"namespace": "edgemesh", "name": "edge-ca"}, "ca": "/etc/edgemesh/tls/edgemesh/edge-ca/ca.crt"}
    assert whole["exports"] == (authority,), "for role verify"
    assert whole["parts"][0]["material"] == (authority["ca"],)
    # unknown names are refused by the http context, with an alert
    refusal = servers(render(whole))[1]
    assert [refusal["listen"][0][0]] == found["upstreams"]["edge_here_8443"]
    assert (refusal["listen"][0][1:], refusal["ssl_reject_handshake"]) == (["ssl"], [["on"]])
    redirect = servers(render(whole))[-1]
    assert redirect["location /"]["return"] == [["301", "https://$host:8443$request_uri"]]


def test_unknown_names_lead_nowhere_where_they_are_not_to_be_refused() -> None:
    assert "default" not in streams(made(passed(), refuse_unknown=False))["map"], "which is the empty text"
    beside = streams(made(passed(), ended(), refuse_unknown=False))["map"]["default"]
    assert beside == "edge_here_8443", "the first of the http context's servers answers, as it would without a passage"


@pytest.mark.parametrize("order", [1, -1])
def test_on_one_port_with_routes_that_end_tls(order: int) -> None:
    whole = made(*[passed(hosts=["*.example.com"]), ended(), passed("told", proxy={"proxy_protocol": True}, gateway="second")][::order])
    found = streams(whole)
    # a wildcard that is passed on doesn't take a name that is not
    assert (found["map"]["shop.example.com"], found["map"]["told.example.com"]) == ("edge_here_8443", "edge_to_second")
    leave, listener = found["servers"]
    assert listener["proxy_protocol"] == [["on"]]
    # the other gateway didn't ask for it
    way_out = found["map"]["bank.example.com"]
    assert found["map"]["*.example.com"] == way_out
    assert (leave["listen"], leave["proxy_pass"]) == ([[*found["upstreams"][way_out], "proxy_protocol"]], [["edge_to_main_8443_out"]])
    assert found["upstreams"]["edge_to_main_8443_out"] == REACHED["main"]
    assert "proxy_protocol" not in leave
    here = found["upstreams"]["edge_here_8443"][0]
    for server in servers(render(whole)):
        if server["server_name"] in ([[""]], [["shop.example.com"]]) and server["listen"] != [["80"]]:
            assert server["listen"] == [[here, "ssl", "http2", "proxy_protocol"]]
            assert (server["set_real_ip_from"], server["real_ip_header"]) == ([["127.0.0.0/8"]], [["proxy_protocol"]])
        else:
            assert "real_ip_header" not in server
    assert {one["port"] for part in whole["parts"] for one in part["probes"]} == {8443}, "what clients use"


def test_loopback_addresses_are_nobody_elses() -> None:
    """While nginx reloads, an old worker still goes by its own map."""
    whole = [made(passed()), made(passed(), ended()), made(passed(listen__port=9443)), made(passed(listen__port=9443), ended())]
    seen = [each[0] for one in whole for each in streams(one)["upstreams"].values() if each[0].startswith("127.")]
    assert len(seen) == len({*seen}) + 1, "only the last two, where nothing changes for the port, are the same"
    assert all(re.fullmatch(r"127\.10[234]\.\d+\.\d+:488", address) for address in seen), seen
    assert streams(made(passed(), inner_port=8444))["upstreams"]["edge_here_8443"][0].endswith(":8444")
    with pytest.raises(EdgeError) as caught:
        made(ended(), inner_port="488; x")
    assert caught.value.where == "nginx_offload_inner_port"


def test_the_longest_timeout_of_a_port_holds() -> None:
    def timeouts(*routes: dict[str, Any]) -> list[tuple[str, str]]:
        listeners = [one for one in streams(made(*routes))["servers"] if "ssl_preread" in one]
        return [(one["proxy_connect_timeout"][0][0], one["proxy_timeout"][0][0]) for one in listeners]

    slow = passed("slow", proxy={"read_timeout": "10m", "connect_timeout": "500ms"})
    assert timeouts(passed()) == [("5s", "60s")]
    assert timeouts(passed(), slow) == timeouts(slow, passed()) == [("5s", "600s")]
    assert timeouts(passed(), ended()) == [("5s", "80s")], "a client of the http context may be silent for 75s"
    events = ended(paths=[{"service": {"namespace": "a", "name": "b", "port": 1}, "proxy": {"read_timeout": "1h"}}])
    assert timeouts(passed(), events) == [("5s", "3605s")]
    assert timeouts(slow, passed(listen__port=9443)) == [("500ms", "600s"), ("5s", "60s")], "each port has its own"


def test_each_route_is_asked_for_at_the_port_of_its_clients() -> None:
    whole = made(
        ended(hosts=["*.shop.example.com"]),
        passed(),
        passed("asks", upstream_tls={"mode": "mutual"}),
        ended("p", listen={"tls": False}),
    )
    asked = {probe["name"]: probe for probe in probes(whole)}
    assert {name: (probe["address"], probe["port"]) for name, probe in asked.items()} == {
        "shop": ("127.0.0.1", 8443), "bank": ("127.0.0.1", 8443), "asks": ("127.0.0.1", 8443), "p": ("127.0.0.1", 80),
    }  # fmt: skip
    assert (asked["bank"]["tls"]["sni"], asked["bank"]["http"]["host"]) == ("bank.example.com", "bank.example.com")
    # nobody here has a client's certificate, and only the gateway can miss it
    assert ("http" in asked["asks"], asked["asks"]["expect"]) == (False, {"refused": True, "codes": ["CLIENT_CERT_MISSING"]})
    for probe in asked.values():
        spec.path(probe)


def test_logs_of_a_port() -> None:
    def logged(*logs: str) -> Any:
        return streams(made(*[passed(f"r{number}", access_log=log) for number, log in enumerate(logs)]))["servers"][0].get("access_log")

    assert logged("json", "off") == [["/var/log/nginx/edgemesh.log", "edge_passed"]]
    assert (logged("off", "off"), logged("off", "default"), logged("default")) == ([["off"]], None, None)


def test_nothing_of_it_without_such_routes() -> None:
    whole = made(ended())
    assert (whole["passes"], render_stream(whole)) == (False, "")
    assert "real_ip_header" not in render(whole)
    assert not [path for path in files_of(whole) if re.fullmatch(r"stream/[^/]*\.conf", path)], "it needs no stream module"


def test_names_that_a_map_takes_for_words_are_names() -> None:
    """The schema refuses them for routes that are passed on; here they stand in the map of a port that also does."""
    found = streams(made(passed(), ended("shop", hosts=["default"])))
    assert found["map"]["\\default"] == "edge_here_8443"


def test_gateway_names_resolved_by_nginx() -> None:
    named = {"main": ["gw.example.com:443"], "second": ["192.0.2.1:1"]}
    whole = plan(passed(), gateways=TWO, upstreams=named, version="1.27.3", resolvers=["192.0.2.53"])
    assert "server gw.example.com:443 resolve;\n    resolver 192.0.2.53;" in render_stream(whole)
    old = plan(passed(), gateways=TWO, upstreams=named)
    assert (old["lookup"], "resolver" in render_stream(old)) == (("gw.example.com",), False)
