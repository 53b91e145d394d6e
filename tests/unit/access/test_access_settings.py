# SPDX-License-Identifier: GPL-3.0-or-later
"""What is changed of other people's objects, and that it goes back: against a server-side apply of our own."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from plugins.module_utils._access import settings, topology
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes.access import Front
from plugins.module_utils._routes.load import gateways

CONFIG = "proxy.istio.io/config"
STANDARD = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def front(value: Any) -> Front:
    return gateways({"main": {"front": value}})[0].front


def deployment(config: str | None = None, strategy: dict[str, Any] | None = None) -> dict[str, Any]:
    annotations = {"inject.istio.io/templates": "gateway", **({CONFIG: config} if config is not None else {})}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gw", "namespace": "istio-system"},
        "spec": {"strategy": strategy or STANDARD, "template": {"metadata": {"annotations": annotations}}},
    }  # fmt: skip


def service(policy: str = "Cluster", kind: str = "LoadBalancer", **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "gw", "namespace": "istio-system", "annotations": annotations},
        "spec": {"type": kind, **({"externalTrafficPolicy": policy} if kind != "ClusterIP" else {})},
    }  # fmt: skip


class Server:
    """Server-side apply with force by one manager: what it no longer names goes, or goes back to the API's default."""

    DEFAULTS = {("spec", "strategy"): STANDARD, ("spec", "externalTrafficPolicy"): "Cluster"}

    def __init__(self, live: dict[str, Any]) -> None:
        self.live, self.ours = copy.deepcopy(live), set[tuple[str, ...]]()

    def apply(self, manifest: dict[str, Any]) -> bool:
        before = copy.deepcopy(self.live)
        named = {
            path: value
            for path, value in leaves(manifest)
            if path[0] not in ("apiVersion", "kind") and path[-1] not in ("name", "namespace")
        }
        for path in self.ours - set(named):
            self.set(path, self.DEFAULTS.get(path))
        for path, value in named.items():
            self.set(path, value)
        self.ours = set(named)
        changed = {**self.live, "metadata": {**self.live["metadata"], "managedFields": None}} != {
            **before, "metadata": {**before["metadata"], "managedFields": None},
        }  # fmt: skip
        fields: dict[str, Any] = {}
        for path in named:
            at = fields
            for step in path:
                at = at.setdefault(f"f:{step}", {})
        self.live["metadata"]["managedFields"] = [{"manager": settings.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}]
        return changed

    def set(self, path: tuple[str, ...], value: Any) -> None:
        at = self.live
        for step in path[:-1]:
            at = at.setdefault(step, {})
        at.pop(path[-1], None) if value is None else at.update({path[-1]: value})


def leaves(value: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict) and path[-1:] != ("strategy",):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path, value


FRONTS = ["http_proxy", {"kind": "http_proxy", "hops": 2}, "tcp_proxy", {"kind": "tcp_proxy", "hops": 1}, "node_port", "network_lb", "none",
          {"kind": "tcp_proxy", "provider": "eks"}, {"kind": "network_lb", "provider": "eks"}, {"kind": "network_lb", "provider": "gke"},
          {"kind": "http_proxy", "proxies": ["192.0.2.7"]}]  # fmt: skip
CONFIGS = [None, "{}", '{"gatewayTopology": {"numTrustedProxies": 3}}', "terminationDrainDuration: 20s\n",
           "gatewayTopology:\n  proxyProtocol: {}\n  forwardClientCertDetails: SANITIZE\nproxyMetadata: {A: b}\n"]  # fmt: skip


@examples(max_examples=150, deadline=None)
@given(st.sampled_from(CONFIGS), st.lists(st.sampled_from(FRONTS), min_size=1, max_size=4), st.booleans())
def test_a_deployment_goes_back_to_what_it_was(config: str | None, fronts: list[Any], own_rollout: bool) -> None:
    rollout = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 1}} if own_rollout else STANDARD
    first = deployment(config, rollout)
    server = Server(first)
    for each in map(front, fronts):
        server.apply(settings.workload(server.live, each))
        text = server.live["spec"]["template"]["metadata"]["annotations"].get(CONFIG)
        found = topology.parsed(text, "")
        assert topology.topology_of(found) == topology.wanted(each)
        assert ("ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL" in found.get("proxyMetadata", {})) == (each.kind == "tcp_proxy" or (
            text == config and "PROXY" in str(config)))  # fmt: skip
        given_before = topology.parsed(config, "")
        for key in set(given_before) - {"gatewayTopology", "proxyMetadata"}:
            assert found[key] == given_before[key]
        assert found.get("gatewayTopology", {}).get("forwardClientCertDetails") == given_before.get("gatewayTopology", {}).get(
            "forwardClientCertDetails"
        )
        assert not server.apply(settings.workload(server.live, each)), "a second run changes nothing"
    server.apply(settings.workload(server.live, None))
    assert without_empty(server.live) == without_empty(first)
    assert not server.apply(settings.workload(server.live, None))
    # What teardown has put back is ours by name now; a later run must not lose it.
    server.apply(settings.workload(server.live, front("none")))
    server.apply(settings.workload(server.live, None))
    assert without_empty(server.live) == without_empty(first)


