# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the cluster around gateways, from objects as the API gave them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Optional

from .._loose import mapping, mappings
from .._routes.parts import Gateway
from . import topology
from .topology import Topology

#: On the Service that istiod makes for a Gateway of the Gateway API.
_GATEWAY_API = "gateway.networking.k8s.io/gateway-name"

#: A Kubernetes object, or a part of one, as the API has it.
Manifest = dict[str, Any]


class Live:
    """What is there.

    :param objects: Services, Deployments, DaemonSets, Pods, RequestAuthentications and our policies of the gateways' namespaces;
        the mesh's ConfigMap.
    """

    def __init__(self, objects: Iterable[Manifest]) -> None:
        self._objects = list(objects)

    def every(self, kind: str) -> Iterator[Manifest]:
        """Those of a kind."""
        return (each for each in self._objects if each.get("kind") == kind)

    def _of(self, kind: str, namespace: str) -> Iterator[Manifest]:
        return (each for each in self.every(kind) if each["metadata"].get("namespace") == namespace)

    def mesh(self) -> Optional[Manifest]:
        """The ConfigMap of the mesh's configuration."""
        return next(self.every("ConfigMap"), None)

    def service(self, gateway: Gateway) -> Optional[Manifest]:
        """The gateway's Service."""
        return next((each for each in self._of("Service", gateway.namespace) if each["metadata"]["name"] == gateway.service), None)

    def labels(self, gateway: Gateway) -> dict[str, str]:
        """The labels by which the gateway's Service selects pods."""
        return mapping(_spec(self.service(gateway)).get("selector"))

    def pod_labels(self, gateway: Gateway) -> list[dict[str, str]]:
        """What is known of the labels of the gateway's pods."""
        made = [_labels(mapping(_spec(each).get("template"))) for each in self.workloads(gateway)]
        return [{**self.labels(gateway), **gateway.selector}, *made]

    def target(self, gateway: Gateway) -> Optional[str]:
        """The Gateway of the Gateway API that the gateway's Service was made for."""
        service = self.service(gateway)
        return mapping(service["metadata"].get("labels")).get(_GATEWAY_API) if service else None

    def port(self, gateway: Gateway) -> Manifest:
        """The gateway's port in its Service; empty where it has no such port."""
        ports = mappings(_spec(self.service(gateway)).get("ports"))
        return next((each for each in ports if gateway.port in (str(each.get("port")), each.get("name"))), {})

    def local(self, gateway: Gateway) -> bool:
        """Whether connections keep their source on the way to the gateway's pods."""
        return bool(_spec(self.service(gateway)).get("externalTrafficPolicy") == "Local")

    def workloads(self, gateway: Gateway) -> list[Manifest]:
        """The Deployments or DaemonSets whose pods the gateway's Service selects."""
        wanted = self.labels(gateway)
        every = [each for kind in ("Deployment", "DaemonSet") for each in self._of(kind, gateway.namespace)]
        return [each for each in every if wanted and wanted.items() <= _labels(mapping(_spec(each).get("template"))).items()]

    def pods(self, gateway: Gateway) -> list[Manifest]:
        """The gateway's pods, without those that end."""
        wanted = self.labels(gateway)
        return [
            each
            for each in self._of("Pod", gateway.namespace)
            if wanted and wanted.items() <= _labels(each).items()
            if not each["metadata"].get("deletionTimestamp")
            and (mapping(each.get("status")).get("phase") or "Running") in ("Pending", "Running")
        ]

    def topologies(self, gateway: Gateway) -> dict[str, Topology]:
        """What the gateway's pods have started with, by ``namespace/name``; without those that don't say it."""
        found = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": _started_with(each) for each in self.pods(gateway)}
        return {name: trusted for name, trusted in found.items() if trusted is not None}


def _started_with(pod: Manifest) -> Optional[Topology]:
    for container in mappings(_spec(pod).get("containers")):
        for variable in mappings(container.get("env")):
            if variable.get("name") == "PROXY_CONFIG":
                return topology.topology_of(topology.parsed(str(variable.get("value") or ""), f"Pod {pod['metadata']['name']}"))
    return None


def _spec(live: Optional[Manifest]) -> Manifest:
    return mapping((live or {}).get("spec"))


def _labels(live: Manifest) -> dict[str, str]:
    return mapping(mapping(live.get("metadata")).get("labels"))
