# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kube_rig import config_map, play, secret

pytestmark = pytest.mark.cluster
CANARY = "canary-77d0"
OBJECTS = "edgemesh.nginx_istio.k8s_objects"
PORTS = "edgemesh.nginx_istio.node_port_info"


def test_every_option_may_come_as_text(environment: dict[str, str], namespace: str, tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: %s}\ndata: {a: 'b, c'}\n" % namespace  # noqa: UP031
    file = tmp_path / "more.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, ports: [{name: https, port: 443}]}\n")
    options = {
        "definitions": text,
        "src": str(file),
        "namespace": namespace,
        "wait": "true",
        "timeout": "30",
        "concurrency": "4",
        "force_conflicts": "no",
    }
    asked = {
        "services": [{"namespace": namespace, "name": "web", "ports": "https"}],
        "wait_for": "node_port",
        "timeout": "20",
        "wait": "false",
    }
    results, _printed = play(
        tmp_path,
        {OBJECTS: options, "check_mode": True},
        {OBJECTS: options},
        {OBJECTS: options},
        {PORTS: asked},
        {OBJECTS: {**options, "state": "absent"}},
        environment=environment,
    )
    assert [[each["action"] for each in result["results"]] for result in results if "nodes" not in result["results"][0]] == [
        ["would_create", "would_create"],
        ["created", "created"],
        ["unchanged", "unchanged"],
        ["deleted", "deleted"],
    ]
    assert [result["changed"] for result in results] == [True, True, False, False, True]
    assert results[3]["results"][0]["ports"]["https"]["port"] == 443


def test_module_defaults_of_the_group_reach_both_modules(kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("K8S_AUTH_", "KUBECONFIG"))}
    defaults = {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": str(kubeconfig)}}
    results, _printed = play(
        tmp_path,
        {OBJECTS: {"definitions": [config_map("c", namespace)]}},
        {PORTS: {"services": [{"namespace": "default", "name": "kubernetes"}]}},
        environment={**environment, "HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path)},
        module_defaults=defaults,
    )
    assert [result["failed"] for result in results] == [False, False]


def test_a_failure_has_its_parts_and_the_results(environment: dict[str, str], namespace: str, tmp_path: Path) -> None:
    (result,), printed = play(tmp_path, {OBJECTS: {"definitions": [config_map("Bad_Name", namespace)]}}, environment=environment)
    assert result["failed"]
    assert result["error"]["code"] == "INVALID"
    assert result["results"][0]["action"] == "failed"
    assert result["msg"].startswith(f"ConfigMap {namespace}/Bad_Name: the API server refuses it")
    assert "Traceback" not in printed


def test_an_unreachable_cluster_is_a_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    options = {"host": "https://127.0.0.1:1", "api_key": "some-token", "timeout": 3}
    tasks = [
        {OBJECTS: {"definitions": [config_map("c", "default")], **options}},
        {PORTS: {"services": [{"namespace": "n", "name": "s"}], **options}},
    ]
    results, printed = play(tmp_path, *tasks, environment=environment)
    for result in results:
        assert result["error"]["code"] == "UNREACHABLE"
        assert "https://127.0.0.1:1: Connection refused; tried" in result["msg"]
    assert "Traceback" not in printed


@pytest.mark.parametrize("arguments", [(), ("-vvv", "--diff"), ("-vvv", "--diff", "--check")])
def test_a_secrets_values_are_nowhere(environment: dict[str, str], namespace: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    made = secret("s", namespace, stringData={"word": f"{CANARY}-one"})
    changed = secret("s", namespace, stringData={"word": f"{CANARY}-two"})
    broken = secret("s", namespace, data={"word": f"{CANARY}-three"})
    in_text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: t, namespace: {namespace}}}\nstringData: {{word: {CANARY}-four}}\n"
    # Variables reach tasks by a file that is read at run time: a play's own text is printed when a task fails.
    tasks = tmp_path / "vars.json"
    import json

    tasks.write_text(json.dumps({"first": [made, in_text], "second": [changed], "third": [broken], "fourth": f"a: [{CANARY}"}))
    results, printed = play(
        tmp_path,
        *[{OBJECTS: {"definitions": "{{ %s }}" % name}} for name in ("first", "second", "third", "fourth")],  # noqa: UP031
        arguments=arguments,
        environment=environment,
        vars_files=[str(tasks)],
    )
    assert [bool(result["failed"]) for result in results] == [False, False, True, True]
    assert CANARY not in printed
    assert CANARY not in json.dumps(results)
    if "--diff" in arguments and "--check" not in arguments:
        assert "(hidden, another value)" in printed
