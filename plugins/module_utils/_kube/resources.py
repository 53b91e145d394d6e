# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds and where the API keeps them.

The API server's answers for these never change, so no request is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import quote

from .._errors import EdgeError
from .text import clean


@dataclass(frozen=True)
class Resource:
    """A kind of object: ``plural`` is its name in URLs and in RBAC rules."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return group_of(self.api_version)

    def path(self, namespace: Optional[str] = None, name: str = "") -> str:
        """URL path of one object, or of all (of a namespace, or everywhere)."""
        parts = ["/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)

    def title(self, namespace: Optional[str] = None, name: str = "") -> str:
        """The object as people write it: "Secret shop/web"."""
        place = f"{namespace}/{name}" if self.namespaced and namespace else name
        return clean(f"{self.kind} {place}", 600)


def group_of(api_version: str) -> str:
    """``apps`` of ``apps/v1``; empty for ``v1``."""
    return api_version.rpartition("/")[0]


# Preferred version of each group; "Kind" stands for its lower case + s, "Kind=plural" for the rest; * = not in a namespace.
_KINDS = {
    "v1": "ConfigMap Secret Service ServiceAccount Pod Endpoints=endpoints PersistentVolumeClaim ReplicationController ResourceQuota"
    " LimitRange Event PodTemplate *Namespace *Node *PersistentVolume",
    "apps/v1": "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision",
    "batch/v1": "Job CronJob",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "Ingress=ingresses NetworkPolicy=networkpolicies *IngressClass=ingressclasses",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding *ClusterRole *ClusterRoleBinding",
    "discovery.k8s.io/v1": "EndpointSlice",
    "coordination.k8s.io/v1": "Lease",
    "storage.k8s.io/v1": "*StorageClass=storageclasses",
    "scheduling.k8s.io/v1": "*PriorityClass=priorityclasses",
    "apiextensions.k8s.io/v1": "*CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "*APIService",
    "admissionregistration.k8s.io/v1": "*MutatingWebhookConfiguration *ValidatingWebhookConfiguration"
    " *ValidatingAdmissionPolicy=validatingadmissionpolicies *ValidatingAdmissionPolicyBinding",
    "certificates.k8s.io/v1": "*CertificateSigningRequest",
    "networking.istio.io/v1": "Gateway VirtualService DestinationRule ServiceEntry=serviceentries Sidecar WorkloadEntry=workloadentries"
    " WorkloadGroup ProxyConfig EnvoyFilter",
    "security.istio.io/v1": "AuthorizationPolicy=authorizationpolicies PeerAuthentication RequestAuthentication",
    "telemetry.istio.io/v1": "Telemetry=telemetries",
    "extensions.istio.io/v1alpha1": "WasmPlugin",
    "gateway.networking.k8s.io/v1": "Gateway HTTPRoute GRPCRoute TLSRoute BackendTLSPolicy=backendtlspolicies *GatewayClass=gatewayclasses"
    " TCPRoute ReferenceGrant",
    "k8s.nginx.org/v1": "VirtualServer VirtualServerRoute Policy=policies TransportServer GlobalConfiguration",
    "cert-manager.io/v1": "Certificate CertificateRequest Issuer *ClusterIssuer",
    "route.openshift.io/v1": "Route",
    "security.openshift.io/v1": "*SecurityContextConstraints=securitycontextconstraints",
    "k8s.cni.cncf.io/v1": "NetworkAttachmentDefinition=network-attachment-definitions",
}


def _table() -> dict[str, dict[str, Resource]]:
    table: dict[str, dict[str, Resource]] = {}
    for api_version, words in _KINDS.items():
        for word in words.split():
            kind, _equals, plural = word.lstrip("*").partition("=")
            resource = Resource(api_version, kind, plural or f"{kind.lower()}s", not word.startswith("*"))
            table.setdefault(kind, {})[resource.group] = resource
    return table


_KNOWN = _table()


def known(kind: str, api_version: Optional[str] = None) -> Optional[Resource]:
    """The kind, if it is one of those above; any version of its group has the same plural and scope.

    :param api_version: None asks for the preferred version.
    :raises EdgeError: when ``api_version`` is None and the kind exists in several groups.
    """
    groups = _KNOWN.get(kind, {})
    if api_version is None:
        if len(groups) > 1:
            choice = " or ".join(sorted(resource.api_version for resource in groups.values()))
            raise EdgeError(f"the kind {kind} exists in several API groups", fix=f"Give its api_version: {choice}")
        return next(iter(groups.values()), None)
    found = groups.get(group_of(api_version))
    return Resource(api_version, kind, found.plural, found.namespaced) if found else None


def from_crd(crd: dict[str, Any]) -> list[Resource]:
    """The kinds that a CustomResourceDefinition makes; what isn't there is left to the API server to complain about."""
    spec = crd.get("spec")
    if not isinstance(spec, dict):
        return []
    names = spec.get("names")
    versions = spec.get("versions")
    if not isinstance(names, dict) or not isinstance(versions, list):
        return []
    return [
        Resource(
            f"{spec.get('group')}/{version.get('name')}", str(names.get("kind")), str(names.get("plural")), spec.get("scope") != "Cluster"
        )
        for version in versions
        if isinstance(version, dict)
    ]
