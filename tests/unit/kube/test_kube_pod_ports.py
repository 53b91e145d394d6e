# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Service's own pods listen."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.pod_ports import MOST, listening

WEB = {"namespace": "shop", "name": "web", "port": 8000}


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"ports": list(ports) or [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]}}


def endpoint(address: str, pod: str = "", **conditions: bool) -> dict[str, Any]:
    reference = {"targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": conditions, **reference}


def live(*endpoints: dict[str, Any], name: Any = "http", **more: Any) -> dict[str, Any]:
    return {
        "addressType": "IPv6" if ":" in endpoints[0]["addresses"][0] else "IPv4",
        "ports": [{"name": name, "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9090}],
        "endpoints": list(endpoints),
        **more,
    }


def look(*slices: dict[str, Any], of: dict[str, Any] | None = None, pods: dict[str, list[str]] | None = None) -> list[str]:
    """:param pods: addresses by names."""
    known = {name: {"status": {"podIPs": [{"ip": each} for each in addresses]}} for name, addresses in (pods or {}).items()}
    return listening(WEB, of or service(), slices, known.get)


def test_pods_are_found_at_the_port_that_they_listen_on() -> None:
    found = look(live(endpoint("2001:db8::5")), live(endpoint("192.0.2.16"), endpoint("192.0.2.5")))
    assert sorted(found[:2]) == ["192.0.2.16:8080", "192.0.2.5:8080"]
    assert found[2:] == ["[2001:db8::5]:8080"]


def test_a_pod_is_found_at_its_address_of_the_family_that_its_service_does_not_use() -> None:
    pods = {"web-a": ["192.0.2.5", "2001:db8::5"], "web-b": ["192.0.2.6", "2001:db8::6"]}
    found = look(live(endpoint("192.0.2.5", "web-a"), endpoint("192.0.2.6", "web-b")), pods=pods)
    assert found == ["192.0.2.5:8080", "192.0.2.6:8080", "[2001:db8::5]:8080", "[2001:db8::6]:8080"]


def test_a_pod_that_is_gone_meanwhile_is_named_as_its_service_did() -> None:
    assert look(live(endpoint("192.0.2.5", "web-a"))) == ["192.0.2.5:8080"]


def test_a_port_without_a_name_is_found_as_well() -> None:
    assert look(live(endpoint("192.0.2.5"), name=None), of=service({"port": 8000})) == ["192.0.2.5:8080"]


def test_pods_that_are_not_ready_are_left_out() -> None:
    assert look(live(endpoint("192.0.2.5", ready=False), endpoint("192.0.2.6"))) == ["192.0.2.6:8080"]


def test_of_many_pods_a_few_are_named_with_all_their_addresses() -> None:
    pods = {f"web-{number}": [f"192.0.2.{number}", f"2001:db8::{number}"] for number in range(10, 60)}
    found = look(live(*(endpoint(addresses[0], name) for name, addresses in pods.items())), pods=pods)
    assert len(found) == 2 * MOST


@pytest.mark.parametrize(
    ("found", "slices", "reason"),
    [
        (None, [], "it was not found"),
        (service({"name": "admin", "port": 9000}), [], "it has no TCP port 8000"),
        (service({"name": "quic", "port": 8000, "protocol": "UDP"}), [], "it has no TCP port 8000"),
        (service(), [], "it has no ready pod at its port 8000"),
        (service(), [live(endpoint("a.example"), addressType="FQDN")], "it has no ready pod at its port 8000"),
    ],
)
def test_where_there_is_none_it_says_why(found: dict[str, Any] | None, slices: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(EdgeError, match=f"Service shop/web: {reason}"):
        listening(WEB, found, slices, lambda _pod: None)
