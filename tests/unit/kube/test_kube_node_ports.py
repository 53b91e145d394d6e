# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.node_ports import Asked, Found, describe, endpoints_lack, nodes_lack, predicted, service_lacks
from plugins.module_utils._kube.ready import Never

TYPES = ["InternalIP", "ExternalIP", "Hostname"]


def service(ports: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": "Cluster",
            "selector": {"app": "web"},
            "ports": [
                {"name": "http2", "port": 80, "nodePort": 30080, "protocol": "TCP", "targetPort": 8080},
                {"name": "https", "port": 443, "nodePort": 30443, "protocol": "TCP", "targetPort": "tls"},
                {"name": "quic", "port": 443, "nodePort": 30444, "protocol": "UDP", "targetPort": 8443},
            ]
            if ports is None
            else ports,
            **spec,
        },
        "status": {},
    }


def node(name: str, ready: bool = True, **addresses: Any) -> dict[str, Any]:
    listed = [
        {"type": kind, "address": each}
        for kind, found in (addresses or {"InternalIP": f"192.0.2.{name[-1]}"}).items()
        for each in ([found] if isinstance(found, str) else found)
    ]
    return {"metadata": {"name": name}, "status": {"addresses": listed, "conditions": [{"type": "Ready", "status": str(ready)}]}}


def endpoints(*nodes: str, ready: Any = True, port: str = "https", protocol: str = "TCP") -> dict[str, Any]:
    return {
        "ports": [{"name": port, "port": 8443, "protocol": protocol}],
        "endpoints": [{"nodeName": name, "conditions": {} if ready is None else {"ready": ready}} for name in nodes],
    }


def asked(*ports: str) -> Asked:
    return Asked("shop", "web", list(ports))


def look(found: Found, *ports: str, types: Any = TYPES) -> dict[str, Any]:
    return describe(asked(*ports), found, types)


@pytest.mark.parametrize(
    ("word", "node_port"),
    [("https", 30443), ("80", 30080), ("443/TCP", 30443), ("443/UDP", 30444), ("UDP", 30444), ("quic", 30444)],
)
def test_a_port_is_found_by_name_number_or_protocol(word: str, node_port: int) -> None:
    entry = look(Found(service(), [], [node("n1")]), word)
    assert entry["ports"][word]["node_port"] == node_port
    assert entry["node_ports"][word] == [f"192.0.2.1:{node_port}"]


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("443", "matches several"),
        ("TCP", "matches several"),
        ("444", "no port 444"),
        ("tcp", "no port tcp"),
        ("80/UDP", "no port"),
        ("", "no port"),
        ("0", "no port"),
    ],
)
def test_a_word_that_names_no_port_or_several_is_an_error(word: str, what: str) -> None:
    with pytest.raises(EdgeError, match=what) as caught:
        look(Found(service(), [], [node("n1")]), word)
    assert caught.value.why == "its ports are http2 (80/TCP), https (443/TCP), quic (443/UDP)"


def test_without_words_all_ports_come_by_name_or_number() -> None:
    assert list(look(Found(service()))["ports"]) == ["http2", "https", "quic"]
    assert look(Found(service([{"port": 80}])))["ports"] == {
        "80": {"name": "", "port": 80, "node_port": None, "protocol": "TCP", "target_port": ""}
    }


def test_only_ready_nodes_with_an_address_count() -> None:
    going = node("n5")
    going["metadata"]["deletionTimestamp"] = "x"
    nodes = [
        node("n1"),
        node("n2", ready=False),
        node("n3", ExternalIP="198.51.100.3"),
        node("n4", ExternalDNS="x"),
        going,
        {"metadata": {"name": "n6"}},
    ]
    entry = look(Found(service(), [], nodes), "https")
    assert entry["node_ports"]["https"] == ["192.0.2.1:30443", "198.51.100.3:30443"]
    assert [each["ready"] for each in entry["nodes"]] == [True, False, True, True, False, False]


def test_addresses_come_in_the_order_of_preference() -> None:
    both = node("n1", InternalIP=["192.0.2.1", "2001:db8::1"], ExternalIP="198.51.100.1", Hostname="n1")
    for types, address in (["InternalIP"], "192.0.2.1"), (["ExternalIP", "InternalIP"], "198.51.100.1"), (["Hostname"], "n1"):
        assert look(Found(service(), [], [both]), "https", types=types)["node_ports"]["https"] == [f"{address}:30443"]
    six = node("n1", InternalIP=["2001:db8::1", "192.0.2.1"])
    assert look(Found(service(), [], [six]), "https")["node_ports"]["https"] == ["[2001:db8::1]:30443"]


def test_with_local_traffic_only_nodes_with_a_ready_endpoint_of_the_port_count() -> None:
    nodes = [node("n1"), node("n2"), node("n3"), node("n4")]
    slices = [endpoints("n1", ready=None), endpoints("n2", ready=False), endpoints("n3", port="http2"), endpoints("n4", protocol="UDP")]
    local = service(externalTrafficPolicy="Local")
    entry = look(Found(local, slices, nodes), "https")
    assert entry["node_ports"]["https"] == ["192.0.2.1:30443"]
    assert [each["has_endpoint"] for each in entry["nodes"]] == [True, False, False, False]
    assert len(look(Found(service(), slices, nodes), "https")["node_ports"]["https"]) == 4
    assert look(Found(service(), None, nodes), "https")["nodes"][0]["has_endpoint"] is None


def test_the_load_balancers_addresses() -> None:
    balanced = service(type="LoadBalancer")
    balanced["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"hostname": "lb.example"}, {}]}}
    assert look(Found(balanced))["load_balancer"] == ["203.0.113.1", "lb.example"]


def test_a_service_that_is_missing_is_an_error_and_a_prediction_in_check_mode() -> None:
    with pytest.raises(EdgeError, match="Service shop/web: it does not exist"):
        look(Found(), "https")
    entry = predicted(asked("https"))
    assert entry["found"] is False
    assert entry["node_ports"] == {"https": ["(known after apply)"]}
    assert entry.keys() == look(Found(service()), "https").keys()


def test_what_is_lacking() -> None:
    everything = ["node_port", "endpoint", "load_balancer"]
    plain = service(type="ClusterIP", ports=[{"name": "https", "port": 443}])
    assert "does not exist" in service_lacks(asked("https"), Found(), everything)
    assert isinstance(service_lacks(asked("nope"), Found(service()), everything), Never)
    assert service_lacks(asked("https"), Found(plain), ["node_port"]) == "no NodePort yet for https; it is of type ClusterIP"
    assert service_lacks(asked("https"), Found(plain), []) == ""
    assert service_lacks(asked("https"), Found(service()), everything) == "its load balancer has no address yet"
    assert service_lacks(asked("https"), Found(service()), ["node_port"]) == ""
    assert endpoints_lack(asked("https"), Found(service(), [endpoints("n1", ready=False)]), everything) == "no ready endpoint yet for https"
    assert endpoints_lack(asked("https"), Found(service(), []), ["node_port"]) == ""
    assert endpoints_lack(asked("https"), Found(service(), [endpoints("n1")]), everything) == ""
    assert "no Ready node" in nodes_lack(asked("https"), Found(service(), [], [node("n1", ready=False)]), everything, TYPES)
    assert "Local" in nodes_lack(asked("https"), Found(service(externalTrafficPolicy="Local"), [], [node("n1")]), everything, TYPES)
    assert nodes_lack(asked("https"), Found(service(), [], [node("n1")]), everything, TYPES) == ""
