# SPDX-License-Identifier: GPL-3.0-or-later
"""Annotations of the gateway's Service for clouds' load balancers, from the clouds' own documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

_AWS = "service.beta.kubernetes.io/aws-load-balancer-"
_AZURE = "service.beta.kubernetes.io/azure-"
_IBM = "service.kubernetes.io/ibm-load-balancer-cloud-provider-"

PROVIDERS = ("eks", "gke", "aks", "ibm", "metallb")

# (provider, kind of front) -> annotations. A pair that is missing is something that this cloud doesn't make for a Service.
_ANNOTATIONS: Mapping[tuple[str, str], Mapping[str, str]] = {
    # A classic ELB; it is what a Service gets without aws-load-balancer-type.
    ("eks", "tcp_proxy"): {f"{_AWS}proxy-protocol": "*"},
    ("eks", "network_lb"): {f"{_AWS}type": "nlb"},
    # An ALB is an Ingress' or made by hand; the Service is only its target.
    ("eks", "http_proxy"): {},
    # Backend-service based external passthrough load balancer; its checks ask kube-proxy's health check port.
    ("gke", "network_lb"): {"cloud.google.com/l4-rbs": "enabled"},
    ("gke", "http_proxy"): {},
    # A Private Link Service before Azure's load balancer, which adds the header.
    ("aks", "tcp_proxy"): {f"{_AZURE}pls-create": "true", f"{_AZURE}pls-proxy-protocol": "true"},
    # Azure's load balancer keeps the client's address by itself.
    ("aks", "network_lb"): {},
    ("aks", "http_proxy"): {},
    # VPC clusters: an ALB with PROXY protocol, or an NLB.
    ("ibm", "tcp_proxy"): {f"{_IBM}enable-features": "proxy-protocol"},
    ("ibm", "network_lb"): {f"{_IBM}enable-features": "nlb"},
    ("ibm", "http_proxy"): {},
    # In layer 2 mode one node answers, and with externalTrafficPolicy Local one that has a gateway pod.
    ("metallb", "network_lb"): {},
}

# Whence clouds ask a gateway's own port whether it lives; where that is not kube-proxy's port.
_HEALTH_CHECKS: Mapping[tuple[str, str], tuple[str, ...]] = {("gke", "http_proxy"): ("35.191.0.0/16", "130.211.0.0/22")}


def wanted(provider: Optional[str], kind: str) -> Optional[dict[str, str]]:
    """The Service's annotations; None if this cloud has no such front for a Service."""
    if provider is None:
        return {}
    found = _ANNOTATIONS.get((provider, kind))
    return None if found is None else dict(found)


def kinds(provider: str) -> list[str]:
    """The fronts that a cloud makes."""
    return [kind for name, kind in _ANNOTATIONS if name == provider]


def health_checks(provider: Optional[str], kind: str) -> tuple[str, ...]:
    """Networks of the cloud's own health checks."""
    return _HEALTH_CHECKS.get((provider or "", kind), ())


def every_annotation() -> frozenset[str]:
    """All that any front sets; who changes the front takes the old ones back."""
    return frozenset(name for found in _ANNOTATIONS.values() for name in found)
