from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._probe import spec
from plugins.module_utils._proof.vm_nginx import app
from plugins.module_utils._routes.parts import Backend

WEB = Backend(namespace="shop", name="web", port=8000)


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    listed = list(ports) or [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]
    return {"kind": "Service", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": listed}}


def endpoints(
    *addresses: str, of: str = "web", namespace: str = "shop", port: int = 8080, name: Any = "http", **more: Any
) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": f"{of}-x", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"}, {"name": "metrics", "port": 9090}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        **more,
    }


def test_pods_are_found_at_the_port_that_they_listen_on() -> None:
    found = app.targets(WEB, [endpoints("2001:db8::5"), service(), endpoints("192.0.2.6", "192.0.2.5")])
    assert (found.addresses, found.of, found.reason) == (("192.0.2.5:8080", "192.0.2.6:8080", "[2001:db8::5]:8080"), 3, "")


def test_a_port_without_a_name_is_found_as_well() -> None:
    assert app.targets(WEB, [service({"port": 8000}), endpoints("192.0.2.5", name=None)]).addresses == ("192.0.2.5:8080",)


def test_other_services_and_other_namespaces_are_not_probed() -> None:
    others = [endpoints("192.0.2.7", of="other"), endpoints("192.0.2.8", namespace="elsewhere")]
    assert app.targets(WEB, [service(), *others]).reason == "Service shop/web has no ready pod at its port 8000"


def test_pods_that_are_not_ready_are_left_out() -> None:
    waiting = {"addresses": ["192.0.2.5"], "conditions": {"ready": False}}
    silent = {"addresses": ["192.0.2.6"], "conditions": {}}
    assert app.targets(WEB, [service(), endpoints("192.0.2.9", endpoints=[waiting, silent])]).addresses == ("192.0.2.6:8080",)


def test_of_many_pods_a_few_are_probed_and_all_are_counted() -> None:
    found = app.targets(WEB, [service(), endpoints(*(f"192.0.2.{number}" for number in range(10, 60)))])
    assert (len(found.addresses), found.of) == (app.MOST, 50)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([], "Service shop/web was not found"),
        ([service({"name": "admin", "port": 9000})], "Service shop/web has no TCP port 8000"),
        ([service({"name": "quic", "port": 8000, "protocol": "UDP"})], "Service shop/web has no TCP port 8000"),
        ([service()], "Service shop/web has no ready pod at its port 8000"),
        ([service(), endpoints("a.example", addressType="FQDN")], "Service shop/web has no ready pod at its port 8000"),
    ],
)
def test_where_there_is_nothing_to_probe_it_says_why(objects: list[dict[str, Any]], reason: str) -> None:
    assert app.targets(WEB, objects) == app.Targets(reason=reason)


def test_each_service_is_read_once() -> None:
    asked = app.queries([WEB, Backend(namespace="shop", name="web", port=9000), Backend(namespace="shop", name="api", port=80)])
    assert [(each["kind"], each.get("name") or each["label_selectors"]) for each in asked] == [
        ("Service", "web"),
        ("EndpointSlice", ["kubernetes.io/service-name=web"]),
        ("Service", "api"),
        ("EndpointSlice", ["kubernetes.io/service-name=api"]),
    ]


def test_claim_and_control_differ_in_tls_alone() -> None:
    place = {"name": "x", "address": "192.0.2.5", "port": 8080}
    control = spec.path({**place, **app.sidecar_probe()})
    claim = spec.path({**place, **app.plaintext_probe({"path": "/status/418", "host": "shop.example.com"})})
    assert (control.tls is None, control.http is None) == (False, True)
    assert (claim.tls is None, claim.http is None) == (True, False)
    assert control.expect.refused
    assert claim.expect.refused


def result(*sans: str, ok: bool = True, checks: Any = (("tcp", "ok"),)) -> dict[str, Any]:
    return {"ok": ok, "tls": {"chain": [{"sans": list(sans)}]}, "checks": [{"check": name, "status": status} for name, status in checks]}


def test_only_the_apps_own_sidecar_is_its_sidecar() -> None:
    own = "spiffe://cluster.local/ns/shop/sa/web"
    assert app.identity(result(f"URI:{own}"), "shop") == own
    assert app.identity(result("URI:spiffe://cluster.local/ns/other/sa/web"), "shop") == ""
    assert app.identity(result("DNS:shop.example.com"), "shop") == ""
    assert app.identity(result(f"URI:{own}", ok=False), "shop") == ""
    assert app.identity({"ok": False, "tls": None, "checks": []}, "shop") == ""


def test_who_could_not_connect_says_nothing_of_the_app() -> None:
    assert app.connected(result())
    assert not app.connected(result(checks=(("dns", "ok"), ("tcp", "failed"))))
