# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object is ready, by its kind's own meaning; otherwise why not, in words.

Each rule takes the live object and returns ``""`` or the reason, a :class:`Never` where waiting is of no use. A status that
describes an older generation of the object never counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

from .._loose import mapping, mappings, number
from .resources import group_of
from .text import clean

#: Group of the Gateway API.
GATEWAY = "gateway.networking.k8s.io"


@dataclass(frozen=True)
class Never:
    """A reason that no waiting will mend."""

    why: str

    def __str__(self) -> str:
        return self.why


#: Why something isn't ready; empty when it is.
Reason = Union[str, Never]
Rule = Callable[[dict[str, Any]], Reason]


def why_not(live: dict[str, Any]) -> Reason:
    """Why ``live`` isn't ready."""
    if mapping(live.get("metadata")).get("deletionTimestamp"):
        return "it is being deleted"
    group, kind = group_of(str(live.get("apiVersion"))), str(live.get("kind"))
    rule = _RULES.get((group, kind), _accepted if group in _ACCEPTED else _conditions)
    return rule(live)


def _status(live: dict[str, Any]) -> dict[str, Any]:
    return mapping(live.get("status"))


def _spec(live: dict[str, Any]) -> dict[str, Any]:
    return mapping(live.get("spec"))


def _generation(live: dict[str, Any]) -> int:
    return number(mapping(live.get("metadata")).get("generation"))


def _unobserved(live: dict[str, Any]) -> str:
    if number(_status(live).get("observedGeneration"), -1) < _generation(live):
        return "its controller has not seen this version yet"
    return ""


def _condition(conditions: Any, name: str) -> dict[str, Any]:
    return next((each for each in mappings(conditions) if each.get("type") == name), {})


def _says(condition: dict[str, Any]) -> str:
    """A condition in words."""
    text = ": ".join(clean(condition[part], 500) for part in ("reason", "message") if condition.get(part))
    return f"{clean(condition.get('type'), 100)} is {clean(condition.get('status'), 20)}" + (f" ({text})" if text else "")


def _wants(conditions: Any, name: str, generation: int = 0) -> str:
    """That the condition ``name`` is True, and of this generation if it says of which it is."""
    condition = _condition(conditions, name)
    if not condition:
        return f"{name} is not reported yet"
    if number(condition.get("observedGeneration"), generation) < generation:
        return "its controller has not seen this version yet"
    return "" if condition.get("status") == "True" else _says(condition)


# -- rules ---------------------------------------------------------------------------------------------------------------


def _accepted(_live: dict[str, Any]) -> str:
    return ""


def _conditions(live: dict[str, Any]) -> str:
    """Kinds that we don't know: the two conventions that most controllers follow, where there is something to see."""
    status = _status(live)
    if "observedGeneration" in status and (reason := _unobserved(live)):
        return reason
    for name in ("Ready", "Available"):
        if _condition(status.get("conditions"), name):
            return _wants(status.get("conditions"), name, _generation(live))
    return ""


