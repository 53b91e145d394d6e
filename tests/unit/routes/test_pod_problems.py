"""What hinders a pod, in words."""

from __future__ import annotations

from typing import Any

from plugins.filter.pod_problems import pod_problems


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "istio-system"}, "status": status}


def event(kind: str, name: str, reason: str, message: str, at: str) -> dict[str, Any]:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message, "lastTimestamp": at}


def test_ready_pods_are_no_problem() -> None:
    assert pod_problems([pod("a", conditions=[{"type": "Ready", "status": "True"}]), pod("b", phase="Succeeded")]) == []


def test_reason_and_last_warning() -> None:
    pulling = pod("a", phase="Pending", containerStatuses=[{"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}])
    events = [event("Pod", "a", "Failed", "newer", "2026-01-02T00:00:00Z"), event("Pod", "a", "Failed", "older", "2026-01-01T00:00:00Z")]
    assert pod_problems([pulling], events) == [
        "Pod istio-system/a is not ready: container app: ImagePullBackOff; last warning: Failed: newer."
    ]  # fmt: skip


def test_pods_that_could_not_be_made() -> None:
    events = [event("ReplicaSet", "gw-1", "FailedCreate", "exceeded quota", "2026-01-01T00:00:00Z")]
    assert pod_problems([], events) == ["ReplicaSet gw-1: FailedCreate: exceeded quota."]