@examples(max_examples=100, deadline=None)
@given(
    st.sampled_from(["Cluster", "Local"]),
    st.sampled_from([{}, {"service.beta.kubernetes.io/aws-load-balancer-type": "external", "mine": "x"}]),
    st.lists(st.sampled_from(FRONTS), min_size=1, max_size=4),
)
def test_a_service_goes_back_to_what_it_was(policy: str, annotations: dict[str, str], fronts: list[Any]) -> None:
    first = service(policy, **annotations)
    server = Server(first)
    for each in map(front, fronts):
        server.apply(settings.service(server.live, each))
        if settings.needs_local(each):
            assert server.live["spec"]["externalTrafficPolicy"] == "Local"
        assert not server.apply(settings.service(server.live, each))
    # What somebody else also owns, a second manager's silence doesn't take away.
    server.ours = {path for path in server.ours if path != ("spec", "externalTrafficPolicy") or policy != "Local"}
    server.apply(settings.service(server.live, None))
    assert without_empty(server.live) == without_empty(first)
    assert not server.apply(settings.service(server.live, None))


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        made = {key: without_empty(item) for key, item in value.items() if key != "managedFields"}
        return {key: item for key, item in made.items() if item != {}}
    return value


def test_what_is_not_ours_is_not_named() -> None:
    made = settings.workload(deployment("terminationDrainDuration: 20s"), front("node_port"))
    assert made == {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gw", "namespace": "istio-system"}}
    assert "spec" not in settings.service(service(), front("http_proxy"))


def test_an_upgrade_in_between_is_kept() -> None:
    """Somebody wrote the annotation anew after us: theirs stays, the topology is ours, and teardown takes only that."""
    server = Server(deployment())
    server.apply(settings.workload(server.live, front("http_proxy")))
    server.set(("spec", "template", "metadata", "annotations", CONFIG), '{"concurrency": 2}')
    server.apply(settings.workload(server.live, front("http_proxy")))
    assert json.loads(server.live["spec"]["template"]["metadata"]["annotations"][CONFIG]) == {
        "concurrency": 2, "gatewayTopology": {"numTrustedProxies": 1},
    }  # fmt: skip
    server.apply(settings.workload(server.live, None))
    assert json.loads(server.live["spec"]["template"]["metadata"]["annotations"][CONFIG]) == {"concurrency": 2}


def test_a_new_pod_is_ready_before_an_old_one_goes() -> None:
    made = settings.workload(deployment(), front("http_proxy"))
    assert made["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_the_mesh() -> None:
    text = "accessLogFile: /dev/stdout\ndefaultConfig:\n  discoveryAddress: istiod:15012\n"
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}}
    server = Server(live)
    server.apply(settings.mesh(server.live, front({"hops": 2, "scope": "mesh"})))
    config = topology.parsed(server.live["data"]["mesh"], "")
    assert config["defaultConfig"] == {"discoveryAddress": "istiod:15012", "gatewayTopology": {"numTrustedProxies": 2}}
    assert config["accessLogFile"] == "/dev/stdout"
    server.apply(settings.mesh(server.live, None))
    assert server.live["data"]["mesh"] == text


def test_no_packet_reaches_a_cluster_ip() -> None:
    with pytest.raises(EdgeError, match="is of type ClusterIP: no packet from outside reaches it"):
        settings.service(service(kind="ClusterIP"), front("node_port"))


def test_an_annotation_that_is_no_yaml() -> None:
    with pytest.raises(EdgeError, match="Deployment istio-system/gw: is not YAML"):
        settings.workload(deployment("a: ["), front("http_proxy"))
    with pytest.raises(EdgeError, match="is no mapping"):
        settings.workload(deployment("- a"), front("http_proxy"))
