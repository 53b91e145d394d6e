# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that exists for the API and on the network, without a kubelet: its NodePorts are passed on to the lab's node."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lab import packages, settings
from lab.settings import Host
from tests.integration.access.fronts import running
from tests.integration.access.gateways import apply
from tests.integration.playbooks import kubectl
from tests.quiet import Quiet
from tests.spare_vms import spare_namespace

SECONDS = 10  # between two signs of life; the controllers wait for 40


@dataclass(frozen=True)
class Node:
    """The node, and EndpointSlices that say what would run on it."""

    host: Host

    @property
    def name(self) -> str:
        return f"edgelab-{self.host.name}"

    def serve(self, namespace: str, service: str, ports: dict[str, int], ready: bool = True) -> None:
        """A pod of the Service on this node, as the EndpointSlice controller would write it."""
        apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{service}-{self.name}",
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "edge-test"},
                },
                "addressType": "IPv4",
                "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
                "endpoints": [{"addresses": [self.host.address], "nodeName": self.name, "conditions": {"ready": ready}}],
            }
        )


@contextmanager
def second_node(node_ports: list[int], folder: Path) -> Iterator[Node]:
    """Ready as long as it is needed; nothing is scheduled there."""
    packages.ensure(Quiet(), ["haproxy"])
    with spare_namespace() as host:
        node = Node(host)
        configuration = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        for port in node_ports:
            for number, (own, first) in enumerate(((host.address, settings.NODE_IP), (f"[{host.address6}]", f"[{settings.NODE_IP6}]"))):
                configuration += f"listen n{port}_{number}\n  bind {own}:{port}\n  server node {first}:{port}\n"
        (folder / "node.cfg").write_text(configuration)
        ended = threading.Event()
        signs = threading.Thread(target=_live, args=(node.name, ended))
        try:
            with running(host, ["haproxy", "-db", "-f", str(folder / "node.cfg")], folder / "node.log", node_ports[0]):
                _register(node)
                signs.start()
                yield node
        finally:
            ended.set()
            if signs.ident:
                signs.join()
            kubectl("delete", "node", node.name, "--ignore-not-found")
            kubectl("delete", "lease", node.name, "--namespace", "kube-node-lease", "--ignore-not-found")


def _register(node: Node) -> None:
    taints = [{"key": "edge-test", "value": "no-kubelet", "effect": "NoSchedule"}]
    apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}, "spec": {"taints": taints}})
    _sign_of_life(node.name)
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
    addresses = [{"type": "InternalIP", "address": each} for each in (node.host.address, node.host.address6)]
    status = json.dumps({"status": {"conditions": [ready], "addresses": addresses}})
    kubectl("patch", "node", node.name, "--subresource=status", "--patch", status)


def _live(name: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS):
        _sign_of_life(name)


def _sign_of_life(name: str) -> None:
    lease: dict[str, Any] = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": f"{_now()[:-1]}.000000Z"}
    apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": lease,
           "metadata": {"name": name, "namespace": "kube-node-lease"}})  # fmt: skip


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
