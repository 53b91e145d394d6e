# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof, from a pod without a sidecar, that the app's own pods take no plaintext.

A refusal has many causes: a NetworkPolicy, an app that is down, a port that nobody serves. So its control differs in one thing alone: the
same pod, address and port, but TLS as a sidecar begins it. That control holds where the other side shows a certificate of the app's own
namespace in the mesh and demands one in return. This needs no mesh certificate of ours, and it is the same under PERMISSIVE, where only
the plaintext is answered.

What it can't tell: an app in ambient mode has no sidecar that would answer (ztunnel takes the mesh's traffic on another port), so its
control does not hold. Pods' addresses that the Service does not list (the other family of a pod with two) are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..._address import join
from ..._loose import mapping, mappings, number
from ..._routes.parts import Backend

#: Addresses of one Service that are probed; a Service with hundreds of pods is no reason for hundreds of lines.
MOST = 4
#: What sidecars offer for TCP, and no client outside the mesh does: PERMISSIVE tells by it who speaks the mesh's own TLS.
_MESH_ALPN = "istio"
_SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Targets:
    """Where a Service's pods listen: ``address:port``, the first :data:`MOST` of ``of``; without any a ``reason``."""

    addresses: tuple[str, ...] = ()
    of: int = 0
    reason: str = ""


def queries(backends: Iterable[Backend]) -> list[dict[str, Any]]:
    """What module k8s_objects_info has to read for :func:`targets`, each Service once."""
    services = dict.fromkeys((backend.namespace, backend.name) for backend in backends)
    return [
        query
        for namespace, name in services
        for query in (
            {"kind": "Service", "namespace": namespace, "name": name},
            {
                "kind": "EndpointSlice",
                "api_version": "discovery.k8s.io/v1",
                "namespace": namespace,
                "label_selectors": [f"{_SERVICE_NAME}={name}"],
            },
        )
    ]


def targets(backend: Backend, objects: Iterable[Mapping[str, Any]]) -> Targets:
    """The ready pods of a Service, IPv4 before IPv6, at the port that the Service's port leads to.

    :param objects: what the :func:`queries` found, in any order.
    """
    where = f"Service {backend.namespace}/{backend.name}"
    own = [each for each in objects if mapping(each.get("metadata")).get("namespace") == backend.namespace]
    service = next((each for each in own if each.get("kind") == "Service" and each["metadata"].get("name") == backend.name), None)
    if service is None:
        return Targets(reason=f"{where} was not found")
    ports = [each for each in mappings(mapping(service.get("spec")).get("ports")) if number(each.get("port")) == backend.port]
    tcp = next((each for each in ports if (each.get("protocol") or "TCP") == "TCP"), None)
    if tcp is None:
        return Targets(reason=f"{where} has no TCP port {backend.port}")
    slices = [each for each in own if mapping(each["metadata"].get("labels")).get(_SERVICE_NAME) == backend.name]
    found = {place for each in slices for place in _places(each, str(tcp.get("name") or ""))}
    if not found:
        return Targets(reason=f"{where} has no ready pod at its port {backend.port}")
    addresses = [join(address, port) for _family, address, port in sorted(found)]
    return Targets(tuple(addresses[:MOST]), len(addresses))


def _places(live: Mapping[str, Any], name: str) -> list[tuple[str, str, int]]:
    """Family, address and port of what is ready in an EndpointSlice."""
    if live.get("addressType") not in ("IPv4", "IPv6"):
        return []
    # a slice calls its ports as the Service does
    ports = [number(each.get("port")) for each in mappings(live.get("ports")) if (each.get("name") or "") == name]
    ready = [each for each in mappings(live.get("endpoints")) if mapping(each.get("conditions")).get("ready") is not False]
    return [
        (live["addressType"], str(address), port) for each in ready for address in each.get("addresses") or [] for port in ports if port
    ]


def sidecar_probe() -> dict[str, Any]:
    """The control, as an entry of edge_probe without name, address and port."""
    tls = {"sni": "", "rules": "none", "alpn": [_MESH_ALPN]}
    return {"tls": tls, "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"], "certificate_requested": True}}


def plaintext_probe(request: Mapping[str, Any]) -> dict[str, Any]:
    """The claim, in the same way.

    :param request: the route's own, as option ``http``.
    """
    return {"http": dict(request), "expect": {"refused": True, "codes": ["PLAINTEXT_TO_TLS_PORT", "HTTP_NO_ANSWER"]}}


def connected(result: Mapping[str, Any]) -> bool:
    """Whether the probe got as far as a connection; where it did not, nothing is said of the app."""
    return "tcp" in {each["check"] for each in result["checks"] if each["status"] == "ok"}


def identity(result: Mapping[str, Any], namespace: str) -> str:
    """The SPIFFE identity in an app's namespace that the control was shown, and that demanded one in return; "" for none."""
    chain = mappings(mapping(result.get("tls")).get("chain"))
    names = [str(name).removeprefix("URI:") for name in (chain[0].get("sans") or [] if chain else [])]
    shown = [name for name in names if name.startswith("spiffe://") and f"/ns/{namespace}/sa/" in name]
    return shown[0] if shown and result["ok"] else ""
