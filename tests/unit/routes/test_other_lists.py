# SPDX-License-Identifier: GPL-3.0-or-later
"""What another list has at a gateway is refused, by name, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.labels import LIST_LABEL, MANAGED_BY, ROUTE_LABEL
from plugins.module_utils._lists import OTHER_LIST
from plugins.module_utils._mesh.gateway_routes import places, prune
from plugins.module_utils._mesh.other_lists import refuse
from plugins.module_utils._routes.reading import Reading

POD = {"app": "gw", "istio": "gw"}
SPACE = "istio-system"


def listed(list_name: str, name: str, host: str, gateway: dict[str, Any] | None = None, **more: Any) -> Reading:
    """A list of one route."""
    route = {
        "name": name,
        "host": host,
        "listen": {"tls": False},
        "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}],
        **more,
    }
    given = {"edge_routes": [route], "edge_gateways": {"main": gateway}} if gateway else {"edge_routes": [route]}
    return Reading.of_variables({**given, "edge_list": list_name})


def made(read: Reading, selector: dict[str, str] | None = None, port: int = 443, **labels: str) -> list[dict[str, Any]]:
    """The objects of its route, as the role's template makes them."""
    (route,) = read.routes
    metadata = {"name": f"edge-{route.name}", "namespace": SPACE, "labels": {**route.labels, **labels}}
    hosts = [*route.hosts, *({route.upstream_tls.server_name} - set(route.hosts))]
    attached = route.gateway.istio_gateway
    service = {"hosts": route.hosts, "gateways": [attached or f"{SPACE}/edge-{route.name}"]}
    found = [{"kind": "VirtualService", "metadata": metadata, "spec": service}]
    return found if attached else [gateway(metadata, hosts, selector or POD, port), *found]


def gateway(metadata: dict[str, Any], hosts: list[str], selector: dict[str, str], port: int = 443) -> dict[str, Any]:
    return {
        "kind": "Gateway",
        "metadata": metadata,
        "spec": {"selector": selector, "servers": [{"port": {"number": port}, "hosts": hosts}]},
    }


def judge(read: Reading, live: list[dict[str, Any]], wanted: list[dict[str, Any]] | None = None) -> None:
    refuse(read.run, read.routes, wanted or made(read), live)


A = listed("a", "shop", "shop.example.com")
PUBLIC = {"istio_gateway": f"{SPACE}/public"}


def test_a_host_of_another_list_names_list_route_and_gateway() -> None:
    with pytest.raises(EdgeError) as refused:
        judge(listed("b", "store", "shop.example.com"), made(A))
    assert refused.value.code == OTHER_LIST
    assert refused.value.sentence.startswith(
        "edge_routes (store): host shop.example.com at gateway main (istio-system/istio-ingressgateway) belongs to route shop of list a: "
    )


def test_an_sni_of_another_list() -> None:
    inner = listed("a", "shop", "shop.example.com", upstream_tls={"server_name": "inner.example.com"})
    with pytest.raises(EdgeError, match=r"SNI inner\.example\.com at gateway main .* belongs to route shop of list a"):
        judge(listed("b", "store", "store.example.com", upstream_tls={"server_name": "inner.example.com"}), made(inner))


def test_a_routes_name_of_another_list() -> None:
    with pytest.raises(EdgeError, match=r"route name shop at gateway main .* belongs to route shop of list a"):
        judge(listed("b", "shop", "store.example.com"), made(A))


def test_an_object_without_a_list_is_the_default_lists() -> None:
    before = made(listed("default", "shop", "shop.example.com"))
    del before[0]["metadata"]["labels"][LIST_LABEL]  # which both objects have
    judge(listed("default", "shop", "shop.example.com"), before)
    with pytest.raises(EdgeError, match="belongs to route shop of list default"):
        judge(listed("b", "store", "shop.example.com"), before)


def test_what_the_list_has_itself_is_no_matter_of_other_lists() -> None:
    judge(listed("a", "renamed", "shop.example.com"), made(A))


@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/managed-by": "helm"}])
def test_what_is_not_ours_is_nobodys(labels: dict[str, str]) -> None:
    judge(
        listed("b", "store", "shop.example.com"), [gateway({"name": "g", "namespace": SPACE, "labels": labels}, ["shop.example.com"], POD)]
    )


@pytest.mark.parametrize(
    ("selector", "port", "same"),
    [
        (POD, 443, True),
        ({"istio": "gw"}, 443, True),
        ({**POD, "zone": "a"}, 443, True),
        ({"istio": "other"}, 443, False),
        (POD, 8443, False),
    ],
)
def test_a_host_is_taken_at_the_same_pods_and_port_only(selector: dict[str, str], port: int, same: bool) -> None:
    other = listed("b", "store", "shop.example.com")
    wanted = made(other, selector, port)
    if same:
        with pytest.raises(EdgeError, match="host shop"):
            judge(other, made(A), wanted)
    else:
        judge(other, made(A), wanted)


def test_a_host_at_an_istio_gateway_of_others() -> None:
    attached = made(listed("a", "shop", "shop.example.com", PUBLIC))
    with pytest.raises(
        EdgeError, match=r"host shop.* at gateway main \(.*, Istio Gateway istio-system/public\) belongs to route shop of list a"
    ):
        judge(listed("b", "store", "shop.example.com", PUBLIC), attached)
    judge(listed("b", "store", "shop.example.com", {"istio_gateway": f"{SPACE}/other"}), attached)


def test_an_own_gateway_would_take_the_host_from_an_attached_route_and_the_reverse() -> None:
    public = gateway({"name": "public", "namespace": SPACE}, ["*.example.com"], {"istio": "gw"})
    attached, own = listed("a", "shop", "shop.example.com", PUBLIC), listed("b", "store", "shop.example.com")
    with pytest.raises(EdgeError, match="belongs to route shop of list a"):
        judge(own, [public, *made(attached)])
    with pytest.raises(EdgeError, match="belongs to route store of list b"):
        judge(attached, [public, *made(own)])


def test_a_list_looks_where_its_gateways_are() -> None:
    assert places(Reading.of_variables({"edge_list": "a"})) == [SPACE]
    gateways = {"one": {"namespace": "one"}, "two": {"namespace": "two"}}
    assert places(Reading.of_variables({"edge_gateways": gateways})) == ["one", "two"]


def test_what_goes_is_what_the_run_takes() -> None:
    routes = [{"name": "old", "state": "absent"}]
    read = Reading.of_variables({"edge_routes": routes, "edge_list": "a", "edge_exclusive": "yes"})
    made = prune(read, read.run)
    assert (made["routes"], made["exclusive"]) == (["old"], True)
    assert {each["kind"] for each in made["kinds"]} == {"Gateway", "VirtualService"}
    assert prune(read, None).keys() == {"labels", "kinds"}


def test_objects_are_known_by_the_labels_that_routes_have() -> None:
    assert A.routes[0].labels == {**MANAGED_BY, LIST_LABEL: "a", ROUTE_LABEL: "shop"}
