# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_objects_info: what it reads is what is there, and what kubernetes.core reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kube_rig import config_map, play

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.k8s_objects_info import look

pytestmark = pytest.mark.cluster
INFO = "edgemesh.nginx_istio.k8s_objects_info"


def query(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "api_version": "v1", "namespace": None, "name": None, "label_selectors": [], "field_selectors": [], **more}


@pytest.fixture
def maps(client: Client, namespace: str) -> str:
    for name, labels in (("a", {"app": "x", "side": "left"}), ("b", {"app": "x", "side": "right"}), ("c", {"app": "y"})):
        client.apply(config_map(name, namespace, labels=labels))
    return namespace


def names(answer: dict[str, Any]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in answer["resources"])


def test_by_name_by_label_by_field_and_all(client: Client, maps: str) -> None:
    here = {"namespace": maps}
    found = look(
        client,
        [
            query("ConfigMap", **here, name="b"),
            query("ConfigMap", **here, label_selectors=["app=x", "side!=right"]),
            query("ConfigMap", **here, field_selectors=["metadata.name=c"]),
            query("ConfigMap", **here, name="a", label_selectors=["app=y"]),
            query("ConfigMap", label_selectors=["app in (x,y)"], **here),
            query("Namespace", name=maps),
            query("Namespace", label_selectors=["edgemesh-test=yes"]),
        ],
    )
    assert [names(each) for each in found[:-1]] == [["b"], ["a"], ["c"], [], ["a", "b", "c"], [maps]]
    assert maps in names(found[-1])
    assert all(each["api_found"] for each in found)
    # roles go by who owns which field
    assert all(one["metadata"]["managedFields"] for each in found[:-1] for one in each["resources"])
    assert {(one["apiVersion"], one["kind"]) for one in found[4]["resources"]} == {("v1", "ConfigMap")}


def test_what_is_not_there_is_no_failure(client: Client, maps: str) -> None:
    found = look(
        client,
        [
            query("ConfigMap", namespace=maps, name="none"),
            query("ConfigMap", namespace="edgemesh-test-none"),
            query("Widget", api_version="nobody.example/v1"),
            query("Widget", namespace=maps),
        ],
    )
    assert [(each["api_found"], each["resources"]) for each in found] == [(True, []), (True, []), (False, []), (False, [])]


@pytest.mark.parametrize("kind", ["Secret", "SecretList"])
def test_secrets_are_not_shown(client: Client, namespace: str, kind: str) -> None:
    with pytest.raises(EdgeError, match=r"queries\[1\]: Secrets are not read.*Use tls_secret_info"):
        look(client, [query("ConfigMap", namespace=namespace), query(kind, namespace=namespace)])


def test_who_may_not_is_told_what_is_needed(environment: dict[str, str], namespace: str, tmp_path: Path) -> None:
    asked = {"queries": [{"kind": "ConfigMap", "namespace": namespace}], "impersonate_user": "nobody-at-all"}
    (result,), _printed = play(tmp_path, {INFO: asked}, environment=environment)
    assert result["failed"]
    assert result["error"]["status"] == 403
    assert "list" in result["msg"]


def test_kubernetes_core_reads_the_same(environment: dict[str, str], maps: str, tmp_path: Path) -> None:
    theirs = {"kind": "ConfigMap", "namespace": maps, "label_selectors": ["app=x"]}
    ours, other = play(tmp_path, {INFO: {"queries": [theirs]}}, {"kubernetes.core.k8s_info": theirs}, environment=environment)[0]
    assert not ours["changed"]
    assert ours["results"] == [{"api_found": True, "resources": other["resources"]}]
    assert len(other["resources"]) == 2
