# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways' logs: found by their Service, read where allowed, and said where not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from urllib3 import HTTPHeaderDict

from plugins.module_utils._kube.client import ApiError, Client
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.transport import Answer
from plugins.module_utils._mesh import gateway_log_info as podlog
from plugins.modules import gateway_log_info

SERVICE = {"spec": {"selector": {"istio": "ingressgateway", "app": "gw"}}}


def pod(name: str, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"namespace": "istio-system", "name": name}, "status": {"phase": phase}}


class Cluster:
    """What podlog asks of a client."""

    def __init__(self, pods: list[dict[str, Any]], logs: dict[str, tuple[int, bytes]], service: dict[str, Any] | None = SERVICE) -> None:
        self.pods, self.logs, self.service = pods, logs, service
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.labels = ""

    def get(self, _kind: str, _name: str, _namespace: str) -> dict[str, Any] | None:
        return self.service

    def list(self, _kind: str, _namespace: str, labels: str) -> tuple[list[dict[str, Any]], str]:
        self.labels = labels
        return self.pods, ""

    def send(self, _method: str, path: str, query: dict[str, str], **_options: Any) -> Answer:
        self.asked.append((path, query))
        status, data = self.logs[path.split("/")[-2]]
        return Answer(status, HTTPHeaderDict(), data)

    def log(self, *what: Any) -> str:
        return Client(self, Deadline(30)).log(*what)  # type: ignore[arg-type]


def read(cluster: Any) -> tuple[list[str], list[str]]:
    return podlog.read(cluster, "istio-system/istio-ingressgateway", "istio-proxy", 60, "marker")


def test_all_running_pods_behind_the_service_are_read() -> None:
    cluster = Cluster([pod("a"), pod("b"), pod("c", "Pending")], {"a": (200, b"x marker 1\nother\n"), "b": (200, b"y marker 2\n")})
    assert read(cluster) == (["x marker 1", "y marker 2"], [])
    assert cluster.labels == "istio=ingressgateway,app=gw"
    assert cluster.asked[0] == ("/api/v1/namespaces/istio-system/pods/a/log", {"container": "istio-proxy", "sinceSeconds": "60"})


def test_a_log_that_may_not_be_read_is_a_problem_with_the_role_to_apply_and_no_failure() -> None:
    message = 'pods "a" is forbidden: User "awx" cannot get resource "pods/log" in API group "" in the namespace "istio-system"'
    forbidden = json.dumps({"kind": "Status", "reason": "Forbidden", "message": message}).encode()
    lines, problems = read(Cluster([pod("a"), pod("b")], {"a": (403, forbidden), "b": (200, b"marker\n")}))
    assert lines == ["marker"]
    assert len(problems) == 1
    assert "istio-system/a" in problems[0]


def test_a_gateway_that_is_not_there_is_a_problem() -> None:
    assert "does not exist" in read(Cluster([], {}, service=None))[1][0]


def test_no_access_at_all_is_a_problem() -> None:
    class Refusing(Cluster):
        def get(self, *_arguments: Any) -> None:
            raise ApiError("may not get services", status=403, where="Service")

    assert read(Refusing([], {})) == ([], ["Service: may not get services."])


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert read(Cluster([pod("a")], {"a": (200, b"\xff\xfe marker\n")}))[0] == ["\ufffd\ufffd marker"]


def test_lines_that_are_written_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def late(_client: Any, gateway: str, *_more: Any) -> tuple[list[str], list[str]]:
        looks.append(gateway)
        return (['run vm-1"', 'run vm-2"'] if len(looks) > 4 else ['run vm-1"']), []

    monkeypatch.setattr(gateway_log_info, "connect", lambda _params: None)
    monkeypatch.setattr(gateway_log_info, "_PAUSE", 0.01)
    monkeypatch.setattr(podlog, "read", late)
    given = {"gateways": ["a/a", "b/b"], "container": "c", "contains": "run", "since": 1, "expected": [], "wait": False, "wait_timeout": 10}
    assert [each["lines"] for each in gateway_log_info.work(None, given)["results"]] == [['run vm-1"']] * 2
    assert len(looks) == 2
    looks.clear()
    found = gateway_log_info.work(None, {**given, "expected": ['vm-1"', 'vm-2"'], "wait": True, "wait_timeout": 10})
    assert found["results"][1]["lines"] == ['run vm-1"', 'run vm-2"']
    assert len(looks) == 6
    looks.clear()
    assert gateway_log_info.work(None, {**given, "expected": ['vm-3"'], "wait": True, "wait_timeout": 1})["results"][0]["lines"], (
        "in vain, but not without an end"
    )
