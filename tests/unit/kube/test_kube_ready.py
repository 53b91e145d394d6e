# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._kube.ready import Never, why_not

GATEWAY = "gateway.networking.k8s.io/v1"


def true(name: str, **more: Any) -> dict[str, Any]:
    return {"type": name, "status": "True", **more}


def false(name: str, **more: Any) -> dict[str, Any]:
    return {"type": name, "status": "False", **more}


def live(kind: str, status: Any = None, spec: Any = None, generation: int = 2, api_version: str = "") -> dict[str, Any]:
    versions = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1", "Job": "batch/v1"}
    found: dict[str, Any] = {
        "apiVersion": api_version or versions.get(kind, "v1"),
        "kind": kind,
        "metadata": {"name": "x", "namespace": "n", "generation": generation},
        "spec": spec or {},
    }
    return found if status is None else {**found, "status": status}


def route(*parents: Any, refs: Any = ({"name": "main"},)) -> dict[str, Any]:
    return live("HTTPRoute", {"parents": list(parents)}, {"parentRefs": list(refs)}, api_version=GATEWAY)


def parent(*conditions: Any, **ref: Any) -> dict[str, Any]:
    return {"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "main", **ref}, "conditions": list(conditions)}


ACCEPTED = (true("Accepted", observedGeneration=2), true("ResolvedRefs", observedGeneration=2))
UP_TO_DATE = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3}
SUMMED = {"currentRevision": "a", "updateRevision": "b"}
NIC = "k8s.nginx.org/v1"
CERT_MANAGER = "cert-manager.io/v1"
CRD = {"api_version": "apiextensions.k8s.io/v1"}


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (live("ConfigMap"), ""),
        (live("Secret"), ""),
        (live("Deployment", UP_TO_DATE, {"replicas": 3}), ""),
        (live("Deployment", {"observedGeneration": 2}, {"replicas": 0}), ""),
        (live("Deployment", {**UP_TO_DATE, "observedGeneration": 1}, {"replicas": 3}), "has not seen this version"),
        (live("Deployment", None, {"replicas": 3}), "has not seen this version"),
        (live("Deployment", {**UP_TO_DATE, "updatedReplicas": 1}, {"replicas": 3}), "1 of 3 replicas are of this version"),
        (live("Deployment", {**UP_TO_DATE, "replicas": 4}, {"replicas": 3}), "1 old replicas are still there"),
        (live("Deployment", {**UP_TO_DATE, "availableReplicas": 2}, {"replicas": 3}), "2 of 3 replicas are available"),
        (live("Deployment", {"observedGeneration": 2}), "0 of 1 replicas are of this version"),
        (live("Deployment", {"observedGeneration": 2}, {"replicas": 3, "paused": True}), ""),
        (
            live("Deployment", {"observedGeneration": 2, "conditions": [true("ReplicaFailure", reason="FailedCreate", message="quota")]}),
            "0 of 1 replicas are of this version; ReplicaFailure is True (FailedCreate: quota)",
        ),
        (live("StatefulSet", UP_TO_DATE, {"replicas": 3}), ""),
        (live("StatefulSet", {**UP_TO_DATE, "readyReplicas": 0}, {"replicas": 3}), "0 of 3 replicas are ready"),
        (live("StatefulSet", {**UP_TO_DATE, **SUMMED, "updatedReplicas": 1}, {"replicas": 3}), "1 of 3 replicas are of this version"),
        (
            live(
                "StatefulSet",
                {**UP_TO_DATE, **SUMMED, "updatedReplicas": 1},
                {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            ),
            "",
        ),
        (live("StatefulSet", {**UP_TO_DATE, **SUMMED, "updatedReplicas": 0}, {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}), ""),
        (live("DaemonSet", {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}), ""),
        (
            live("DaemonSet", {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
            "1 of 2 pods are of this version",
        ),
        (
            live("DaemonSet", {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2}),
            "0 of 2 pods are available",
        ),
        (live("DaemonSet", {"observedGeneration": 1}), "has not seen this version"),
        (live("ReplicaSet", UP_TO_DATE, {"replicas": 3}), ""),
        (live("ReplicaSet", UP_TO_DATE, {"replicas": 4}), "3 of 4 replicas are ready"),
        (live("Service", {}, {"type": "ClusterIP"}), ""),
        (live("Service", {}, {"type": "LoadBalancer"}), "no address yet"),
        (live("Service", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, {"type": "LoadBalancer"}), ""),
        (live("Service", {"loadBalancer": {"ingress": [{"hostname": "x"}]}}, {"type": "LoadBalancer"}), ""),
        (live("Service", {"loadBalancer": {"ingress": [{}]}}, {"type": "LoadBalancer"}), "no address yet"),
        (live("Namespace", {"phase": "Active"}), ""),
        (live("Namespace", {"phase": "Terminating"}), "phase Terminating"),
        (live("Pod", {"phase": "Running", "conditions": [true("Ready")]}), ""),
        (live("Pod", {"phase": "Succeeded"}), ""),
        (live("Pod", {"phase": "Failed", "reason": "Evicted", "message": "disk"}), "failed: Evicted disk"),
        (live("Pod", {}), "phase unknown"),
        (
            live("Pod", {"phase": "Pending", "conditions": [false("PodScheduled", reason="Unschedulable", message="0/1 nodes")]}),
            "PodScheduled is False (Unschedulable: 0/1 nodes)",
        ),
        (
            live(
                "Pod",
                {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
            ),
            "container c: ImagePullBackOff (no such image)",
        ),
        (
            live(
                "Pod",
                {
                    "initContainerStatuses": [
                        {"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}}
                    ],
                    "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "PodInitializing"}}}],
                },
            ),
            "container i: CrashLoopBackOff, last exit code 3",
        ),
        (
            live("Pod", {"containerStatuses": [{"name": "c", "state": {"terminated": {"reason": "Error", "exitCode": 7}}}]}),
            "container c: Error, exit code 7",
        ),
        (
            live("Pod", {"containerStatuses": [{"name": "c", "ready": False, "state": {"running": {"startedAt": "x"}}}]}),
            "container c runs but isn't ready",
        ),
        (live("Job", {"conditions": [true("Complete")]}), ""),
        (live("Job", {"active": 1}), "1 active, 0 succeeded, 0 failed"),
        (live("Job", {}, {"suspend": True}), ""),
        (live("PersistentVolumeClaim", {"phase": "Bound"}), ""),
        (live("PersistentVolumeClaim", {"phase": "Pending"}), "phase Pending"),
        (live("CustomResourceDefinition", {"conditions": [true("NamesAccepted"), true("Established")]}, **CRD), ""),
        (live("CustomResourceDefinition", {"conditions": [true("NamesAccepted")]}, **CRD), "Established is not reported yet"),
        (
            live("APIService", {"conditions": [false("Available", reason="MissingEndpoints")]}, api_version="apiregistration.k8s.io/v1"),
            "MissingEndpoints",
        ),
        (live("PodDisruptionBudget", {"observedGeneration": 2}, api_version="policy/v1"), ""),
        (live("PodDisruptionBudget", {"observedGeneration": 1}, api_version="policy/v1"), "has not seen this version"),
        (
            live(
                "Gateway",
                {"conditions": [true("Accepted", observedGeneration=2), true("Programmed", observedGeneration=2)]},
                api_version=GATEWAY,
            ),
            "",
        ),
        (
            live(
                "Gateway",
                {"conditions": [true("Accepted", observedGeneration=2), true("Programmed", observedGeneration=1)]},
                api_version=GATEWAY,
            ),
            "has not seen",
        ),
        (
            live("Gateway", {"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending"}]}, api_version=GATEWAY),
            "Accepted is Unknown (Pending)",
        ),
        (live("Gateway", {}, api_version=GATEWAY), "Accepted is not reported yet"),
        (live("GatewayClass", {"conditions": [true("Accepted")]}, api_version=GATEWAY), ""),
        (route(parent(*ACCEPTED)), ""),
        (route(parent(*ACCEPTED, namespace="n")), ""),
        (route(parent(*ACCEPTED, namespace="other")), "Gateway main has not looked at it yet"),
        (route(), "Gateway main has not looked at it yet"),
        (route(parent(*ACCEPTED), refs=({"name": "main"}, {"name": "second"})), "Gateway second has not looked at it yet"),
        (route(parent(*ACCEPTED, sectionName="https"), refs=({"name": "main", "sectionName": "https"},)), ""),
        (route(parent(*ACCEPTED, sectionName="http"), refs=({"name": "main", "sectionName": "https"},)), "has not looked"),
        (
            route(parent(ACCEPTED[0], false("ResolvedRefs", observedGeneration=2, reason="BackendNotFound"))),
            "ResolvedRefs is False (BackendNotFound)",
        ),
        (route(parent(true("Accepted", observedGeneration=1))), "has not seen this version"),
        (live("BackendTLSPolicy", {"ancestors": [{"conditions": [true("Accepted", observedGeneration=2)]}]}, api_version=GATEWAY), ""),
        (live("BackendTLSPolicy", {}, api_version=GATEWAY), "no gateway has looked at it yet"),
        (live("ReferenceGrant", api_version=GATEWAY), ""),
        (live("VirtualServer", {"state": "Valid"}, api_version=NIC), ""),
        (
            live("VirtualServer", {"state": "Warning", "reason": "AddedOrUpdatedWithWarning", "message": "no policy"}, api_version=NIC),
            "Warning (AddedOr",
        ),
        (live("Policy", {"state": "Invalid", "reason": "Rejected", "message": "bad"}, api_version=NIC), "Invalid (Rejected: bad)"),
        (live("Policy", api_version=NIC), "has not looked at it yet"),
        (live("Certificate", {"conditions": [true("Ready", observedGeneration=2)]}, api_version=CERT_MANAGER), ""),
        (live("Certificate", {"conditions": [true("Ready", observedGeneration=1)]}, api_version=CERT_MANAGER), "has not seen this version"),
        (
            live("ClusterIssuer", {"conditions": [false("Ready", reason="ErrInit", message="no secret")]}, api_version=CERT_MANAGER),
            "ErrInit: no secret",
        ),
        (live("Issuer", api_version=CERT_MANAGER), "Ready is not reported yet"),
        (live("Gateway", api_version="networking.istio.io/v1"), ""),
        (live("VirtualService", {"conditions": [false("Reconciled")]}, api_version="networking.istio.io/v1"), ""),
        (live("PeerAuthentication", api_version="security.istio.io/v1"), ""),
        (live("Route", {"ingress": [{"conditions": [true("Admitted")]}]}, api_version="route.openshift.io/v1"), ""),
        (live("Route", {}, api_version="route.openshift.io/v1"), "no router has admitted it yet"),
        (live("Foo", api_version="example.com/v1"), ""),
        (live("Foo", {"observedGeneration": 1}, api_version="example.com/v1"), "has not seen this version"),
        (live("Foo", {"conditions": [false("Ready", reason="Wait")]}, api_version="example.com/v1"), "Ready is False (Wait)"),
        (live("Foo", {"conditions": [true("Ready"), false("Degraded")]}, api_version="example.com/v1"), ""),
    ],
)
def test_readiness(thing: dict[str, Any], reason: str) -> None:
    assert (reason in str(why_not(thing))) if reason else (why_not(thing) == "")


@pytest.mark.parametrize(
    "thing",
    [
        live("Deployment", {"observedGeneration": 2, "conditions": [false("Progressing", reason="ProgressDeadlineExceeded")]}),
        live("Job", {"conditions": [true("Failed", reason="BackoffLimitExceeded")]}),
        live("Pod", {"phase": "Failed"}),
        live("PersistentVolumeClaim", {"phase": "Lost"}),
        live("CustomResourceDefinition", {"conditions": [false("NamesAccepted", reason="PluralConflict")]}, **CRD),
    ],
)
def test_some_things_will_never_be_ready(thing: dict[str, Any]) -> None:
    assert isinstance(why_not(thing), Never)


def test_a_stale_failure_is_not_final() -> None:
    thing = live("Deployment", {"observedGeneration": 1, "conditions": [false("Progressing", reason="ProgressDeadlineExceeded")]})
    assert not isinstance(why_not(thing), Never)


def test_what_is_being_deleted_is_not_ready() -> None:
    thing = live("ConfigMap")
    thing["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert why_not(thing) == "it is being deleted"


def test_a_reason_is_one_bounded_line() -> None:
    reason = why_not(
        live("Pod", {"containerStatuses": [{"name": "c\n", "state": {"waiting": {"reason": "x", "message": "m\r\n" * 1000}}}]})
    )
    assert reason.isprintable()
    assert len(reason) < 600


WORDS = [
    "conditions",
    "parents",
    "ancestors",
    "type",
    "status",
    "reason",
    "observedGeneration",
    "parentRef",
    "parentRefs",
    "ingress",
    "loadBalancer",
    "state",
    "replicas",
    "containerStatuses",
    "initContainerStatuses",
    "waiting",
    "terminated",
    "phase",
    "selector",
    "updateStrategy",
]
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=15,
)
KINDS = [
    *[("apps/v1", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")],
    *[("v1", kind) for kind in ("Pod", "Service", "Namespace", "PersistentVolumeClaim")],
    *[(GATEWAY, kind) for kind in ("Gateway", "HTTPRoute", "BackendTLSPolicy")],
    ("batch/v1", "Job"),
    (NIC, "Policy"),
    (CERT_MANAGER, "Certificate"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("route.openshift.io/v1", "Route"),
    ("example.com/v1", "Foo"),
]


@given(st.sampled_from(KINDS), odd, odd, odd)
def test_no_status_is_a_defect(kind: tuple[str, str], status: Any, spec: Any, metadata: Any) -> None:
    assert isinstance(why_not({"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec, "status": status}), str)
