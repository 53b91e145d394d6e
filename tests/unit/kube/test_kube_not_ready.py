# SPDX-License-Identifier: GPL-3.0-or-later
"""What hinders objects, in words."""

from __future__ import annotations

from typing import Any

from plugins.module_utils._kube.k8s_objects_info import not_ready


def said(*resources: dict[str, Any]) -> list[str]:
    """Of what two queries found."""
    return not_ready([{"resources": list(resources[:1])}, {"resources": list(resources[1:])}])


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "istio-system"}, "status": status}


def event(kind: str, name: str, reason: str, message: str, at: str, namespace: str = "istio-system") -> dict[str, Any]:
    of = {"kind": kind, "name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": of, "reason": reason, "message": message,
            "lastTimestamp": at}  # fmt: skip


PULLING = pod("a", phase="Pending", containerStatuses=[{"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}])


def test_of_ready_pods_nothing_is_said_whatever_happened_to_them() -> None:
    ready = pod("a", conditions=[{"type": "Ready", "status": "True"}])
    assert said(ready, pod("b", phase="Succeeded"), event("Pod", "a", "Unhealthy", "probe", "2026-01-02T00:00:00Z")) == []


def test_reason_and_last_event() -> None:
    newer, older = (event("Pod", "a", "Failed", f"of day {day}", f"2026-01-0{day}T00:00:00Z") for day in (2, 1))
    elsewhere = event("Pod", "a", "Failed", "another pod's", "2026-01-03T00:00:00Z", "other")
    why = "Pod istio-system/a is not ready: container app: ImagePullBackOff"
    assert said(PULLING, newer, older, elsewhere) == [f"{why}; last event: Failed: of day 2."]
    assert said(PULLING) == [f"{why}."]


def test_pods_that_could_not_be_made() -> None:
    assert said(event("ReplicaSet", "gw-1", "FailedCreate", "exceeded quota", "2026-01-01T00:00:00Z")) == [
        "ReplicaSet istio-system/gw-1: FailedCreate: exceeded quota."
    ]  # fmt: skip
