# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading: what it takes, what it carries, and which variables it doesn't know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes import misspelt, reading
from plugins.module_utils._routes.reading import Reading, digest, is_of
from tests.unit.routes.some_routes import route_lists

SHOP: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public"},
    "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client"},
    "paths": [{"service": {"namespace": "shop", "name": "web", "port": 8000}, "proxy": {"read_timeout": "5s"}}],
    "access": {"deny": ["203.0.113.0/24", {"paths": ["/admin/*"]}]},
}


@given(route_lists())
@settings(max_examples=150, deadline=None)
def test_what_is_carried_comes_back(routes: list[dict[str, Any]]) -> None:
    found = Reading.of_variables({"edge_routes": routes})
    assert Reading.of(found.text()) == found


def test_namespace_and_ca_reach_every_secret_that_leaves_them_out() -> None:
    found = Reading.of_variables({"edge_routes": [SHOP], "edge_namespace": "pki", "edge_ca": "corp-ca"})
    tls = found.routes[0].as_dict()["upstream_tls"]
    assert tls["server_ca"]["secret"] == tls["client_ca"]["secret"] == {"namespace": "pki", "name": "corp-ca"}
    assert tls["client_certificate"]["secret"] == {"namespace": "pki", "name": "edge-client"}


def test_a_secret_that_is_called_as_the_default_is_meant_as_it_stands() -> None:
    route = {**SHOP, "upstream_tls": {"server_ca": "edge-ca"}}
    (found,) = Reading.of_variables({"edge_routes": [route], "edge_ca": "corp-ca"}).routes
    assert found.as_dict()["upstream_tls"]["server_ca"]["secret"]["name"] == "edge-ca"


@pytest.mark.parametrize(("name", "value"), [("edge_namespace", "a/b"), ("edge_namespace", "A"), ("edge_ca", "x y"), ("edge_ca", "../x")])
def test_names_of_the_run_are_checked(name: str, value: str) -> None:
    with pytest.raises(EdgeError, match=name):
        Reading.of_variables({"edge_routes": [SHOP], name: value})


@pytest.mark.parametrize(
    ("given", "issue"),
    [
        (None, ["gateway", "client"]),
        ("", ["gateway", "client"]),
        ("gateway, listener", ["gateway", "listener"]),
        ('["client"]', ["client"]),
        ([], []),
    ],
)
def test_what_is_issued_may_be_a_text(given: Any, issue: list[str]) -> None:
    assert Reading.of_variables({"edge_issue": given}).issue == issue


def test_what_can_not_be_issued_is_named() -> None:
    with pytest.raises(EdgeError, match=r'edge_issue\[1\]: "listner" is not one of gateway, client, listener. Did you mean listener'):
        Reading.of_variables({"edge_issue": "gateway, listner"})


def test_the_same_variables_need_no_second_reading() -> None:
    variables = {"edge_routes": [SHOP]}
    text = Reading.of_variables(variables).text()
    assert is_of(text, digest({"edge_routes": [SHOP], "edge_ca": None}))
    assert not is_of(text, digest({**variables, "edge_ca": "other"}))
    assert not is_of(None, digest(variables))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("edge_sevice", "edge_service"),
        ("edge_alow", "edge_allow"),
        ("edge_gateway_adresses", "edge_gateway_addresses"),
        ("edge_Host", "edge_host"),
    ],
)
def test_a_misspelt_variable_is_named(name: str, meant: str) -> None:
    with pytest.raises(EdgeError, match=f"{name}.*Did you mean {meant}"):
        misspelt.check(["ansible_host", "edge_host", name])


def test_other_peoples_variables_are_let_alone() -> None:
    misspelt.check([*misspelt.KNOWN, "edge__read", "edge_datacentre", "edgy", "my_edge_sevice"])


def test_a_foreign_text_is_refused() -> None:
    for text in ("", "[]", "{}", '{"digest": "x"}'):
        with pytest.raises(EdgeError, match="read_routes"):
            Reading.of(text)


def test_all_variables_of_a_list_are_known() -> None:
    assert set(reading.VARIABLES) <= misspelt.KNOWN


@pytest.mark.parametrize(
    ("asked", "protocol"),
    [
        ("/", "http"),
        ("/shop.v1.Cart/Get", "grpc"),
        ("/shop.v1.Cart/Get?x=/", "grpc"),
        ("/import", "http"),
        ("/imports", "http"),
        ("/a?b=/shop.v1.Cart/", "http"),
    ],
)
def test_a_request_is_passed_on_as_its_path_says(asked: str, protocol: str) -> None:
    service = SHOP["paths"][0]["service"]
    grpc = {"path": "/shop.v1.Cart/", "service": service, "proxy": {"protocol": "grpc"}}
    exact = {"path": "/import", "match": "exact", "service": service, "proxy": {"read_timeout": "9s"}}
    (route,) = Reading.of_variables({"edge_routes": [{**SHOP, "access": {}, "paths": [{"service": service}, grpc, exact]}]}).routes
    found = route.requests(asked)
    assert (found.protocol, found.read_timeout) == (protocol, "9s" if asked == "/import" else "60s")
