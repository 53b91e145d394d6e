# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from lab import health


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": status}


READY = [{"type": "Ready", "status": "True"}]
NOT_READY = [{"type": "Ready", "status": "False", "message": "containers with unready status: [web]"}]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (pod(conditions=READY), ""),
        (pod(conditions=NOT_READY), "containers with unready status: [web]"),
        (pod(phase="Pending"), "Pending"),
        (
            pod(
                conditions=NOT_READY,
                containerStatuses=[{"name": "web", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}],
            ),
            "container web: ErrImagePull no such image",
        ),
        (
            pod(
                conditions=NOT_READY, initContainerStatuses=[{"name": "istio-proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
            ),
            "container istio-proxy: CrashLoopBackOff",
        ),
        (
            pod(conditions=NOT_READY, containerStatuses=[{"name": "web", "state": {"waiting": {"reason": "PodInitializing"}}}]),
            "containers with unready status: [web]",
        ),
        ({"metadata": {"name": "p", "deletionTimestamp": "now"}, "status": {"conditions": NOT_READY}}, ""),
    ],
)
def test_why_a_pod_is_not_ready(found: dict[str, Any], why: str) -> None:
    assert health.not_ready(found) == why


TABLE = """\
NAME                                CLUSTER        CDS               ECDS        LDS             ISTIOD          VERSION
echo-1.lab-echo                     Kubernetes     SYNCED (3s)       IGNORED     ERROR (3s)      istiod-1        1.32
gateway-1.istio-system              Kubernetes     SYNCED (3s)       IGNORED     SYNCED (3s)     istiod-1        1.32
web-1.somebody-elses                Kubernetes     ERROR (5m4s)      IGNORED     SYNCED (3s)     istiod-1        1.32
"""


def test_refused_configuration_is_told_by_proxy_and_kind() -> None:
    assert health.refusals(TABLE) == "echo-1.lab-echo refuses LDS"


def test_nothing_refused() -> None:
    assert health.refusals(TABLE.replace("ERROR", "SYNCED")) == ""
    assert health.refusals("") == ""
