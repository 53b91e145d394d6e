# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a gateway with `externalTrafficPolicy: Local` is reached: nginx's list of upstream servers follows its pods from node to node."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import settings, vms
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.node_port_info import Reach
from tests.integration.access.second_node import Node, second_node
from tests.integration.own_gateway import NAME, own_gateway
from tests.integration.playbooks import LAB, kubectl, on_host, play, variables
from tests.spare_vms import spare

pytestmark = [pytest.mark.lab, pytest.mark.mesh, pytest.mark.nodes]
MARK = uuid.uuid4().hex[:6]
SPACE = f"edgemesh-test-nodes-{MARK}"
PORTS = {"http2": 80, "https": 443, "status-port": 15021}
LOCAL = {"externalTrafficPolicy": "Local", "ipFamilyPolicy": "PreferDualStack"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A gateway of two pods, and a node without one."""
    folder = tmp_path_factory.mktemp("nodes")
    with own_gateway(SPACE, folder, replicaCount=2, service=LOCAL), second_node(list(node_ports().values()), folder) as node:
        yield node


def node_ports() -> dict[str, int]:
    service = json.loads(kubectl("get", "service", NAME, "--namespace", SPACE, "--output", "json"))
    return {port["name"]: port["nodePort"] for port in service["spec"]["ports"]}


@pytest.fixture
def elsewhere(nodes: Node) -> Iterator[Callable[..., None]]:
    """A pod of the gateway on the second node, as long as the test lasts."""
    yield lambda ready=True: nodes.serve(SPACE, NAME, PORTS, ready)
    kubectl("delete", "endpointslice", f"{NAME}-{nodes.name}", "--namespace", SPACE, "--ignore-not-found")


@pytest.fixture
def cluster_policy() -> Iterator[Callable[[], None]]:
    """Every node passes traffic on, as long as the test lasts."""

    def policy(name: str) -> None:
        kubectl("patch", "service", NAME, "--namespace", SPACE, "--patch", json.dumps({"spec": {"externalTrafficPolicy": name}}))

    yield lambda: policy("Cluster")
    policy("Local")


def test_only_nodes_with_a_pod_count(nodes: Node, elsewhere: Callable[..., None], cluster_policy: Callable[[], None]) -> None:
    client = connect({"kubeconfig": str(LAB / "kubeconfig")})

    def found() -> list[str]:
        services = [{"namespace": SPACE, "name": NAME, "ports": ["https"]}]
        asked = {"services": services, "address_types": ["InternalIP"], "wait": False, "wait_for": []}
        return sorted(Reach(asked, check=False).look(client)[0]["node_ports"]["https"])

    port = node_ports()["https"]
    first, second = f"{settings.NODE_IP}:{port}", f"{nodes.host.address}:{port}"
    assert found() == [first]
    elsewhere()
    assert found() == [first, second]
    elsewhere(ready=False)
    assert found() == [first]
    cluster_policy()
    assert found() == [first, second]


@pytest.mark.soak
def test_nginx_follows(nodes: Node, elsewhere: Callable[..., None], cluster_policy: Callable[[], None], tmp_path: Path) -> None:
    route: dict[str, Any] = {
        "name": "follow",
        "host": f"follow-{MARK}.example.com",
        "on": "spare",
        "listen": {"certificate": "follow-public"},
        "paths": [{"service": {"namespace": "lab-echo", "name": "echo", "port": 8000}}],
        "probe": {"path": "/status/418", "status": 418},
    }
    with spare("trixie") as vm:
        reached = vms.inventory_hosts([vm], ())["edge_nginx"]["hosts"]
        (tmp_path / "spare.json").write_text(json.dumps({"spare": {"hosts": reached}}))
        values = {
            **variables(route, vms=vm.name),
            "edge_namespace": SPACE,
            "edge_gateways": {"main": {"namespace": SPACE, "service": NAME}},
            "edge_demo_app": False,
        }

        def run(playbook: str) -> str:
            done = play(playbook, values, "--inventory", str(tmp_path / "spare.json"))
            assert done.returncode == 0, done.stdout[-4000:]
            return done.stdout

        def listed() -> set[str]:
            text = on_host(vm.name, "cat /etc/nginx/edgemesh/current/*.conf", others=reached)
            return set(re.findall(r"^\s*server ([\d.]+:\d+)", text, re.MULTILINE))

        def changed(output: str) -> int:
            return int(re.findall(rf"{vm.name} +:.*changed=(\d+)", output)[-1])

        port = node_ports()["https"]
        first, second = f"{settings.NODE_IP}:{port}", f"{nodes.host.address}:{port}"
        run("vm_offload.yml")
        assert listed() == {first}, "two pods on one node, and a node without a pod"
        assert changed(run("refresh.yml")) == 0
        elsewhere()
        assert changed(run("refresh.yml")) > 0
        assert listed() == {first, second}
        kubectl("scale", f"deployment/{NAME}", "--replicas=1", "--namespace", SPACE)
        assert changed(run("refresh.yml")) == 0, "one pod fewer on a node that still has one"
        elsewhere(ready=False)
        run("refresh.yml")
        assert listed() == {first}
        cluster_policy()
        run("refresh.yml")
        assert listed() == {first, second}, "now every node passes traffic on"
