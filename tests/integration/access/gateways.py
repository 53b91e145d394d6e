# SPDX-License-Identifier: GPL-3.0-or-later
"""Ingress gateways of a test's own, which tell of every request what address arrived, and what they count and run."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.own_gateway import install
from tests.integration.playbooks import KUBECTL, kubectl

HOST = "access.example.com"
# What a gateway saw of a request: who connected, whom it takes for the client, and by which list.
SEEN = {
    "x-seen-peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "x-seen-client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "x-seen-list": "%REQ(X-FORWARDED-FOR)%",
    "x-seen-external": "%REQ(X-ENVOY-EXTERNAL-ADDRESS)%",
}
# All that the role may write in a gateway's namespace.
WRITTEN = "authorizationpolicies.security.istio.io,services,deployments"
# A pod that ends goes on serving until everybody knows; the lab's own ends at once.
VALUES: dict[str, Any] = {
    "terminationGracePeriodSeconds": 30,
    "service": {"ipFamilyPolicy": "PreferDualStack"},
    "podAnnotations": {"proxy.istio.io/config": json.dumps({"terminationDrainDuration": "5s"})},
}


@dataclass(frozen=True)
class Gateways:
    """Releases of Istio's gateway chart in one namespace."""

    namespace: str
    names: tuple[str, ...]

    @property
    def node_ports(self) -> dict[str, dict[str, int]]:
        """By release and the port's name."""
        items = self.get("services")["items"]
        return {each["metadata"]["name"]: {port["name"]: port["nodePort"] for port in each["spec"]["ports"]} for each in items}

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Entries of ``edge_gateways``; each needs its front."""
        return {name: {"namespace": self.namespace, "service": name, "port": "http2"} for name in self.names}

    def get(self, kind: str, *words: str) -> Any:
        """Objects of the namespace."""
        return json.loads(kubectl("get", kind, *words, "--namespace", self.namespace, "--output", "json"))

    def pods(self, name: str) -> list[dict[str, Any]]:
        """A gateway's pods that aren't ending."""
        return [pod for pod in self.get("pods", "--selector", f"app={name}")["items"] if "deletionTimestamp" not in pod["metadata"]]

    def state(self) -> dict[str, Any]:
        """All that the role may write, without what Kubernetes notes about it."""
        found = {}
        for item in self.get(WRITTEN)["items"]:
            metadata = {key: dict(item["metadata"].get(key) or {}) for key in ("annotations", "labels")}
            metadata["annotations"].pop("deployment.kubernetes.io/revision", None)
            found[f"{item['kind']} {item['metadata']['name']}"] = {"metadata": metadata, "spec": item["spec"]}
        return found

    def denied(self, name: str) -> int:
        """How many requests the policies of a gateway's pods have denied."""
        return sum(denials(pod["status"]["podIP"]) for pod in self.pods(name))

    def configure(self, name: str, **topology: Any) -> None:
        """Another topology by hand, as somebody would who miscounts; the pods have it when this returns."""
        config = json.dumps({"terminationDrainDuration": "5s", "gatewayTopology": topology})
        patch = {"spec": {"template": {"metadata": {"annotations": {"proxy.istio.io/config": config}}}}}
        kubectl("patch", "deployment", name, "--namespace", self.namespace, "--patch", json.dumps(patch))
        self.rolled_out(name)

    def rolled_out(self, name: str) -> None:
        kubectl("rollout", "status", f"deployment/{name}", "--namespace", self.namespace, "--timeout=55s")


def denials(pod: str) -> int:
    """A pod's counters of denied requests, over all its ports; a policy's dry run is another counter."""
    address = f"[{pod}]" if ":" in pod else pod
    with urllib.request.urlopen(f"http://{address}:15090/stats/prometheus", timeout=10) as page:
        text = page.read().decode()
    return sum(int(count) for count in re.findall(r'^envoy_http_rbac\{.*authz_enforce_result="denied".*\} (\d+)$', text, re.MULTILINE))


def apply(*objects: dict[str, Any]) -> None:
    """Objects as they stand."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    subprocess.run([*KUBECTL, "apply", "--filename", "-"], input=text, text=True, check=True, capture_output=True)


def routing(namespace: str, pair: tuple[Path, Path]) -> list[dict[str, Any]]:
    """Istio's objects for a host at all gateways of a namespace, answered by the gateways themselves."""
    certificate, key = (base64.b64encode(path.read_bytes()).decode() for path in pair)
    servers = [
        {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]},
        {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": [HOST],
         "tls": {"mode": "SIMPLE", "credentialName": "access"}},
    ]  # fmt: skip
    answer = {"directResponse": {"status": 200, "body": {"string": "edge"}}, "headers": {"response": {"set": SEEN}}}
    named = {"name": "access", "namespace": namespace}
    istio = "networking.istio.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": named, "type": "kubernetes.io/tls",
         "data": {"tls.crt": certificate, "tls.key": key}},
        {"apiVersion": istio, "kind": "Gateway", "metadata": named, "spec": {"selector": {"edge-test": "access"}, "servers": servers}},
        {"apiVersion": istio, "kind": "VirtualService", "metadata": named,
         "spec": {"hosts": [HOST], "gateways": ["access"], "http": [answer]}},
    ]  # fmt: skip


@contextmanager
def gateways(namespace: str, folder: Path, pair: tuple[Path, Path], names: tuple[str, ...], **values: Any) -> Iterator[Gateways]:
    """Ready and routing; gone with their namespace."""
    try:
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        apply(*routing(namespace, pair))
        with ThreadPoolExecutor(len(names)) as pool:
            all_values = {**VALUES, "labels": {"edge-test": "access"}, **values}
            list(pool.map(lambda name: install(namespace, name, folder, **all_values), names))
        yield Gateways(namespace, names)
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def until(condition: Any, seconds: float = 30) -> Any:
    """The condition's first true value, or its last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value
