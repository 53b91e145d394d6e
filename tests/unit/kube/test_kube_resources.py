# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.resources import Resource, from_crd, known


@pytest.mark.parametrize(
    ("kind", "api_version", "path"),
    [
        ("ConfigMap", "v1", "/api/v1/namespaces/n/configmaps/x"),
        ("Namespace", "v1", "/api/v1/namespaces/x"),
        ("Ingress", "networking.k8s.io/v1", "/apis/networking.k8s.io/v1/namespaces/n/ingresses/x"),
        ("Gateway", "networking.istio.io/v1", "/apis/networking.istio.io/v1/namespaces/n/gateways/x"),
        ("Gateway", "gateway.networking.k8s.io/v1", "/apis/gateway.networking.k8s.io/v1/namespaces/n/gateways/x"),
        ("VirtualService", "networking.istio.io/v1beta1", "/apis/networking.istio.io/v1beta1/namespaces/n/virtualservices/x"),
        ("AuthorizationPolicy", "security.istio.io/v1", "/apis/security.istio.io/v1/namespaces/n/authorizationpolicies/x"),
        ("Policy", "k8s.nginx.org/v1", "/apis/k8s.nginx.org/v1/namespaces/n/policies/x"),
        ("ClusterRole", "rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1/clusterroles/x"),
        ("GatewayClass", "gateway.networking.k8s.io/v1", "/apis/gateway.networking.k8s.io/v1/gatewayclasses/x"),
        ("ServiceEntry", "networking.istio.io/v1", "/apis/networking.istio.io/v1/namespaces/n/serviceentries/x"),
    ],
)
def test_paths(kind: str, api_version: str, path: str) -> None:
    resource = known(kind, api_version)
    assert resource is not None
    assert resource.path("n", "x") == path


def test_a_list_of_all_namespaces() -> None:
    resource = known("Pod")
    assert resource is not None
    assert resource.path() == "/api/v1/pods"


def test_names_are_quoted() -> None:
    resource = known("ConfigMap")
    assert resource is not None
    assert resource.path("a b", "x/../y?z#\n") == "/api/v1/namespaces/a%20b/configmaps/x%2F..%2Fy%3Fz%23%0A"


def test_a_kind_of_several_groups_needs_its_version() -> None:
    with pytest.raises(EdgeError, match=r"gateway\.networking\.k8s\.io/v1 or networking\.istio\.io/v1"):
        known("Gateway")


def test_the_preferred_version_is_found_by_the_kind_alone() -> None:
    resource = known("VirtualService")
    assert resource is not None
    assert resource.api_version == "networking.istio.io/v1"


def test_unknown_kinds_are_unknown() -> None:
    assert known("Foo", "example.com/v1") is None
    assert known("ConfigMap", "example.com/v1") is None
    assert known("Foo") is None


def test_a_title_is_one_line() -> None:
    assert Resource("v1", "ConfigMap", "configmaps", True).title("n", "a\nb") == "ConfigMap n/a\\nb"


def test_kinds_of_a_definition() -> None:
    spec = {
        "group": "g.example",
        "scope": "Cluster",
        "names": {"kind": "Foo", "plural": "foos"},
        "versions": [{"name": "v1"}, {"name": "v2"}],
    }
    assert from_crd({"spec": spec}) == [Resource("g.example/v1", "Foo", "foos", False), Resource("g.example/v2", "Foo", "foos", False)]


@pytest.mark.parametrize(
    "crd",
    [{}, {"spec": None}, {"spec": {"names": []}}, {"spec": {"names": {}, "versions": "v1"}}, {"spec": {"names": {}, "versions": [1]}}],
)
def test_a_broken_definition_makes_no_kinds(crd: dict[str, object]) -> None:
    assert from_crd(crd) == []
