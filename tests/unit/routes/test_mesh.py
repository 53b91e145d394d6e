# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes joined with live gateways."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._mesh.gateways import covers, in_mesh, upstreams
from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.schema import Route

LABELS = {"app": "gw", "istio": "gw"}
SERVICE = {
    "namespace": "istio-system",
    "name": "istio-ingressgateway",
    "found": True,
    "selector": LABELS,
    "ports": {"https": {"port": 8443}},
    "nodes": [{"name": "a", "has_endpoint": False}, {"name": "b", "has_endpoint": True}],
}

# of a Service that only the run will make
PREDICTED = {
    **SERVICE,
    "found": False,
    "selector": {},
    "node_ports": {"https": ["(known after apply)"]},
    "ports": {"https": {"port": None}},
}


def routes(mode: str = "simple", **gateway: Any) -> list[Route]:
    tls = {"mode": mode, "client_certificate": "c"} if mode == "mutual" else {"mode": mode}
    entry = {
        "name": "shop",
        "hosts": ["shop.example.com", "*.shop.example.com"],
        "listen": {"certificate": "c"},
        "upstream_tls": {**tls, "server_name": "gw.example.com"},
        "paths": [{"service": {"namespace": "shop", "name": "web", "port": 80}}],
    }
    return load([entry], {"main": gateway})


def gateway(*hosts: str, mode: str = "SIMPLE") -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "public"}, "spec": {"servers": [{"hosts": list(hosts), "tls": {"mode": mode}}]}}


def test_selector_is_that_of_the_service() -> None:
    assert in_mesh(routes(), [SERVICE], [])[0].selector == LABELS


def test_pods_that_may_not_be_seen() -> None:
    assert in_mesh(routes(), [{**SERVICE, "nodes": [{"name": "a", "has_endpoint": None}]}], [])[0].selector == LABELS


def test_selector_of_the_user_wins() -> None:
    assert in_mesh(routes(selector={"istio": "mine"}, port="443"), [], [])[0].selector == {"istio": "mine"}


def test_port_by_name_and_by_number() -> None:
    assert in_mesh(routes(), [SERVICE], [])[0].port_number == 8443
    assert in_mesh(routes(port="9443"), [SERVICE], [])[0].port_number == 9443
    with pytest.raises(
        EdgeError, match=r"edge_gateways\.main\.port: Service istio-system/istio-ingressgateway has no port tls. Choose one of: https"
    ):
        in_mesh(routes(port="tls"), [SERVICE], [])


@pytest.mark.parametrize(
    "services", [[], [PREDICTED], [{**SERVICE, "selector": {}}], [{**SERVICE, "nodes": []}], [{**SERVICE, "nodes": SERVICE["nodes"][:1]}]]
)
def test_no_pod(services: list[dict[str, Any]]) -> None:
    with pytest.raises(EdgeError, match=r"edge_gateways\.main: Service istio-system/istio-ingressgateway has no Ready pod"):
        in_mesh(routes(), services, [])
    assert in_mesh(routes(), services, [], check=True)[0].selector == {"istio": "(known after apply)"}


@pytest.mark.parametrize("hosts", [["*"], ["*.example.com"], ["istio-system/*.example.com"], ["*/*.example.com"]])
def test_covered(hosts: list[str]) -> None:
    assert in_mesh(routes(istio_gateway="ns/public"), [SERVICE], [gateway(*hosts)])


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        ([], "there is no Istio Gateway ns/public"),
        ([gateway("*", mode="MUTUAL")], "ns/public has no server with TLS mode SIMPLE"),
        (
            [gateway("other/*", "./*", "shop.example.com")],
            r"doesn't serve \*\.shop\.example\.com, gw\.example\.com: it serves shop\.example\.com",
        ),
    ],
)
def test_not_covered(live: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(EdgeError, match=sentence):
        in_mesh(routes(istio_gateway="ns/public"), [SERVICE], live)


def test_templates_read_both_in_the_gateway() -> None:
    (live,) = in_mesh(routes(), [SERVICE], [])
    gateway = live.as_dict()["gateway"]
    assert (gateway["selector"], gateway["port_number"], gateway["service"]) == (LABELS, 8443, "istio-ingressgateway")


def test_modes() -> None:
    assert in_mesh(routes("mutual", istio_gateway="ns/public"), [SERVICE], [gateway("*", mode="OPTIONAL_MUTUAL")])
    assert in_mesh(routes("passthrough", istio_gateway="ns/public"), [SERVICE], [gateway("*", mode="PASSTHROUGH")])


def test_covers() -> None:
    assert covers("*.a.b", "x.a.b")
    assert covers("*.a.b", "*.x.a.b")
    assert not covers("*.a.b", "a.b")
    assert not covers("x.a.b", "*.a.b")
    assert not covers("*.a.b", "xa.b")


def test_upstreams() -> None:
    service = {**SERVICE, "node_ports": {"https": ["192.0.2.1:30443"]}, "load_balancer": ["192.0.2.9", "2001:db8::9", "lb.example.com"]}
    assert upstreams(routes(), [service]) == {"main": ["192.0.2.1:30443"]}
    assert upstreams(routes(address="load_balancer"), [service]) == {
        "main": ["192.0.2.9:8443", "[2001:db8::9]:8443", "lb.example.com:8443"]
    }
    assert upstreams(routes(addresses="gw.example.com:443"), []) == {"main": ["gw.example.com:443"]}


def test_no_upstreams() -> None:
    with pytest.raises(EdgeError, match="istio-ingressgateway has no node ports for port https"):
        upstreams(routes(), [SERVICE])
    assert upstreams(routes(), [PREDICTED], check=True) == {}
