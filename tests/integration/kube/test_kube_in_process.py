# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's work in Ansible's own process: the same results as from a process of its own, and only where that would be the same."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from kube_rig import config_map, play, secret

pytestmark = pytest.mark.cluster
OBJECTS = "edgemesh.nginx_istio.k8s_objects"
LOOK = "edgemesh.nginx_istio.k8s_objects_info"
PORTS = "edgemesh.nginx_istio.node_port_info"
SECRETS = "edgemesh.nginx_istio.tls_secret_info"
PROBE = "edgemesh.nginx_istio.edge_probe"
#: what Ansible prints at -vvv for each command that it starts
STARTED = "EXEC /bin/sh"
#: Python is told something of its own, so it has to be started
PROCESS = {"environment": {"PYTHONUNBUFFERED": "1"}}


def tasks(namespace: str) -> list[dict[str, Any]]:
    """Every way for a module to end."""
    service = {"services": [{"namespace": "default", "name": "kubernetes"}]}
    made = [config_map("a", namespace), secret("s", namespace, stringData={"word": "canary-51e4"})]
    return [
        {OBJECTS: {"definitions": made}, "check_mode": True, "diff": True},
        {OBJECTS: {"definitions": [*made, config_map("Bad_Name", namespace)]}},
        {OBJECTS: {"definitions": made}},
        {OBJECTS: {"definitions": made, "timeout": "soon"}},
        {OBJECTS: {"definition": made}},
        {OBJECTS: {"definitions": made, "state": "gone"}},
        {
            LOOK: {
                "queries": [
                    {"kind": "Service", "namespace": "default", "name": "kubernetes"},
                    {"kind": "Widget", "api_version": "no.such/v1"},
                ]
            }
        },
        {LOOK: {"queries": [{"kind": "Secret", "namespace": namespace}]}},
        {PORTS: service},
        {PORTS: {**service, "api_key": "word-5b1c", "host": "https://127.0.0.1:1", "timeout": 1}},
        {SECRETS: {"secrets": [{"namespace": namespace, "name": "s"}]}},
        {SECRETS: {"secrets": [{"namespace": namespace, "name": "none"}], "wait": True, "timeout": 1}},
        # a warning
        {OBJECTS: {"definitions": [secret("t", namespace, stringData={"a": "b"}, data={"a": "Yg=="}, type="Opaque")], "src": []}},
        {PROBE: {"paths": [{"name": "p", "address": "127.0.0.1", "port": 1}], "timeout": 1}},
    ]


def settled(result: Any) -> Any:
    """The same without what differs from run to run."""
    if isinstance(result, dict):
        return {name: settled(item) for name, item in result.items() if name not in ("exception", "resource_version", "uid", "started")}
    if isinstance(result, str):
        return re.sub(r"[0-9.]+ ms", "0 ms", result)
    if isinstance(result, float):
        return 0
    return [settled(item) for item in result] if isinstance(result, list) else result


def test_the_results_are_those_of_a_process(environment: dict[str, str], namespace: str, tmp_path: Path) -> None:
    here, printed = play(tmp_path, *tasks(namespace), arguments=("-vvv",), environment=environment)
    made = [config_map("a", namespace), secret("s", namespace), secret("t", namespace)]
    play(tmp_path, {OBJECTS: {"definitions": made, "state": "absent"}}, environment=environment)
    there, as_ever = play(tmp_path, *[{**task, **PROCESS} for task in tasks(namespace)], arguments=("-vvv",), environment=environment)
    assert [bool(result["failed"]) for result in here] == [
        *(False, True, False, True, True, True, False, True),
        *(False, True, False, True, False, True),
    ]
    assert as_ever.count(STARTED) > len(there)
    # Only the copy that saves the results.
    last = printed.index("ansible.builtin.copy")
    assert STARTED not in printed[: printed.rindex("TASK [", 0, last)]
    for mine, theirs in zip(here, there):
        assert settled(mine) == settled(theirs)
    for word in ("canary-51e4", "word-5b1c"):
        assert word not in printed


def test_with_the_tasks_surroundings(kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    """Variables of the environment, and paths from where the playbook is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("K8S_AUTH_", "KUBECONFIG"))}
    (tmp_path / "there.yaml").write_text(
        f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c, namespace: {namespace}}}, data: {{a: b}}}}"
    )
    (tmp_path / "config").symlink_to(kubeconfig)  # no second copy of the key: other tests look for such
    results, printed = play(
        tmp_path,
        {OBJECTS: {"src": "there.yaml"}, "environment": {"K8S_AUTH_KUBECONFIG": str(tmp_path / "config")}},
        {OBJECTS: {"src": "there.yaml"}},
        arguments=("-vvv",),
        environment={**kept, "HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path)},
    )
    assert results[0]["changed"]
    assert results[1]["failed"], "the first task's environment was still there"
    assert STARTED not in printed.partition(str(tmp_path / "play.yml"))[2].partition("ansible.builtin.copy")[0]


#: keywords of a task, and whether it then starts a process
KEYWORDS: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, False),
    "any Python": ({"vars": {"ansible_python_interpreter": "auto"}}, False),
    "delegated": ({"delegate_to": "localhost", "vars": {"ansible_python_interpreter": sys.executable}}, False),
    "another Python": ({"vars": {"ansible_python_interpreter": str(Path(sys.executable).resolve().with_name("python3"))}}, True),
    "become": ({"become": True, "become_method": "su"}, True),
    "in the background": ({"async": 30, "poll": 1}, True),
    "environment of Python": (PROCESS, True),
}


@pytest.fixture(scope="module")
def printed(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What Ansible prints for each of them: one play, because each takes a second or more to begin."""
    task = {PORTS: {"services": [{"namespace": "default", "name": "kubernetes"}]}}
    named = [{"name": name, **task, **keywords} for name, (keywords, _started) in KEYWORDS.items()]
    environment = {**os.environ, "K8S_AUTH_KUBECONFIG": str(kubeconfig)}
    _results, text = play(tmp_path_factory.mktemp("keywords"), *named, arguments=("-vvv",), environment=environment)
    return {name: text.partition(f"TASK [{name}]")[2].partition("TASK [")[0] for name in KEYWORDS}


@pytest.mark.parametrize("name", KEYWORDS)
def test_only_where_a_process_would_be_the_same(printed: dict[str, str], name: str) -> None:
    keywords, started = KEYWORDS[name]
    if keywords.get("become") and os.geteuid() != 0:
        pytest.skip("needs root, to become root without a password")
    assert "node_port" in printed[name]
    assert (STARTED in printed[name]) == started, printed[name]
