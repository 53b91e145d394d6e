# SPDX-License-Identifier: GPL-3.0-or-later
"""node_port_info against a real API server."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.node_port_info import Reach

pytestmark = pytest.mark.cluster


def reach(client: Client, namespace: str, *ports: str, name: str = "web", check: bool = False, **options: Any) -> dict[str, Any]:
    params = {
        "services": [{"namespace": namespace, "name": name, "ports": list(ports)}],
        "address_types": ["InternalIP", "ExternalIP", "Hostname"],
        "wait": False,
        "wait_for": ["node_port", "endpoint"],
        **options,
    }
    return Reach(params, check=check).look(client)[0]


def service(namespace: str, policy: str = "Cluster", kind: str = "NodePort") -> dict[str, Any]:
    ports = [{"name": "https", "port": 443, "targetPort": 8443}, {"name": "quic", "port": 443, "protocol": "UDP", "targetPort": 8443}]
    spec = {
        "type": kind,
        "selector": {"app": "nobody"},
        "ports": ports,
        **({} if kind == "ClusterIP" else {"externalTrafficPolicy": policy}),
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": spec}


def endpoints(namespace: str, *nodes: str) -> dict[str, Any]:
    """As a controller would write them; the Service's own selector finds no pods."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-by-hand", "namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [f"192.0.2.{index}"], "nodeName": node, "conditions": {"ready": True}} for index, node in enumerate(nodes, 1)
        ],
    }


@pytest.fixture
def nodes(client: Client) -> dict[str, str]:
    """The cluster's Ready nodes and their internal addresses; there must be one."""
    found = {}
    for node in client.list("Node")[0]:
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", []))
        addresses = [each["address"] for each in node["status"].get("addresses", []) if each["type"] == "InternalIP"]
        if ready and addresses:
            found[node["metadata"]["name"]] = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    assert found, "this cluster has no Ready node"
    return found


def test_ports_nodes_and_addresses(client: Client, namespace: str, nodes: dict[str, str]) -> None:
    client.apply(service(namespace))
    entry = reach(client, namespace, "https", "443/UDP")
    live = client.get("Service", "web", namespace)
    assert live is not None
    expected = {port["protocol"]: port["nodePort"] for port in live["spec"]["ports"]}
    assert entry["node_ports"] == {
        "https": [f"{nodes[name]}:{expected['TCP']}" for name in sorted(nodes)],
        "443/UDP": [f"{nodes[name]}:{expected['UDP']}" for name in sorted(nodes)],
    }
    assert {each["name"] for each in entry["nodes"]} >= set(nodes)
    assert entry["selector"] == {"app": "nobody"}
    assert entry["type"] == "NodePort"

    client.apply(service(namespace, policy="Local"))
    assert reach(client, namespace, "https")["node_ports"]["https"] == []
    first = min(nodes)
    client.apply(endpoints(namespace, first))
    entry = reach(client, namespace, "https")
    assert entry["node_ports"]["https"] == [f"{nodes[first]}:{expected['TCP']}"]
    assert [each["name"] for each in entry["nodes"] if each["has_endpoint"]] == [first]


def test_it_waits_for_service_node_port_and_endpoint(new_client: Any, client: Client, namespace: str, nodes: dict[str, str]) -> None:
    first = min(nodes)
    steps = [
        lambda: client.apply(service(namespace, kind="ClusterIP")),
        lambda: client.apply(service(namespace, policy="Local")),
        lambda: client.apply(endpoints(namespace, first)),
    ]

    def work() -> None:
        for step in steps:
            time.sleep(0.5)
            step()

    thread = threading.Thread(target=work)
    thread.start()
    started = time.monotonic()
    entry = reach(new_client(30), namespace, "https", wait=True)
    spent = time.monotonic() - started
    thread.join()
    assert len(entry["node_ports"]["https"]) == 1
    assert 1.4 < spent < 15


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "it does not exist yet"),
        (["ClusterIP"], "no NodePort yet for https; it is of type ClusterIP"),
        (["NodePort"], "no ready endpoint yet for https"),
        (["NodePort", "endpoint"], "no Ready node with an address of a wanted type for https"),
    ],
)
def test_at_the_deadline_it_says_what_is_missing(new_client: Any, client: Client, namespace: str, steps: list[str], words: str) -> None:
    for step in steps:
        client.apply(endpoints(namespace, "gone") if step == "endpoint" else service(namespace, kind=step))
    started = time.monotonic()
    with pytest.raises(EdgeError) as caught:
        reach(new_client(1.5), namespace, "https", wait=True, node_selector="edgemesh-test-node=none")
    assert words in caught.value.sentence
    assert caught.value.code == "TIMEOUT"
    assert time.monotonic() - started < 3.5


def test_what_can_not_be_is_refused_at_once(new_client: Any, client: Client, namespace: str) -> None:
    with pytest.raises(EdgeError, match="it does not exist"):
        reach(client, namespace, "https")
    client.apply(service(namespace))
    started = time.monotonic()
    for wait in (False, True):
        with pytest.raises(EdgeError, match=r"it has no port http: its ports are https \(443/TCP\), quic \(443/UDP\)"):
            reach(new_client(30), namespace, "http", wait=wait, wait_for=["node_port"])
    assert time.monotonic() - started < 5


def test_in_check_mode_a_missing_service_is_known_after_apply(client: Client, namespace: str) -> None:
    entry = reach(client, namespace, "https", check=True, wait=True)
    assert (entry["found"], entry["node_ports"]) == (False, {"https": ["(known after apply)"]})
    assert len(client.warnings) == 1
