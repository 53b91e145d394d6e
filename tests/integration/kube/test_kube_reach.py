"""node_port_info against a real API server."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.reach import Reach

pytestmark = pytest.mark.cluster
LABEL = "edgemesh-test-node"


def reach(client: Client, namespace: str, *ports: str, name: str = "web", check: bool = False, **options: Any) -> dict[str, Any]:
    params = {
        "services": [{"namespace": namespace, "name": name, "ports": list(ports)}],
        "address_types": ["InternalIP", "ExternalIP", "Hostname"],
        "wait": False,
        "until": ["node_port", "endpoint"],
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
def nodes(client: Client) -> Iterator[list[str]]:
    """Two nodes of our own that are objects only; nothing is scheduled on them."""
    mark = uuid.uuid4().hex[:8]
    names = [f"edgemesh-test-{mark}-{number}" for number in (1, 2)]
    for number, name in enumerate(names, 1):
        spec = {"unschedulable": True, "taints": [{"key": "edgemesh-test", "effect": "NoExecute"}]}
        client.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {LABEL: mark}}, "spec": spec})
        _report(client, name, "True", f"192.0.2.10{number}")
    yield [f"{LABEL}={mark}", *names]
    for name in names:
        client.delete("Node", name)


def _report(client: Client, name: str, ready: str, address: str) -> None:
    import json

    condition = {"type": "Ready", "status": ready, "reason": "Test", "lastHeartbeatTime": None, "lastTransitionTime": None}
    status = {"status": {"conditions": [condition], "addresses": [{"type": "InternalIP", "address": address}]}}
    body = json.dumps(status).encode()
    client._call("PATCH", f"/api/v1/nodes/{name}/status", body=body, content_type="application/merge-patch+json", where="status")


def test_ports_nodes_and_addresses(client: Client, namespace: str, nodes: list[str]) -> None:
    selector, first, second = nodes
    client.apply(service(namespace))
    entry = reach(client, namespace, "https", "443/UDP", node_selector=selector)
    live = client.get("Service", "web", namespace)
    assert live is not None
    expected = {port["protocol"]: port["nodePort"] for port in live["spec"]["ports"]}
    assert entry["node_ports"] == {
        "https": [f"192.0.2.101:{expected['TCP']}", f"192.0.2.102:{expected['TCP']}"],
        "443/UDP": [f"192.0.2.101:{expected['UDP']}", f"192.0.2.102:{expected['UDP']}"],
    }
    assert [each["name"] for each in entry["nodes"]] == [first, second]
    assert entry["selector"] == {"app": "nobody"}
    assert entry["type"] == "NodePort"

    client.apply(service(namespace, policy="Local"))
    assert reach(client, namespace, "https", node_selector=selector)["node_ports"]["https"] == []
    client.apply(endpoints(namespace, second))
    entry = reach(client, namespace, "https", node_selector=selector)
    assert entry["node_ports"]["https"] == [f"192.0.2.102:{expected['TCP']}"]
    assert [each["has_endpoint"] for each in entry["nodes"]] == [False, True]


def test_it_waits_for_service_endpoint_and_node(new_client: Any, client: Client, namespace: str, nodes: list[str]) -> None:
    selector, first, second = nodes
    for name in (first, second):
        _report(client, name, "False", "192.0.2.101")
    steps = [
        lambda: client.apply(service(namespace, kind="ClusterIP")),
        lambda: client.apply(service(namespace, policy="Local")),
        lambda: client.apply(endpoints(namespace, first)),
        lambda: _report(client, first, "True", "192.0.2.101"),
    ]

    def work() -> None:
        for step in steps:
            time.sleep(0.4)
            step()

    thread = threading.Thread(target=work)
    thread.start()
    started = time.monotonic()
    entry = reach(new_client(30), namespace, "https", wait=True, node_selector=selector)
    spent = time.monotonic() - started
    thread.join()
    assert len(entry["node_ports"]["https"]) == 1
    assert 1.5 < spent < 15


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
        reach(new_client(1.5), namespace, "https", wait=True, node_selector=f"{LABEL}=none")
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
            reach(new_client(30), namespace, "http", wait=wait, until=["node_port"])
    assert time.monotonic() - started < 5


def test_in_check_mode_a_missing_service_is_known_after_apply(client: Client, namespace: str) -> None:
    entry = reach(client, namespace, "https", check=True, wait=True)
    assert (entry["found"], entry["node_ports"]) == (False, {"https": ["(known after apply)"]})
    assert len(client.warnings) == 1