def _deployment(live: dict[str, Any]) -> Reason:
    spec, status = _spec(live), _status(live)
    if reason := _unobserved(live):
        return reason
    if spec.get("paused"):
        return ""
    progress = _condition(status.get("conditions"), "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Never(_says(progress))
    wanted = number(spec.get("replicas"), 1)
    updated, available = number(status.get("updatedReplicas")), number(status.get("availableReplicas"))
    failure = _condition(status.get("conditions"), "ReplicaFailure")
    extra = f"; {_says(failure)}" if failure.get("status") == "True" else ""
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of this version{extra}"
    if number(status.get("replicas")) > updated:
        return f"{number(status.get('replicas')) - updated} old replicas are still there"
    if available < wanted:
        return f"{available} of {wanted} replicas are available{extra}"
    return ""


def _stateful_set(live: dict[str, Any]) -> str:
    spec, status = _spec(live), _status(live)
    if reason := _unobserved(live):
        return reason
    wanted = number(spec.get("replicas"), 1)
    ready = number(status.get("readyReplicas"))
    if ready < wanted:
        return f"{ready} of {wanted} replicas are ready"
    strategy = mapping(spec.get("updateStrategy"))
    if strategy.get("type") == "OnDelete":
        return ""
    due = wanted - number(mapping(strategy.get("rollingUpdate")).get("partition"))
    updated = number(status.get("updatedReplicas"))
    if due > 0 and status.get("currentRevision") != status.get("updateRevision") and updated < due:
        return f"{updated} of {due} replicas are of this version"
    return ""


def _daemon_set(live: dict[str, Any]) -> str:
    spec, status = _spec(live), _status(live)
    if reason := _unobserved(live):
        return reason
    wanted = number(status.get("desiredNumberScheduled"))
    updated, available = number(status.get("updatedNumberScheduled")), number(status.get("numberAvailable"))
    if updated < wanted and mapping(spec.get("updateStrategy")).get("type") != "OnDelete":
        return f"{updated} of {wanted} pods are of this version"
    if available < wanted:
        return f"{available} of {wanted} pods are available"
    return ""


def _replica_set(live: dict[str, Any]) -> str:
    wanted, ready = number(_spec(live).get("replicas"), 1), number(_status(live).get("readyReplicas"))
    return _unobserved(live) or (f"{ready} of {wanted} replicas are ready" if ready < wanted else "")


def _service(live: dict[str, Any]) -> str:
    if _spec(live).get("type") != "LoadBalancer":
        return ""
    ingress = mappings(mapping(_status(live).get("loadBalancer")).get("ingress"))
    return "" if any(each.get("ip") or each.get("hostname") for each in ingress) else "the load balancer has no address yet"


def pod(live: dict[str, Any]) -> Reason:
    """A Pod: Ready, or has succeeded."""
    status = _status(live)
    phase = status.get("phase")
    if phase == "Succeeded":
        return ""
    if phase == "Failed":
        return Never(f"failed: {clean(status.get('reason') or '', 100)} {clean(status.get('message') or '', 300)}".strip())
    if _condition(status.get("conditions"), "Ready").get("status") == "True":
        return ""
    return _containers(status) or _unscheduled(status) or f"phase {clean(phase or 'unknown', 50)}"


def _containers(status: dict[str, Any]) -> str:
    for each in mappings(status.get("initContainerStatuses")) + mappings(status.get("containerStatuses")):
        name = clean(each.get("name"), 100)
        state = mapping(each.get("state"))
        waiting, ended = mapping(state.get("waiting")), mapping(state.get("terminated"))
        last = mapping(mapping(each.get("lastState")).get("terminated"))
        # PodInitializing says only that another container is the reason.
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            words = clean(waiting["reason"], 100) + (f" ({clean(waiting['message'], 300)})" if waiting.get("message") else "")
            code = f", last exit code {number(last.get('exitCode'))}" if last else ""
            return f"container {name}: {words}{code}"
        if ended and number(ended.get("exitCode")):
            return f"container {name}: {clean(ended.get('reason'), 100)}, exit code {number(ended.get('exitCode'))}"
    for each in mappings(status.get("containerStatuses")):
        if not each.get("ready") and mapping(each.get("state")).get("running"):
            return f"container {clean(each.get('name'), 100)} runs but isn't ready"
    return ""


def _unscheduled(status: dict[str, Any]) -> str:
    scheduled = _condition(status.get("conditions"), "PodScheduled")
    return _says(scheduled) if scheduled.get("status") == "False" else ""


def _job(live: dict[str, Any]) -> Reason:
    status = _status(live)
    failed = _condition(status.get("conditions"), "Failed")
    if failed.get("status") == "True":
        return Never(_says(failed))
    if _spec(live).get("suspend") or _condition(status.get("conditions"), "Complete").get("status") == "True":
        return ""
    return f"{number(status.get('active'))} active, {number(status.get('succeeded'))} succeeded, {number(status.get('failed'))} failed"


def _claim(live: dict[str, Any]) -> Reason:
    phase = _status(live).get("phase")
    if phase == "Bound":
        return ""
    if phase == "Lost":
        return Never("its volume is lost")
    return f"phase {clean(phase or 'unknown', 50)} (a class with WaitForFirstConsumer binds only when a pod uses the claim)"


def _namespace(live: dict[str, Any]) -> str:
    phase = _status(live).get("phase")
    return "" if phase == "Active" else f"phase {clean(phase or 'unknown', 50)}"


def _crd(live: dict[str, Any]) -> Reason:
    conditions = _status(live).get("conditions")
    names = _condition(conditions, "NamesAccepted")
    if names.get("status") == "False":
        return Never(_says(names))
    return _wants(conditions, "Established")


def _available(live: dict[str, Any]) -> str:
    return _wants(_status(live).get("conditions"), "Available")


def _disruption_budget(live: dict[str, Any]) -> str:
    return _unobserved(live)


def _gateway(live: dict[str, Any]) -> str:
    conditions, generation = _status(live).get("conditions"), _generation(live)
    return _wants(conditions, "Accepted", generation) or _wants(conditions, "Programmed", generation)


def _gateway_class(live: dict[str, Any]) -> str:
    return _wants(_status(live).get("conditions"), "Accepted", _generation(live))


def _route(live: dict[str, Any]) -> str:
    """Routes of the Gateway API: every parent that is named has accepted this version and resolved its references."""
    namespace, generation = mapping(live.get("metadata")).get("namespace"), _generation(live)
    answers = mappings(_status(live).get("parents"))
    for parent in mappings(_spec(live).get("parentRefs")):
        title = f"{clean(parent.get('kind') or 'Gateway', 100)} {clean(parent.get('name'), 253)}"
        of_parent = [each for each in answers if _same_parent(mapping(each.get("parentRef")), parent, namespace)]
        if not of_parent:
            return f"{title} has not looked at it yet"
        for each in of_parent:
            conditions = each.get("conditions")
            if reason := _wants(conditions, "Accepted", generation) or _wants(conditions, "ResolvedRefs", generation):
                return f"{title}: {reason}"
    return ""


def _same_parent(answered: dict[str, Any], asked: dict[str, Any], namespace: Any) -> bool:
    defaults = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "namespace": namespace,
        "name": None,
        "sectionName": None,
        "port": None,
    }
    return all((answered.get(field) or default) == (asked.get(field) or default) for field, default in defaults.items())


def _policy_of_ancestors(live: dict[str, Any]) -> str:
    ancestors = mappings(_status(live).get("ancestors"))
    if not ancestors:
        return "no gateway has looked at it yet"
    return next((reason for each in ancestors if (reason := _wants(each.get("conditions"), "Accepted", _generation(live)))), "")


def _nginx(live: dict[str, Any]) -> str:
    """NGINX Ingress Controller. Warning counts as not ready: what the warning is about is answered with 500."""
    status = _status(live)
    state = status.get("state")
    if state == "Valid":
        return ""
    words = ": ".join(clean(status[part], 500) for part in ("reason", "message") if status.get(part))
    return f"{clean(state, 50)} ({words})" if state else "NGINX Ingress Controller has not looked at it yet"


def _cert_manager(live: dict[str, Any]) -> str:
    return _wants(_status(live).get("conditions"), "Ready", _generation(live))


def _openshift_route(live: dict[str, Any]) -> str:
    ingress = mappings(_status(live).get("ingress"))
    if not ingress:
        return "no router has admitted it yet"
    return next((reason for each in ingress if (reason := _wants(each.get("conditions"), "Admitted"))), "")


_RULES: dict[tuple[str, str], Rule] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "ReplicationController"): _replica_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apiregistration.k8s.io", "APIService"): _available,
    (GATEWAY, "Gateway"): _gateway,
    (GATEWAY, "GatewayClass"): _gateway_class,
    **{(GATEWAY, kind): _route for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")},
    (GATEWAY, "BackendTLSPolicy"): _policy_of_ancestors,
    **{("k8s.nginx.org", kind): _nginx for kind in ("VirtualServer", "VirtualServerRoute", "Policy", "TransportServer")},
    **{("cert-manager.io", kind): _cert_manager for kind in ("Certificate", "CertificateRequest", "Issuer", "ClusterIssuer")},
    ("route.openshift.io", "Route"): _openshift_route,
}
# Groups whose kinds have no status that says more than "accepted"; for Istio's, whether the mesh has it is proven on the wire.
_ACCEPTED = frozenset(
    {
        "networking.istio.io",
        "security.istio.io",
        "telemetry.istio.io",
        "extensions.istio.io",
        "rbac.authorization.k8s.io",
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "autoscaling",
        "admissionregistration.k8s.io",
        "certificates.k8s.io",
        "k8s.cni.cncf.io",
        "security.openshift.io",
    }
)
